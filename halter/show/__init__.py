"""Shows histories, WfRuns, waits and WfSpecs as text or as plain data, with masked values taken out.

Reads nothing from Kafka itself: `halter.client` does.
"""
