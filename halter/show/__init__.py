"""What people read: histories, WfRuns, waits and WfSpecs as text or as plain data, with masked values taken out.

Reads nothing from Kafka itself: it is given what `halter.client` has read.
"""
