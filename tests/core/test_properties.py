"""Any WfSpec, any commands, any cut: what holds whatever happens."""

import os
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st

from halter.files.scenario_document import read_scenario
from halter.scenarios.comparison import difference
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from processors.core.records.commands import Command, TimerFired
from processors.core.records.events import LogEntry
from processors.core.records.model import Changes, WfRun
from processors.core.rules.context import Context, Limits
from processors.core.rules.engine import handle, new_run
from tests.support import random_specs, small_specs
from tests.support.checked_engine import CheckedEngine
from tests.support.compiled_core import IS_COMPILED, replaces_a_rule
from tests.support.looking_everywhere import looking_everywhere
from tests.support.random_commands import RUN_ID, Producers
from tests.support.reached import reached

START_MS = 1_767_225_600_000
ASKED = os.environ.get("HALTER_EXAMPLES")
EXAMPLES = int(ASKED or "60")
STEPS_MS = (0, 0, 0, 1, 1_000, 10_000, -5_000)
"""What may lie between two records; their time may run backwards, the WfRun's does not."""

FEW_THREADS = Limits(live_threads=40)
"""Handlers of handlers soon come to the cap; with a lower one that takes less time."""
thorough_in_python = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For a test that the compiled core cannot be tested with."""
thorough = settings(thorough_in_python, max_examples=EXAMPLES if IS_COMPILED or ASKED else EXAMPLES // 3)
"""`make test` has all examples with the compiled core, and a third as many again with the slower one in Python."""
small = st.sampled_from(small_specs.NAMES).map(small_specs.document_of)
COMMANDS_MAX = 80
number = st.integers(0, 20_000)
numbers = st.sampled_from([1, 25, 50, 50]).flatmap(
    lambda least: st.lists(number, min_size=least, max_size=COMMANDS_MAX)
)


class History:
    """A WfRun whose producers do what some numbers say; everything is checked after each command."""

    def __init__(self, document: dict[str, Any], numbers: list[int], limits: Limits) -> None:
        scenario, problems = read_scenario({**document, "steps": []}, lambda name: name)
        assert scenario is not None, problems
        definitions, refused = register(scenario.definitions)
        assume(not refused)
        self.context = Context(definitions, limits)
        self.engine = CheckedEngine(self.context, START_MS)
        self.taken: list[Taken] = []
        producers = Producers(list(document["external_events"]))
        for number in numbers:
            run = self.engine.runs.get(RUN_ID) or new_run(RUN_ID)
            command = producers.choose(run, number // len(STEPS_MS))
            self._tick(command, STEPS_MS[number % len(STEPS_MS)])
            self._take(command)
        for what in sorted(reached(self.engine)):
            event(what)

    def _tick(self, command: Command, step_ms: int) -> None:
        now = self.engine.time_ms + step_ms
        # A timer mostly comes when it is due; with a step backwards it comes early.
        self.engine.time_ms = max(now, command.due_ms) if isinstance(command, TimerFired) and step_ms >= 0 else now

    def _take(self, command: Command) -> None:
        self.taken.append(Taken(command, self.engine.time_ms, self.engine.put(command)))


@dataclass(frozen=True, slots=True)
class Taken:
    """A record as it was folded, and its outcome."""

    command: Command
    time_ms: int
    entries: list[LogEntry]

    def fold_again(self, run: WfRun, context: Context) -> None:
        """Fold the same record on another WfRun in the same state: the outcome is the same."""
        entries = handle(run, self.command, self.entries[0].cause, self.time_ms, context)
        run.changes = Changes()
        assert entries == self.entries, "what is restored goes on as what was lost would have"


@thorough
@given(document=small, numbers=numbers)
def test_the_rules_hold_for_any_commands(document: dict[str, Any], numbers: list[int]) -> None:
    History(document, numbers, FEW_THREADS)


@thorough
@given(document=random_specs.documents(), numbers=numbers)
def test_the_rules_hold_for_any_wf_spec(document: dict[str, Any], numbers: list[int]) -> None:
    History(document, numbers, FEW_THREADS)


@thorough
@given(document=small | random_specs.documents(), numbers=numbers, data=st.data())
def test_what_is_restored_at_any_cut_goes_on_as_if_nothing_had_been_lost(
    document: dict[str, Any], numbers: list[int], data: st.DataObject
) -> None:
    history = History(document, numbers, FEW_THREADS)
    cut = data.draw(st.integers(1, len(history.taken)))
    before = MemoryEngine(history.context, START_MS)
    for taken in history.taken[:cut]:
        before.time_ms = taken.time_ms
        before.put(taken.command)
    live, from_log = before.runs[RUN_ID], before.replayed(RUN_ID)
    from_rows = before.rows[RUN_ID].restore(history.context)
    for restored in (from_rows, from_log):
        assert difference(live, restored) is None
        for taken in history.taken[cut:]:
            taken.fold_again(restored, history.context)
        assert difference(history.engine.runs[RUN_ID], restored) is None


@replaces_a_rule
@thorough_in_python
@given(document=small | random_specs.documents(), numbers=numbers)
def test_the_index_leads_to_all_that_looking_at_everything_would_find(
    document: dict[str, Any], numbers: list[int]
) -> None:
    history = History(document, numbers, FEW_THREADS)
    everywhere = MemoryEngine(history.context, START_MS)
    with looking_everywhere():
        for taken in history.taken:
            everywhere.time_ms = taken.time_ms
            assert everywhere.put(taken.command) == taken.entries


@thorough
@given(document=small | random_specs.documents(), numbers=numbers, live_threads=st.integers(1, 4))
def test_the_rules_hold_at_the_cap_of_live_threads(
    document: dict[str, Any], numbers: list[int], live_threads: int
) -> None:
    History(document, numbers, Limits(live_threads=live_threads))


WAITING = {
    "nodes": {
        "start": {"kind": "ENTRYPOINT", "next": "n0"},
        "n0": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "end"},
        "end": {"kind": "EXIT"},
    }
}
FAILS_WITH_ITS_ATTEMPT_OUT: dict[str, Any] = {
    "name": "random",
    "external_events": {"i": {}, "j": {}, "k": {}, "go": {}, "x": {}},
    "workflow_events": {"told": {"type": "INT"}},
    "tasks": {"t": {}},
    "wf_specs": [
        {
            "name": "small",
            "entrypoint": "main",
            "threads": {
                "main": {
                    "nodes": {
                        "start": {"kind": "ENTRYPOINT", "next": "n0"},
                        "n0": {"kind": "TASK", "task": "t", "next": "end"},
                        "end": {"kind": "EXIT"},
                    },
                    "interrupts": [{"event": "i", "handler": "a"}, {"event": "j", "handler": "a"}],
                    "variables": {
                        "n": {"type": "INT", "default": 2},
                        "moment": {"type": "INT", "default": 1_767_225_605_000},
                    },
                },
                "a": WAITING | {"interrupts": [{"event": "k", "handler": "a"}]},
                "b": WAITING,
                "c": WAITING,
            },
        }
    ],
}
"""At a bound of three events thread 0 fails behind its request. A rescue passes on from there."""


@thorough
@example(document=FAILS_WITH_ITS_ATTEMPT_OUT, numbers=[0, 882], bound=3)
@given(document=small | random_specs.documents(), numbers=numbers, bound=st.integers(1, 15))
def test_the_rules_hold_at_the_bound_on_events(document: dict[str, Any], numbers: list[int], bound: int) -> None:
    History(document, numbers, Limits(live_threads=40, events_per_command=bound))
