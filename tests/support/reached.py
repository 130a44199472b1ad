"""Tells what a history reached, to see whether random histories get anywhere."""

from collections.abc import Iterator

from halter.scenarios.memory import MemoryEngine
from processors.core.records.events import (
    Event,
    Halt,
    InterruptDropped,
    InterruptSuperseded,
    SpawnChild,
    TaskAttemptEnded,
    ThreadCompleted,
    ThreadFailed,
    ThreadRescued,
    ThreadRetired,
    TimerMatured,
    WfRunEnded,
)
from processors.core.records.model import HaltedByParent, ManualHalt, ParentHalted, TaskStatus, ThreadType

HANDLERS = (ThreadType.INTERRUPT, ThreadType.FAILURE_HANDLER)


def reached(engine: MemoryEngine) -> set[str]:
    """Yield everything of note that happened to the WfRuns of an engine."""
    types: dict[int, ThreadType] = {}
    happened = {what for _, entries in engine.log for entry in entries for what in _in(entry.event, types)}
    return happened | {f"an attempt is cancelled: {it.reason}" for it in engine.cancellations}


def _in(event: Event, types: dict[int, ThreadType]) -> Iterator[str]:
    match event:
        case SpawnChild():
            types[event.thread] = event.type
            yield from _spawned(event, types)
        case Halt(reason=ParentHalted()):
            yield "a thread halts with the one above it"
        case Halt(reason=ManualHalt()):
            yield "a thread is stopped"
        case Halt(reason=HaltedByParent()) | ThreadRetired():
            yield "a thread loses"
        case ThreadCompleted() if types.get(event.thread) is ThreadType.INTERRUPT:
            yield "an Interrupt Handler completes"
        case ThreadFailed() if types.get(event.thread) is ThreadType.INTERRUPT:
            yield "an Interrupt Handler fails"
        case ThreadFailed() if types.get(event.thread) is ThreadType.FAILURE_HANDLER:
            yield "a failure handler fails"
        case InterruptDropped():
            yield "an interrupt is dropped"
        case InterruptSuperseded():
            yield "an interrupt is superseded"
        case TaskAttemptEnded(retry_at_ms=int()):
            yield "a task is tried again"
        case TaskAttemptEnded(status=TaskStatus.TIMEOUT) | TimerMatured():
            yield "a timer does something"
        case ThreadRescued():
            yield "a thread is rescued"
        case WfRunEnded(status=status):
            yield f"a WfRun ends as {status}"


def _spawned(event: SpawnChild, types: dict[int, ThreadType]) -> Iterator[str]:
    match event.type:
        case ThreadType.INTERRUPT:
            yield "an Interrupt Handler starts"
            if not event.halts_parent:
                yield "an Interrupt Handler runs beside its thread"
            if types.get(event.parent) in HANDLERS:
                yield "a handler is interrupted"
        case ThreadType.FAILURE_HANDLER if event.waiter is not None:
            yield "the failure of a child is handled"
        case ThreadType.FAILURE_HANDLER:
            yield "a failure is handled"
        case _:
            yield "a child starts"
