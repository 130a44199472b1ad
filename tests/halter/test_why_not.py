"""What became of an ExternalEvent: everything is told that the rows know, and why nothing has taken it."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from halter.files.scenario_document import read_scenario
from halter.history.logged import Logged
from halter.history.why_not import Became, Fate, Obstacle, Outside, Seen, WhyNot, why_not
from halter.history.why_not_text import unclaimed_sentence, why_not_data, why_not_sentences
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.show.waiting_text import NO_BREAK
from processors.core.records.commands import Command, ExternalEvent, RescueThreadRun, RunWf, RunWfAndPost, StopWfRun
from processors.core.records.model import ExternalEventStatus, WfRun
from processors.core.records.topic_names import EXTERNAL_EVENTS, WF_COMMANDS
from processors.core.rules.context import Context
from processors.fold.inputs import command_id_of
from tests.support.recorded import documents, engine_of, names, numbers, random_engine

STATUS = {
    Fate.CLAIMED: ExternalEventStatus.CLAIMED,
    Fate.PENDING: ExternalEventStatus.CLAIMED,
    Fate.HANDLED: ExternalEventStatus.CLAIMED,
    Fate.SUPERSEDED: ExternalEventStatus.SUPERSEDED,
    Fate.DROPPED: ExternalEventStatus.DROPPED,
}
thorough = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def told_of(engine: MemoryEngine, wf_run_id: str, event_id: str, outside: Outside | None = None) -> WhyNot:
    return why_not(engine.runs[wf_run_id], log_of(engine, wf_run_id), event_id, outside or Outside())


def log_of(engine: MemoryEngine, wf_run_id: str) -> list[Logged]:
    """The log with the ids of ExternalEvents in their causes, where the fold has them and the engine in memory not."""
    return [
        Logged(None, replace(entry, cause=replace(entry.cause, command_id=command_id_of(command))))
        for command, entries in engine.log
        if command.wf_run_id == wf_run_id
        for entry in entries
    ]


def check_engine(engine: MemoryEngine) -> Iterator[Became]:
    """Check what is told of every ExternalEvent that an engine was ever sent, or that came along with a fork."""
    sent = [(it.wf_run_id, it.external_event_id) for it, _ in engine.log if isinstance(it, ExternalEvent)]
    along = [(name, event_id) for name, run in engine.runs.items() for _, event_id in run.external_events]
    for wf_run_id, event_id in [*sent, *(it for it in along if it not in sent)]:
        wf_run = engine.runs[wf_run_id]
        told = told_of(engine, wf_run_id, event_id)
        assert all(it.fate is not Fate.UNKNOWN for it in told.became), (wf_run_id, told)
        said = list(why_not_sentences(told, wf_run))
        assert len(said) == len(told.became)
        assert json.loads(json.dumps(why_not_data(told, wf_run)))["became"]
        check_against_rows(wf_run, told)
        yield from told.became


def check_against_rows(wf_run: WfRun, told: WhyNot) -> None:
    """What the log tells of each thread is what the row of the ExternalEvent has."""
    for (name, event_id), event in wf_run.external_events.items():
        if event_id != told.external_event_id:
            continue
        of_it = [it for it in told.became if it.external_event_def == name and it.fate is not Fate.DELETED]
        by_thread = {it.thread: STATUS[it.fate] for it in of_it if it.fate in STATUS and it.thread is not None}
        by_thread |= {it.thread: ExternalEventStatus(it.reason or "") for it in of_it if it.fate is Fate.CAME_ALONG}
        assert by_thread == {it.thread: it.status for it in event.outcomes or ()}
        unclaimed = [it for it in of_it if it.fate is Fate.UNCLAIMED]
        assert bool(unclaimed) == (event.status is ExternalEventStatus.UNCLAIMED)
        for it in unclaimed:
            assert it.hindrances, f"nothing stands in the way of {event}"
            assert it.origin is not None


@thorough
@given(spec=names, chosen=numbers)
def test_what_became_of_an_event_is_what_the_rows_have(spec: str, chosen: list[int]) -> None:
    for _ in check_engine(random_engine(spec, chosen)):
        pass


@pytest.fixture(scope="module")
def told() -> list[Became]:
    """What is told of all ExternalEvents of all scenarios."""
    return [became for name in documents() for became in check_engine(engine_of(name))]


def test_every_fate_is_told_somewhere(told: list[Became]) -> None:
    """Those of the fold and of what lies outside of the log have tests of their own."""
    outside = {Fate.KEPT, Fate.SKIPPED, Fate.DEAD_LETTER, Fate.NOT_FOLDED, Fate.FORGOTTEN, Fate.UNKNOWN}
    assert {it.fate for it in told} == set(Fate) - outside


def engine() -> MemoryEngine:
    """An engine with a WfSpec in which everything can stand in the way of an ExternalEvent."""
    scenario, problems = read_scenario({**yaml.safe_load(DOCUMENT), "steps": []}, str)
    assert scenario is not None, problems
    definitions, refused = register(scenario.definitions)
    assert not refused
    return MemoryEngine(Context(definitions), 0)


DOCUMENT = """
name: in the way
external_events: {go: {}, kid: {}, i: {}, late: {}, done: {}, nowhere: {}}
tasks: {t: {}}
wf_specs:
  - name: s
    entrypoint: main
    threads:
      main:
        interrupts: [{event: i, handler: h}]
        nodes:
          start: {kind: ENTRYPOINT, next: gate}
          gate: {kind: EXTERNAL_EVENT, event: go, timeout_s: 5, next: slow, on_failure: [{catch: TIMEOUT, handler: f}]}
          slow: {kind: START_THREAD, thread: slow, next: fast}
          fast: {kind: START_THREAD, thread: fast, next: any}
          any: {kind: WAIT_FOR_THREADS, strategy: ANY, threads: [{output: slow}, {output: fast}], next: late}
          late: {kind: EXTERNAL_EVENT, event: late, timeout_s: 5, next: end}
          end: {kind: EXIT}
      slow:
        nodes:
          start: {kind: ENTRYPOINT, next: work}
          work: {kind: TASK, task: t, next: kid}
          kid: {kind: EXTERNAL_EVENT, event: kid, next: end}
          end: {kind: EXIT}
      fast: {nodes: {start: {kind: ENTRYPOINT, next: end}, end: {kind: EXIT}}}
      h: {nodes: {start: {kind: ENTRYPOINT, next: end}, end: {kind: EXIT}}}
      f:
        nodes:
          start: {kind: ENTRYPOINT, next: wait}
          wait: {kind: EXTERNAL_EVENT, event: done, next: end}
          end: {kind: EXIT}
"""
RUN, STOP, RESCUE = RunWf("w", "s"), StopWfRun("w"), RescueThreadRun("w")


def event(name: str, event_id: str = "e", thread: int | None = None) -> ExternalEvent:
    return ExternalEvent("w", name, event_id, None, thread)


@pytest.mark.parametrize(
    ("obstacle", "steps", "thread"),
    [
        (Obstacle.NOT_STARTED, [event("go")], None),
        (Obstacle.NOT_NAMED, [RUN, event("nowhere")], None),
        (Obstacle.NOT_NAMED, [RUN, event("go", "go"), event("i", thread=1)], 1),
        (Obstacle.NO_SUCH_THREAD, [RUN, event("go", thread=7)], 7),
        (Obstacle.NO_LIVE_THREAD, [RUN, event("kid")], None),
        (Obstacle.NOT_THERE_YET, [RUN, event("late")], 0),
        (Obstacle.TOO_LATE, [RUN, 5_000, event("go")], 0),
        (Obstacle.TOO_LATE, [RUN, "5 s", event("go")], 0),
        (Obstacle.TOO_LATE, [RUN, "5 s", event("done", "done"), event("go")], 0),
        (Obstacle.TOO_LATE, [RUN, event("go", "go"), "5 s", event("late")], 0),
        (Obstacle.HALTED_THERE, [RUN, STOP, event("go")], 0),
        (Obstacle.BEHIND, [RUN, STOP, event("go", "first"), event("go")], 0),
        (Obstacle.NODE_FAILED, [RUN, "5 s", event("go")], 0),
        (Obstacle.CANNOT_RESUME, [RUN, event("go", "go"), event("kid")], 1),
        (Obstacle.CAME_BEFORE, [event("i"), RUN], 0),
        (Obstacle.OVER, [RUN, event("go", "go"), "5 s", event("i")], None),
        (Obstacle.MISSED, [RUN, event("go", "go"), "5 s", event("i"), RESCUE], 0),
    ],
)
def test_what_stands_in_the_way_is_named(
    obstacle: Obstacle, steps: list[Command | int | str], thread: int | None
) -> None:
    memory = engine()
    for step in steps:
        if isinstance(step, int):  # the clock goes on, and the owner of the partition has not fired its timers yet
            memory.time_ms += step
        elif isinstance(step, str):
            memory.pass_time(int(step.split()[0]) * 1000)
        else:
            memory.put(step)
    (became,) = told_of(memory, "w", "e").became
    assert became.fate is Fate.UNCLAIMED
    run = memory.runs["w"]
    (posted,) = (it for it in run.external_events.values() if it.external_event_id == "e")
    assert f"{posted.external_event_def} e " in unclaimed_sentence(run, posted)
    assert (obstacle, thread) in {(it.obstacle, it.thread) for it in became.hindrances}


def test_a_node_whose_time_is_over_is_in_the_way_of_later_events_only() -> None:
    memory = engine()
    for step in (RUN, event("late", "in time"), event("go", "go")):
        memory.put(step)
    memory.pass_time(5_000)
    memory.put(event("late"))
    assert [it.fate for it in told_of(memory, "w", "in time").became] == [Fate.CLAIMED]
    assert Obstacle.TOO_LATE not in {it.obstacle for it in told_of(memory, "w", "e").became[0].hindrances}


def test_a_sentence_says_what_an_event_came_too_late_for() -> None:
    memory = engine()
    memory.put(RUN)
    memory.put(event("go", "go"))
    memory.pass_time(5_000)
    memory.put(event("late"))
    (said,) = why_not_sentences(told_of(memory, "w", "e"), memory.runs["w"])
    said = said.replace(NO_BREAK, " ")
    late = "it came too late for node late of #0 main, over since 1970-01-01T00:00:05.000Z"
    assert said.endswith(f"{late}; the WfRun is ERROR")


def test_what_lies_outside_of_the_log_is_told_where_the_log_is_silent() -> None:
    memory = engine()
    memory.put(RUN)
    letter = Seen("dead-letters", 0, 3, 0, "go", "KEY_MISMATCH", "expected …, found …")
    behind, before = (Seen(EXTERNAL_EVENTS, 0, offset, 0, "go") for offset in (9, 2))
    known = {
        Fate.DEAD_LETTER: Outside(dead_letters=(letter,), folded={EXTERNAL_EVENTS: 4}, end={EXTERNAL_EVENTS: 10}),
        Fate.NOT_FOLDED: Outside(records=(behind,), folded={EXTERNAL_EVENTS: 4}, end={EXTERNAL_EVENTS: 10}),
        Fate.FORGOTTEN: Outside(records=(before,), folded={EXTERNAL_EVENTS: 4}, end={EXTERNAL_EVENTS: 10}),
        Fate.UNKNOWN: Outside(folded={EXTERNAL_EVENTS: 4}, end={EXTERNAL_EVENTS: 10}),
    }
    for fate, outside in known.items():
        told = told_of(memory, "w", "e", outside)
        assert [it.fate for it in told.became] == [fate]
        assert list(why_not_sentences(told, memory.runs["w"]))
    (said,) = why_not_sentences(told_of(memory, "w", "e", known[Fate.NOT_FOLDED]), memory.runs["w"])
    assert said == (
        "go e is not folded yet (external-events[0]@9): external-events[0] is folded up to 4 of 10, 5 records before it"
    )


def test_a_record_that_the_log_tells_of_is_not_told_again() -> None:
    memory = engine()
    memory.put(RUN)
    memory.put(event("go"))
    at, seen = {EXTERNAL_EVENTS: 1}, Seen(EXTERNAL_EVENTS, 0, 0, 0, "go")
    outside = Outside(records=(seen,), folded=at, end=at)
    assert [it.fate for it in told_of(memory, "w", "e", outside).became] == [Fate.CLAIMED]


def test_a_refused_start_with_its_event_is_told_by_where_its_record_is() -> None:
    memory = engine()
    memory.put(RUN)
    memory.put(RunWfAndPost("w", "s", "unheard-of", "e"))
    at, seen = {WF_COMMANDS: 2}, Seen(WF_COMMANDS, 0, 1, 0, "unheard-of")
    told = told_of(memory, "w", "e", Outside(records=(seen,), folded=at, end=at))
    assert [(it.external_event_def, it.fate) for it in told.became] == [("unheard-of", Fate.REJECTED)]
    (said,) = why_not_sentences(told, memory.runs["w"])
    assert "(wf-commands[0]@1): INVALID_ARGUMENT: RunWfAndPost" in said


def test_an_id_may_be_that_of_several_events() -> None:
    memory = engine()
    for step in (RUN, event("go"), event("late"), event("late"), event("nowhere")):
        memory.put(step)
    told = told_of(memory, "w", "e").became
    assert [(it.external_event_def, it.fate) for it in told] == [
        ("go", Fate.CLAIMED), ("late", Fate.CLAIMED), (None, Fate.REJECTED), ("nowhere", Fate.UNCLAIMED),
    ]  # fmt: skip
    log = log_of(memory, "w")
    only = why_not(memory.runs["w"], log, "e", Outside(), "late").became
    assert {it.external_event_def for it in only} <= {"late", None}
