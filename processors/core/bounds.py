"""How much an event carries: what keeps one command from writing without end (DESIGN 6).

Counts the payload values, which are what can be large; the rest of an event is some hundred bytes.
"""

from collections.abc import Callable, Iterable
from typing import Any

from processors.core.events import (
    Event,
    ExternalEventPosted,
    NodeCompleted,
    NodeFailed,
    SpawnChild,
    TaskAttemptEnded,
    TaskAttemptRequested,
    ThreadCompleted,
    ThreadFailed,
    WfRunStarted,
    WorkflowEventThrown,
)
from processors.core.model import Failure
from processors.core.values import Value, size_of


def payload_bytes(event: Event) -> int:
    """About how many bytes of payload an event carries."""
    values = _VALUES.get(type(event))
    if values is None:
        return 0
    size = 0
    for value in values(event):
        size += size_of(value)
    return size


def _of_failure(failure: Failure) -> Iterable[Value]:
    return [part for link in failure.chain() for part in (link.content, link.message)]


_VALUES: dict[type[Event], Callable[[Any], Iterable[Value]]] = {
    ExternalEventPosted: lambda event: (event.content,),
    NodeCompleted: lambda event: [event.output, *[write.value for write in event.writes]],
    NodeFailed: lambda event: _of_failure(event.failure),
    SpawnChild: lambda event: event.variables.values(),
    TaskAttemptEnded: lambda event: (event.output, event.content, event.message),
    TaskAttemptRequested: lambda event: event.input.values(),
    ThreadCompleted: lambda event: (event.output,),
    ThreadFailed: lambda event: _of_failure(event.failure),
    WfRunStarted: lambda event: event.variables.values(),
    WorkflowEventThrown: lambda event: (event.content,),
}
