"""The moments of a WfRun from which another one can start, wherever its log is: in Kafka, or in an export.

It makes a snapshot of the state at such a moment. It sends nothing: `Client.fork` and `Client.reset` do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo

from halter.client.errors import CannotFork
from halter.history.export_file import ExportFile
from halter.history.logged import Logged
from halter.history.moments import Moments, moments_of
from halter.history.record_text import named
from halter.history.selection import Bound
from halter.history.source import Source
from halter.history.tokens import is_token
from halter.show.masking import UNKNOWN, Secrets
from halter.show.redaction import Redactor
from processors.core.records.events import WfRunStarted
from processors.core.records.model import TERMINAL, WfRun, WfRunSnapshot, WfSpecId
from processors.core.records.values import Value
from processors.core.rules.snapshots import run_of, snapshot_of
from processors.core.wf_spec.definitions import Definitions, UnreadableWfSpec


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """A moment from which a WfRun can be forked, and the state that it had then."""

    moments: Moments
    index: int
    snapshot: WfRunSnapshot
    is_to_come: bool = False
    """True for a time that is not over yet: by then it may be behind other events."""


def fork_point(
    source: Source, wf_run_id: str, at: str, now_ms: int, zone: tzinfo | None = UTC, incarnation: int | None = None
) -> ForkPoint:
    """Find the moment that people name by `at`, as `Moments.at` reads it: `57`, `-3`, `12:03:11`.

    Of a moment that is named by a number, timers keep what was left of them at that event; of a time, what was left at
    that time, or at `now_ms` (epoch milliseconds) if it is still to come. Raises CannotFork, and what `moments_of` and
    `Moments.at` raise.
    """
    moments = moments_of(source, wf_run_id, incarnation)
    index = moments.at(at, zone)
    run = moments.state(index)
    _check(moments, index, run)
    time_ms = Bound.of(at, zone, moments.log[-1].entry.time_ms, first=False).time_ms
    at_ms = run.time_ms if time_ms is None else max(run.time_ms, min(time_ms, now_ms))
    is_to_come = time_ms is not None and time_ms >= now_ms
    return ForkPoint(moments, index, snapshot_of(run, at_ms), is_to_come)


def check_is_clear(export: ExportFile, snapshot: WfRunSnapshot) -> None:
    """Raise CannotFork if tokens stand in the place of masked values of a state."""
    masked: list[Value] = []

    def note(value: Value) -> Value:
        masked.append(value)
        return value

    Redactor(export.definitions(), note).run(run_of(snapshot))
    if masked and (export.is_masked or any(map(is_token, masked))):
        values = "a masked value" if len(masked) == 1 else f"{len(masked)} masked values"
        raise CannotFork(
            f"expected an export with masked values in it, made with --clear, found that {export.path} has tokens in "
            f"the place of {values} of this state: the new WfRun would take the tokens for the values"
        )


def check_means_the_same(snapshot: WfRunSnapshot, there: Definitions, here: Definitions, where: str) -> None:
    """Raise CannotFork if the version of the WfSpec that a state names is another WfSpec here than in the export.

    A version that one of the two does not have, or cannot read, is left to the engine.
    """
    try:
        is_the_same = there.wf_spec(snapshot.wf_spec) == here.wf_spec(snapshot.wf_spec)
    except UnreadableWfSpec:
        return
    if not is_the_same:
        raise CannotFork(
            f"expected WfSpec {snapshot.wf_spec} to be the one that the WfRun ran {where}, found another WfSpec "
            "registered under that version: --spec names the version to go on with"
        )


def shown_by(version: WfSpecId, snapshot: WfRunSnapshot, there: Definitions, here: Definitions) -> list[str]:
    """Name the Variables and ExternalEvents of a state that the version masks which it ran, and another one does not.

    `there` has the definitions of the state, `here` those of the other version.
    """
    before, after = _secrets(snapshot.wf_spec, there), _secrets(version, here)
    threads = ((thread.thread_spec, name) for thread in snapshot.threads for name in thread.variables)
    found = [
        f"Variable {name} of {spec}"
        for spec, name in threads
        if before.variable(spec, name) and not after.variable(spec, name)
    ]
    posted = (it.external_event_def for it in snapshot.external_events if it.content is not None)
    found += [
        f"ExternalEvents {name}" for name in posted if before.external_event(name) and not after.external_event(name)
    ]
    return list(dict.fromkeys(found))


def _secrets(version: WfSpecId, definitions: Definitions) -> Secrets:
    try:
        return Secrets.of(definitions.wf_spec(version))
    except UnreadableWfSpec:
        return UNKNOWN


def _check(moments: Moments, index: int, run: WfRun) -> None:
    """Raise CannotFork for a moment at which a WfRun is not there, or not at rest."""
    wf_run_id = moments.wf_run_id
    log = moments.log
    if not run.exists:
        was_started = any(isinstance(it.entry.event, WfRunStarted) for it in log[: index + 1])
        then = "was deleted by then" if was_started else "was not started by then"
        raise CannotFork(f"WfRun '{wf_run_id}' {then}: {_nearest(moments, index)}")
    if run.status in TERMINAL:
        raise CannotFork(f"WfRun '{wf_run_id}' had ended by then, it was {run.status}: {_nearest(moments, index)}")
    if not _ends_command(log, index):
        first = last = index
        while first and not _ends_command(log, first - 1):
            first -= 1
        while not _ends_command(log, last):
            last += 1
        seqs = [log[it].entry.seq for it in (index, first, last)]
        raise CannotFork(
            f"expected the last event that a record caused, found event {seqs[0]} of the events {seqs[1]} to {seqs[2]} "
            f"that came of {named(log[first].entry.event, log[first].entry.cause)}: {_nearest(moments, index)}"
        )


def _ends_command(log: Sequence[Logged], index: int) -> bool:
    """Return True if an event is the last that its record caused: between two of them a WfRun is not at rest."""
    return index + 1 == len(log) or log[index + 1].entry.cause != log[index].entry.cause


def _nearest(moments: Moments, index: int) -> str:
    """Say which moments can be forked from, the nearest before and after one that cannot."""
    before = after = None
    for step in moments.steps():
        if step.run.exists and step.run.status not in TERMINAL and _ends_command(moments.log, step.index):
            seq = step.logged.entry.seq
            if step.index < index:
                before = seq
            elif step.index > index:
                after = seq
                break
    match [f"--at {seq}" for seq in (before, after) if seq is not None]:
        case []:
            return "none of its moments can be forked"
        case [only]:
            return f"the nearest moment that can be forked is {only}"
        case near:
            return f"the nearest moments that can be forked are {' and '.join(near)}"
