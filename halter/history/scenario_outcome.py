"""What became of a WfRun, as a scenario document expects it. It is folded from the recorded events: no rule runs."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from halter.history.tokens import is_token
from halter.history.turns import Turn
from halter.scenarios import found
from halter.scenarios.found import WfRunFound
from halter.scenarios.memory import Rows
from halter.scenarios.writing import written
from processors.core.records.events import (
    LogEntry,
)
from processors.core.records.model import TERMINAL, Failure, Status, ThreadRun
from processors.core.rules.evolve import evolve, new_run

THREADS_MAX: Final = 100
"""The most threads that are expected one by one: those with the least numbers."""


def outcome_of(wf_run_id: str, turns: Iterable[Sequence[LogEntry]]) -> WfRunFound | None:
    """Return what the rows of a WfRun are after its events; None if it does not exist. Folds, and runs no rule."""
    folded = new_run(wf_run_id)
    rows = Rows(new_run(wf_run_id))
    for entries in turns:
        for entry in entries:
            evolve(folded, entry)
        rows.write(folded)
    if folded.status is None:
        return None
    events = folded.external_events.values()
    return WfRunFound(folded.status, folded.threads, rows.finished, events, folded.incarnation)


def expected_of(
    wf_run_id: str, turns: Sequence[Turn], notes: list[str]
) -> tuple[list[dict[str, Any]], list[str], frozenset[tuple[int, str]]]:
    """Return what is expected at the end, notes, and the Variables that have tokens."""
    end = outcome_of(wf_run_id, (turn.entries for turn in turns))
    wf = {"wf": wf_run_id}
    if end is None:
        return [{"expect": wf | {"status": "ABSENT"}}], notes, frozenset()
    everyone = {**end.finished, **end.threads}
    shown = {number: everyone[number] for number in sorted(everyone)[:THREADS_MAX]}
    if len(everyone) > len(shown):
        notes.append(f"of {len(everyone):,} threads only the first {THREADS_MAX} are expected one by one")
    parts: list[dict[str, Any]] = [
        {"status": end.status.value},
        {"threads": {number: _thread(thread) for number, thread in shown.items()}},
    ]
    variables = {
        number: {name: written(value) for name, value in thread.variables.items()}
        for number, thread in shown.items()
        if thread.variables
    }
    if variables:
        parts.append({"variables": variables})
    ids = list(dict.fromkeys(it.external_event_id for it in end.external_events))
    if ids:
        wanted: dict[str, Any] = {"unclaimed": [], "dropped": [], "superseded": [], "outcomes": dict.fromkeys(ids)}
        told = found.wf_run(end, wanted)
        parts.append({name: value for name, value in told.items() if value or name == "unclaimed"})
    tasks = found.wf_run(end, {"tasks_out": []})["tasks_out"]
    if tasks:
        parts.append({"tasks_out": [{name: it[name] for name in ("thread", "task", "attempt")} for it in tasks]})
    tokens = frozenset(
        (number, name)
        for number, thread in shown.items()
        for name, value in thread.variables.items()
        if is_token(value)
    )
    return [{"expect": wf | part} for part in parts], notes, tokens


def _thread(thread: ThreadRun) -> dict[str, Any]:
    told: dict[str, Any] = {"status": thread.status.value, "spec": thread.thread_spec}
    if thread.status not in TERMINAL or thread.status is Status.ERROR:
        told["node"] = thread.node.node
    if thread.halt_reasons:
        told["halt_reasons"] = [str(reason) for reason in thread.halt_reasons]
    if thread.failure is not None:
        told["failure"] = _failure(thread.failure)
    return told


def _failure(failure: Failure) -> dict[str, Any]:
    """Return the names of a failure and of its causes. Sentences may change from version to version."""
    told: dict[str, Any] = {"name": failure.name}
    if failure.cause is not None:
        told["cause"] = {"thread": failure.cause_thread, **_failure(failure.cause)}
    return told
