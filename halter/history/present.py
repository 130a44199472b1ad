"""The present state of a WfRun with what led to it, for analyses that need both, masked values taken out or not."""

from dataclasses import dataclass, replace
from datetime import UTC, tzinfo

from halter.client.errors import BeginningMissing
from halter.history.live import Live
from halter.history.logged import Logged
from halter.history.moments import Moments, NoSuchMoment, entries_of
from halter.history.origins import Origins
from halter.history.source import Source
from halter.show.redaction import Redactor
from halter.show.wf_run_text import understood
from processors.core.records.model import WfRun


@dataclass(frozen=True, slots=True)
class Present:
    """A state of a WfRun, with its WfSpec at hand, and the events that led to it."""

    run: WfRun
    log: list[Logged]
    """The events up to the state, those of earlier WfRuns of the id included if they were asked for."""
    is_whole: bool
    """False if the log no longer has the beginning: the state comes from its rows, and some causes are unknown."""

    @property
    def origins(self) -> Origins:
        """Since when things are so, and because of which records."""
        return Origins(self.log)


def present_of(
    source: Source,
    wf_run_id: str,
    *,
    at: str | None = None,
    zone: tzinfo | None = UTC,
    previous: bool = False,
    unmask: bool = False,
) -> Present | None:
    """Return the present state of a WfRun, or that at a moment (`Moments.at`); None if nothing is known of the id.

    Where the log no longer has the beginning, Kafka still has the rows. Raises BeginningMissing if there are none to
    take, as for a moment that is past, and NoSuchMoment.
    """
    log = list(source.events(wf_run_id, previous=previous))
    is_whole = True
    try:
        moments = Moments.of(wf_run_id, log)
        index = moments.last if at is None else moments.at(at, zone)
        run = moments.state(index)
        if at is not None:
            log = list(moments.log[: index + 1])
    except (BeginningMissing, NoSuchMoment):
        found = source.client.row(wf_run_id) if isinstance(source, Live) and at is None else None
        if found is None and not log and at is None:
            return None
        if found is None:
            raise
        run, is_whole = found, False
    definitions = source.definitions()
    if not unmask:
        redactor = Redactor(definitions)
        run = redactor.run(run)
        shown = redactor.entries(entries_of(log))
        log = [replace(logged, entry=entry) for logged, entry in zip(log, shown, strict=True)]
    return Present(understood(run, definitions), log, is_whole)
