"""The rows of the view's tables that follow from the state of a WfRun.

Pure: it takes a WfRun as `evolve` left it, and says what its rows are. It knows no SQL and no log.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, TypeAlias

from halter.show.plain import plain
from halter.show.waiting_text import KINDS
from halter.view.tables import NUL, NUL_SHOWN
from processors.core.records.model import (
    HALT_REASON_KINDS,
    TERMINAL,
    Failure,
    HaltedByParent,
    HaltReason,
    ParentHalted,
    ThreadRun,
    WfRun,
    WfRunExternalEvent,
)
from processors.core.records.spec import WfSpec
from processors.core.records.values import Value
from processors.core.rules.waiting import ForCondition, Held, waits_of
from processors.core.wf_spec.expression_text import expression_text

Row: TypeAlias = dict[str, Any]
Hidden: TypeAlias = frozenset[tuple[str, str]] | None
"""ThreadSpec and name of the Variables that are left out; None: all are."""

SEARCHED_CHARACTERS: Final = 1_000
"""The most of a WfRun's values that is looked through for a text."""


def wf_run_row(run: WfRun, partition: int, log_offset: int | None) -> Row:
    """Return the row of a WfRun, but for what its thread 0 tells (`entrypoint_row`)."""
    spec = run.wf_spec
    status = run.status
    live = [thread for thread in run.threads.values() if thread.status not in TERMINAL]
    return {
        "wf_run_id": run.wf_run_id,
        "partition": partition,
        "incarnation": run.incarnation,
        "wf_spec_name": None if spec is None else spec.name,
        "wf_spec_version": None if spec is None else f"{spec.major}.{spec.revision}",
        "status": None if status is None else status.value,
        "seq": run.seq,
        "started_ms": run.started_ms,
        "changed_ms": run.time_ms if run.exists else run.quarantined_ms or 0,
        "ended_ms": run.ended_ms,
        "halted": int(any(thread.halt_reasons for thread in live)),
        "quarantined": int(run.quarantined_ms is not None),
        "quarantined_ms": run.quarantined_ms,
        "live_threads": len(live),
        "log_offset": log_offset,
    }


def entrypoint_row(run: WfRun, thread: ThreadRun | None, hidden: Hidden) -> Row:
    """Return what the row of a WfRun has of its thread 0, which may just have left; None: it is not known any more."""
    variables = {} if thread is None else variables_of(thread, hidden)
    failure = None if thread is None or thread.status not in TERMINAL else thread.failure
    return {
        "failure_code": None if failure is None else failure.name,
        "failure_message": None if failure is None else failure.message,
        "cause_code": None if failure is None else other_cause_of(failure),
        "node_name": thread.node.node if thread is not None and 0 in run.threads else None,
        "variables": variables,
        "search_text": search_text(run, variables),
    }


def other_cause_of(failure: Failure) -> str | None:
    """Return the name of the failure at the bottom of a chain of causes; None if the failure itself has that name."""
    *_, bottom = failure.chain()
    return None if bottom.name == failure.name else bottom.name


def variables_of(thread: ThreadRun, hidden: Hidden) -> dict[str, Any]:
    """Return the Variables of a thread as JSON data, without those that are hidden."""
    if hidden is None:
        return {}
    return {
        name: value_of(value) for name, value in thread.variables.items() if (thread.thread_spec, name) not in hidden
    }


def value_of(value: Value) -> Any:
    """Return a value as JSON data. JSON has no numbers that are none: those become text."""
    if isinstance(value, str):
        return value.replace(NUL, NUL_SHOWN) if NUL in value else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | dict):
        return without_nul(plain(value))
    return plain(value)


def without_nul(data: Any) -> Any:
    """Return JSON data as SQL can store them: numbers that are none become text, and no text has NUL."""
    if isinstance(data, dict):
        return {name.replace(NUL, NUL_SHOWN): without_nul(it) for name, it in data.items()}
    if isinstance(data, list):
        return [without_nul(it) for it in data]
    return value_of(data)


def search_text(run: WfRun, variables: Mapping[str, Any]) -> str:
    """Return what a WfRun is found by."""
    words = [run.wf_run_id]
    if run.wf_spec is not None:
        words.append(run.wf_spec.name)
    words += [str(it) for it in variables.values() if isinstance(it, str | int | float) and not isinstance(it, bool)]
    return " ".join(words)[:SEARCHED_CHARACTERS].lower()


def thread_row(run: WfRun, thread: ThreadRun, hidden: Hidden, changed_ms: int, log_offset: int | None) -> Row:
    """Return the row of a ThreadRun. One that has completed and left has no status of its own end: its last row has."""
    failure = thread.failure
    return {
        "wf_run_id": run.wf_run_id,
        "thread": thread.number,
        "thread_spec": thread.thread_spec,
        "type": thread.type.value,
        "parent": thread.parent,
        "status": thread.status.value,
        "node_name": thread.node.node,
        "node_position": thread.node.position,
        "started_ms": thread.started_ms,
        "changed_ms": changed_ms,
        "ended_ms": thread.ended_ms,
        "failure_code": None if failure is None else failure.name,
        "failure_message": None if failure is None else failure.message,
        "hot": int(thread.number in run.threads),
        "variables": variables_of(thread, hidden),
        "external_event_def": thread.external_event_def,
        "external_event_id": thread.external_event_id,
        "log_offset": log_offset,
    }


def halt_reason_rows(thread: ThreadRun, since_ms: Sequence[int | None]) -> Iterator[Row]:
    """Yield the rows of the halt reasons of a thread. `since_ms` has a time for each."""
    for position, (reason, since) in enumerate(zip(thread.halt_reasons, since_ms, strict=True)):
        yield {
            "wf_run_id": thread.wf_run_id,
            "thread": thread.number,
            "position": position,
            "kind": HALT_REASON_KINDS[type(reason)],
            "external_event_def": getattr(reason, "external_event_def", None),
            "external_event_id": getattr(reason, "external_event_id", None),
            "handler": getattr(reason, "handler", None),
            "by_thread": _holder(reason),
            "since_ms": since,
        }


def _holder(reason: HaltReason) -> int | None:
    return reason.parent if isinstance(reason, ParentHalted | HaltedByParent) else None


def wait_rows(run: WfRun) -> Iterator[Row]:
    """Yield the rows of what the threads of a WfRun wait for. Its index must be as its rows say."""
    for thread in run.threads.values():
        waits = (wait for wait in waits_of(run, thread) if not isinstance(wait, Held))
        for position, wait in enumerate(waits):
            threads = getattr(wait, "threads", None)
            yield {
                "wf_run_id": run.wf_run_id,
                "thread": thread.number,
                "position": position,
                "waits_for": KINDS[type(wait)],
                "external_event_def": getattr(wait, "external_event_def", None),
                "task_def": getattr(wait, "task_def", None),
                "attempt": getattr(wait, "attempt", None),
                "attempts": getattr(wait, "attempts", None),
                "condition": expression_text(wait.condition) if isinstance(wait, ForCondition) else None,
                "threads": None if threads is None else list(threads),
                "since_ms": getattr(wait, "since_ms", None),
                "until_ms": getattr(wait, "until_ms", None),
            }


def external_event_row(event: WfRunExternalEvent) -> Row:
    """Return the row of an ExternalEvent that its WfRun remembers."""
    taken = [it.thread for it in event.outcomes or () if it.status == event.status]
    return {
        "wf_run_id": event.wf_run_id,
        "external_event_def": event.external_event_def,
        "external_event_id": event.external_event_id,
        "status": event.status.value,
        "posted_ms": event.posted_ms,
        "thread": event.thread,
        "claimed_by_thread": taken[-1] if taken else None,
        "seq": event.posted_seq,
        "hot": 1,
    }


def correlation_key_rows(run: WfRun) -> Iterator[Row]:
    """Yield the rows of the correlation keys of a WfRun."""
    for event_def, key in run.correlation_keys.items():
        yield {
            "wf_run_id": run.wf_run_id,
            "external_event_def": event_def,
            "correlation_key": key.key,
            "problem": key.problem,
        }


def searchable_in(spec: WfSpec) -> list[str]:
    """Return the names of the Variables of thread 0 that are marked as searchable."""
    return [it.name for it in spec.threads[spec.entrypoint].variables.values() if it.searchable]


def searchable_rows(run: WfRun, variables: Mapping[str, Any], names: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of the Variables that are marked as searchable, of those that have a value."""
    for name in names:
        value = variables.get(name)
        if value is not None:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            yield {
                "wf_run_id": run.wf_run_id,
                "name": name,
                "text_value": text_of(value),
                "number_value": float(value) if is_number else None,
            }


def text_of(value: Any) -> str:
    """Return JSON data as the text by which it is found."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


class Texts(NamedTuple):
    """The texts of the values that somebody means who writes a value down."""

    of_any: frozenset[str]
    of_numbers: frozenset[str]
    """Texts that are meant only if the value is a number."""


def texts_of(written: str) -> Texts:
    """Return the texts of the values that are meant: `10` and `10.0` are one number, `True` is `true`, JSON is JSON."""
    try:
        data = json.loads(written.lower() if written.lower() in ("true", "false") else written)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, bool | dict | list):
        as_stored = text_of(data)
        is_text = not any("\ud800" <= it <= "\udfff" for it in as_stored)  # half a surrogate pair is none
        return Texts(frozenset({written, as_stored} if is_text else {written}), frozenset())
    try:
        number = Decimal(written.strip())
    except InvalidOperation:
        return Texts(frozenset({written}), frozenset())
    return Texts(frozenset({written}), frozenset(_texts_of_number(number)))


def _texts_of_number(number: Decimal) -> Iterator[str]:
    """Yield the texts of a number: as an INT, and as a DOUBLE unless it is a whole number that no DOUBLE is."""
    if not number.is_finite() or number.adjusted() > 308:
        return
    is_whole = number == number.to_integral_value()
    if is_whole and number.adjusted() < DIGITS_MAX:
        yield str(int(number))
    as_double = float(number)
    if not number:
        yield from ("0.0", "-0.0")
    elif not is_whole or Decimal(as_double) == number:
        yield text_of(as_double)


DIGITS_MAX: Final = 20
"""An INT has at most so many digits."""
