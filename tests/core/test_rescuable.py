"""Which threads of a WfRun to rescue so that every failed one that can be revived is, and in which order."""

from dataclasses import replace
from pathlib import Path

import pytest

from halter.files.scenario import Post
from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import read_yaml
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import run
from processors.core.records.commands import Command, ReportTaskRun, RescueThreadRun, RunWf
from processors.core.records.events import Rejected
from processors.core.records.model import Status, TaskStatus, WfRun
from processors.core.rules.context import Context, Limits
from processors.core.rules.decide.rescues import rescuable

SCENARIOS = Path(__file__).parents[1] / "scenarios"
WITH_RESCUES = [it for it in sorted(SCENARIOS.rglob("*.yaml")) if "rescue:" in it.read_text(encoding="utf-8")]
TASK = {"work": {"kind": "TASK", "task": "t", "next": "done"}, "done": {"kind": "EXIT"}}
KIDS = {
    "tasks": {"t": {}},
    "wf_specs": [
        {
            "name": "s",
            "entrypoint": "main",
            "threads": {
                "main": {
                    "nodes": {
                        "start": {"kind": "ENTRYPOINT", "next": "first"},
                        "first": {"kind": "START_THREAD", "thread": "kid", "next": "second"},
                        "second": {"kind": "START_THREAD", "thread": "kid", "next": "own"},
                        "own": {"kind": "TASK", "task": "t", "next": "join"},
                        "join": {
                            "kind": "WAIT_FOR_THREADS",
                            "threads": [{"output": "first"}, {"output": "second"}],
                            "next": "done",
                        },
                        "done": {"kind": "EXIT"},
                    }
                },
                "kid": {"nodes": {"start": {"kind": "ENTRYPOINT", "next": "work"}, **TASK}},
            },
        }
    ],
}


def failed_at(document: Path) -> MemoryEngine:
    """Run a scenario up to its first rescue."""
    file = read_yaml(document)
    scenario, problems = read_scenario(file.data, lambda name: read_yaml(document.parent / name).data)
    assert scenario is not None, problems
    definitions, _ = register(scenario.definitions)
    engine = MemoryEngine(Context(definitions, scenario.limits), scenario.start_ms)
    does = [isinstance(it.does, Post) and isinstance(it.does.command, RescueThreadRun) for it in scenario.steps]
    verdict = run(replace(scenario, steps=scenario.steps[: does.index(True)]), engine, definitions)
    assert verdict.ok, verdict.problem
    return engine


def rejected(engine: MemoryEngine, command: Command) -> bool:
    engine.put(command)
    return any(isinstance(it.event, Rejected) for it in engine.log[-1][1])


@pytest.mark.parametrize("document", WITH_RESCUES, ids=lambda it: it.stem)
def test_each_is_revived_and_of_the_others_in_error_none_can_be(document: Path) -> None:
    engine = failed_at(document)
    for wf_run_id, it in list(engine.runs.items()):
        those = rescuable(it)
        others = [n for n, thread in it.threads.items() if thread.status is Status.ERROR and n not in those]
        for number in those:
            assert not rejected(engine, RescueThreadRun(wf_run_id, number)), (wf_run_id, number, those)
        for number in others:
            assert rejected(engine, RescueThreadRun(wf_run_id, number)), (wf_run_id, number, those)


def kids_that_failed(*numbers: int) -> MemoryEngine:
    """Return an engine in which some of the two threads have failed before thread 0 comes to wait for both."""
    scenario, problems = read_scenario({**KIDS, "name": "kids", "steps": []}, lambda name: name)
    assert scenario is not None, problems
    definitions, refused = register(scenario.definitions)
    assert not refused
    engine = MemoryEngine(Context(definitions, Limits()), scenario.start_ms)
    engine.put(RunWf("w", "s", {}))
    for number, status in (*((it, TaskStatus.FAILED) for it in numbers), (0, TaskStatus.SUCCESS)):
        thread = the_run(engine).threads[number]
        engine.put(ReportTaskRun("w", the_run(engine).incarnation, number, thread.node.position, 1, status))
    return engine


def the_run(engine: MemoryEngine) -> WfRun:
    return engine.runs["w"]


def test_the_one_that_made_the_wait_fail_comes_last() -> None:
    """Or the wait would begin anew while the other is still in ERROR, and fail again."""
    engine = kids_that_failed(1, 2)
    assert {it.status for it in the_run(engine).threads.values()} == {Status.ERROR}
    assert rescuable(the_run(engine)) == [2, 1]
    for number in (2, 1):
        assert not rejected(engine, RescueThreadRun("w", number))
    assert {it.status for it in the_run(engine).threads.values()} == {Status.RUNNING}


def test_nothing_is_to_be_rescued_where_nothing_failed() -> None:
    assert rescuable(the_run(kids_that_failed())) == []
