"""The rows of a partition in the memory of this process: the default store.

Nearly every idle WfRun has two rows, its own and that of its entrypoint. They are kept as a pair of bytes, which the
cycle collector looks at only once. 100,000 idle WfRuns take about 50 MB.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from processors.core.records.topic_names import FOLD_POSITIONS, THREAD_RUNS, WF_RUN_EXTERNAL_EVENTS, WF_RUNS
from processors.fold.stores.store import Row
from processors.fold.timers import ArmedTimer

_Pair = tuple[bytes | None, bytes | None]
_NEITHER: _Pair = (None, None)
_ENTRYPOINT = b"0"


K = TypeVar("K")


def put_in(rows: dict[bytes, dict[K, bytes]], wf_run_id: bytes, key: K, value: bytes | None) -> None:
    """Put a row among those of its WfRun, or remove it if there is no value."""
    if value is not None:
        rows.setdefault(wf_run_id, {})[key] = value
    elif (own := rows.get(wf_run_id)) is not None:
        own.pop(key, None)
        if not own:
            del rows[wf_run_id]


class MemoryStore:
    """Rows in dicts. Implements `WfRunStore`."""

    def __init__(self) -> None:
        self._pairs: dict[bytes, _Pair] = {}
        """WfRun id -> its row and the row of its entrypoint."""
        self._external_events: dict[bytes, dict[bytes, bytes]] = {}
        """WfRun id -> key -> row of an ExternalEvent."""
        self._others: dict[bytes, dict[tuple[str, bytes], bytes]] = {}
        """WfRun id -> its other rows."""
        self._position: bytes | None = None

    @property
    def files(self) -> None:
        """None: nothing outlives the process."""
        return None

    def put(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Take the latest row of a key; None if the row is gone."""
        if topic == FOLD_POSITIONS:
            self._position = value
            return
        wf_run_id, _, rest = key.partition(b"/")
        wf_run, entrypoint = self._pairs.get(wf_run_id, _NEITHER)
        if topic == WF_RUNS:
            self._put_pair(wf_run_id, value, entrypoint)
        elif topic == THREAD_RUNS and rest == _ENTRYPOINT:
            self._put_pair(wf_run_id, wf_run, value)
        elif topic == WF_RUN_EXTERNAL_EVENTS:
            put_in(self._external_events, wf_run_id, key, value)
        else:
            put_in(self._others, wf_run_id, (topic, key), value)

    def _put_pair(self, wf_run_id: bytes, wf_run: bytes | None, entrypoint: bytes | None) -> None:
        if wf_run is not None or entrypoint is not None:
            self._pairs[wf_run_id] = wf_run, entrypoint
        else:
            self._pairs.pop(wf_run_id, None)

    def rows(self, wf_run_id: str, *, external_events: bool = True) -> list[Row]:
        """Return the rows of a WfRun."""
        key = wf_run_id.encode()
        wf_run, entrypoint = self._pairs.get(key, _NEITHER)
        rows = []
        if wf_run is not None:
            rows.append(Row(WF_RUNS, key, wf_run))
        if entrypoint is not None:
            rows.append(Row(THREAD_RUNS, key + b"/" + _ENTRYPOINT, entrypoint))
        if external_events and (events := self._external_events.get(key)) is not None:
            rows += [Row(WF_RUN_EXTERNAL_EVENTS, row_key, value) for row_key, value in events.items()]
        if (others := self._others.get(key)) is not None:
            rows += [Row(topic, row_key, value) for (topic, row_key), value in others.items()]
        return rows

    def row(self, topic: str, key: bytes) -> bytes | None:
        """Return one row of a WfRun."""
        wf_run_id, _, rest = key.partition(b"/")
        if topic == WF_RUN_EXTERNAL_EVENTS:
            return self._external_events.get(wf_run_id, {}).get(key)
        wf_run, entrypoint = self._pairs.get(wf_run_id, _NEITHER)
        if topic == WF_RUNS:
            return wf_run
        if topic == THREAD_RUNS and rest == _ENTRYPOINT:
            return entrypoint
        return self._others.get(wf_run_id, {}).get((topic, key))

    def position(self) -> bytes | None:
        """Return the row that says how far the partition is folded."""
        return self._position

    def news(self) -> Iterator[tuple[str, list[Row]]]:
        """Return all WfRuns with their rows."""
        for wf_run_id in self.wf_run_ids():
            yield wf_run_id, self.rows(wf_run_id)

    def wf_run_ids(self) -> Iterator[str]:
        """Return the ids of all WfRuns that have rows."""
        yield from map(bytes.decode, {**self._pairs, **self._external_events, **self._others})

    def timers(self) -> Iterable[ArmedTimer]:
        """Return nothing, because timers follow from the rows."""
        return ()

    def armed(self, timer: ArmedTimer) -> None:
        """Do nothing."""

    def gone(self, timer: ArmedTimer) -> None:
        """Do nothing."""

    def quarantined(self) -> Iterable[str]:
        """Return nothing, because quarantines follow from the rows."""
        return ()

    def quarantine(self, wf_run_id: str, *, lasts: bool) -> None:
        """Do nothing."""

    def keep_standings(self) -> bool:
        """Return False: how WfRuns stand follows from the rows."""
        return False

    def standing(self, wf_run_id: str, note: bytes | None) -> None:
        """Do nothing."""

    def standings(self) -> Iterable[tuple[str, bytes]]:
        """Return nothing."""
        return ()

    def committed(self) -> None:
        """Do nothing. A shard that could not commit is dropped, and this store with it."""
