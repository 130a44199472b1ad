"""Forks and resets: the ids by which a repeat is known again, the size of a state, and the two steps of a reset.

A reset forks a WfRun and then deletes it. Both steps may be repeated, also after a crash between them: the fork by its
command id, which follows from what is forked, and the deletion by looking whether that WfRun is still there.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from halter.client.errors import CannotFork, CommandRejected
from halter.client.ids import same_id
from processors.codec import Codec
from processors.core.records.commands import ForkWfRun
from processors.core.records.events import Asked, Ignored, InputKept, LogEntry, RejectionCode
from processors.core.records.model import WfRunSnapshot
from processors.core.records.names import NAME_LENGTH_MAX
from processors.core.records.values import Value, size_of
from processors.fold.inputs import VALUE_BYTES_MAX

if TYPE_CHECKING:
    from halter.client.client import Client

PARTS_NAMED_MAX: Final = 3
NOBODY: Final = Asked()
"""Nobody in particular asks for it."""


def fork_command_id(snapshot: WfRunSnapshot, wf_run_id: str, major: int | None, revision: int | None) -> str:
    """Return the command id of a fork. That of the same event to the same id is the same, at whatever time it is made.

    Only the first takes effect, as only the first RunWf of an id does.
    """
    return same_id("fork", snapshot.wf_run_id, snapshot.incarnation, snapshot.seq, wf_run_id, major, revision)


def reset_id(snapshot: WfRunSnapshot) -> str:
    """Return the id of the WfRun that a reset starts, if nobody names one: `cart-1-at-57`. Raises CannotFork.

    It follows from id and seq, so that a reset that is repeated finds what it has done. The incarnation is not in it:
    a repeat that finds another WfRun under the old id, and takes it for the one to reset, would else delete that too.
    """
    made = f"{snapshot.wf_run_id}-at-{snapshot.seq}"
    if len(made) > NAME_LENGTH_MAX:
        raise CannotFork(
            f"expected an id of at most {NAME_LENGTH_MAX} characters for the new WfRun, found that '{made}' has "
            f"{len(made)}: name another one (--as)"
        )
    return made


def what_is_large(command: ForkWfRun, codec: Codec) -> str:
    """Say how large the record of a fork is, and what in the state makes it so."""
    snapshot = command.snapshot
    parts = [(len(codec.encode(it)), f"thread {it.number}{_largest(it.variables)}") for it in snapshot.threads]
    parts += [
        (len(codec.encode(it)), f"ExternalEvent {it.external_event_def} {it.external_event_id}")
        for it in snapshot.external_events
    ]
    parts.sort(key=lambda part: -part[0])
    named = ", ".join(f"{what} takes {size:,}" for size, what in parts[:PARTS_NAMED_MAX])
    return (
        f"expected a state that fits into one record, at most {VALUE_BYTES_MAX:,} bytes, found that of WfRun "
        f"'{snapshot.wf_run_id}' after event {snapshot.seq} to take {len(codec.encode(command)):,}: {named}"
    )


def _largest(variables: dict[str, Value]) -> str:
    name = max(variables, key=lambda name: size_of(variables[name]), default=None)
    return "" if name is None else f" (most of it in Variable {name})"


class Removal(StrEnum):
    """What became of a WfRun that was reset."""

    DELETED = "DELETED"
    GONE_BEFORE = "GONE_BEFORE"
    """Nothing was under its id any more."""
    ANOTHER = "ANOTHER"
    """Another WfRun is under its id, which was left alone."""
    KEPT = "KEPT"
    """It is in quarantine: the deletion is kept, and is decided when the quarantine ends."""


@dataclass(frozen=True, slots=True)
class Forked:
    """The first step of a reset: the new WfRun is there."""

    wf_run_id: str
    entries: list[LogEntry]
    """The events by which it was started."""
    was_done: bool
    """True if an earlier attempt has started it."""


@dataclass(frozen=True, slots=True)
class Reset:
    """A reset, with what it found done already."""

    forked: Forked
    removal: Removal


def fork_to_reset(
    client: "Client", snapshot: WfRunSnapshot, wf_run_id: str | None, timeout_s: float, asked: Asked = NOBODY
) -> Forked:
    """Take the first step: start the new WfRun, unless that is done, and wait until it is.

    Raises CannotFork, and what `Client.fork` and `Posted.outcome` raise. Then the old WfRun is as it was.
    """
    new = reset_id(snapshot) if wf_run_id is None else wf_run_id
    if new == snapshot.wf_run_id:
        raise CannotFork(
            f"expected another id than '{new}' for the new WfRun: a reset deletes the old one last (`halter delete "
            f"{new}`, and then `halter fork {new} --as {new}`, uses the id again)"
        )
    if _source(client, snapshot) is not Removal.DELETED and ((run := client.row(new)) is None or not run.exists):
        # A repeat would find the fork. What was deleted otherwise is not started again because somebody repeats.
        raise CannotFork(
            f"expected WfRun '{snapshot.wf_run_id}' as incarnation {snapshot.incarnation}, or its fork '{new}', found "
            "that both are gone: `halter fork` starts another one from its log"
        )
    posted = client.fork(snapshot, new, operator=asked.operator, reason=asked.reason)
    try:
        entries = posted.outcome(timeout_s)
    except CommandRejected as rejected:
        if wf_run_id is not None or rejected.code is not RejectionCode.ALREADY_EXISTS:
            raise
        raise CannotFork(
            f"expected no WfRun '{new}', or the fork of incarnation {snapshot.incarnation} of "
            f"'{snapshot.wf_run_id}', found another one: a reset of an earlier WfRun '{snapshot.wf_run_id}' is done "
            "and need not be repeated, and one of this WfRun needs an id for the new one (--as)"
        ) from rejected
    if isinstance(entries[0].event, InputKept):
        raise CannotFork(
            f"WfRun id '{new}' is in quarantine, so the fork waits for `halter release {new}`; WfRun "
            f"'{snapshot.wf_run_id}' is left as it is: repeat the reset then"
        )
    return Forked(new, entries, was_done=not posted.is_cause_of(entries[0]))


def remove_the_reset(client: "Client", snapshot: WfRunSnapshot, timeout_s: float, asked: Asked = NOBODY) -> Removal:
    """Take the second step: delete the old WfRun if it is still there. Raises what `Posted.outcome` raises."""
    found = _source(client, snapshot)
    if found is Removal.DELETED:
        who, why = asked.operator, asked.reason
        posted = client.delete(snapshot.wf_run_id, snapshot.incarnation, operator=who, reason=why)
        (entry, *_) = posted.outcome(timeout_s)
        match entry.event:
            case InputKept():
                return Removal.KEPT
            case Ignored():
                return _source(client, snapshot)  # somebody else has deleted it meanwhile
    return found


def _source(client: "Client", snapshot: WfRunSnapshot) -> Removal:
    """Return what is to become of the WfRun of a snapshot: DELETED if it is still there."""
    run = client.row(snapshot.wf_run_id)
    if run is None or not run.exists:
        return Removal.GONE_BEFORE
    return Removal.DELETED if run.incarnation == snapshot.incarnation else Removal.ANOTHER
