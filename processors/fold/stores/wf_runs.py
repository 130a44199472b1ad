"""The WfRuns of a partition as the rules see them: decoded when a command touches them, dropped when they rest.

The rows are the truth. Rows that a turn changed are put into the store as on the topics, so dropping a WfRun costs
nothing, and touching it again costs the decoding of its rows (some 15 µs). WfRuns in memory form two generations. A
touch moves a WfRun to the younger one. When that has become large or old, the older one is dropped and the younger one
takes its place. So busy WfRuns stay, resting ones are dropped, and memory is bounded.

If a WfRun remembers many ExternalEvents, decoding them all would cost milliseconds each time it comes back. When it
rests, their keys stay, and its index with them (`Rested`). All else of it is dropped as usual.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, cast

from processors.codec import Codec, DecodeError
from processors.core.records.model import ExternalEventKey, Index, KeptInput, WfRun, WfRunExternalEvent
from processors.core.records.topic_names import WF_RUN_EXTERNAL_EVENTS
from processors.core.rules.engine import new_run
from processors.fold.rows import RECORD_OF, RowRecord, external_event_row_key, wf_run_of
from processors.fold.stores.glance import Glance
from processors.fold.stores.remembered import Remembered
from processors.fold.stores.store import BrokenState, Row, WfRunStore, notes_quarantine

ROWS_HELD: Final = 4_096
"""Limit on the rows of a generation, decoded or written: 2,000 small WfRuns, about 8 MB. A large row counts as many."""
ROW_BYTES: Final = 2_048
"""A row counts as one more for each so many bytes. Decoded, it takes no less than its bytes."""
ROWS_OF_UNWRITTEN: Final = 4
"""Number of rows by which that limit is higher for each WfRun whose rows are behind: it cannot be dropped."""
GENERATION_MS: Final = 30_000
MANY_EXTERNAL_EVENTS: Final = 16
"""Number of ExternalEvents that are decoded in the time of half an interrupt."""
KEYS_KEPT: Final = 200_000
"""Limit on the keys of ExternalEvents in memory without their rows, of all WfRuns in memory and at rest: about 60 MB.

A generation takes half of it at most.
"""
OLDEST_GOES: Final = 8
"""If there is no room for the keys of a WfRun, every so many times those that have rested longest make room for it."""


class Attach(Protocol):
    """Makes a decoded WfRun ready for the rules."""

    def __call__(self, run: WfRun, index: Index | None, /) -> WfRun:
        """`index` is that of the last time, if the WfRun remembers the same ExternalEvents as then."""
        ...


@dataclass(frozen=True, slots=True)
class Rested:
    """The part of a resting WfRun that stays in memory."""

    external_events: Remembered
    index: Index
    keys: int
    """The number of ExternalEvents that it remembered when it began to rest."""


class Reader:
    """Decodes rows of a store."""

    def __init__(self, store: WfRunStore, codec: Codec, glance: Glance) -> None:
        self._store, self._codec, self._glance = store, codec, glance

    def record(self, wf_run_id: str, row: Row) -> RowRecord:
        """Return the record of a row of a WfRun. Raises BrokenState; errors of a registry pass through."""
        try:
            record = cast("RowRecord", self._codec.decode(row.value))
        except DecodeError as error:
            raise self._glance.broken(row, error) from error
        if RECORD_OF.get(row.topic) is not type(record):
            raise self._glance.broken(row, f"a {type(record).__name__} does not belong there")
        if record.wf_run_id != wf_run_id:
            raise self._glance.broken(row, f"expected one of this WfRun, found one of {record.wf_run_id!r}")
        return record

    def is_readable(self, wf_run_id: str, row: Row) -> bool:
        """Return True if the row is a record of that WfRun."""
        try:
            self.record(wf_run_id, row)
        except BrokenState:
            return False
        return True

    def external_event(self, wf_run_id: str, key: ExternalEventKey) -> WfRunExternalEvent:
        """Return an ExternalEvent of a WfRun as it is after the last turn. Raises BrokenState."""
        row_key = external_event_row_key(wf_run_id, key).encode()
        value = self._store.row(WF_RUN_EXTERNAL_EVENTS, row_key)
        if value is None:
            raise BrokenState(f"{WF_RUN_EXTERNAL_EVENTS}, key {row_key!r}: the row was there and is not any more")
        event = self.record(wf_run_id, Row(WF_RUN_EXTERNAL_EVENTS, row_key, value))
        assert isinstance(event, WfRunExternalEvent)
        return event


class WfRuns(Mapping[str, WfRun]):
    """The state by WfRun id. Reading it decodes. Only the fold that owns it changes the WfRuns that it returns."""

    def __init__(
        self,
        partition: int,
        store: WfRunStore,
        codec: Codec,
        attach: Attach,
        rows_held: int = ROWS_HELD,
    ) -> None:
        """`store` is loaded, or is loaded before anything is asked for."""
        self._store, self._attach = store, attach
        self._glance = Glance(partition, codec)
        self._reader = Reader(store, codec, self._glance)
        self._rows_held = rows_held
        self._young: dict[str, WfRun] = {}
        self._old: dict[str, WfRun] = {}
        self._attached: set[str] = set()
        self._rested: dict[str, Rested] = {}
        """In the order in which they began to rest. A WfRun that was touched since is here until it is attached."""
        self._keys_resting = self._keys_old = self._keys_young = 0
        self._no_room = 0
        """How often there was no room for a WfRun that began to rest."""
        self._broken: dict[str, BrokenState] = {}
        """WfRun id -> the reason why it is not whole. It is in quarantine, or was read for an operator in this turn."""
        self._rows = 0
        """Number of rows in the younger generation. A row counts again whenever it is written."""
        self._large: dict[str, int] = {}
        """WfRun id -> the number of rows that its rows count as in addition, because they are large. Nearly no WfRun is
        here.
        """
        self._aged_ms = 0

    def __getitem__(self, wf_run_id: str) -> WfRun:
        run = self.get(wf_run_id)
        if run is None:
            raise KeyError(wf_run_id)
        return run

    def get(self, wf_run_id: str, default: WfRun | None = None) -> WfRun | None:  # type: ignore[override]
        """Return a WfRun, which may not be ready for the rules. Raises BrokenState if its rows do not make one."""
        run = self._young.get(wf_run_id)
        if run is None:
            run = self._taken_from_old(wf_run_id) or self._restored(wf_run_id)
            if run is None:
                return default
            self._hold(wf_run_id, run)
        return run

    def _taken_from_old(self, wf_run_id: str) -> WfRun | None:
        run = self._old.pop(wf_run_id, None)
        if run is not None:
            self._keys_old -= keys_of(run)
        return run

    def _restored(self, wf_run_id: str) -> WfRun | None:
        rested = self._rested.get(wf_run_id)
        rows = self._store.rows(wf_run_id, external_events=rested is None)
        if not rows:
            return None
        self._weigh(wf_run_id, sum(len(row.value) // ROW_BYTES for row in rows))
        run = self._decoded(wf_run_id, rows)
        if rested is not None:
            run.external_events = rested.external_events
        return run

    def attached(self, wf_run_id: str) -> WfRun:
        """Return a WfRun that is ready for the rules, a new one if there is none. Raises BrokenState."""
        run = self.get(wf_run_id)
        if run is None:
            run = new_run(wf_run_id)
            self.hold(run)
        if wf_run_id not in self._attached and run.quarantined_ms is None:
            if wf_run_id in self._broken:
                raise self._broken[wf_run_id]
            rested = self._wake(wf_run_id)
            self._attach(run, None if rested is None else rested.index)
            self._attached.add(wf_run_id)
        return run

    def readable(self, wf_run_id: str) -> WfRun:
        """Return as much of a WfRun as can be read, for operators; a new one if nothing can.

        A WfRun that is new, or not whole, is not held.
        """
        try:
            run = self.get(wf_run_id)
        except BrokenState as error:
            self._broken[wf_run_id] = error
            run = self._joined(wf_run_id, self._readable_of(wf_run_id, self._store.rows(wf_run_id)))
        return new_run(wf_run_id) if run is None else run

    def broken(self, wf_run_id: str) -> BrokenState | None:
        """Return the reason why a WfRun that was read for operators is not whole; None if it is."""
        return self._broken.get(wf_run_id)

    def has_lost_its_row(self, run: WfRun) -> bool:
        """Return True if the WfRun's own row cannot be read, or is gone though it has other rows.

        The other rows are no substitute for it, so no row of its own may be written or deleted.
        """
        return not run.exists and run.wf_run_id in self._broken

    def quarantine_notes(self, wf_run_id: str) -> list[KeptInput]:
        """Return the rows that say in place of its own row that a WfRun is in quarantine, as they were after the last
        turn.
        """
        rows = filter(notes_quarantine, self._store.rows(wf_run_id, external_events=False))
        return [cast("KeptInput", self._reader.record(wf_run_id, row)) for row in rows]

    def hold(self, run: WfRun) -> None:
        """Hold a WfRun, if it is not held yet."""
        if not self.holds(run):
            self._hold(run.wf_run_id, run)

    def holds(self, run: WfRun) -> bool:
        """Return True if this very object is held, so that changes of it are not lost."""
        return self._young.get(run.wf_run_id) is run

    def put(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Take a row that a turn has changed."""
        self._store.put(topic, key, value)
        self._rows += 1
        if value is not None and len(value) >= ROW_BYTES:
            more = len(value) // ROW_BYTES
            self._rows += more
            wf_run_id = key.partition(b"/")[0].decode()
            self._weigh(wf_run_id, max(more, self._large.get(wf_run_id, 0)))

    def _weigh(self, wf_run_id: str, rows_more: int) -> None:
        if rows_more:
            self._large[wf_run_id] = rows_more

    def remove(self, wf_run_id: str) -> None:
        """Forget a WfRun that has no rows any more, or has to be read again before it is used."""
        self._young.pop(wf_run_id, None)
        self._taken_from_old(wf_run_id)
        self._attached.discard(wf_run_id)
        self._broken.pop(wf_run_id, None)
        self._large.pop(wf_run_id, None)

    def rest(self, unwritten: Collection[str]) -> None:
        """Drop resting WfRuns if much is held. Only between turns.

        `unwritten`: the WfRuns of which the store does not have every change. They stay, in the younger generation.
        """
        held = self._rows_held + ROWS_OF_UNWRITTEN * len(unwritten)
        if self._rows > held or self._keys_young > KEYS_KEPT // 2:
            self.drop_the_older(unwritten)

    def age(self, now_ms: int, unwritten: Collection[str]) -> None:
        """Drop WfRuns that have rested for long. Only between turns, as `rest`."""
        if now_ms - self._aged_ms >= GENERATION_MS:
            self._aged_ms = now_ms
            self.drop_the_older(unwritten)

    def drop_the_older(self, unwritten: Collection[str] = ()) -> None:
        """Drop the older generation. Only between turns, as `rest`."""
        staying = self._taken(unwritten)
        older, self._old = self._old, self._young
        for run in self._old.values():
            if len(run.external_events) > MANY_EXTERNAL_EVENTS:
                self._remember_keys(run)
        self._keys_old = sum(map(keys_of, self._old.values()))
        self._young, self._rows, self._keys_young = {}, 0, 0
        for wf_run_id, run in older.items():
            if type(run.external_events) is Remembered and wf_run_id in self._attached:
                self._lay_down(wf_run_id, Rested(run.external_events, run.index, len(run.external_events)))
        self._attached.difference_update(older)
        for wf_run_id in self._broken.keys() & older.keys():
            del self._broken[wf_run_id]
        self._large = {
            wf_run_id: rows for wf_run_id, rows in self._large.items() if wf_run_id in self._old or wf_run_id in staying
        }
        for wf_run_id, run in staying.items():
            self._hold(wf_run_id, run)

    def _taken(self, wf_run_ids: Iterable[str]) -> dict[str, WfRun]:
        """Take these WfRuns out of their generations."""
        taken = {}
        for wf_run_id in wf_run_ids:
            run = self._young.pop(wf_run_id, None) or self._taken_from_old(wf_run_id)
            if run is not None:
                taken[wf_run_id] = run
        return taken

    def _hold(self, wf_run_id: str, run: WfRun) -> None:
        self._young[wf_run_id] = run
        events = run.external_events
        self._rows += 1 + len(run.threads) + (events.here if type(events) is Remembered else len(events))
        self._rows += self._large.get(wf_run_id, 0)
        self._keys_young += keys_of(run)

    def _remember_keys(self, run: WfRun) -> None:
        """Keep only the keys of the ExternalEvents of a WfRun that moves to the older generation."""
        events = run.external_events
        if type(events) is Remembered:
            events.forget()
        elif run.exists:
            # Before a WfRun is started, its latest ExternalEvent is needed whenever another one comes.
            run.external_events = Remembered(events, partial(self._reader.external_event, run.wf_run_id))

    def _lay_down(self, wf_run_id: str, rested: Rested) -> None:
        """Keep the keys of a WfRun that begins to rest, or drop keys if there is no room.

        Usually its own are dropped: if a few WfRuns too many are touched in turn, the one that has rested longest is
        the next to be touched. Now and then those go that have rested longest, or keys that nobody needs would stay for
        ever.
        """
        self._wake(wf_run_id)
        self._rested[wf_run_id] = rested
        self._keys_resting += rested.keys
        if self._has_no_room():
            self._no_room += 1
            oldest_goes = self._no_room % OLDEST_GOES == 0
            while self._rested and self._has_no_room():
                self._wake(next(iter(self._rested) if oldest_goes else reversed(self._rested)))

    def _has_no_room(self) -> bool:
        return self._keys_resting + self._keys_old + self._keys_young > KEYS_KEPT

    def _wake(self, wf_run_id: str) -> Rested | None:
        rested = self._rested.pop(wf_run_id, None)
        if rested is not None:
            self._keys_resting -= rested.keys
        return rested

    def _decoded(self, wf_run_id: str, rows: Sequence[Row]) -> WfRun:
        try:
            run = self._joined(wf_run_id, rows)
            if (run.exists and run.final_status is None) != (0 in run.threads):
                raise self._glance.misfit(wf_run_id, run.exists)
        except BrokenState as error:
            run = self._joined(wf_run_id, self._readable_of(wf_run_id, rows))
            if run.quarantined_ms is None:
                raise
            self._broken[wf_run_id] = error
        return run

    def _readable_of(self, wf_run_id: str, rows: Iterable[Row]) -> Iterator[Row]:
        return filter(partial(self._reader.is_readable, wf_run_id), rows)

    def _joined(self, wf_run_id: str, rows: Iterable[Row]) -> WfRun:
        return wf_run_of(wf_run_id, (self._reader.record(wf_run_id, row) for row in rows))

    def __iter__(self) -> Iterator[str]:
        seen = {**self._old, **self._young}
        yield from seen
        yield from (wf_run_id for wf_run_id in self._store.wf_run_ids() if wf_run_id not in seen)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def keys_of(run: WfRun) -> int:
    """Return the number of a WfRun's keys that are in memory without all rows, as `Remembered` keeps them."""
    return len(run.external_events) if type(run.external_events) is Remembered else 0
