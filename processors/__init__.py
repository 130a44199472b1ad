"""The engine: what a record does.

`processors.core` holds the rules and is pure: no I/O, clock, randomness or framework. Everything else here
is an adapter that brings Kafka records to the core and its events back. Nothing here imports `halter`.
"""

DISTRIBUTION = "halter-kafka"
