"""What has changed in a view since it was looked at last: a few small queries, asked again and again.

It knows the tables of the view, and keeps nothing: a position says what was seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, and_, or_, select

from halter.view import tables

WF_RUNS_MAX: Final = 200
"""The most WfRuns that one change names."""
EVENTS_MAX: Final = 2000
"""The most events that are looked at for one change."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a view had read when it was looked at."""

    offsets: Mapping[int, int]
    """The next offset of the log, by partition."""
    dead_letters: Mapping[int, int]
    lag: int

    @property
    def number(self) -> int:
        """How many offsets of the log and of `dead-letters` it has read. A view that has read on has a greater one."""
        return sum(self.offsets.values()) + sum(self.dead_letters.values())


@dataclass(frozen=True, slots=True)
class Change:
    """What has changed since a position."""

    wf_runs: list[str] = field(default_factory=list)
    """The WfRuns that had events."""
    has_more: bool = False
    """More WfRuns had some than are named."""
    events: int = 0
    """How many offsets of the log were read."""
    dead_letters: int = 0
    """How many offsets of `dead-letters` were read."""
    lag: int = 0
    """How many offsets are not read yet."""


def changes(connection: Connection, since: Position | None) -> tuple[Position, Change | None]:
    """Return where the view is now, and what has changed since a position; None for nothing, or for no position."""
    it = tables.partitions.c
    rows = connection.execute(select(it.partition, it.log_offset, it.dead_letters_offset, it.lag)).all()
    now = Position(
        {row.partition: row.log_offset for row in rows},
        {row.partition: row.dead_letters_offset for row in rows},
        sum(row.lag for row in rows),
    )
    if since is None or now == since:
        return now, None
    moved = {
        partition: (since.offsets.get(partition, offset), offset)
        for partition, offset in now.offsets.items()
        if offset > since.offsets.get(partition, offset)
    }
    letters = sum(offset - since.dead_letters.get(number, offset) for number, offset in now.dead_letters.items())
    named, has_more = _wf_runs(connection, moved) if moved else ([], False)
    events = sum(end - start for start, end in moved.values())
    return now, Change(named, has_more, events, max(0, letters), now.lag)


def _wf_runs(connection: Connection, moved: Mapping[int, tuple[int, int]]) -> tuple[list[str], bool]:
    """Return the WfRuns of the events in some ranges of the log, and whether there are more."""
    of = tables.events.c
    ranges = or_(*(and_(of.partition == partition, of.log_offset >= start) for partition, (start, _) in moved.items()))
    found = list(connection.execute(select(of.wf_run_id).where(ranges).limit(EVENTS_MAX)).scalars())
    ids = list(dict.fromkeys(found))
    return ids[:WF_RUNS_MAX], len(found) == EVENTS_MAX or len(ids) > WF_RUNS_MAX
