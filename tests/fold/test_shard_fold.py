"""The fold of a partition without Kafka: the outputs of every kind of record, and the state after a restart."""

import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.core.records.commands import (
    DeleteWfRun,
    ExternalEvent,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    ReportTaskRun,
    ResumeWfRun,
    RunWf,
    SkipRecord,
    StopWfRun,
    TimerFired,
)
from processors.core.records.events import (
    DefinitionAccepted,
    DefinitionRejected,
    Ignored,
    Rejected,
    SpawnChild,
    TaskAttemptEnded,
    TaskRequest,
)
from processors.core.records.model import NO_INCARNATION, Status, TaskStatus, ThreadRun, WfRun
from processors.core.records.topic_names import WF_EVENTS
from processors.core.rules.context import Limits
from processors.core.rules.versions import RULES
from processors.fold.outputs import rules_of
from processors.fold.stores.rocks import RocksStores
from processors.fold.stores.wf_runs import keys_of
from processors.fold.timers import HEAP_SLACK, ArmedTimer
from tests.support.shard_rig import ShardRig

CART = {
    "name": "cart",
    "entrypoint": "main",
    "threads": {
        "main": {
            "variables": {"total": {"type": "INT", "default": 0}},
            "interrupts": [{"event": "add", "handler": "on-add"}],
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "checkout", "timeout_s": 3600, "next": "pay"},
                "pay": {"kind": "TASK", "task": "charge", "input": {"amount": {"var": "total"}}, "next": "done"},
                "done": {"kind": "EXIT"},
            },
        },
        "on-add": {
            "variables": {"INPUT": {"type": "INT"}},
            "nodes": {
                "start": {
                    "kind": "ENTRYPOINT",
                    "next": {"to": "done", "set": [{"var": "total", "op": "ADD", "value": {"var": "INPUT"}}]},
                },
                "done": {"kind": "EXIT"},
            },
        },
    },
}

WEEK_MS = 7 * 24 * 3600 * 1000

SIMPLE_INTERRUPT = [
    "ExternalEventPosted",
    "Halt",
    "ThreadHalted",
    "SpawnChild",
    "NodeCompleted",
    "ThreadCompleted",
    "Resume",
]


@pytest.fixture(params=["memory", "rocksdb"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> ShardRig:
    """Return a rig with each kind of store."""
    return with_cart(ShardRig() if request.param == "memory" else ShardRig(new_store=rocks(tmp_path)))


def rocks(folder: Path) -> RocksStores:
    return RocksStores(folder, {}, checkpoint_age_max_s=3_600)


def with_cart(rig: ShardRig) -> ShardRig:
    rig.turn(
        PutExternalEventDef("add"),
        PutExternalEventDef("checkout"),
        PutTaskDef("charge"),
        PutWfSpec("cart", json.dumps(CART)),
    )
    assert rig.view.position == 4
    return rig


def add(number: int, wf_run_id: str = "c1", content: Any = 5) -> ExternalEvent:
    return ExternalEvent(wf_run_id, "add", f"a{number}", content)


def test_each_record_of_the_log_names_its_event_and_the_rules_that_decided_it(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), add(1))
    headers = [it.headers for it in rig.outputs if it.topic == WF_EVENTS]
    assert headers[0] == (("event", b"WfRunStarted"), ("rules", str(RULES).encode()))
    assert {rules_of(it) for it in headers} == {RULES}


@pytest.mark.parametrize("release", ["0.1.0", "0.2.0"])
def test_beside_workers_of_a_release_records_name_no_rules(release: str) -> None:
    rig = with_cart(ShardRig(release=release))
    rig.turn(RunWf("c1", "cart"))
    assert next(it.headers for it in rig.outputs if it.topic == WF_EVENTS) == (("event", b"WfRunStarted"),)


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"1" * 40, b"\xb2"])
def test_a_header_that_names_no_version_of_the_rules_is_passed_over(value: bytes) -> None:
    assert rules_of([("event", b"Halt"), ("rules", value)]) is None
    assert rules_of([]) is None


# (rule definitions-have-one-order)
def test_definitions_put_in_one_turn_may_refer_to_one_another() -> None:
    outcomes = ShardRig().turn(
        PutExternalEventDef("add"),
        PutExternalEventDef("checkout"),
        PutTaskDef("charge"),
        PutWfSpec("cart", json.dumps(CART)),
    )
    accepted = [outcome for outcome in outcomes if isinstance(outcome, DefinitionAccepted)]
    assert [(outcome.name, outcome.cause.offset) for outcome in accepted] == [
        ("add", 0),
        ("checkout", 1),
        ("charge", 2),
        ("cart", 3),
    ]


def test_a_wf_spec_that_refers_to_nothing_is_rejected_with_every_problem() -> None:
    (outcome,) = (o for o in ShardRig().turn(PutWfSpec("cart", json.dumps(CART))) if isinstance(o, DefinitionRejected))
    assert {problem.code for problem in outcome.problems} >= {
        "INTERRUPT_EED_MISSING",
        "EXT_EVENT_EED_MISSING",
        "TASKDEF_MISSING",
    }


# (rule task-queue-is-declared)
def test_a_task_def_for_a_queue_that_topics_yaml_does_not_declare_is_rejected() -> None:
    (outcome,) = (o for o in ShardRig().turn(PutTaskDef("pack", queue="dock")) if isinstance(o, DefinitionRejected))
    assert "queue 'dock'" in outcome.message
    rig = ShardRig(queues=["dock"])
    assert any(isinstance(o, DefinitionAccepted) for o in rig.turn(PutTaskDef("pack", queue="dock")))


def test_an_interrupt_is_seven_events_and_one_row_each(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"))
    del rig.outputs[:]
    assert rig.events(add(1)) == SIMPLE_INTERRUPT
    rows = [(o.topic, o.key, o.value is None) for o in rig.outputs if o.topic != "wf-events"]
    assert rows == [
        ("thread-runs", b"c1/1", False),  # its last row, then the tombstone
        ("thread-runs", b"c1/1", True),
        ("wf-run-external-events", b"c1/add/a1", False),
        ("thread-runs", b"c1/0", False),
        ("wf-runs", b"c1", False),
        ("fold-positions", b"0", False),
    ]


def test_a_row_that_is_touched_often_in_a_turn_is_written_once(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"))
    del rig.outputs[:]
    rig.turn(*(add(n) for n in range(20)))
    assert sum(o.topic == "wf-runs" for o in rig.outputs) == 1
    assert sum(o.key == b"c1/0" for o in rig.outputs) == 1
    run = rig.codec.decode(rig.tables["wf-runs"][b"c1"])
    thread = rig.codec.decode(rig.tables["thread-runs"][b"c1/0"])
    assert isinstance(run, WfRun)
    assert isinstance(thread, ThreadRun)
    assert (run.greatest_thread_number, thread.variables) == (20, {"total": 100})


def test_a_task_request_repeats_what_the_report_must_say(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), add(1))
    written = rig.turn(ExternalEvent("c1", "checkout", "k"))
    (request,) = (record for record in written if isinstance(record, TaskRequest))
    assert (request.task_def, request.input, request.attempt) == ("charge", {"amount": 5}, 1)
    assert request.deadline_ms == request.requested_ms + 60_000
    report = ReportTaskRun(
        request.wf_run_id, request.incarnation, request.thread, request.position, request.attempt, TaskStatus.SUCCESS
    )
    assert rig.events(report) == ["TaskAttemptEnded", "NodeCompleted", "ThreadCompleted", "WfRunEnded"]
    (entry,) = rig.log(report)
    assert isinstance(entry.event, Rejected)
    assert entry.event.code == "FAILED_PRECONDITION"


# (rule unreadable-input-is-dead-letter)
@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"c1", b"not Avro", b"UNDECODABLE"),
        (b"c1", None, b"NO_VALUE"),
        (None, b"\xc3\x01", b"EMPTY_KEY"),
        (b"c1", b"\xc3\x01" + bytes(8), b"UNKNOWN_SCHEMA"),
        (b"c1", bytes(256 * 1024 + 1), b"TOO_LARGE"),
    ],
)
def test_what_cannot_be_taken_goes_to_dead_letters_untouched_and_the_rest_goes_on(
    rig: ShardRig, key: bytes | None, value: bytes | None, reason: bytes
) -> None:
    rig.turn(RunWf("c1", "cart"))
    del rig.outputs[:]
    rig.turn(rig.record("external-events", key, value), add(1))
    (letter,) = (o for o in rig.outputs if o.topic == "dead-letters")
    assert (letter.key, letter.value) == (key, value)
    assert dict(letter.headers)["halter.reason"] == reason
    assert dict(letter.headers)["halter.offset"] == b"0"
    assert rig.shard.offsets["external-events"] == 2
    assert rig.shard.wf_runs["c1"].threads[0].variables == {"total": 5}


def test_a_command_under_another_key_is_a_dead_letter(rig: ShardRig) -> None:
    rig.turn(rig.record("wf-commands", b"other", rig.codec.encode(RunWf("c1", "cart"))))
    (letter,) = (o for o in rig.outputs if o.topic == "dead-letters")
    assert dict(letter.headers)["halter.reason"] == b"KEY_MISMATCH"


def test_an_event_before_its_wf_run_is_kept_and_used_by_the_node_that_waits_for_it(rig: ShardRig) -> None:
    rig.turn(ExternalEvent("c1", "checkout", "k"))
    rig.crash()
    assert rig.events(RunWf("c1", "cart")) == [
        "WfRunStarted",
        "NodeCompleted",
        "NodeCompleted",
        "TaskAttemptRequested",
    ]


# (rule timer-fires-as-a-record)
def test_a_timer_comes_back_as_a_record_and_fails_the_node_that_waited_too_long(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"))
    rig.crash()
    due = rig.shard.next_timer_ms()
    assert due == rig.now_ms + 3_600_000
    rig.now_ms = due - 1
    assert rig.fire_due() == []
    rig.now_ms = due
    assert [type(entry.event).__name__ for entry in rig.fire_due()] == ["TimerMatured", "ThreadFailed", "WfRunEnded"]
    assert rig.shard.next_timer_ms() == due + WEEK_MS


# (rule early-timer-stays-armed)
def test_a_timer_that_is_early_by_the_brokers_clock_stays_armed_and_is_fired_again(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"))
    due = rig.shard.next_timer_ms()
    assert due is not None
    (fired,) = rig.shard.due_timers(due, 10)
    rig.now_ms = due - 40  # the broker's clock is behind the worker's
    (entry,) = rig.log(rig.record("wf-commands", fired.key, fired.value))
    assert isinstance(entry.event, Ignored)
    assert rig.shard.due_timers(due, 10) == []
    assert rig.shard.next_timer_ms() == due + 40
    rig.now_ms = due + 40
    assert [type(entry.event).__name__ for entry in rig.fire_due()] == ["TimerMatured", "ThreadFailed", "WfRunEnded"]


def test_a_timer_that_came_twice_is_ignored_the_second_time(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"))
    due = rig.shard.next_timer_ms()
    assert due is not None
    (fired,) = rig.shard.due_timers(due, 10)
    rig.now_ms = due
    assert len(rig.log(rig.record("wf-commands", fired.key, fired.value))) == 3
    (entry,) = rig.log(rig.record("wf-commands", fired.key, fired.value))
    assert isinstance(entry.event, Ignored)


def armed(rig: ShardRig) -> list[ArmedTimer]:
    """Return the timers that a fold knows, in no order. Each is in its heap or handed out."""
    timers = rig.shard._timers
    in_heap = [timer for _, timer in timers._heap if timers._by_key.get((timer.wf_run_id, timer.thread)) is timer]
    both = [*in_heap, *timers._handed_out]
    assert sorted(both) == sorted(timers._by_key.values())
    return both


def test_timer_fired_from_elsewhere_changes_nothing_of_a_timer_that_was_not_handed_out(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"))
    (timer,) = armed(rig)
    forged = TimerFired(timer.wf_run_id, timer.incarnation, timer.thread, timer.position, timer.kind, timer.due_ms)
    for _ in range(100):
        assert rig.events(forged) == ["Ignored"]
    assert armed(rig) == [timer]
    (_,) = rig.shard.due_timers(timer.due_ms, 1_000)
    assert rig.events(forged, forged) == ["Ignored", "Ignored"]  # one could be ours, whose clock is early
    assert len(rig.shard.due_timers(2 * timer.due_ms, 1_000)) == 1


def test_a_timer_whose_record_is_skipped_fires_again_as_it_does_after_a_restart(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), RunWf("c2", "cart"))
    first = rig.shard.next_timer_ms()
    assert first is not None
    rig.now_ms = first
    for output in rig.shard.due_timers(rig.now_ms, 10):
        fired = rig.record(output.topic, output.key, output.value)
        rig.turn(SkipRecord("wf-commands", 0, fired.offset, first))
        assert rig.events(fired) == ["RecordSkipped"]
    assert rig.shard.next_timer_ms() == first + 1
    rig.now_ms += 1
    again = rig.shard.due_timers(rig.now_ms, 10)
    rig.crash()
    assert rig.shard.due_timers(rig.now_ms, 10) == again
    events = rig.events(*(rig.record(output.topic, output.key, output.value) for output in again))
    assert events == 2 * ["TimerMatured", "ThreadFailed", "WfRunEnded"]


WATCH = {
    "name": "watch",
    "entrypoint": "main",
    "threads": {
        "main": {
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "first"},
                "first": {"kind": "EXTERNAL_EVENT", "event": "beat", "timeout_s": 86_400, "next": "second"},
                "second": {"kind": "EXTERNAL_EVENT", "event": "beat", "timeout_s": 86_400, "next": "first"},
                "end": {"kind": "EXIT"},
            }
        }
    },
}


# (rule one-timer-per-thread)
def test_a_wf_run_that_is_told_it_lives_takes_no_more_timers_than_one_that_waits(rig: ShardRig) -> None:
    rig.turn(PutExternalEventDef("beat"), PutWfSpec("watch", json.dumps(WATCH)))
    rig.turn(RunWf("w1", "watch"))
    for number in range(500):
        rig.now_ms += 1_000
        assert rig.events(ExternalEvent("w1", "beat", f"b{number}"))[-1] == "TimerArmed"
    assert len(rig.shard._timers._heap) <= HEAP_SLACK + 2
    before = armed(rig)
    assert [timer.due_ms for timer in before] == [rig.now_ms + 86_400_000] == [rig.shard.next_timer_ms()]
    rig.crash()
    assert armed(rig) == before
    if rig.shard.files is not None:
        assert list(rig.shard._store.timers()) == before


def test_a_task_that_is_not_reported_in_time_ends_with_a_timeout(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), ExternalEvent("c1", "checkout", "k"))
    rig.now_ms += 60_000
    ended = rig.fire_due()[0].event
    assert isinstance(ended, TaskAttemptEnded)
    assert ended.status is TaskStatus.TIMEOUT
    assert rig.shard.wf_runs["c1"].status is Status.ERROR


# (rule deleted-id-is-free)
def test_a_deleted_wf_run_leaves_no_row_and_its_id_is_free(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), add(1), DeleteWfRun("c1"))
    assert [rig.tables[t] for t in ("wf-runs", "thread-runs", "wf-run-external-events")] == [{}, {}, {}]
    assert rig.shard.wf_runs == {}
    rig.turn(RunWf("c1", "cart"), DeleteWfRun("c1"), RunWf("c1", "cart"), add(1))
    run = rig.codec.decode(rig.tables["wf-runs"][b"c1"])
    assert isinstance(run, WfRun)
    assert run.incarnation == rig.inputs[-2].offset
    assert rig.tables["thread-runs"].keys() == {b"c1/0"}


# (rules ended-wf-run-keeps-a-row, retention-ends-in-deletion)
def test_a_wf_run_that_is_over_shrinks_to_its_row_and_goes_when_its_retention_ends(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), add(1), ExternalEvent("c1", "checkout", "k"))
    (run,) = rig.shard.wf_runs.values()
    rig.turn(ReportTaskRun("c1", run.incarnation, 0, 2, 1, TaskStatus.SUCCESS))
    rig.crash()
    assert rig.tables["thread-runs"] == {}
    assert rig.shard.wf_runs["c1"].status is Status.COMPLETED
    assert rig.events(RunWf("c1", "cart")) == ["Rejected"]
    rig.now_ms += WEEK_MS
    assert [type(entry.event).__name__ for entry in rig.fire_due()] == ["WfRunDeleted"]
    assert rig.tables["wf-runs"] == rig.tables["wf-run-external-events"] == {}


def test_handlers_get_the_payload_and_numbers_go_on_after_a_restart(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), add(1))
    rig.crash()
    spawned = [entry.event for entry in rig.log(add(2)) if isinstance(entry.event, SpawnChild)]
    assert [(event.thread, event.variables) for event in spawned] == [(2, {"INPUT": 5})]


WF_RUN_IDS = st.sampled_from(["c1", "c2", "c3"])
COMMANDS = st.one_of(
    st.builds(RunWf, WF_RUN_IDS, st.sampled_from(["cart", "none"])),
    st.builds(
        ExternalEvent, WF_RUN_IDS, st.just("add"), st.sampled_from("abcdefgh"), st.sampled_from([1, 2, "x", None])
    ),
    st.builds(ExternalEvent, WF_RUN_IDS, st.just("checkout"), st.sampled_from("ab")),
    st.builds(StopWfRun, WF_RUN_IDS, st.sampled_from([0, 0, 1, 9])),
    st.builds(ResumeWfRun, WF_RUN_IDS),
    st.builds(DeleteWfRun, WF_RUN_IDS),
    st.builds(
        ReportTaskRun,
        WF_RUN_IDS,
        st.integers(0, 4),
        st.just(0),
        st.just(2),
        st.just(1),
        st.sampled_from([TaskStatus.SUCCESS, TaskStatus.FAILED]),
    ),
    st.binary(max_size=20),
    st.integers(1, 4_000_000),
)
"""A command, bytes that are none, or a number of milliseconds that pass."""


def play(rig: ShardRig, turns: list[list[Any]], crash_after: frozenset[int]) -> ShardRig:
    with_cart(rig)
    for number, turn in enumerate(turns):
        records: list[Any] = []
        for item in turn:
            if isinstance(item, int):
                rig.now_ms += item
            elif isinstance(item, bytes):
                records.append(rig.record("external-events", b"c1", item))
            else:
                records.append(rig.command(item))
        rig.turn(*records)
        rig.fire_due()
        if number in crash_after:
            rig.crash()
    return rig


# (rules same-records-same-bytes, time-comes-from-records)
@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(COMMANDS, max_size=6), max_size=8), st.frozensets(st.integers(0, 7)))
def test_the_same_inputs_give_the_same_bytes_whenever_the_worker_crashes(
    turns: list[list[Any]], crash_after: frozenset[int]
) -> None:
    smooth = play(ShardRig(), turns, frozenset())
    rough = play(ShardRig(), turns, crash_after)
    assert rough.inputs == smooth.inputs
    assert rough.outputs == smooth.outputs
    assert rough.tables == smooth.tables


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(COMMANDS, max_size=6), max_size=8), st.frozensets(st.integers(0, 7)))
def test_the_timers_that_are_known_are_those_that_a_restart_finds(
    turns: list[list[Any]], crash_after: frozenset[int]
) -> None:
    rig = play(ShardRig(), turns, crash_after)

    def told(timer: ArmedTimer) -> ArmedTimer:
        """Return the timer with the time to which later ExternalEvents put it off. It learns that when it is due."""
        return timer._replace(due_ms=0) if timer.incarnation == NO_INCARNATION else timer

    known = sorted(map(told, armed(rig)))
    rig.crash()
    assert known == sorted(map(told, armed(rig)))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(COMMANDS, max_size=6), max_size=8), st.frozensets(st.integers(0, 7), min_size=1, max_size=3))
def test_a_store_with_files_changes_nothing_of_it(turns: list[list[Any]], crash_after: frozenset[int]) -> None:
    smooth = play(ShardRig(), turns, frozenset())
    with TemporaryDirectory() as folder:
        rough = play(ShardRig(new_store=rocks(Path(folder))), turns, crash_after)
        assert rough.outputs == smooth.outputs
        rough.crash()
        assert rough.shard.wf_runs.keys() == smooth.restored().wf_runs.keys()
        assert rough.shard.files is not None
        rough.shard.files.close()


class Forgetful(ShardRig):
    """A fold whose WfRuns rest: after each turn as many generations pass as `rests` says."""

    rests: Iterator[int] = iter(())

    def turn(self, *records: Any) -> list[Any]:
        written = super().turn(*records)
        for _ in range(next(self.rests, 0)):
            self.shard.wf_runs.drop_the_older()
        return written


@pytest.mark.parametrize("stored", ["in memory", "in files"])
@settings(max_examples=60, deadline=None)
@given(
    turns=st.lists(st.lists(COMMANDS, max_size=6), max_size=10),
    rests=st.lists(st.integers(0, 2), min_size=1),
    many=st.sampled_from([0, 2, 16]),
    keys_kept=st.sampled_from([0, 3, 1_000]),
    remembered=st.integers(0, 3),
)
def test_nothing_changes_when_wf_runs_rest(
    stored: str, turns: list[list[Any]], rests: list[int], many: int, keys_kept: int, remembered: int
) -> None:
    limits = Limits(remembered_events=remembered, remembered_ms=1_000)
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr("processors.fold.stores.wf_runs.MANY_EXTERNAL_EVENTS", many)
        patch.setattr("processors.fold.stores.wf_runs.KEYS_KEPT", keys_kept)
        rig = Forgetful(limits) if stored == "in memory" else Forgetful(limits, new_store=rocks(Path(folder)))
        rig.rests = cycle(rests)
        play(rig, turns, frozenset())
        runs = rig.shard._runs
        assert runs._keys_old == sum(map(keys_of, runs._old.values()))
        assert runs._keys_resting == sum(rested.keys for rested in runs._rested.values())
        assert not runs._rested or runs._keys_old + runs._keys_resting <= keys_kept
        if rig.shard.files is not None:
            rig.shard.files.close()
    assert rig.outputs == play(ShardRig(limits), turns, frozenset()).outputs


# (rules every-input-has-outcome, seq-has-no-gap)
@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(COMMANDS, max_size=6), max_size=8))
def test_every_input_has_an_outcome_and_seq_has_no_gap(turns: list[list[Any]]) -> None:
    rig = play(ShardRig(), turns, frozenset())
    outcomes = set()
    seqs: dict[tuple[str, int], int] = {}
    for output in rig.outputs:
        headers = dict(output.headers)
        if output.topic == "dead-letters":
            outcomes.add((headers["halter.topic"].decode(), int(headers["halter.offset"])))
        elif output.topic in ("wf-events", "definition-events") and output.value is not None:
            entry: Any = rig.codec.decode(output.value)
            outcomes.add((entry.cause.topic, entry.cause.offset))
            if output.topic == "wf-events" and entry.seq > 0:
                key = entry.wf_run_id, entry.incarnation
                assert entry.seq == seqs.get(key, 0) + 1
                seqs[key] = entry.seq
    assert outcomes == {(record.topic, record.offset) for record in rig.inputs}
