"""`Logged`: an event of the log and the place where it stands."""

from dataclasses import dataclass

from processors.core.records.events import LogEntry


@dataclass(frozen=True, slots=True)
class Logged:
    """An event and its offset in its partition of `wf-events`; None where nothing was written, as in memory."""

    offset: int | None
    entry: LogEntry
    rules: int | None = None
    """The version of the rules that decided it; None if its record does not say it."""
