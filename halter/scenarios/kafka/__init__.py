"""Scenarios through real Kafka and the real worker, to the verdicts that they get in memory.

judge    one call of the command: scenario after scenario, each on an installation of its own
place    that installation: topics, a worker, and their removal
workers  worker processes, started before they are needed
engine   what the runner asks of an engine, by records in and records out
view     what a consumer sees: outcomes, rows, task requests
"""
