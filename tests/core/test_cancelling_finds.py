"""The oracle of cancellations finds what is broken: each mistake is made on purpose, and random histories meet it."""

import random
from collections.abc import Callable, Iterable, Sequence

import pytest

from halter.files.scenario_document import read_scenario
from halter.scenarios.definitions import register
from processors.core.records.events import CancellationReason, Halt, LogEntry, TaskCancellation
from processors.core.records.model import TERMINAL, PendingInterrupt, ThreadRun, WfRun
from processors.core.rules import cancelling, engine
from processors.core.rules.cancelling import cancelled_by
from processors.core.rules.context import Context
from processors.core.rules.engine import new_run
from tests.support.checked_engine import CheckedEngine
from tests.support.compiled_core import replaces_a_rule
from tests.support.invariants import Violated
from tests.support.random_commands import RUN_ID, Producers
from tests.support.small_specs import document_of

START_MS = 1_767_225_600_000
HISTORIES, COMMANDS = 40, 60
_told = cancelling._told


def _the_thread_alone(run: WfRun, number: int) -> list[ThreadRun]:
    return [run.threads[number]]


def _with(run: WfRun, number: int, below: Callable[[ThreadRun], Iterable[ThreadRun]]) -> list[ThreadRun]:
    found = [run.threads[number]]
    for thread in found:
        found.extend(below(thread))
    return found


def _what_hangs_below_ended_threads_too(run: WfRun, number: int) -> list[ThreadRun]:
    return _with(run, number, run.dependents)


def _no_threads_that_were_halted_before(run: WfRun, number: int) -> list[ThreadRun]:
    return _with(run, number, lambda it: [below for below in run.dependents(it) if not below.halt_reasons])


def _children_and_no_handlers_of_waits(run: WfRun, number: int) -> list[ThreadRun]:
    def live_children(thread: ThreadRun) -> list[ThreadRun]:
        children = [run.threads[child] for child in thread.children]
        return [child for child in children if child.status not in TERMINAL]

    return _with(run, number, live_children)


def _interrupts_too(run: WfRun, entry: LogEntry) -> Sequence[TaskCancellation]:
    event = entry.event
    if isinstance(event, Halt) and isinstance(event.reason, PendingInterrupt):
        return _told([run.threads[event.thread]], entry, CancellationReason.STOPPED)
    return cancelled_by(run, entry)


def _never(run: WfRun, entry: LogEntry) -> Sequence[TaskCancellation]:
    return ()


def _twice(threads: Iterable[ThreadRun], entry: LogEntry, reason: CancellationReason) -> list[TaskCancellation]:
    return _told(threads, entry, reason) * 2


def _found(spec: str, seed: int) -> str | None:
    """Return what a random history of a small WfSpec violates; None if nothing."""
    document = document_of(spec)
    scenario, problems = read_scenario({**document, "steps": []}, str)
    assert scenario is not None, problems
    definitions, refused = register(scenario.definitions)
    assert not refused
    checked, producers = CheckedEngine(Context(definitions), START_MS), Producers([*document["external_events"]])
    numbers = random.Random(seed)
    try:
        for _ in range(COMMANDS):
            command = producers.choose(checked.runs.get(RUN_ID) or new_run(RUN_ID), numbers.randrange(20_000))
            checked.time_ms = max(checked.time_ms, getattr(command, "due_ms", 0))
            checked.put(command)
    except Violated as violated:
        return str(violated)
    return None


@replaces_a_rule
@pytest.mark.parametrize(
    ("spec", "owner", "name", "broken"),
    [
        ("task-and-child", cancelling, "_from", _the_thread_alone),
        ("nested-handlers", cancelling, "_from", _what_hangs_below_ended_threads_too),
        ("own-handler", cancelling, "_from", _no_threads_that_were_halted_before),
        ("waits-across-threads", cancelling, "_from", _children_and_no_handlers_of_waits),
        ("task-and-child", engine, "cancelled_by", _interrupts_too),
        ("task-and-child", engine, "cancelled_by", _never),
        ("task-and-child", cancelling, "_told", _twice),
    ],
)
def test_a_mistake_is_found(
    spec: str, owner: object, name: str, broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, broken)
    found = next(filter(None, (_found(spec, seed) for seed in range(HISTORIES))), "nothing")
    assert "task workers are told" in found
