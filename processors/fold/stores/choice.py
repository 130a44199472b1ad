"""Chooses the store of a worker from its settings."""

from collections.abc import Callable

from processors.extras import expect_extra
from processors.fold.stores.memory import MemoryStore
from processors.fold.stores.store import WfRunStore
from processors.kafka.settings import Settings
from processors.kafka.topics import Kind, Topics

DELETE_RETENTION_MS = 24 * 3600 * 1000
"""Kafka's default of delete.retention.ms."""


def chosen(settings: Settings, topics: Topics, slot: str | None) -> Callable[[int], WfRunStore]:
    """Return the maker of a worker's stores, one for each partition. Raises StoreUnusable, ExtraMissing.

    `slot` is the name of the worker among its fellows; None if it does not keep one. Then no other process could use
    its files.
    """
    if settings.store == "memory":
        return lambda _: MemoryStore()
    expect_extra("rocksdb", "the store 'rocksdb'")
    from processors.fold.stores.rocks import RocksStores, StoreUnusable

    if slot is None:
        raise StoreUnusable(
            "the store 'rocksdb' needs a worker whose slot stays: name it with --slot (with --processes: --slot-prefix)"
        )
    assert settings.store_dir is not None, "checked with the settings"
    return RocksStores(
        settings.store_dir / f"{topics.prefix}{slot}",
        {"prefix": topics.prefix, "partitions": str(topics.partitions)},
        deletions_last_s(topics) / 2,
    )


def deletions_last_s(topics: Topics) -> float:
    """Return how long a tombstone stays on every state topic, in seconds."""
    state = [topic for topic in topics.all if topic.kind is Kind.STATE]
    return min(int(topic.configs.get("delete.retention.ms", DELETE_RETENTION_MS)) for topic in state) / 1_000
