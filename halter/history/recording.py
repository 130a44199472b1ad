"""What was recorded of one partition: its log, the inputs that caused it, and definitions.

Protocols, and the recording that is in memory. Where records are read from Kafka: `recorded_in_kafka`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from halter.history.deciding import Row
from processors.fold.inputs import InputRecord


class Recorded(NamedTuple):
    """A record of the log."""

    offset: int | None
    key: bytes
    value: bytes
    rules: int | None = None
    """The version of the rules that decided it; None if it does not say it."""


class Inputs(Protocol):
    """The inputs of a partition. Each topic is read forwards. Where a recording has some WfRuns only, in any order."""

    def begins(self, topic: str) -> int:
        """Return the offset before which the inputs of a topic are gone; 0 if none are."""

    def seek(self, topic: str, offset: int) -> None:
        """Go on with a topic at an offset."""

    def take(self, topic: str, offset: int) -> tuple[Sequence[InputRecord], InputRecord | None]:
        """Return the record at an offset, None if it is gone, and those before it that were not taken."""

    def is_buried(self, record: InputRecord) -> bool:
        """Return True if a record is on `dead-letters`."""

    def coming(self, offset: int) -> Sequence[InputRecord]:
        """Return the SkipRecords that ask to skip the operator command at an offset, in their order."""


class Recording(Protocol):
    """What was recorded of one partition."""

    @property
    def partition(self) -> int:
        """The number of the partition."""

    @property
    def partitions(self) -> int:
        """The number of partitions that there are."""

    @property
    def is_cut(self) -> bool:
        """True if the log does not begin with its first record any more."""

    @property
    def has_all(self) -> bool:
        """True if it has the entries and inputs of all WfRuns. Otherwise it has those of some."""

    def log(self) -> Iterator[Recorded]:
        """Yield the log from its beginning. May be called again."""

    def definitions(self) -> Iterable[tuple[int, Row]]:
        """Return the records of `definitions` with their offsets, in order."""

    def inputs(self) -> Inputs:
        """Return the inputs, to be read from their beginning."""


class InMemory:
    """A recording that is in memory. Implements `Recording`."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        log: Sequence[Recorded],
        inputs: Iterable[InputRecord],
        definitions: Iterable[tuple[int, Row]],
        buried: Iterable[tuple[str, int]] = (),
        coming: Mapping[int, Sequence[InputRecord]] | None = None,
        begins: Mapping[str, int] | None = None,
        *,
        is_cut: bool = False,
        has_all: bool = True,
    ) -> None:
        """`buried` has topics and offsets of dead letters, `coming` the SkipRecords by the offset that they skip."""
        self.partition, self.partitions = partition, partitions
        self.is_cut, self.has_all = is_cut, has_all
        self._log = log
        self._inputs = sorted(inputs, key=lambda record: record.offset)
        self._definitions = list(definitions)
        self._buried, self._coming, self._begins = frozenset(buried), coming or {}, begins or {}

    def log(self) -> Iterator[Recorded]:
        """Yield the log from its beginning."""
        return iter(self._log)

    def definitions(self) -> Iterable[tuple[int, Row]]:
        """Return the records of `definitions` with their offsets, in order."""
        return self._definitions

    def inputs(self) -> Inputs:
        """Return the inputs, to be read from their beginning."""
        kind = _InputsInMemory if self.has_all else _SomeInputs
        return kind(self._inputs, self._buried, self._coming, self._begins)


class _InputsInMemory:
    """Implements `Inputs`."""

    def __init__(
        self,
        records: Sequence[InputRecord],
        buried: frozenset[tuple[str, int]],
        coming: Mapping[int, Sequence[InputRecord]],
        begins: Mapping[str, int],
    ) -> None:
        self._topics: dict[str, list[InputRecord]] = {}
        for record in reversed(records):
            self._topics.setdefault(record.topic, []).append(record)
        self._buried, self._coming, self._begins = buried, coming, begins

    def begins(self, topic: str) -> int:
        return self._begins.get(topic, 0)

    def seek(self, topic: str, offset: int) -> None:
        records = self._topics.get(topic, [])
        while records and records[-1].offset < offset:
            records.pop()

    def take(self, topic: str, offset: int) -> tuple[Sequence[InputRecord], InputRecord | None]:
        records, before = self._topics.get(topic, []), []
        while records and records[-1].offset < offset:
            before.append(records.pop())
        found = records.pop() if records and records[-1].offset == offset else None
        return before, found

    def is_buried(self, record: InputRecord) -> bool:
        return (record.topic, record.offset) in self._buried

    def coming(self, offset: int) -> Sequence[InputRecord]:
        return self._coming.get(offset, ())


class _SomeInputs(_InputsInMemory):
    """The inputs of some WfRuns. Which others lie between them is not known, and a kept one comes behind later ones."""

    def __init__(
        self,
        records: Sequence[InputRecord],
        buried: frozenset[tuple[str, int]],
        coming: Mapping[int, Sequence[InputRecord]],
        begins: Mapping[str, int],
    ) -> None:
        super().__init__((), buried, coming, begins)
        self._by_place = {(it.topic, it.offset): it for it in records}

    def take(self, topic: str, offset: int) -> tuple[Sequence[InputRecord], InputRecord | None]:
        return (), self._by_place.get((topic, offset))
