"""Every event, task request, dead letter and row leads back to its record, and every record to what it caused."""

from typing import Any

import pytest
import yaml

from halter.files.scenario_document import read_scenario
from halter.history.causes import (
    asked_by,
    effects_of,
    event_with,
    origin_of_dead_letter,
    origin_of_kept,
    place_of,
    written_by,
)
from halter.history.logged import Logged
from halter.history.moments import Moments
from halter.history.origins import Origins
from halter.history.why import Release, Stage, why
from halter.history.why_not import Fate, Outside, why_not
from halter.history.why_text import stage_text
from processors.codec import Codec
from processors.core.records.commands import (
    ExternalEvent,
    QuarantineWfRun,
    ReleaseWfRun,
    ReportTaskRun,
    RunWf,
    SkipRecord,
    TimerFired,
)
from processors.core.records.events import LogEntry, TaskAttemptEnded, TaskAttemptRequested, TaskRequest
from processors.core.records.model import KeptInput, TaskStatus, ThreadRun, WfRun, WfRunExternalEvent
from tests.support.shard_rig import ShardRig

DOCUMENT = """
name: causes
external_events: {i: {}, go: {}}
tasks: {t: {}}
wf_specs:
  - name: s
    entrypoint: main
    threads:
      main:
        interrupts: [{event: i, handler: h}]
        nodes:
          start: {kind: ENTRYPOINT, next: work}
          work: {kind: TASK, task: t, retries: 2, backoff: {base_ms: 1000}, timeout_s: 10, next: sleep}
          sleep: {kind: SLEEP, seconds: 5, next: wait}
          wait: {kind: EXTERNAL_EVENT, event: go, next: end}
          end: {kind: EXIT}
      h: {nodes: {start: {kind: ENTRYPOINT, next: work}, work: {kind: TASK, task: t, next: end}, end: {kind: EXIT}}}
"""


class Recorded:
    """A shard that has folded records, with its log and the way to each record."""

    def __init__(self) -> None:
        self.rig = ShardRig()
        scenario, problems = read_scenario({**yaml.safe_load(DOCUMENT), "steps": []}, str)
        assert scenario is not None, problems
        self.rig.turn(*scenario.definitions)

    @property
    def codec(self) -> Codec:
        return self.rig.codec

    @property
    def log(self) -> list[Logged]:
        found = []
        for offset, (_, value) in enumerate(self.rig.log_records):
            assert value is not None
            entry = self.codec.decode(value)
            assert isinstance(entry, LogEntry)
            found.append(Logged(offset, entry))
        return found

    def report(self, status: TaskStatus = TaskStatus.SUCCESS) -> None:
        """Report the attempt that was requested last."""
        request = [it for it in self.outputs("task-requests") if isinstance(it, TaskRequest)][-1]
        at = (request.incarnation, request.thread, request.position, request.attempt)
        self.rig.turn(ReportTaskRun("w", *at, status))

    def outputs(self, topic: str) -> list[Any]:
        return [self.codec.decode(it.value) for it in self.rig.outputs if it.topic == topic and it.value is not None]

    def pass_time(self, milliseconds: int) -> None:
        self.rig.now_ms += milliseconds
        self.rig.fire_due()


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    it = Recorded()
    it.rig.turn(RunWf("w", "s", command_id="run"))
    it.report(TaskStatus.FAILED)
    it.pass_time(1_000)  # back-off
    it.rig.turn(ExternalEvent("w", "i", "e1"))
    it.pass_time(10_000)  # the time-out of the second attempt: the thread halts, and the handler starts
    it.report()
    it.pass_time(20_000)
    it.report()
    it.pass_time(5_000)
    it.rig.turn(it.rig.record("external-events", b"w", b"no Avro"))
    it.rig.turn(QuarantineWfRun("w", operator="Ann"))
    it.rig.turn(ExternalEvent("w", "go", "kept"))
    return it


def test_each_event_is_the_effect_of_one_record_and_leads_back_to_it(recorded: Recorded) -> None:
    log = recorded.log
    told = []
    for read in recorded.rig.inputs:
        effects = effects_of(log, (read.topic, read.partition, read.offset)).events
        told += effects
        for logged in effects:
            if logged.entry.seq:
                assert event_with(log, logged.entry.seq) == logged
            assert place_of(logged.entry.cause) == (read.topic, read.partition, read.offset)
    assert sorted(it.offset or 0 for it in told) == [it.offset for it in log]


def test_what_came_back_for_a_request_or_a_timer_is_told_with_it(recorded: Recorded) -> None:
    log = recorded.log
    answers = [answer for read in recorded.rig.inputs
               for answer in effects_of(log, (read.topic, read.partition, read.offset)).answers]  # fmt: skip
    asked = [it for it in log if type(it.entry.event).__name__ in ("TaskAttemptRequested", "TimerArmed")]
    assert {it.effect.offset for it in answers} >= {it.offset for it in asked}, "all of them were answered here"
    for answer in answers:
        command = next(recorded.codec.decode(it.value or b"") for it in recorded.rig.inputs
                       if (it.topic, it.offset) == place_of(answer.event.entry.cause)[::2])  # fmt: skip
        assert isinstance(command, ReportTaskRun | TimerFired)
        assert asked_by(log, command) == answer.effect


def test_a_task_request_leads_back_to_the_event_and_its_record(recorded: Recorded) -> None:
    requests = recorded.outputs("task-requests")
    assert len(requests) > 2
    for request in requests:
        logged = asked_by(recorded.log, request)
        assert logged is not None
        assert isinstance(logged.entry.event, TaskAttemptRequested)
        assert logged.entry.event.attempt == request.attempt


def test_a_task_cancellation_leads_back_to_the_event_and_its_record(recorded: Recorded) -> None:
    cancellations = recorded.outputs("task-cancellations")
    assert cancellations
    for it in cancellations:
        logged = written_by(recorded.log, it)
        assert logged is not None
        assert isinstance(logged.entry.event, TaskAttemptEnded)
        assert (logged.entry.event.thread, logged.entry.event.attempt) == (it.thread, it.attempt)


def test_a_dead_letter_leads_back_to_its_record(recorded: Recorded) -> None:
    (letter,) = [it for it in recorded.rig.outputs if it.topic == "dead-letters"]
    place = origin_of_dead_letter(letter.headers)
    assert place is not None
    assert [it.value for it in recorded.rig.inputs if (it.topic, it.partition, it.offset) == place] == [b"no Avro"]
    assert origin_of_dead_letter(()) is None
    assert origin_of_dead_letter((("halter.topic", b"x"), ("halter.partition", b"y"), ("halter.offset", b"z"))) is None


def test_a_row_leads_back_to_the_newest_event_that_changed_it(recorded: Recorded) -> None:
    log = recorded.log
    seen = set()
    for topic, rows in recorded.rig.tables.items():
        for value in rows.values():
            row = recorded.codec.decode(value)
            if isinstance(row, KeptInput):
                assert origin_of_kept(row)[0] == "external-events"
                continue
            logged = written_by(log, row)
            if not isinstance(row, WfRun | ThreadRun | WfRunExternalEvent):
                assert logged is None
                continue
            seen.add(type(row).__name__)
            assert logged is not None, (topic, row)
            later = log[(logged.offset or 0) + 1 :]
            assert all(written_by([it], row) is None for it in later)
    assert seen == {"WfRun", "ThreadRun", "WfRunExternalEvent"}


def state_of(it: Recorded) -> WfRun:
    return Moments.of("w", it.log).state(len(it.log) - 1)


def test_who_is_in_quarantine_is_freed_by_its_release_alone() -> None:
    it = Recorded()
    it.rig.turn(RunWf("w", "s"), QuarantineWfRun("w", operator="Ann"), ExternalEvent("w", "i", "e1"))
    told = why(state_of(it), Origins(it.log))
    assert (told.stage, told.frees, told.kept_inputs) == (Stage.QUARANTINED, (Release(),), 1)
    assert told.since is not None
    assert told.since.cause.topic == "operator-commands"
    said = stage_text(told, state_of(it))
    assert "by QuarantineWfRun by Ann (operator-commands[0]@0): 1 input is kept, and no timer fires" in said
    kept = why_not(state_of(it), it.log, "e1", Outside())
    assert [became.fate for became in kept.became] == [Fate.KEPT]
    it.rig.turn(ReleaseWfRun("w"))
    assert why(state_of(it), Origins(it.log)).stage is Stage.RUNNING
    decided = why_not(state_of(it), it.log, "e1", Outside())
    assert [became.fate for became in decided.became] == [Fate.PENDING]


def test_what_an_operator_had_passed_over_is_told_with_who_and_why() -> None:
    it = Recorded()
    it.rig.turn(RunWf("w", "s"))
    it.rig.turn(SkipRecord("external-events", 0, 0, it.rig.now_ms, "a bug", operator="Ann"))
    it.rig.turn(ExternalEvent("w", "i", "e1"))
    (became,) = why_not(state_of(it), it.log, "e1", Outside()).became
    assert (became.fate, became.by, became.reason) == (Fate.SKIPPED, "Ann", "a bug")


def test_a_release_is_not_the_cause_of_what_was_kept() -> None:
    it = Recorded()
    it.rig.turn(RunWf("w", "s"), QuarantineWfRun("w"))
    (kept,) = it.rig.log(ExternalEvent("w", "i", "e1"))
    it.rig.turn(ReleaseWfRun("w"))
    effects = effects_of(it.log, place_of(kept.cause)).events
    assert [type(logged.entry.event).__name__ for logged in effects][:2] == ["InputKept", "ExternalEventPosted"]
