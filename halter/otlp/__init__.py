"""Histories as traces: for tools that speak OpenTelemetry.

trace      which spans a WfRun has, and when
sending    gives them to a receiver, or to a file, by OpenTelemetry's SDK (the extra `halter-kafka[otlp]`)
"""
