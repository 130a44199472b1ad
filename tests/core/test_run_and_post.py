"""RunWfAndPost: what RunWf and ExternalEvent do one after the other, all or nothing."""

from typing import Any

from hypothesis import HealthCheck, assume, settings
from hypothesis import given as any_of
from hypothesis import strategies as st

from halter.explore.states import restored
from halter.files.scenario_document import read_scenario
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from processors.core.records.commands import Command, ExternalEvent, PutExternalEventDef, RunWf, RunWfAndPost, StopWfRun
from processors.core.records.events import (
    Cause,
    ExternalEventPosted,
    LogEntry,
    Rejected,
    RejectionCode,
    ThreadCompleted,
    WfRunStarted,
)
from processors.core.records.model import WfRun
from processors.core.records.topic_names import WF_COMMANDS
from processors.core.records.values import VariableType
from processors.core.rules.context import Context, Limits
from processors.core.rules.engine import attach, handle, new_run
from tests.support import random_specs, small_specs
from tests.support.random_commands import RUN_ID, Producers
from tests.support.scenario import START_MS, event, given, like, report, run_and_post
from tests.support.states import state_key

LIMITS = Limits(live_threads=40)
DOCUMENTS = st.one_of(st.sampled_from(small_specs.NAMES).map(small_specs.document_of), random_specs.documents())
SERIAL = """
external_events: {add: {type: INT}, go: {}}
tasks: {t: {}}
wf_specs:
  - name: small
    entrypoint: main
    threads:
      main:
        variables: {total: {type: INT, default: 0}}
        interrupts: [{event: add, handler: on-add, policy: serial}]
        nodes:
          start: {kind: ENTRYPOINT, next: work}
          work: {kind: TASK, task: t, next: wait}
          wait: {kind: EXTERNAL_EVENT, event: go, next: end}
          end: {kind: EXIT, return: {var: total}}
      on-add:
        variables: {INPUT: {type: INT}}
        nodes:
          start: {kind: ENTRYPOINT, next: {to: end, set: [{var: total, op: ASSIGN, value: {var: INPUT}}]}}
          end: {kind: EXIT}
"""


class Copies:
    """Folds commands on copies of a WfRun in one state, all as if they came in the same record."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine, self._of = engine, engine.runs.get(RUN_ID) or new_run(RUN_ID)

    def fold(self, *commands: Command) -> tuple[list[LogEntry], WfRun]:
        """Return what the last of the commands, and those before it, bring about, and the state afterwards."""
        context, cause = self._engine.context, Cause(WF_COMMANDS, 0, 1_000_000, None, 0)
        run = attach(restored(self._of), context)
        return [it for each in commands for it in handle(run, each, cause, self._engine.time_ms, context)], run

    def check(self, command: RunWfAndPost) -> None:
        """Check that it does what its two commands do, or nothing if one of them is refused."""
        entries, after = self.fold(command)
        start, event_ = command.start(), command.event()
        is_early = (command.external_event_def, command.external_event_id) in self._of.external_events
        if self._of.exists:
            expected, then = self.fold(event_)
        elif is_early:
            expected, then = self.fold(start)
        else:
            expected, then = self.fold(start, event_)
        if _is_refused(entries):
            assert _is_refused(expected)
            assert len(entries) == 1
            assert state_key(after) == state_key(attach(restored(self._of), self._engine.context))
        else:
            assert entries == expected
            assert state_key(after) == state_key(then)


def _is_refused(entries: list[LogEntry]) -> bool:
    return any(isinstance(it.event, Rejected) for it in entries)


# (rules start-then-post, start-and-post-all-or-nothing, start-and-post-repeat)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@any_of(document=DOCUMENTS, numbers=st.lists(st.integers(0, 20_000), max_size=25))
def test_it_does_what_its_two_commands_do_one_after_the_other_or_nothing(
    document: dict[str, Any], numbers: list[int]
) -> None:
    scenario, problems = read_scenario({**document, "steps": []}, lambda name: name)
    assert scenario is not None, problems
    definitions, refused = register(scenario.definitions)
    assume(not refused)
    engine = MemoryEngine(Context(definitions, LIMITS), START_MS)
    names = list(document["external_events"])
    producers = Producers(names)
    for number in [*numbers, 0]:
        copies, run = Copies(engine), engine.runs.get(RUN_ID) or new_run(RUN_ID)
        for name in (*names, "unknown"):
            for content in (1, "text"):
                copies.check(RunWfAndPost(RUN_ID, "small", name, "new", content=content))
        for key in list(run.external_events)[-3:]:
            copies.check(RunWfAndPost(RUN_ID, "small", *key))
        copies.check(RunWfAndPost(RUN_ID, "unknown", *names[:1], "new"))
        copies.check(RunWfAndPost(RUN_ID, "small", *names[:1], "new", {"unknown": 1}))
        engine.put(producers.choose(run, number))


# (rule arrival-across-topics)
def test_events_are_taken_in_the_order_of_the_log_whatever_the_offsets_of_their_topics_are() -> None:
    history = given(SERIAL)
    for number in range(5):  # so that offsets of `external-events` are far ahead
        history.engine.put(ExternalEvent("another", "go", f"e{number}"))
    history.when(event("add", 1, id="a")).when(run_and_post("add", 2, id="b")).when(event("add", 3, id="c"))
    history.when(run_and_post("add", 4, id="d"))
    offsets = [it.posted_offset for it in history.run.external_events.values()]
    assert offsets != sorted(offsets)
    assert [event_id for _, event_id in history.run.external_events] == ["a", "b", "c", "d"]
    history.when(report())  # the handlers start one after the other, and the last one assigns last
    history.when(event("go")).then_among_others(like(ThreadCompleted, thread=0, output=4))


# (rule command-id-decided-once)
def test_the_id_of_its_event_is_no_command_id() -> None:
    history = given(SERIAL, run_and_post("go", id="x"))
    assert history.run.command_ids == []
    history.when(StopWfRun(RUN_ID, command_id="x")).then_not(like(Rejected))
    again = RunWfAndPost(RUN_ID, "small", "go", "y", command_id="x")
    history.when(again).then_rejected(RejectionCode.ALREADY_EXISTS)


# (rule start-and-post-all-or-nothing)
def test_the_event_is_checked_by_the_revision_that_the_version_to_run_binds() -> None:
    history = given(SERIAL)
    assert not history.engine.register([PutExternalEventDef("add", VariableType.STR)])
    history.when(run_and_post("add", "text")).then_rejected(RejectionCode.INVALID_ARGUMENT)
    [rejected] = history.events
    assert isinstance(rejected, Rejected)
    assert "which small:0.0 binds" in rejected.message
    assert not history.run.exists
    history.when(run_and_post("add", 7)).then_among_others(like(WfRunStarted), like(ExternalEventPosted, content=7))


def test_its_sentence_names_the_command_that_was_sent() -> None:
    history = given(SERIAL, RunWf(RUN_ID, "small"), run_and_post("go", id="x")).when(run_and_post("go", id="x"))
    [rejected] = history.events
    assert isinstance(rejected, Rejected)
    assert rejected.command == "RunWfAndPost"
    assert rejected.message.startswith(f"RunWfAndPost for WfRun '{RUN_ID}': ExternalEvent 'go' 'x' was posted before")
