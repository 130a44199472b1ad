"""A partition as the broker keeps it: records and marks with offsets, high watermark and last stable offset."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

Place = tuple[str, int]
Headers = tuple[tuple[str, bytes], ...]


@dataclass(slots=True)
class Entry:
    """A record, or a mark. `transaction`: the producer id of the transaction it is part of; None: of none."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    transaction: int | None = None
    is_mark: bool = False
    is_aborted: bool = False


class PartitionLog:
    """Appends; tells what a reader may see."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.entries: list[Entry] = []
        self.open: dict[int, int] = {}
        """Producer id -> the offset at which its transaction begins here."""
        self.epochs: dict[int, int] = {}
        """Producer id -> the latest epoch seen here."""
        self.readers: dict[int, Callable[[], None]] = {}
        """Who waits for more, by an id of its own."""
        self.low = 0
        self.away_until = 0.0
        """Until then it has no leader."""
        self.lags_until, self.lags_at = 0.0, 0
        """Until then the leader, a new one, does not know that all before the end is replicated."""

    @property
    def high(self) -> int:
        """The high watermark. There is one broker that loses nothing: all that is appended is replicated."""
        return len(self.entries)

    @property
    def last_stable(self) -> int:
        """Before the first record of any open transaction."""
        return min(self.open.values(), default=self.high)

    def append(
        self,
        timestamp_ms: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        transaction: int | None = None,
    ) -> int:
        """Append a record; return its offset."""
        offset = self.high
        self.entries.append(Entry(offset, timestamp_ms, key, value, headers, transaction))
        if transaction is not None:
            self.open.setdefault(transaction, offset)
        self._tell()
        return offset

    def mark(self, timestamp_ms: int, transaction: int, *, commit: bool) -> None:
        """End a transaction here. The mark is appended whether or not it has records here, as brokers do."""
        first = self.open.pop(transaction, None)
        if first is not None and not commit:
            for entry in self.entries[first:]:
                if entry.transaction == transaction and not entry.is_mark:
                    entry.is_aborted = True
        self.entries.append(Entry(self.high, timestamp_ms, None, None, (), transaction, is_mark=True))
        self._tell()

    def visible(self, offset: int, *, committed: bool = True) -> Entry | None:
        """The first record at or after an offset that a reader sees; `committed`: under read_committed."""
        end = self.last_stable if committed else self.high
        for entry in self.entries[offset:end]:
            if not entry.is_mark and not (committed and entry.is_aborted):
                return entry
        return None

    def records(self) -> Iterator[Entry]:
        """All that read_committed shows."""
        for entry in self.entries[: self.last_stable]:
            if not entry.is_mark and not entry.is_aborted:
                yield entry

    def _tell(self) -> None:
        for tell in list(self.readers.values()):
            tell()
