"""Keys of records, by the partition that they belong to."""

from itertools import count

from processors.kafka.partitioner import partition_of


def one_key_each(partitions: int, prefix: str) -> list[str]:
    """Return a key for each partition, in the order of the partitions. All begin with the prefix."""
    found: dict[int, str] = {}
    for number in count():
        if len(found) == partitions:
            break
        key = f"{prefix}{number}"
        found.setdefault(partition_of(key.encode(), partitions), key)
    return [found[partition] for partition in range(partitions)]
