"""Histories for timelines: those of scenario documents, and one that is as long as one likes."""

from collections.abc import Iterator
from pathlib import Path

from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import parse_yaml
from halter.history.logged import Logged
from halter.scenarios.definitions import DefinitionsInMemory, register
from halter.scenarios.files import read_file
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import run
from processors.core.records.commands import (
    Command,
    ExternalEvent,
    ReportTaskRun,
    RunWf,
)
from processors.core.records.model import TaskStatus
from processors.core.rules.context import Context, Limits

SCENARIOS = Path(__file__).parents[1] / "scenarios"
START_MS = 1_767_225_600_000


def after(document: str) -> MemoryEngine:
    """Return the engine after the steps of a scenario document, as far as they go."""
    scenario = read_file(SCENARIOS / f"{document}.yaml").scenario
    assert scenario is not None
    definitions, _ = register(scenario.definitions)
    engine = MemoryEngine(Context(definitions, scenario.limits), scenario.start_ms)
    run(scenario, engine, definitions)
    return engine


def definitions_of(document: str) -> DefinitionsInMemory:
    """Return the definitions of a document in YAML."""
    parsed = parse_yaml(document, "definitions")
    scenario, problems = read_scenario({"name": "definitions", **parsed.data, "steps": []}, lambda _: None)
    assert scenario is not None, problems
    definitions, refused = register(scenario.definitions)
    assert not refused, refused
    return definitions


def engine_of(definitions: DefinitionsInMemory) -> MemoryEngine:
    """Return an engine for these definitions."""
    return MemoryEngine(Context(definitions, Limits()), START_MS)


def heartbeats(events: int) -> MemoryEngine:
    """Return the engine after a history of at least so many events: heartbeats, each handled by a task."""
    engine = after("05-heartbeats-latest")
    fresh = MemoryEngine(engine.context, START_MS)
    fresh.put(RunWf("d1", "device"))
    seen = 0
    for number, command in enumerate(_heartbeats(fresh)):
        fresh.pass_time(300 + number * 7919 % 2300)
        seen += len(fresh.put(command))
        if seen >= events:
            return fresh
    raise AssertionError


def _heartbeats(engine: MemoryEngine) -> Iterator[Command]:
    number = 0
    while True:
        number += 1
        yield ExternalEvent("d1", "heartbeat", f"h{number}", number)
        if number % 3 == 0:
            yield ExternalEvent("d1", "heartbeat", f"h{number}b", number)
        while (report := _out(engine)) is not None:
            yield report


def _out(engine: MemoryEngine) -> ReportTaskRun | None:
    """Return the report of the task attempt that is out."""
    run = engine.runs["d1"]
    for thread in run.threads.values():
        if thread.task_out and (task := thread.node.task) is not None:
            at = thread.number, thread.node.position, task.attempt
            return ReportTaskRun("d1", run.incarnation, *at, TaskStatus.SUCCESS)
    return None


def log(engine: MemoryEngine, wf_run_id: str) -> list[Logged]:
    """Return the log of a WfRun."""
    return [Logged(None, entry) for entry in engine.log_of(wf_run_id)]
