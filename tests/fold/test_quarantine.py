"""Quarantine, release and skip in the fold of a partition, without Kafka."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halter.client import Client, UpgradeNotOver
from halter.show.plain import plain
from halter.show.wf_run_text import data
from processors.core.records.commands import (
    Command,
    DeleteWfRun,
    ExternalEvent,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    QuarantineWfRun,
    ReleaseWfRun,
    RunWf,
    SkipRecord,
    StopWfRun,
)
from processors.core.records.events import (
    DefinitionAccepted,
    InputKept,
    LogEntry,
    RecordSkipped,
    Rejected,
    RejectionCode,
    SkipAccepted,
    SkipLapsed,
    WfRunReleased,
)
from processors.core.records.model import KeptInput, Status, WfRun
from processors.core.rules.context import Limits
from processors.core.rules.engine import new_run, replay
from processors.fold.inputs import InputRecord
from processors.fold.stores import BrokenState, MemoryStore, WfRunStore
from processors.kafka.settings import Settings
from tests.fold.test_shard_fold import CART, COMMANDS, add, rocks
from tests.support.broken_rule import RuleBroke, broken_rule
from tests.support.shard_rig import START_MS, ShardRig


def with_cart(
    limits: Limits | None = None, new_store: Callable[[int], WfRunStore] = lambda _: MemoryStore()
) -> ShardRig:
    rig = ShardRig(limits, new_store=new_store)
    rig.turn(
        PutExternalEventDef("add"),
        PutExternalEventDef("checkout"),
        PutTaskDef("charge"),
        PutWfSpec("cart", json.dumps(CART)),
    )
    return rig


@pytest.fixture(params=["memory", "rocksdb"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> ShardRig:
    """Return a rig with each kind of store."""
    return with_cart() if request.param == "memory" else with_cart(new_store=rocks(tmp_path))


def fold(rig: ShardRig, item: Any) -> Any:
    """Fold one record as the runtime does. If the fold raises, the shard is loaded anew and stands before the record
    again.
    """
    record = item if hasattr(item, "offset") and hasattr(item, "value") else rig.command(item)
    try:
        return rig.log(record)
    except RuleBroke:
        rig.inputs.pop()
        rig.crash()
        return record


def skip_of(record: InputRecord, *more: Any) -> SkipRecord:
    """Return the command of an operator who has seen a record."""
    return SkipRecord(record.topic, record.partition, record.offset, record.timestamp_ms, *more)


def of_c1(command: Command) -> bool:
    return command.wf_run_id == "c1"


def rejection(entries: list[LogEntry]) -> RejectionCode:
    (entry,) = entries
    assert isinstance(entry.event, Rejected), entry
    return entry.event.code


def state(rig: ShardRig) -> Any:
    """Return all WfRuns, without the counters of events."""

    def without_counts(value: Any) -> Any:
        if isinstance(value, dict):
            gone = {"seq", "posted_seq", "matured_seq", "definitions_position"}
            return {key: without_counts(item) for key, item in value.items() if key not in gone}
        return [without_counts(item) for item in value] if isinstance(value, list) else value

    return {wf_run_id: without_counts(data(run)) for wf_run_id, run in sorted(rig.shard.wf_runs.items())}


# (rule quarantine-keeps-inputs)
def test_inputs_of_a_wf_run_in_quarantine_are_kept_byte_for_byte_and_others_go_on(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), RunWf("c2", "cart"))
    assert rig.events(QuarantineWfRun("c1", "it breaks", "q1", "ann")) == ["WfRunQuarantined"]
    record = rig.command(add(1))
    (entry,) = rig.log(record)
    assert isinstance(entry.event, InputKept)
    assert (entry.event.key, entry.event.value, entry.event.timestamp_ms) == (b"c1", record.value, rig.now_ms)
    assert (entry.cause.topic, entry.cause.offset, entry.seq) == ("external-events", record.offset, 5)
    (row,) = rig.tables["kept-inputs"].items()
    kept = rig.codec.decode(row[1])
    assert row[0] == f"c1/external-events/{record.offset}".encode()
    assert isinstance(kept, KeptInput)
    assert kept.value == record.value
    assert len(rig.events(add(1, "c2"))) == 7
    assert rig.shard.wf_runs["c1"].threads[0].variables == {"total": 0}


# (rule release-decides-in-order)
def test_release_decides_what_was_kept_in_order_each_with_its_own_cause_and_time(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), QuarantineWfRun("c1"))
    rig.now_ms += 1_000
    first, second = rig.command(add(1)), rig.command(StopWfRun("c1", 0, "s1"))
    rig.turn(first, second)
    kept_ms = rig.now_ms
    rig.crash()
    rig.now_ms += 60_000
    entries = rig.log(ReleaseWfRun("c1"))
    assert [type(entry.event).__name__ for entry in entries] == [
        "WfRunReleased",
        "ExternalEventPosted",
        "Halt",
        "ThreadHalted",
        "SpawnChild",
        "NodeCompleted",
        "ThreadCompleted",
        "Resume",
        "Halt",
        "ThreadHalted",
    ]
    assert {(entry.cause.topic, entry.cause.offset) for entry in entries[1:8]} == {("external-events", first.offset)}
    assert entries[8].cause.command_id == "s1"
    assert {entry.time_ms for entry in entries[1:]} == {kept_ms}
    assert [entry.seq for entry in entries] == list(range(entries[0].seq, entries[0].seq + 10))
    assert rig.tables["kept-inputs"] == {}
    rig.crash()
    assert rig.shard.wf_runs["c1"].status is Status.HALTED
    assert rig.shard.wf_runs["c1"].quarantined_ms is None


# (rule quarantine-stops-time)
def test_time_stands_still_so_an_event_that_came_before_the_deadline_still_wins(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), QuarantineWfRun("c1"), ExternalEvent("c1", "checkout", "k"))
    rig.now_ms += 10 * 3_600_000  # the cart's time-out is an hour
    assert rig.fire_due() == []
    rig.turn(ReleaseWfRun("c1"))
    assert rig.shard.wf_runs["c1"].threads[0].node.node == "pay"


# (rule quarantine-stops-time)
def test_timers_do_not_fire_in_quarantine_and_are_armed_again_by_the_release(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), QuarantineWfRun("c1"))
    rig.now_ms += 3_600_000
    assert rig.fire_due() == []
    rig.crash()
    assert rig.fire_due() == []
    rig.turn(ReleaseWfRun("c1"))
    assert [type(entry.event).__name__ for entry in rig.fire_due()] == ["TimerMatured", "ThreadFailed", "WfRunEnded"]


def test_a_timer_that_was_on_its_way_is_kept_as_well(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"))
    rig.now_ms += 3_600_000
    (fired,) = rig.shard.due_timers(rig.now_ms, 10)
    record = rig.record("wf-commands", fired.key, fired.value)
    rig.turn(QuarantineWfRun("c1"))
    assert rig.events(record) == ["InputKept"]
    rig.crash()
    assert rig.events(ReleaseWfRun("c1")) == ["WfRunReleased", "TimerMatured", "ThreadFailed", "WfRunEnded"]
    assert rig.fire_due() == []


def test_an_id_whose_run_wf_breaks_may_be_put_into_quarantine(rig: ShardRig) -> None:
    with broken_rule(of_c1):
        record = fold(rig, RunWf("c1", "cart"))
        (entry,) = rig.log(QuarantineWfRun("c1"))
        assert (entry.seq, entry.incarnation) == (0, -1)
        rig.crash()
        (kept,) = fold(rig, record)
        assert isinstance(kept.event, InputKept)
        rig.turn(RunWf("c2", "cart"), add(1))
    rig.crash()
    rig.turn(ReleaseWfRun("c1"))
    assert rig.shard.wf_runs["c1"].incarnation == record.offset
    assert rig.shard.wf_runs["c1"].threads[0].variables == {"total": 5}


def test_an_id_that_is_released_without_anything_leaves_no_row(rig: ShardRig) -> None:
    rig.turn(QuarantineWfRun("c1"))
    assert rig.tables["wf-runs"].keys() == {b"c1"}
    rig.turn(ReleaseWfRun("c1"))
    assert rig.tables["wf-runs"] == rig.tables["kept-inputs"] == {}
    assert rig.shard.wf_runs == {}


def test_wf_runs_in_quarantine_are_counted_also_after_restarts_of_which_a_store_with_files_reads_little(
    rig: ShardRig,
) -> None:
    rig.turn(RunWf("c1", "cart"), RunWf("c2", "cart"))
    rig.turn(QuarantineWfRun("c1"), QuarantineWfRun("c2"), QuarantineWfRun("unknown"))
    assert rig.shard.quarantined == 3
    for released, left in (("c1", 2), ("unknown", 1)):
        if rig.shard.files is not None:
            rig.shard.files.checkpoint(rig.ends())
        rig.crash()
        rig.turn(ReleaseWfRun(released))
        assert rig.shard.quarantined == left
        rig.crash()
        assert rig.shard.quarantined == left
    rig.turn(DeleteWfRun("c2"), ReleaseWfRun("c2"))
    assert rig.shard.quarantined == 0


def test_what_makes_no_sense_is_rejected(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"))
    assert rejection(rig.log(ReleaseWfRun("c1"))) is RejectionCode.FAILED_PRECONDITION
    rig.turn(QuarantineWfRun("c1", command_id="q1"))
    assert rejection(rig.log(QuarantineWfRun("c1"))) is RejectionCode.FAILED_PRECONDITION
    assert rejection(rig.log(QuarantineWfRun("no good"))) is RejectionCode.INVALID_ARGUMENT
    assert rejection(rig.log(SkipRecord("wf-commands", 0, 0, rig.now_ms))) is RejectionCode.FAILED_PRECONDITION
    assert rejection(rig.log(SkipRecord("wf-runs", 0, 90, rig.now_ms))) is RejectionCode.INVALID_ARGUMENT
    assert rejection(rig.log(SkipRecord("wf-commands", 0, 1))) is RejectionCode.INVALID_ARGUMENT
    assert rig.events(SkipRecord("wf-commands", 0, 1, rig.now_ms)) == ["SkipAccepted"]
    assert rejection(rig.log(SkipRecord("wf-commands", 0, 1, rig.now_ms))) is RejectionCode.ALREADY_EXISTS


def test_no_operator_command_is_to_be_skipped_that_comes_later(rig: ShardRig) -> None:
    for ahead in (0, 1, 2, 1_000):
        itself = rig._ends.get("operator-commands", 0)
        skip = SkipRecord("operator-commands", 0, itself + ahead, rig.now_ms)
        assert rejection(rig.log(skip)) is RejectionCode.FAILED_PRECONDITION
    assert rig.events(QuarantineWfRun("c1")) == ["WfRunQuarantined"]


def test_as_many_records_as_may_be_are_to_be_skipped_and_no_more() -> None:
    rig = with_cart(Limits(skips=2))
    for offset in (7, 8):
        assert rig.events(SkipRecord("wf-commands", 0, offset, 0)) == ["SkipAccepted"]
    assert rejection(rig.log(SkipRecord("wf-commands", 0, 9, 0))) is RejectionCode.RESOURCE_EXHAUSTED
    assert rig.events(RunWf("c1", "cart"))[:2] == ["SkipLapsed", "SkipLapsed"]
    assert rig.events(SkipRecord("wf-commands", 0, 9, 0)) == ["SkipAccepted"]


def test_while_workers_write_an_earlier_release_operator_commands_are_not_read_and_would_be_rejected() -> None:
    rig = ShardRig(release="0.1.0")
    assert ("operator-commands", 0) not in rig.factory.input_topics(0)
    assert ("operator-commands", 0) in ShardRig().factory.input_topics(0)
    assert rejection(rig.log(QuarantineWfRun("c1", command_id="q1"))) is RejectionCode.FAILED_PRECONDITION
    assert rejection(rig.log(SkipRecord("wf-commands", 0, 7))) is RejectionCode.FAILED_PRECONDITION


def test_a_client_that_is_told_of_an_upgrade_says_why_it_cannot_operate() -> None:
    beside = Settings.load(None, {"HALTER_SCHEMAS": "0.1.0"}, {"bootstrap.servers": "127.0.0.1:1"})
    with Client.of(beside) as client, pytest.raises(UpgradeNotOver, match=r"HALTER_SCHEMAS=0\.1\.0"):
        client.quarantine("c1")


def test_an_operator_command_is_known_again_by_its_id_also_after_a_restart(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), QuarantineWfRun("c1", command_id="q1"), ReleaseWfRun("c1", "r1"))
    rig.crash()
    assert rejection(rig.log(QuarantineWfRun("c1", command_id="q1"))) is RejectionCode.ALREADY_EXISTS
    assert rig.shard.wf_runs["c1"].quarantined_ms is None


def test_more_than_may_be_kept_goes_to_dead_letters() -> None:
    rig = with_cart(Limits(kept_inputs=2))
    rig.turn(RunWf("c1", "cart"), QuarantineWfRun("c1"), add(1), add(2))
    del rig.outputs[:]
    rig.turn(add(3))
    (letter,) = (output for output in rig.outputs if output.topic == "dead-letters")
    assert dict(letter.headers)["halter.reason"] == b"QUARANTINE_FULL"
    rig.turn(ReleaseWfRun("c1"))
    assert rig.shard.wf_runs["c1"].threads[0].variables == {"total": 10}


def test_a_timer_for_which_there_was_no_room_fires_after_the_release() -> None:
    rig = with_cart(Limits(kept_inputs=0))
    rig.turn(RunWf("c1", "cart"))
    rig.now_ms += 3_600_000
    (fired,) = rig.shard.due_timers(rig.now_ms, 10)
    rig.turn(QuarantineWfRun("c1"))
    rig.turn(rig.record("wf-commands", fired.key, fired.value))
    assert rig.fire_due() == []
    rig.turn(ReleaseWfRun("c1"))
    assert len(rig.fire_due()) == 3


# (rule skip-is-for-one-record)
def test_a_skipped_record_is_on_the_log_and_on_dead_letters_and_has_no_effect(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"))
    record = rig.command(StopWfRun("c1", 0, "s1"))
    (accepted,) = rig.log(skip_of(record, "a bug", "k1", "ann"))
    assert (accepted.wf_run_id, accepted.seq) == ("partition/0", 0)
    rig.crash()
    with broken_rule(of_c1):
        (entry,) = rig.log(record)
    assert entry.event == RecordSkipped("StopWfRun", "a bug", "ann")
    assert (entry.wf_run_id, entry.seq, entry.cause.offset) == ("c1", 4, record.offset)
    (letter,) = (output for output in rig.outputs if output.topic == "dead-letters")
    assert (letter.key, letter.value) == (record.key, record.value)
    assert dict(letter.headers)["halter.reason"] == b"SKIPPED"
    rig.crash()
    # The command was not decided, so its producer may send it again.
    assert rig.events(StopWfRun("c1", 0, "s1")) == ["Halt", "ThreadHalted"]


def test_a_record_that_cannot_be_decoded_and_a_definition_command_can_be_skipped(rig: ShardRig) -> None:
    garbage = rig.record("external-events", b"c1", b"garbage")
    put = rig.command(PutTaskDef("pack"))
    rig.turn(skip_of(garbage), skip_of(put))
    entries = rig.log(garbage, put)
    assert [(entry.wf_run_id, entry.event) for entry in entries] == [
        ("partition/0", RecordSkipped(None)),
        ("partition/0", RecordSkipped("PutTaskDef")),
    ]
    assert rig.view.position == 4


# (rule skip-is-for-one-record)
def test_a_skip_lapses_at_whatever_other_record_of_its_topic_comes(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"))
    for ahead, later_ms in ((1, 0), (999_999, 0), (0, 1)):
        next_one = rig._ends.get("external-events", 0)
        skip = SkipRecord("external-events", 0, next_one + ahead, rig.now_ms + later_ms, "a bug", None, "ann")
        assert rig.events(skip) == ["SkipAccepted"]
        rig.crash()
        record = rig.command(add(next_one))
        entries = rig.log(record)
        lapsed = entries[0]
        assert isinstance(lapsed.event, SkipLapsed)
        assert (lapsed.event.topic, lapsed.event.offset, lapsed.event.timestamp_ms, lapsed.event.operator) == (
            ("external-events", skip.offset, skip.timestamp_ms, "ann")
        )
        assert f"external-events[0]@{record.offset}" in lapsed.event.reason
        assert (lapsed.wf_run_id, lapsed.cause.topic, lapsed.cause.offset) == (
            ("partition/0", "external-events", record.offset)
        )
        assert [type(entry.event).__name__ for entry in entries[1:]][-1] == "Resume"
        position: Any = rig.codec.decode(rig.tables["fold-positions"][b"0"])
        assert position.skips == []


def test_the_record_at_which_the_partition_stands_is_skipped_also_if_offsets_before_it_have_no_record(
    rig: ShardRig,
) -> None:
    rig.turn(RunWf("c1", "cart"))
    rig.record("external-events", None, None)  # the mark of a transaction
    record = rig.command(add(1))
    assert rig.events(skip_of(record), record) == ["SkipAccepted", "RecordSkipped"]


def test_a_release_that_breaks_can_be_skipped_and_its_wf_run_stays_in_quarantine(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), QuarantineWfRun("c1"), add(1))
    with broken_rule(of_c1):
        release = fold(rig, ReleaseWfRun("c1"))
        assert rig.shard.wf_runs["c1"].quarantined_ms is not None
        skip = rig.command(skip_of(release))
        # The runtime has the fold read all records of a turn before it folds the first.
        for record in (release, skip):
            rig.read(record)
        assert rig.events(release, skip) == ["RecordSkipped", "SkipAccepted"]
    rig.crash()
    assert rig.shard.wf_runs["c1"].quarantined_ms is not None
    assert isinstance(rig.log(ReleaseWfRun("c1"))[0].event, WfRunReleased)
    assert rig.shard.wf_runs["c1"].threads[0].variables == {"total": 5}


def test_a_wf_run_that_was_deleted_while_in_quarantine_is_gone_after_its_release(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), QuarantineWfRun("c1"), DeleteWfRun("c1"))
    assert "c1" in rig.shard.wf_runs
    rig.turn(ReleaseWfRun("c1"))
    assert [rig.tables[topic] for topic in ("wf-runs", "thread-runs", "kept-inputs")] == [{}, {}, {}]


def through_quarantine(rig: ShardRig, turns: list[list[Any]], broken_from: int, mended_after: int) -> None:
    """Fold turns. From turn `broken_from` on, a rule breaks on all records for c1, until the code is mended."""
    for number, turn in enumerate(turns):
        for item in turn:
            record = rig.record("external-events", b"c1", item) if isinstance(item, bytes) else rig.command(item)
            if broken_from <= number < mended_after:
                with broken_rule(of_c1):
                    if fold(rig, record) is record:
                        rig.turn(QuarantineWfRun("c1"))
                        fold(rig, record)
            else:
                rig.turn(record)
        if number % 3 == 2:
            rig.crash()
    run = rig.shard.wf_runs.get("c1")
    if run is not None and run.quarantined_ms is not None:
        rig.turn(ReleaseWfRun("c1"))


ITEMS = COMMANDS.filter(lambda item: not isinstance(item, int))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(ITEMS, max_size=4), max_size=6), st.integers(0, 5), st.integers(1, 6))
def test_after_quarantine_and_release_all_is_as_if_no_rule_had_broken(
    turns: list[list[Any]], broken_from: int, mended_after: int
) -> None:
    smooth, rough = with_cart(), with_cart()
    for turn in turns:
        for item in turn:
            smooth.turn(smooth.record("external-events", b"c1", item) if isinstance(item, bytes) else item)
    through_quarantine(rough, turns, broken_from, mended_after)
    assert state(rough) == state(smooth)
    rough.crash()
    assert state(rough) == state(smooth)
    # The log alone gives the same state, without gaps.
    logs: dict[str, list[LogEntry]] = {}
    for output in rough.outputs:
        if output.topic == "wf-events" and output.value is not None:
            entry = rough.codec.decode(output.value)
            assert isinstance(entry, LogEntry)
            logs.setdefault(entry.wf_run_id, []).append(entry)
    for wf_run_id, run in rough.shard.wf_runs.items():
        replayed = replay(logs[wf_run_id], new_run(wf_run_id))
        assert plain(data(replayed)) == plain(data(run))


def test_the_state_of_a_wf_run_in_quarantine_is_the_fold_of_its_log(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), add(1), QuarantineWfRun("c1"), add(2), StopWfRun("c1"))
    entries = [
        rig.codec.decode(output.value or b"")
        for output in rig.outputs
        if output.key == b"c1" and output.topic == "wf-events"
    ]
    replayed: WfRun = replay((entry for entry in entries if isinstance(entry, LogEntry)), new_run("c1"))
    rig.crash()
    assert data(replayed) == data(rig.shard.wf_runs["c1"])
    assert len(replayed.kept_inputs) == 2


def test_what_was_kept_is_decided_by_one_release_alone_also_if_there_are_two_in_a_turn(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"), QuarantineWfRun("c1"))
    rig.turn(DeleteWfRun("c1"), RunWf("c1", "cart"), add(1))
    events = rig.events(ReleaseWfRun("c1"), QuarantineWfRun("c1"), ReleaseWfRun("c1"))
    assert [events.count(name) for name in ("WfRunDeleted", "WfRunStarted", "ExternalEventPosted")] == [1, 1, 1]
    assert events[-2:] == ["WfRunQuarantined", "WfRunReleased"]


def rewrite(rig: ShardRig, topic: str, key: bytes, value: bytes | None) -> None:
    """Write a row as somebody else might, and start a worker with it."""
    if value is None:
        del rig.tables[topic][key]
    else:
        rig.tables[topic][key] = value
    rig.logs[topic].append((key, value))
    rig.crash()


@pytest.mark.parametrize("how", ["of an unknown schema", "cut off", "gone", "with all the others"])
def test_a_row_that_cannot_be_read_outlives_quarantine_and_release(rig: ShardRig, how: str) -> None:
    smooth = with_cart()
    for each in (rig, smooth):
        each.turn(RunWf("c1", "cart"), RunWf("c2", "cart"), add(0), add(0, "c2"))
    topics = ("wf-runs", "thread-runs", "wf-run-external-events") if how == "with all the others" else ("wf-runs",)
    good = [(topic, key, row) for topic in topics for key, row in rig.tables[topic].items() if key.startswith(b"c1")]
    for topic, key, row in good:
        broken = {"cut off": row[:-4], "gone": None}.get(how, row[:2] + bytes(8) + row[10:])
        rewrite(rig, topic, key, broken)
    rows = {topic: dict(rig.tables[topic]) for topic in ("wf-runs", "thread-runs", "wf-run-external-events")}
    with pytest.raises(BrokenState):
        rig.turn(add(1))
    rig.inputs.pop()
    rig.crash()
    (entry,) = rig.log(QuarantineWfRun("c1"))
    assert (entry.seq, entry.incarnation) == (0, -1)
    for number in (1, 2):
        assert rig.shard.quarantined == 1
        assert rig.events(add(number)) == ["InputKept"]
        (refused,) = rig.log(ReleaseWfRun("c1"))
        assert isinstance(refused.event, Rejected)
        assert refused.event.code is RejectionCode.FAILED_PRECONDITION
        assert "in quarantine already" in str(rig.log(QuarantineWfRun("c1"))[0].event)
        assert how == "gone" or "wf-runs[0], key b'c1'" in refused.event.message
        assert {topic: rig.tables[topic] for topic in rows} == rows
        rig.crash()
    rig.turn(add(1, "c2"))  # the partition goes on
    for topic, key, row in good:
        rewrite(rig, topic, key, row)
    assert rig.shard.quarantined == 1
    assert rig.events(add(3)) == ["InputKept"]
    entries = rig.log(ReleaseWfRun("c1"))
    assert [entry.seq for entry in entries] == list(range(entries[0].seq, entries[0].seq + 22))
    smooth.turn(add(1), add(2), add(1, "c2"), add(3))
    assert rig.tables["kept-inputs"] == {}
    rig.crash()
    assert rig.shard.quarantined == 0
    seen, expected = state(rig), state(smooth)
    for run in (*seen.values(), *expected.values()):
        run["external_events"] = {event["external_event_id"] for event in run["external_events"]}
    assert seen == expected
    assert rig.shard.next_timer_ms() == smooth.shard.next_timer_ms()


OPERATED = st.one_of(
    st.sampled_from([RunWf("c1", "cart"), RunWf("c1", "cart"), RunWf("c2", "cart"), DeleteWfRun("c1")]),
    st.sampled_from([QuarantineWfRun("c1"), ReleaseWfRun("c1"), ReleaseWfRun("c1"), QuarantineWfRun("c2")]),
    st.builds(add, st.integers(0, 9)),
    st.builds(StopWfRun, st.sampled_from(["c1", "c2"])),
    st.builds(
        SkipRecord,
        st.sampled_from(["wf-commands", "external-events", "operator-commands"]),
        st.just(0),
        st.integers(0, 6),
        st.just(START_MS),
    ),
)


# (rule order-within-a-partition)
@settings(max_examples=200, deadline=None)
@given(
    st.lists(OPERATED, max_size=14),
    st.frozensets(st.integers(0, 13)),
    st.frozensets(st.integers(0, 13)),
)
def test_the_log_is_the_same_however_inputs_are_grouped_into_turns(
    items: list[Any], ends: frozenset[int], crashes: frozenset[int]
) -> None:
    one_by_one, grouped = with_cart(), with_cart()
    turn: list[Any] = []
    for number, item in enumerate(items):
        one_by_one.turn(item)
        turn.append(item)
        if number in ends:
            grouped.turn(*turn)
            turn = []
            if number in crashes:
                grouped.crash()
    grouped.turn(*turn)
    logs = [
        [output for output in rig.outputs if output.topic in ("wf-events", "dead-letters")]
        for rig in (one_by_one, grouped)
    ]
    assert logs[0] == logs[1]
    for topic in ("wf-runs", "thread-runs", "wf-run-external-events", "kept-inputs"):
        assert grouped.tables[topic] == one_by_one.tables[topic]
    assert grouped.position() == one_by_one.position()


def seen_ahead(items: list[Any], ends: frozenset[int], crashes: frozenset[int]) -> ShardRig:
    """Fold inputs one by one. The fold has read those up to the next of `ends` before, as those of a poll."""
    rig = with_cart()
    shown: list[Any] = []
    records = [rig.command(item) for item in items]
    for number, record in enumerate(records):
        if record not in shown:
            shown = records[number : min((end for end in ends if end > number), default=None)]
            for each in shown:
                rig.read(each)
        rig.turn(record)
        if number in crashes:
            rig.crash()
            shown = []
    return rig


SKIPS = st.builds(
    SkipRecord,
    st.just("operator-commands"),
    st.just(0),
    st.integers(0, 9),
    st.sampled_from([START_MS, START_MS, START_MS + 1]),
    command_id=st.sampled_from("ab"),
)
"""The same with an id that was used before, and with a time that no record has."""


@settings(max_examples=300, deadline=None)
@given(
    st.lists(SKIPS | st.sampled_from([QuarantineWfRun("c1"), ReleaseWfRun("c1")]), max_size=8),
    st.frozensets(st.integers(1, 7), max_size=3),
    st.frozensets(st.integers(0, 7), min_size=1),
)
def test_what_is_skipped_is_the_same_wherever_the_worker_crashes(
    items: list[Any], ends: frozenset[int], crashes: frozenset[int]
) -> None:
    # After a crash the same records are polled at once as before it: how far a fold sees ahead may change what happens.
    smooth, rough = seen_ahead(items, ends, frozenset()), seen_ahead(items, ends, crashes)
    assert rough.outputs == smooth.outputs
    position: Any = smooth.codec.decode(smooth.tables["fold-positions"][b"0"])
    # The SkipRecords that skipped a record have been folded since, and nothing is left to be skipped.
    assert position.skips == []
    assert not smooth.shard._operators._coming


TOPICS = ("wf-commands", "external-events", "definition-commands")
CRASH, HOLE, NEXT, SKIP = "crash", "hole", "next", "skip"
MOVES = st.one_of(
    st.tuples(st.just(NEXT), st.sampled_from(TOPICS), st.booleans()),
    st.tuples(st.just(NEXT), st.sampled_from(TOPICS), st.booleans()),
    st.tuples(st.just(HOLE), st.sampled_from(TOPICS)),
    st.tuples(
        st.just(SKIP), st.sampled_from(TOPICS), st.integers(-1, 2), st.sampled_from([0, 0, 0, 1, -1]), st.booleans()
    ),
    st.just((CRASH,)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(MOVES, max_size=30))
def test_no_record_is_ever_passed_over_but_the_next_one_of_its_topic_that_an_operator_has_seen(
    moves: list[tuple[Any, ...]],
) -> None:
    """`next` appends a record and folds it, at once or in a turn with what comes; `skip` is for an offset and a time
    near those of the next record, right or wrong: `hole` makes an offset without a record.
    """
    rig = with_cart()
    turn: list[InputRecord] = []
    asked: dict[str, set[tuple[int, int]]] = {topic: set() for topic in TOPICS}
    folded = {topic: rig._ends.get(topic, 0) for topic in TOPICS}
    meant: list[tuple[str, int]] = []
    others: list[tuple[str, int]] = []
    accepted = lapsing = 0

    def fold() -> None:
        rig.turn(*turn)
        turn.clear()

    for number, (move, *more) in enumerate(moves):
        if move == CRASH:
            fold()
            rig.crash()
        elif move == HOLE:
            rig.record(more[0], None, None)
        elif move == SKIP:
            topic, ahead, of_another_time, with_others = more
            place = rig._ends.get(topic, 0) + ahead, rig.now_ms + 1 + of_another_time
            if not with_others:
                fold()
            turn.append(rig.command(SkipRecord(topic, 0, *place)))
            if place[0] >= folded[topic] and place not in asked[topic]:
                asked[topic].add(place)
                accepted += 1
        else:
            topic, with_others = more
            rig.now_ms += 1
            command = {
                "wf-commands": RunWf(f"w{number}", "cart"),
                "external-events": ExternalEvent("c1", "add", f"e{number}", 1),
                "definition-commands": PutTaskDef(f"t{number}"),
            }[topic]
            record = rig.command(command)
            turn.append(record)
            if not with_others:
                fold()
            place = record.offset, record.timestamp_ms
            (meant if place in asked[topic] else others).append((topic, record.offset))
            lapsing += len(asked[topic] - {place})
            asked[topic].clear()
            folded[topic] = record.offset + 1
    fold()
    log = [rig.codec.decode(output.value or b"") for output in rig.outputs if output.topic == "wf-events"]
    entries = [entry for entry in log if isinstance(entry, LogEntry)]
    skipped = [(it.cause.topic, it.cause.offset) for it in entries if isinstance(it.event, RecordSkipped)]
    assert skipped == meant
    assert len([it for it in entries if isinstance(it.event, SkipAccepted)]) == accepted
    assert len([it for it in entries if isinstance(it.event, SkipLapsed)]) == lapsing
    decided = {
        (it.cause.topic, it.cause.offset) for it in entries if not isinstance(it.event, SkipLapsed | RecordSkipped)
    }
    definitions = [rig.codec.decode(it.value or b"") for it in rig.outputs if it.topic == "definition-events"]
    decided |= {(it.cause.topic, it.cause.offset) for it in definitions if isinstance(it, DefinitionAccepted)}
    assert set(others) <= decided
    assert not set(meant) & decided
