"""The tail of a partition's log: the entries that are not in the rows yet.

Rows follow the log (docs/adr/0015): a turn writes its log entries, and a later one the rows. So the state is the rows
and the tail of the log behind them. Whoever reads the state, a load or a tool, folds the tail with `evolve` alone.

All rows of a partition are written together, with the FoldPosition that they stand for. A turn that does what the log
alone does not tell (a dead letter, a decision of an operator, a definition) writes the rows with it, so nothing of that
is ever in a tail.
"""

from collections.abc import Iterable

from processors.core.records.errors import HalterError
from processors.core.records.events import Cause, LogEntry, WfRunStarted
from processors.core.records.fold_position import FoldPosition
from processors.core.records.model import WfRun
from processors.core.records.topic_names import WF_EVENTS
from processors.core.rules.evolve import evolve
from processors.core.rules.indexing import index_of
from processors.fold.rows import RowRecord, has_rows, wf_run_of


class LogTail:
    """Tells the entries behind the rows from those before. Entries come in the order of the log."""

    def __init__(self, position: FoldPosition) -> None:
        """`position` is that of the rows."""
        self.offsets = dict(position.offsets)
        """The next offset to fold of each input topic, with the entries that came so far."""
        self.definitions_position = position.definitions_position
        self._begun = False

    def takes(self, cause: Cause) -> bool:
        """Return True if the entry with this cause, the next of the log, is not in the rows.

        Entries are in the order in which their causes were folded. So the tail begins with the first entry whose cause
        the position does not have, and has all entries after it.
        """
        if not self._begun and cause.offset < self.offsets.get(cause.topic, 0):
            return False
        self._begun = True
        self.offsets[cause.topic] = max(self.offsets.get(cause.topic, 0), cause.offset + 1)
        self.definitions_position = max(self.definitions_position, cause.definitions_position)
        return True


class LogBroken(HalterError):
    """Entries of the log are missing behind the rows: records were deleted, or the topic was made anew."""


def misfit(run: WfRun, entry: LogEntry) -> str | None:
    """Return why an entry cannot be the next one of a WfRun; None if it may be.

    What comes for an id under which nothing runs has no number.
    """
    if run.exists:
        expected = f"the entry with seq {run.seq + 1} of incarnation {run.incarnation}"
        fits = entry.seq == run.seq + 1 and entry.incarnation == run.incarnation
    else:
        expected = "an entry with which something begins"
        fits = entry.seq == (1 if type(entry.event) is WfRunStarted else 0)
    found = f"the one with seq {entry.seq} of incarnation {entry.incarnation}"
    return None if fits else f"expected {expected} after the rows, found {found}"


def wf_run_at_end(
    wf_run_id: str, rows: Iterable[RowRecord], position: FoldPosition | None, log: Iterable[LogEntry]
) -> WfRun | None:
    """Return the WfRun as it is at the end of the log; None if there is nothing under the id.

    `rows` are its rows at `position`, in any order. `log` has its entries from the position's `log_position` on. Raises
    LogBroken.
    """
    run = wf_run_of(wf_run_id, rows)
    tail = LogTail(position or FoldPosition(0))
    behind = [entry for entry in log if tail.takes(entry.cause)]
    if behind:
        run.index = index_of(run)
    for entry in behind:
        why = misfit(run, entry)
        if why is not None:
            raise LogBroken(f"{WF_EVENTS}, WfRun '{wf_run_id}': {why}")
        evolve(run, entry)
    return run if has_rows(run) else None
