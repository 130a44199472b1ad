"""What a thread waits for: every live thread says it, in every state that a scenario reaches, and says the truth."""

import json
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import read_yaml
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import judge_definitions, run
from halter.show.waiting_text import KINDS, wait_data, wait_text
from halter.show.wf_run_text import text
from processors.core.records.commands import Command
from processors.core.records.events import LogEntry
from processors.core.records.model import (
    TERMINAL,
    HaltReason,
    ManualHalt,
    NodeRun,
    ParentHalted,
    Status,
    ThreadRun,
    ThreadType,
    WfRun,
)
from processors.core.rules.context import Context, Limits
from processors.core.rules.engine import attach
from processors.core.rules.indexing import index_of
from processors.core.rules.waiting import (
    ForChildren,
    ForExternalEvent,
    ForReport,
    ForRetry,
    ForStillness,
    ForThreads,
    ForTime,
    FreedBy,
    Held,
    Wait,
    waits_of,
)

SCENARIOS = Path(__file__).parent.parent / "scenarios"
DOCUMENTS = sorted(SCENARIOS.glob("*.yaml"))
TIMED = (ForExternalEvent, ForReport, ForRetry, ForTime)


def check_waits(wf_run: WfRun, thread: ThreadRun, waits: list[Wait]) -> None:
    """What is said of a thread is so, and is all."""
    if thread.status in TERMINAL:
        assert waits == []
        return
    assert waits, f"#{thread.number} at {thread.node.node} waits for nothing"
    assert [it.reason for it in waits if isinstance(it, Held)] == thread.halt_reasons
    if not thread.has_lost:
        assert any(not isinstance(it, Held | ForStillness) for it in waits), "nor when nothing holds it"
    if thread.node.timer is not None and not thread.has_lost:
        assert [it.until_ms for it in waits if isinstance(it, TIMED)] == [thread.node.timer.due_ms]
    for it in waits:
        if isinstance(it, ForThreads | ForChildren):
            assert it.threads
            # A wait may be for a thread that fails to the waiter's eyes only when that runs again.
            if thread.status is Status.RUNNING:
                assert all(wf_run.thread_status(number) not in TERMINAL for number in it.threads)
        if isinstance(it, Held) and it.freed_by in (FreedBy.HANDLER_ENDS, FreedBy.EARLIER_HANDLER_ENDS):
            assert all(wf_run.threads[number].status not in TERMINAL for number in it.threads)


class Asking(MemoryEngine):
    """Asks what each thread waits for, after each command, and tells it."""

    def __init__(self, context: Context, start_ms: int) -> None:
        super().__init__(context, start_ms)
        self.told: set[type[Wait] | FreedBy] = set()

    def put(self, command: Command) -> list[LogEntry]:
        entries = super().put(command)
        wf_run = self.runs[command.wf_run_id]
        before = pickle.dumps((wf_run.threads, wf_run.index))
        for thread in wf_run.threads.values():
            waits = waits_of(wf_run, thread)
            check_waits(wf_run, thread, waits)
            self._tell(wf_run, thread, waits)
        assert pickle.dumps((wf_run.threads, wf_run.index)) == before, "asking changes nothing"
        self._ask_of_torn_rows(wf_run)
        return entries

    def _tell(self, wf_run: WfRun, thread: ThreadRun, waits: list[Wait]) -> None:
        for wait in waits:
            assert wait_text(wait, wf_run, thread, wf_run.time_ms)
            assert json.loads(json.dumps(wait_data(wait)))["for"] == KINDS[type(wait)]
            self.told.add(wait.freed_by if isinstance(wait, Held) else type(wait))

    def _ask_of_torn_rows(self, wf_run: WfRun) -> None:
        """Rows may be of neighbouring moments: one that another speaks of is missing. Or the WfSpec is not known."""
        threads, index = wf_run.threads, wf_run.index
        for missing in list(threads)[:8]:
            wf_run.threads = {number: thread for number, thread in threads.items() if number != missing}
            attach(wf_run, self.context)
            for line in text(wf_run, now_ms=0):
                assert line
        wf_run.threads, wf_run.index = threads, index
        spec, wf_run.spec = wf_run.spec, None
        for thread in threads.values():
            waits_of(wf_run, thread)
        wf_run.spec = spec


@cache
def told_in(document: Path) -> frozenset[object]:
    """What is waited for in a scenario; all that must hold of it has been checked."""

    def load(name: str) -> Any:
        return read_yaml(document.parent / name).data

    return told_of(read_yaml(document).data, load)


def told_of(document: Any, load: Callable[[str], object]) -> frozenset[object]:
    """The same of a document that was read."""
    scenario, _ = read_scenario(document, load)
    assert scenario is not None
    definitions, refused = register(scenario.definitions)
    engine = Asking(Context(definitions, scenario.limits), scenario.start_ms)
    assert (judge_definitions(scenario, refused) or run(scenario, engine, definitions)).ok
    return frozenset(engine.told)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_live_thread_says_what_it_waits_for(document: Path) -> None:
    told_in(document)


def test_all_that_can_be_waited_for_is_told_somewhere() -> None:
    # With ALL the wait fails at once; ANY goes on, and the handler starts once another thread has ended.
    crowded = read_yaml(SCENARIOS / "N15-a-child-failure-handler-beyond-the-cap-leaves-the-failure-unhandled.yaml").data
    assert isinstance(crowded, dict)
    crowded["wf_specs"][0]["threads"]["main"]["nodes"]["join"]["strategy"] = "ANY"
    crowded["steps"].pop()
    told = told_of(crowded, str).union(*map(told_in, DOCUMENTS))
    assert told == {*KINDS, *FreedBy} - {Held}


def test_every_wait_has_a_name_in_json() -> None:
    assert set(KINDS) == set(get_args(Wait))


def test_threads_may_be_as_deep_as_a_wf_run_allows() -> None:
    generations = Limits().live_threads
    run = WfRun("w")
    for number in range(generations):
        parent = number - 1 if number else None
        status = Status.RUNNING if number == generations - 1 else Status.HALTED
        children = [number + 1] if number < generations - 1 else []
        reasons: list[HaltReason] = [ParentHalted(number - 1)] if number else [ManualHalt()]
        node = NodeRun(1, "n", 0)
        run.threads[number] = ThreadRun(
            "w", number, ThreadType.CHILD, "s", parent, status, node, 0, halt_reasons=reasons, children=children
        )
    run.threads[0].status = Status.HALTING
    run.index = index_of(run)
    assert waits_of(run, run.threads[0]) == [Held(ManualHalt(), FreedBy.RESUME), ForStillness((generations - 1,))]
