"""Engines in memory that have run something: every scenario document, or commands that Hypothesis chooses."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hypothesis import assume
from hypothesis import strategies as st

from halter.history.logged import Logged
from halter.scenarios.definitions import register
from halter.scenarios.files import read_file
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import run
from processors.core.records.events import Event
from processors.core.rules.context import Context
from processors.core.rules.engine import new_run
from tests.support import small_specs
from tests.support.random_commands import RUN_ID, Producers

SCENARIOS = Path(__file__).parents[1] / "scenarios"
START_MS = 1_767_225_600_000
EVERY_KIND = (
    "S3.1-a-handler-is-a-thread-like-any-other",
    "V15-a-deleted-WfRun-leaves-nothing",
    "N14-a-child-that-is-halted-at-its-start-takes-early-events-before-later-ones",
    "F18-ANY-completes-with-one-success",
    "S4.6-rescue-of-a-node-whose-event-was-used-up",
    "N06-failures-are-looked-at-before-each-launch",
    "V20-a-WfSpec-put-again-binds-the-newest-revision",
    "S3.2-a-time-that-cannot-be-computed-at-arrival-fails-the-node-when-the-thread-runs",
    "S7-ForkWfRun",
    "S2.6-a-second-start-of-an-attempt-prolongs-nothing",
    "S2.6-progress-goes-to-the-next-attempt",
    "S7-MigrateWfRun-goes-on",
    "K01-a-key-follows-its-Variable",
)
"""Documents in which every kind of event occurs that a scenario can have. A test holds that."""

numbers = st.lists(st.integers(0, 20_000), min_size=1, max_size=60)
names = st.sampled_from(small_specs.NAMES)


@cache
def engine_of(name: str) -> MemoryEngine:
    """Return the engine that has run a document of tests/scenarios."""
    scenario = read_file(SCENARIOS / f"{name}.yaml").scenario
    assert scenario is not None
    definitions, _ = register(scenario.definitions)
    engine = MemoryEngine(Context(definitions, scenario.limits), scenario.start_ms)
    if scenario.definitions_rejected is None:
        verdict = run(scenario, engine, definitions)
        assert verdict.ok, verdict.problem
    return engine


def documents() -> list[str]:
    """Return the names of all documents of tests/scenarios."""
    return sorted(path.stem for path in SCENARIOS.glob("*.yaml"))


def kinds_in(name: str) -> set[type[Event]]:
    """Return the kinds of events that a document has."""
    return {type(entry.event) for _, entries in engine_of(name).log for entry in entries}


def logs_of(engine: MemoryEngine) -> Iterator[tuple[str, list[Logged]]]:
    """Yield each WfRun id and its log."""
    for wf_run_id in engine.runs:
        yield wf_run_id, [Logged(None, entry) for entry in engine.log_of(wf_run_id)]


def random_engine(spec: str, chosen: list[int]) -> MemoryEngine:
    """Return an engine that has run a small WfSpec, with commands that these numbers stand for."""
    from halter.files.scenario_document import read_scenario

    document = small_specs.document_of(spec)
    scenario, problems = read_scenario({**document, "steps": []}, lambda name: name)
    assert scenario is not None, problems
    definitions, refused = register(scenario.definitions)
    assume(not refused)
    engine = MemoryEngine(Context(definitions), START_MS)
    producers = Producers(list(document["external_events"]))
    for number in chosen:
        engine.time_ms += number % 3 * 500
        engine.put(producers.choose(engine.runs.get(RUN_ID) or new_run(RUN_ID), number))
    return engine
