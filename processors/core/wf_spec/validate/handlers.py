"""Checks interrupts and failure handlers, and the ThreadSpecs that they start."""

from processors.core.records.commands import DefinitionKind
from processors.core.records.events import Definition
from processors.core.records.failures import HAPPENING, RESERVED
from processors.core.records.names import is_exception_name
from processors.core.records.spec import INPUT, FailureHandlerDef, InterruptDef, ThreadSpec
from processors.core.wf_spec.document_problems import Path
from processors.core.wf_spec.validate.thread_examination import ThreadExamination

_CLASSES = frozenset({"ERROR", "EXCEPTION"})
_CATCHABLE = _CLASSES | (RESERVED - {"CHILD_FAILURE"})


# (rule one-thread-spec-per-interrupt)
def check_interrupts(thread: ThreadExamination) -> None:
    """Check the interrupts of a ThreadSpec and their handlers."""
    seen: set[str] = set()
    for index, interrupt in enumerate(thread.spec.interrupts):
        path = (*thread.path, "interrupts", index)
        event = interrupt.external_event_def
        definition = thread.whole.definition(
            DefinitionKind.EXTERNAL_EVENT_DEF, event, "INTERRUPT_EED_MISSING", (*path, "event")
        )
        if event in seen:
            thread.report(
                "INTERRUPT_DUPLICATE",
                (*path, "event"),
                f"expected one interrupt for {event!r} in {thread.spec.name}, found a second",
            )
        seen.add(event)
        _check_interrupt_handler(thread, interrupt, definition, (*path, "handler"))


def _check_interrupt_handler(
    thread: ThreadExamination, interrupt: InterruptDef, event: Definition | None, path: Path
) -> None:
    handler = _checked_handler(thread, interrupt.handler, "INTERRUPT_HANDLER", path)
    if handler is None or event is None or event.content_type is None or INPUT not in handler.variables:
        return
    found = thread.whole.types[handler.name, INPUT]
    if found is not None and found is not event.content_type:
        thread.report(
            "INTERRUPT_INPUT_TYPE",
            path,
            f"expected INPUT of {handler.name} to be {event.content_type} as ExternalEventDef {event.name!r}, "
            f"found {found}",
        )


def check_failure_handlers(thread: ThreadExamination, handlers: tuple[FailureHandlerDef, ...], path: Path) -> None:
    """Check the failure handlers of a node, or those of a WAIT_FOR_THREADS for failed children."""
    for index, handler in enumerate(handlers):
        _checked_handler(thread, handler.handler, "FAILURE_HANDLER", (*path, index, "handler"))
        catch = handler.catch
        if catch is None or catch in _CATCHABLE or (catch not in RESERVED and is_exception_name(catch)):
            continue
        thread.report(
            "FAILURE_NAME_INVALID",
            (*path, index, "catch"),
            f"expected ERROR, EXCEPTION, a failure of the engine ({', '.join(sorted(HAPPENING))}) or a "
            f"failure name, found {catch!r}",
        )


# (rule handler-requires-only-input)
def _checked_handler(thread: ThreadExamination, name: str, code: str, path: Path) -> ThreadSpec | None:
    """Return a handler's ThreadSpec; report it if it is not there, or requires what nobody gives it."""
    threads = thread.whole.wf_spec.threads
    handler = threads.get(name)
    if handler is None:
        known = thread.whole.meant_or_known(name, threads)
        thread.report(f"{code}_MISSING", path, f"expected the name of a ThreadSpec{known}, found {name!r}")
        return None
    required = thread.whole.required_of_handlers[name]
    if required:
        thread.report(
            f"{code}_VARS",
            path,
            f"expected a handler that requires no Variable but INPUT, found {name!r} requires {required}",
        )
    return handler
