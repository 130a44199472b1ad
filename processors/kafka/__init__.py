"""Kafka as the engine sees it: settings of its clients, the topics of topics.yaml, the partition of a key.

Knows how to speak to a cluster; knows nothing of what is in a record.
"""
