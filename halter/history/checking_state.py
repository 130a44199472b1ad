"""Compares the rows of a partition with those that follow from its log. It runs no rule, only `evolve`.

The log may have lost its beginning, and workers may write meanwhile. So a WfRun is compared only if the log has all of
it, and if nothing of it was on the move while rows were read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from halter.history.recording import Recorded
from halter.history.state_of_log import StateOfLog
from processors.codec import Codec, DecodeError
from processors.core.records.events import LogEntry, WfRunDeleted, WfRunStarted
from processors.core.records.fold_position import FoldPosition
from processors.fold.log_tail import LogTail

RowKey = tuple[str, bytes]
"""Topic, without the prefix, and key of a row."""


class RowKind(StrEnum):
    """The kind of a difference between rows."""

    MISSING = "a row is missing"
    LEFT = "a row is there that should be gone"
    OTHER = "a row has another value"
    UNREADABLE = "a row cannot be read"


@dataclass(frozen=True, slots=True)
class RowDifference:
    """A row that is not as the log says. None stands for no row."""

    wf_run_id: str
    topic: str
    key: bytes
    kind: RowKind
    expected: bytes | None
    found: bytes | None


@dataclass(slots=True)
class StateReport:
    """What was found."""

    rows: int = 0
    """The number of rows that are as they should be."""
    wf_runs: int = 0
    """The number of WfRuns whose rows were compared."""
    events: int = 0
    unsettled: int = 0
    """The number of WfRuns that were written meanwhile."""
    beginning_gone: int = 0
    """The number of WfRuns of which the log does not have everything."""
    differences: list[RowDifference] = field(default_factory=list)

    @property
    def kinds(self) -> Counter[RowKind]:
        """The number of differences by kind."""
        return Counter(difference.kind for difference in self.differences)


@dataclass(slots=True)
class RowsRead:
    """The rows of a partition as they were read while workers may have written."""

    rows: Mapping[RowKey, bytes]
    position: FoldPosition
    """The position when the rows had been read for the first time."""
    later: FoldPosition
    """The position after what came meanwhile was read as well."""
    moved: frozenset[str] = frozenset()
    """The WfRuns of which rows came meanwhile."""


def check_state(
    partition: int, rows: RowsRead, log: Iterable[Recorded], codec: Codec, *, is_cut: bool = False
) -> StateReport:
    """Compare rows with the log. `is_cut`: the log does not begin with its first record any more."""
    return _Checking(partition, rows, codec, is_cut=is_cut).run(log)


class _Checking:
    def __init__(self, partition: int, read: RowsRead, codec: Codec, *, is_cut: bool) -> None:
        self._read, self._codec, self._is_cut = read, codec, is_cut
        self._state = StateOfLog(partition, codec)
        self._unknown: set[str] = set()
        self._seen: set[str] = set()
        self._moved = set(read.moved)
        self.report = StateReport()

    def run(self, log: Iterable[Recorded]) -> StateReport:
        tail, later = LogTail(self._read.position), LogTail(self._read.later)
        for recorded in log:
            try:
                entry = self._codec.decode(recorded.value)
            except DecodeError:
                self._unknown.add(recorded.key.decode(errors="backslashreplace"))
                continue
            assert isinstance(entry, LogEntry)
            if not tail.takes(entry.cause):
                self._take(entry)
            elif not later.takes(entry.cause):
                self._moved.add(entry.wf_run_id)
            else:
                break
        self._compare()
        return self.report

    def _take(self, entry: LogEntry) -> None:
        self.report.events += 1
        wf_run_id = entry.wf_run_id
        if self._is_cut and wf_run_id not in self._seen:
            self._seen.add(wf_run_id)
            if type(entry.event) is not WfRunStarted:
                self._unknown.add(wf_run_id)
        if wf_run_id in self._unknown:
            if type(entry.event) is WfRunDeleted:
                self._unknown.discard(wf_run_id)  # nothing is left of it
        elif self._state.take(entry) is not None:
            self._unknown.add(wf_run_id)

    def _compare(self) -> None:
        found: dict[str, dict[RowKey, bytes]] = {}
        for (topic, key), value in self._read.rows.items():
            found.setdefault(key.partition(b"/")[0].decode(errors="backslashreplace"), {})[topic, key] = value
        report = self.report
        for wf_run_id in dict.fromkeys([*found, *self._state.wf_run_ids()]):
            if wf_run_id in self._moved:
                report.unsettled += 1
            elif wf_run_id in self._unknown or (self._is_cut and wf_run_id not in self._seen):
                report.beginning_gone += 1
            else:
                report.wf_runs += 1
                report.differences += self._differences(wf_run_id, found.get(wf_run_id, {}))

    def _differences(self, wf_run_id: str, found: Mapping[RowKey, bytes]) -> Iterator[RowDifference]:
        expected = self._state.rows_of(wf_run_id)
        for row in dict.fromkeys([*expected, *found]):
            wanted, there = expected.get(row), found.get(row)
            kind = self._kind(wanted, there)
            if kind is None:
                self.report.rows += 1
            else:
                yield RowDifference(wf_run_id, *row, kind, wanted, there)

    def _kind(self, expected: bytes | None, found: bytes | None) -> RowKind | None:
        if expected == found:
            return None
        if found is None:
            return RowKind.MISSING
        if expected is None:
            return RowKind.LEFT
        try:
            return None if self._codec.decode(found) == self._codec.decode(expected) else RowKind.OTHER
        except DecodeError:
            return RowKind.UNREADABLE
