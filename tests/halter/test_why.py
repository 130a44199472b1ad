"""Why threads do not move: each is told once, down to what an input can free; and what is said to free it does."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from halter.explore.states import restored
from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import read_yaml
from halter.history.logged import Logged
from halter.history.origins import Origins
from halter.history.why import (
    Freeing,
    Must,
    PostEvent,
    Release,
    ReportTask,
    RescueThread,
    ResumeThread,
    Stage,
    Start,
    TimeCome,
    Why,
    why,
)
from halter.history.why_text import INPUTS, sentence, sentences, stage_text, why_data
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import judge_definitions, run
from halter.show.log_text import failure_text
from processors.core.records.commands import (
    Command,
    ExternalEvent,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    TimerFired,
)
from processors.core.records.events import ExternalEventPosted, Ignored, LogEntry, NodeCompleted, Rejected, SpawnChild
from processors.core.records.model import TERMINAL, Failure, FailureClass, HaltReason, Status, TaskStatus, WfRun
from processors.core.records.spec import (
    AnyNode,
    EntrypointNode,
    ExitNode,
    ExternalEventNode,
    NopNode,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThrowEventNode,
    WaitForConditionNode,
    WaitForThreadsNode,
)
from processors.core.rules.context import Context, Limits
from processors.core.rules.engine import attach, handle, new_run
from processors.core.rules.halting import can_resume
from processors.core.rules.waiting import FreedBy, Held, ToRun, Wait
from tests.support import random_specs, small_specs
from tests.support.random_commands import RUN_ID, Producers

SCENARIOS = Path(__file__).parent.parent / "scenarios"
DOCUMENTS = sorted(SCENARIOS.glob("*.yaml"))
START_MS = 1_767_225_600_000
STEPS_MAX = 60
"""Inputs that are fed until a thread moves; a handler may take several."""


def command_of(freeing: Freeing, wf_run: WfRun, number: int, report: TaskStatus = TaskStatus.SUCCESS) -> Command:
    """The input that a freeing means, as one would send it."""
    match freeing:
        case PostEvent():
            return ExternalEvent(wf_run.wf_run_id, freeing.external_event_def, f"freeing-{number}", 1, freeing.thread)
        case ReportTask():
            at = (freeing.thread, freeing.position, freeing.attempt)
            name = "oops" if report is TaskStatus.EXCEPTION else None
            return ReportTaskRun(wf_run.wf_run_id, wf_run.incarnation, *at, report, failure_name=name)
        case TimeCome():
            at = (freeing.thread, freeing.position)
            return TimerFired(wf_run.wf_run_id, wf_run.incarnation, *at, freeing.kind, freeing.due_ms)
        case ResumeThread():
            return ResumeWfRun(wf_run.wf_run_id, freeing.thread)
        case RescueThread():
            return RescueThreadRun(wf_run.wf_run_id, freeing.thread)
        case Release() | Start():
            raise AssertionError("no thread is freed by that")


class Asked:
    """A copy of a WfRun and its origins, to which inputs are fed to see what they free."""

    def __init__(self, wf_run: WfRun, entries: list[LogEntry], context: Context) -> None:
        self.context, self.entries = context, list(entries)
        self.run = attach(restored(wf_run), context)
        self.fed = 0

    def why(self) -> Why:
        return why(self.run, Origins(Logged(None, it) for it in self.entries))

    def feed(self, freeing: Freeing, report: TaskStatus = TaskStatus.SUCCESS) -> list[LogEntry]:
        command = command_of(freeing, self.run, self.fed, report)
        self.fed += 1
        time_ms = max(self.run.time_ms, freeing.due_ms if isinstance(freeing, TimeCome) else 0)
        cause = replace(self.entries[-1].cause, offset=1_000_000 + self.fed, command_id=None)
        entries = handle(self.run, command, cause, time_ms, self.context)
        self.entries += entries
        return entries


def moves(entries: list[LogEntry], number: int) -> bool:
    """True if an event is about this thread, and is not that something was refused or came for it."""
    idle = Rejected | Ignored | ExternalEventPosted
    return any(getattr(it.event, "thread", None) == number for it in entries if not isinstance(it.event, idle))


def check(wf_run: WfRun, told: Why) -> None:
    """Each thread that has not completed has one finding, with a leaf that an input frees, or that is for good."""
    assert list(told.findings) == [n for n, it in sorted(wf_run.threads.items()) if it.status is not Status.COMPLETED]
    for number, finding in told.findings.items():
        thread = wf_run.threads[number]
        assert (finding.status, finding.node) == (thread.status, thread.node.node)
        assert finding.since is not None
        leaves = list(told.leaves(number))
        assert leaves, f"#{number} rests on nothing"
        assert len({(it.thread, id(hold)) for it, hold in leaves}) == len(leaves), "each leaf is told once"
        if thread.status in TERMINAL:
            assert leaves == [(finding, None)]
            assert bool(finding.frees) != bool(finding.refused)
            assert finding.failure == thread.failure is not None
            continue
        assert finding.holds
        assert [it.wait.reason for it in finding.holds if isinstance(it.wait, Held)] == thread.halt_reasons
        for hold in finding.holds:
            assert hold.since is not None, (number, hold)
            assert all(below in told.findings for below in hold.below), (number, hold)
        for leaf, hold in leaves:
            if hold is None:
                assert leaf.status in TERMINAL
            else:
                # Who might make a condition true may wait for it: then nothing frees it, and nobody can say so.
                assert hold.writers or bool(hold.frees) != hold.for_good, (number, leaf.thread, hold)


def check_frees(asked: Callable[[], Asked], told: Why) -> None:
    """Every input that is said to free a thread does."""
    tried: set[Freeing] = set()
    for number in told.findings:
        for leaf, hold in told.leaves(number):
            for freeing in leaf.frees if hold is None else hold.frees:
                if freeing in tried:
                    continue
                tried.add(freeing)
                reports = [TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.EXCEPTION]
                for report in reports if isinstance(freeing, ReportTask) else reports[:1]:
                    assert moves(asked().feed(freeing, report), freeing.thread), (number, freeing)


def check_goes_on(asked: Asked, number: int) -> None:
    """A thread moves when what it rests on is freed, leaf after leaf, unless it is held for good."""
    may_be_in_vain = False
    for _ in range(STEPS_MAX):
        told = asked.why()
        # What is below may have ended with a failure that is final: nothing more frees it.
        leaves = list(told.leaves(number))
        frees = [it for leaf, hold in leaves for it in (leaf.frees if hold is None else hold.frees)]
        if not frees:
            assert all(hold is None or hold.for_good or hold.writers for _, hold in told.leaves(number))
            thread = asked.run.threads[number]
            waits_for_ever = all(hold is not None for _, hold in told.leaves(number))
            assert waits_for_ever or thread.status in TERMINAL or not can_resume(asked.run, thread)
            return
        # What is rescued may fail again at once, and who may write a Variable need not make the condition true.
        may_be_in_vain |= isinstance(frees[0], RescueThread) or any(hold and hold.writers for _, hold in leaves)
        if moves(asked.feed(frees[0]), number) or number not in asked.run.threads:
            return  # it moved, or left with those above it
    assert may_be_in_vain, f"#{number} does not move"


class Random:
    """A WfRun whose producers do what some numbers say."""

    def __init__(self, document: dict[str, Any], numbers: list[int]) -> None:
        scenario, problems = read_scenario({**document, "steps": []}, lambda name: name)
        assert scenario is not None, problems
        definitions, self.refused = register(scenario.definitions)
        if self.refused:
            return
        self.engine = MemoryEngine(Context(definitions, Limits(live_threads=40)), START_MS)
        producers = Producers(list(document["external_events"]))
        for number in numbers:
            wf_run = self.engine.runs.get(RUN_ID) or new_run(RUN_ID)
            command = producers.choose(wf_run, number)
            if isinstance(command, TimerFired):
                self.engine.time_ms = max(self.engine.time_ms, command.due_ms)
            before = self.told() if wf_run.exists else None
            entries = self.engine.put(command)
            if before is not None:
                check_writers(self.engine.runs[RUN_ID], before, entries)

    def asked(self) -> Asked:
        return Asked(self.engine.runs[RUN_ID], self.engine.log_of(RUN_ID), self.engine.context)

    def told(self) -> Why:
        origins = Origins(Logged(None, it) for it in self.engine.log_of(RUN_ID))
        return why(self.engine.runs[RUN_ID], origins)


def check_writers(wf_run: WfRun, before: Why, entries: list[LogEntry]) -> None:
    """Whoever writes a Variable for which a condition waits was named, or was started by one who was."""
    parents = {number: (it.parent, it.external_event_def) for number, it in wf_run.threads.items()}
    parents |= {
        it.event.thread: (it.event.parent, it.event.external_event_def)
        for it in entries
        if isinstance(it.event, SpawnChild)
    }
    for finding in before.findings.values():
        for hold in finding.holds:
            if hold.writers is None:
                continue
            for it in entries:
                if not isinstance(it.event, NodeCompleted) or it.event.thread == finding.thread:
                    continue
                # In these WfSpecs Variables other than INPUT have one owner.
                if not {write.name for write in it.event.writes}.intersection(hold.writers.variables):
                    continue
                current: int | None = it.event.thread
                named = False
                while current is not None and not named:
                    parent, event_def = parents.get(current, (None, None))
                    named = current in hold.writers.threads or (event_def, parent) in hold.writers.external_events
                    current = parent
                assert named, (finding.thread, it.event, hold.writers)


class Telling(MemoryEngine):
    """Asks after each command why its WfRun does not move, and notes what was told."""

    def __init__(self, context: Context, start_ms: int) -> None:
        super().__init__(context, start_ms)
        self.told: set[object] = set()
        self._origins: dict[str, Origins] = {}

    def put(self, command: Command) -> list[LogEntry]:
        entries = super().put(command)
        wf_run, origins = self.runs[command.wf_run_id], self._origins.setdefault(command.wf_run_id, Origins())
        for entry in entries:
            origins.see(Logged(None, entry))
        told = why(wf_run, origins)
        self.told |= {told.stage, *map(type, told.frees)}
        check(wf_run, told)
        self._note(wf_run, told)
        return entries

    def _note(self, wf_run: WfRun, told: Why) -> None:
        assert stage_text(told, wf_run)
        data = json.loads(json.dumps(why_data(told, wf_run, wf_run.time_ms)))
        assert len(data["threads"]) == len(told.findings)
        for number, finding in told.findings.items():
            self.told |= {finding.status, *map(type, finding.frees)}
            if finding.status is Status.RUNNING:
                self.told.add(type(wf_run.spec_of(wf_run.threads[number]).nodes[finding.node]))
            for hold in finding.holds:
                self.told |= {type(hold.wait), hold.must, *map(type, hold.frees)}
                if isinstance(hold.wait, Held):
                    self.told |= {type(hold.wait.reason), hold.wait.freed_by}
            said = data["threads"][str(number)]["sentence"]
            assert said.startswith(f"#{number} ")
            assert "no longer has" not in said


@cache
def told_in(document: Path) -> frozenset[object]:
    """What is told in a scenario; all that must hold of it has been checked."""
    read = read_yaml(document).data
    assert isinstance(read, dict)
    return told_of(read, lambda name: read_yaml(document.parent / name).data)


def told_of(document: dict[str, Any], load: Callable[[str], object]) -> frozenset[object]:
    """The same of a document that was read."""
    scenario, _ = read_scenario(document, load)
    assert scenario is not None
    definitions, refused = register(scenario.definitions)
    engine = Telling(Context(definitions, scenario.limits), scenario.start_ms)
    assert (judge_definitions(scenario, refused) or run(scenario, engine, definitions)).ok
    return frozenset(engine.told)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_thread_of_every_scenario_is_told_once_and_rests_on_what_can_free_it(document: Path) -> None:
    told_in(document)


WAITING_AT = {ExternalEventNode, SleepNode, TaskNode, WaitForThreadsNode, WaitForConditionNode, ExitNode}
PASSING = {EntrypointNode, NopNode, StartThreadNode, StartMultipleThreadsNode, ThrowEventNode}
"""Kinds of node at which no thread that runs stands still."""


def test_every_halt_reason_node_input_and_stage_is_told_somewhere() -> None:
    assert {*get_args(AnyNode)} == WAITING_AT | PASSING, "a new kind of node: say what a thread waits for there"
    # With ALL the wait fails at once; ANY goes on, and the handler starts once another thread has ended.
    crowded = read_yaml(SCENARIOS / "N15-a-child-failure-handler-beyond-the-cap-leaves-the-failure-unhandled.yaml").data
    assert isinstance(crowded, dict)
    crowded["wf_specs"][0]["threads"]["main"]["nodes"]["join"]["strategy"] = "ANY"
    crowded["steps"].pop()
    told = told_of(crowded, str).union(*map(told_in, DOCUMENTS))
    # Quarantine is the fold's, and has a test of its own. ToRun holds nobody that is not held by something else.
    unheard = {Stage.QUARANTINED, Release, ToRun, Status.COMPLETED}
    assert told == {
        *get_args(HaltReason), *WAITING_AT, *FreedBy, *get_args(Wait), *get_args(Freeing), *Stage, *Status, *Must
    } - unheard  # fmt: skip


def test_a_condition_that_only_those_could_make_true_who_wait_for_it_ends_the_way() -> None:
    one_less = {"set": [{"var": "n", "op": "SUBTRACT", "value": 1}]}
    main = {
        "variables": {"n": {"type": "INT", "default": 1}},
        "nodes": {
            "start": {"kind": "ENTRYPOINT", "next": "work"},
            "work": {"kind": "TASK", "task": "t", "on_failure": [{"handler": "f"}], "next": {"to": "end"} | one_less},
            "end": {"kind": "EXIT"},
        },
    }
    handler = {
        "nodes": {
            "start": {"kind": "ENTRYPOINT", "next": "wait"},
            "wait": {"kind": "WAIT_FOR_CONDITION", "condition": {"le": [{"var": "n"}, 0]}, "next": "end"},
            "end": {"kind": "EXIT"},
        }
    }
    threads = {"main": main, "f": handler}
    wf_spec = {"name": "small", "entrypoint": "main", "threads": threads}
    document = {"name": "in vain", "external_events": {"x": {}}, "tasks": {"t": {}}, "wf_specs": [wf_spec]}
    random = Random(document, [0])
    assert not random.refused
    random.engine.put(command_of(ReportTask("t", 0, 1, 1), random.engine.runs[RUN_ID], 0, TaskStatus.FAILED))
    told = random.told()
    check(random.engine.runs[RUN_ID], told)
    for number in (0, 1):
        ((leaf, hold),) = told.leaves(number)
        assert hold is not None
        assert hold.writers is not None
        assert (leaf.thread, hold.writers.threads, hold.frees) == (1, (0,), ())
    said = dict(sentences(told, random.engine.runs[RUN_ID], 0))
    assert "and #1 f waits until n <= 0" in said[0].replace("\u00a0", " ")


def test_why_a_thread_failed_is_said_in_its_own_sentence_alone() -> None:
    def work(next_node: str) -> dict[str, Any]:
        return {"kind": "TASK", "task": "t", "next": next_node}

    begin = {"kind": "START_THREAD", "thread": "child", "next": "work"}
    main = {
        "start": {"kind": "ENTRYPOINT", "next": "begin"},
        "begin": begin,
        "work": work("end"),
        "end": {"kind": "EXIT"},
    }
    child = {"start": {"kind": "ENTRYPOINT", "next": "work"}, "work": work("end"), "end": {"kind": "EXIT"}}
    threads = {"main": {"nodes": main}, "child": {"nodes": child}}
    wf_spec = {"name": "small", "entrypoint": "main", "threads": threads}
    random = Random({"name": "fails", "tasks": {"t": {}}, "external_events": {"x": {}}, "wf_specs": [wf_spec]}, [0])
    for thread in (0, 1):  # the child is HALTING until its own task is back
        position = random.engine.runs[RUN_ID].threads[thread].node.position
        report = ReportTask("t", thread, position, 1)
        status = TaskStatus.FAILED if thread == 0 else TaskStatus.SUCCESS
        random.engine.put(command_of(report, random.engine.runs[RUN_ID], thread, status))
    told, run = random.told(), random.engine.runs[RUN_ID]
    said = {number: text.replace("\u00a0", " ") for number, text in sentences(told, run, 0)}
    assert "TASK_FAILURE" in said[0]
    assert said[1].endswith(f"with #0 main, which has failed; `halter rescue {RUN_ID}` runs its node again")
    assert "TASK_FAILURE" in sentence(told, run, 0, 1), "where it is told alone"


def test_the_cause_of_a_failure_is_said_once() -> None:
    def failed(cause: Failure, said: str) -> str:
        return failure_text(Failure("CHILD_FAILED", said, FailureClass.ERROR, cause_thread=4, cause=cause))

    bank = Failure("no-money", "the limit", FailureClass.EXCEPTION)
    assert (
        failed(bank, "thread 4 failed: no-money: the limit")
        == "CHILD_FAILED (thread 4 failed) <- #4 no-money (the limit)"
    )
    silent = replace(bank, message="")
    assert failed(silent, "thread 4 failed: no-money") == "CHILD_FAILED (thread 4 failed) <- #4 no-money"
    assert failed(bank, "cut to its…") == "CHILD_FAILED (cut to its…) <- #4 no-money (the limit)"


def test_every_input_has_a_name_in_json() -> None:
    assert set(INPUTS) == set(get_args(Freeing))


documents = st.sampled_from(small_specs.NAMES).map(small_specs.document_of) | random_specs.documents()
numbers = st.lists(st.integers(0, 20_000), min_size=1, max_size=40)
thorough = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@thorough
@given(document=documents, numbers=numbers)
def test_what_is_said_to_free_a_thread_frees_it(document: dict[str, Any], numbers: list[int]) -> None:
    random = Random(document, numbers)
    assume(not random.refused)
    wf_run = random.engine.runs[RUN_ID]
    if not wf_run.exists:
        return
    told = random.told()
    check(wf_run, told)
    check_frees(random.asked, told)
    for number in told.findings:
        check_goes_on(random.asked(), number)
