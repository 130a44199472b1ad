"""A partition as the broker keeps it: records and markers with offsets, high watermark and last stable offset."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

Place = tuple[str, int]
Headers = tuple[tuple[str, bytes], ...]


@dataclass(slots=True)
class Entry:
    """A record or a marker. `transaction` is the producer id of its transaction, or None."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    transaction: int | None = None
    is_mark: bool = False
    is_aborted: bool = False


class PartitionLog:
    """A log that is appended to, and tells what a reader may see."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.entries: list[Entry] = []
        self.open: dict[int, int] = {}
        """Producer id -> the offset at which its transaction begins here."""
        self.epochs: dict[int, int] = {}
        """Producer id -> the latest epoch seen here."""
        self.readers: dict[int, Callable[[], None]] = {}
        """The readers that wait for more, by an id of their own."""
        self.low = 0
        self.away_until = 0.0
        """The time until which it has no leader."""
        self.lags_until, self.lags_at = 0.0, 0
        """The time until which a new leader does not know that everything before the end is replicated."""

    @property
    def high(self) -> int:
        """The high watermark. There is one broker that loses nothing, so everything appended is replicated."""
        return len(self.entries)

    @property
    def last_stable(self) -> int:
        """The offset before the first record of any open transaction."""
        return min(self.open.values(), default=self.high)

    def append(
        self,
        timestamp_ms: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        transaction: int | None = None,
    ) -> int:
        """Append a record, and return its offset."""
        offset = self.high
        self.entries.append(Entry(offset, timestamp_ms, key, value, headers, transaction))
        if transaction is not None:
            self.open.setdefault(transaction, offset)
        self._tell()
        return offset

    def mark(self, timestamp_ms: int, transaction: int, *, commit: bool) -> None:
        """End a transaction here. Like a broker, append the marker even if the transaction has no records here."""
        first = self.open.pop(transaction, None)
        if first is not None and not commit:
            for entry in self.entries[first:]:
                if entry.transaction == transaction and not entry.is_mark:
                    entry.is_aborted = True
        self.entries.append(Entry(self.high, timestamp_ms, None, None, (), transaction, is_mark=True))
        self._tell()

    def visible(self, offset: int, *, committed: bool = True) -> Entry | None:
        """Return the first record from an offset on that a reader sees; with `committed`, under read_committed."""
        end = self.last_stable if committed else self.high
        for entry in self.entries[offset:end]:
            if not entry.is_mark and not (committed and entry.is_aborted):
                return entry
        return None

    def records(self) -> Iterator[Entry]:
        """Return everything that read_committed shows."""
        for entry in self.entries[: self.last_stable]:
            if not entry.is_mark and not entry.is_aborted:
                yield entry

    def _tell(self) -> None:
        for tell in list(self.readers.values()):
            tell()
