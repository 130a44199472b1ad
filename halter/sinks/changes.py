"""What an event tells, as JSON data without masked values.

Masks are those of all versions of the WfSpec together, and of all its threads: what is masked as a Variable in one of
them is left out wherever one has that name. So what is left out depends on nothing but the definitions, neither on
where a sink began to read nor on what it remembers.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, Final

from halter.show.history import entry_data
from halter.show.masking import UNKNOWN, Secrets
from halter.show.plain import plain
from halter.show.redaction import RedactedLog
from processors.core.records.commands import DefinitionKind
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    Event,
    InputKept,
    LogEntry,
    NodeCompleted,
    Resume,
    SpawnChild,
    ThreadHalted,
    ThreadRescued,
    WfRunEnded,
    WfRunForked,
    WfRunMigrated,
    WfRunStarted,
)
from processors.core.records.model import Status, WfSpecId
from processors.core.wf_spec.definitions import Definitions

LEFT_OUT: Final = f"\0{uuid.uuid4()}"
"""Stands for a masked value until the data are made, and is in none of them."""
ENTRYPOINT: Final = 0
"""The number of the thread whose status is that of the WfRun."""
STATUS_AFTER: Final[Mapping[type, Status]] = {
    ThreadHalted: Status.HALTED,
    Resume: Status.RUNNING,
    ThreadRescued: Status.RUNNING,
}
"""Event of the entrypoint thread -> the status of the WfRun after it."""


def status_after(event: Event) -> Status | None:
    """Return the status that a WfRun has after an event; None if the event does not change it."""
    if isinstance(event, WfRunStarted):
        return Status.RUNNING
    if isinstance(event, WfRunEnded):
        return event.status
    if getattr(event, "thread", None) == ENTRYPOINT:
        return STATUS_AFTER.get(type(event))
    return None


def written(event: Event) -> dict[str, Any]:
    """Return the Variables to which an event gives values. Of a name that several threads have, the last counts."""
    match event:
        case WfRunStarted() | SpawnChild():
            return dict(event.variables)
        case NodeCompleted():
            return {it.name: it.value for it in event.writes}
        case WfRunForked() | WfRunMigrated():
            return {name: value for it in event.threads for name, value in it.variables.items()}
        case _:
            return {}


class Masks:
    """The secrets of each WfSpec by some definitions."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._known: dict[WfSpecId, Secrets] = {}

    def of(self, wf_spec: WfSpecId | None) -> Secrets:
        """Return what is secret in any version of a WfSpec; everything if its own version is not known any more."""
        if wf_spec is None:
            return UNKNOWN
        if wf_spec not in self._known:
            self._known[wf_spec] = self._together(wf_spec)
        return self._known[wf_spec]

    def _together(self, own: WfSpecId) -> Secrets:
        versions = self._definitions.versions(DefinitionKind.WF_SPEC, own.name)
        ids = {WfSpecId(own.name, it.major, it.revision) for it in versions}
        try:
            specs = [self._definitions.wf_spec(it) for it in sorted(ids | {own}, key=str)]
        except HalterError:
            return UNKNOWN
        return in_all_threads(map(Secrets.of, specs), {thread for it in specs for thread in it.threads})


def in_all_threads(found: Iterable[Secrets], threads: Iterable[str]) -> Secrets:
    """Return the secrets of several WfSpecs together, with a Variable that is secret in one thread secret in all."""
    every = list(found)
    names = {name for it in every for _, name in it.variables}

    together = {
        it.name: frozenset[Any]().union(*(getattr(one, it.name) for one in every))
        for it in fields(Secrets)
        if it.name != "everything"
    }
    together["variables"] = frozenset((thread, name) for thread in threads for name in names)
    return Secrets(**together, everything=any(it.everything for it in every))


def document(
    entry: LogEntry, wf_spec: str | None, secrets: Secrets, variables: frozenset[str] | None
) -> dict[str, Any]:
    """Return an event as the document that a sink makes of it. `variables`: those to tell of; None for all."""
    log = RedactedLog(secrets, lambda _: LEFT_OUT, secrets_of=lambda _: secrets)
    event = log.redact(entry.event)
    status = status_after(event)
    values = {name: it for name, it in written(event).items() if variables is None or name in variables}
    data = entry_data(replace(entry, event=event))
    own = data.pop("fields")
    if isinstance(event, InputKept):  # a whole record, which only decoding would tell
        own.pop("value", None)
        own.pop("headers", None)
    told = {
        "wf_run_id": data.pop("wf_run_id"),
        "wf_spec": wf_spec,
        "event": data.pop("event"),
        "time": data.pop("time"),
        "thread": getattr(event, "thread", None),
        "status": None if status is None else status.value,
        "variables": plain(values),
        **data,
        "fields": own,
    }
    shown: dict[str, Any] = without_masked(told)
    return shown


def without_masked(data: Any) -> Any:
    """Return JSON data without the members whose values are masked."""
    if isinstance(data, dict):
        return {name: without_masked(it) for name, it in data.items() if it != LEFT_OUT}
    if isinstance(data, list):
        return [without_masked(it) for it in data if it != LEFT_OUT]
    return data
