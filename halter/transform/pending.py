"""Records that were read, with what they become, until Kafka has both. Knows no client of Kafka."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeAlias

from halter.transform.records import Output, SourceRecord

Place: TypeAlias = tuple[str, int]
"""Topic and partition."""
STRETCHES_MAX: Final = 16
"""The log has no more stretches of a topic's partitions in a line."""


@dataclass(slots=True, eq=False)
class Taken:
    """A record, and what it becomes once it is mapped."""

    record: SourceRecord
    outputs: Sequence[Output] | None = None

    @property
    def place(self) -> Place:
        """Where the record was."""
        return self.record.topic, self.record.partition

    @property
    def size(self) -> int:
        """Bytes of the record: of its value, its key and its headers, which may be as large as the value."""
        record = self.record
        return len(record.value or b"") + len(record.key or b"") + sum(len(it) for _, it in record.headers)

    @property
    def output_bytes(self) -> int:
        """Bytes of the values that it becomes."""
        return sum(len(it.value or b"") for it in self.outputs or ())


class Pending:
    """Records in the order in which they were read. Those of one partition are in the order of their offsets."""

    def __init__(self) -> None:
        self._taken: list[Taken] = []
        self.bytes = 0
        """Their bytes together."""

    def __len__(self) -> int:
        return len(self._taken)

    def add(self, taken: Taken) -> None:
        """Take a record."""
        self._taken.append(taken)
        self.bytes += taken.size

    def first(self, at_most: int) -> list[Taken]:
        """Return the oldest records."""
        return self._taken[:at_most]

    def drop(self, places: Collection[Place]) -> None:
        """Forget records whose partitions are others' now."""
        self._keep(it for it in self._taken if it.place not in places)

    def settle(self, committed: Mapping[Place, int]) -> None:
        """Forget records before the offsets up to which the group has committed."""
        self._keep(it for it in self._taken if it.record.offset >= committed.get(it.place, 0))

    @property
    def places(self) -> set[Place]:
        """The partitions of which there are records."""
        return {it.place for it in self._taken}

    def _keep(self, kept: Iterable[Taken]) -> None:
        self._taken = list(kept)
        self.bytes = sum(it.size for it in self._taken)


def offsets_behind(taken: Iterable[Taken]) -> dict[Place, int]:
    """Return for each partition the offset behind the last of its records."""
    return {it.place: it.record.offset + 1 for it in taken}


def in_short(places: Iterable[Place]) -> list[str]:
    """Return partitions for a line of the log, which has to be bounded: `orders[0-5,8]` for seven of a topic."""
    found = []
    for topic, of_topic in groupby(sorted(places), key=itemgetter(0)):
        stretches = [*_stretches(number for _, number in of_topic)]
        more = ["…"] if len(stretches) > STRETCHES_MAX else []
        found.append(f"{topic}[{','.join(stretches[:STRETCHES_MAX] + more)}]")
    return found


def _stretches(numbers: Iterable[int]) -> Iterator[str]:
    """Yield the stretches of rising numbers that have no gap."""
    for _, stretch in groupby(enumerate(numbers), key=lambda it: it[1] - it[0]):
        own = [number for _, number in stretch]
        yield f"{own[0]}-{own[-1]}" if len(own) > 1 else f"{own[0]}"
