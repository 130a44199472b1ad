"""What a test sees of a WfRun: its state at one moment, which nothing that happens later changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from halter.scenarios.memory import Rows
from processors.core.records.errors import NotInWfRun
from processors.core.records.model import (
    ExternalEventStatus,
    Failure,
    Status,
    ThreadRun,
    ThreadType,
    WfSpecId,
)
from processors.core.records.values import Value

NAMED_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class ThreadView:
    """A ThreadRun at one moment."""

    number: int
    type: ThreadType
    spec: str
    """The ThreadSpec."""
    parent: int | None
    status: Status
    node: str
    """The node at which it stands, or stood last."""
    variables: Mapping[str, Value]
    halt_reasons: Sequence[str]
    """As in scenario documents: PENDING_INTERRUPT(e1), INTERRUPTED(2), MANUAL_HALT, …"""
    failure: Failure | None
    output: Value

    @classmethod
    def of(cls, it: ThreadRun) -> "ThreadView":
        """Return what is to be seen of a row, which nobody changes."""
        return cls(
            it.number,
            it.type,
            it.thread_spec,
            it.parent,
            it.status,
            it.node.node,
            it.variables,
            [str(reason) for reason in it.halt_reasons],
            it.failure,
            it.output,
        )


@dataclass(frozen=True, slots=True)
class WfRunView:
    """A WfRun at one moment, with the threads that have ended."""

    id: str
    status: Status
    wf_spec: WfSpecId
    threads: Sequence[ThreadView]
    """Ascending by number."""
    external_events: Mapping[str, Mapping[str, ExternalEventStatus]]
    """ExternalEventDef -> id -> what became of the event, in the order in which they arrived. Two ExternalEventDefs may
    have events of one id.
    """

    def thread(self, which: int | str = 0) -> ThreadView:
        """Return the thread of a number, or the newest one of a ThreadSpec. Raises NotInWfRun."""
        for it in reversed(self.threads):
            if which in (it.number, it.spec):
                return it
        known = ", ".join(f"{it.number} ({it.spec})" for it in self.threads[-NAMED_MAX:])
        raise NotInWfRun(f"expected a thread {which!r} in WfRun {self.id!r}, found {known}")

    @property
    def variables(self) -> Mapping[str, Value]:
        """The Variables of thread 0."""
        return self.thread(0).variables

    @property
    def output(self) -> Value:
        """What thread 0 has returned."""
        return self.thread(0).output

    @property
    def failure(self) -> Failure | None:
        """Why thread 0 has failed; None if it has not."""
        return self.thread(0).failure


def view_of(rows: Rows, status: Status) -> WfRunView:
    """Return what is to be seen of a WfRun of a status, by its rows, which nobody changes."""
    run = rows.wf_run
    assert run.wf_spec is not None
    threads = {**rows.finished, **rows.threads}
    events: dict[str, dict[str, ExternalEventStatus]] = {}
    for it in sorted(rows.external_events.values(), key=lambda it: it.arrival):
        events.setdefault(it.external_event_def, {})[it.external_event_id] = it.status
    return WfRunView(
        run.wf_run_id,
        status,
        run.wf_spec,
        [ThreadView.of(threads[number]) for number in sorted(threads)],
        events,
    )
