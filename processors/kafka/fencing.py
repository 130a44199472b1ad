"""Knows by which errors Kafka says that a newer producer holds a transactional id, and not what then is to be done."""

from typing import Final

from confluent_kafka import KafkaError

FENCED: Final = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
"""A newer producer holds the id, or the transaction took so long that the coordinator has ended it."""
