"""Correlation over several partitions: shards whose outputs come to each other as records, without Kafka.

(rules key-owner-is-told, correlation-has-one-order)
"""

import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.core.records.commands import (
    CorrelatedEvent,
    DeleteWfRun,
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    PutExternalEventDef,
    PutWfSpec,
    QuarantineWfRun,
    RegisterCorrelationKey,
    ReleaseWfRun,
    RemoveCorrelationKey,
    RunWf,
    RunWfAndPost,
    SkipRecord,
)
from processors.core.records.events import Rejected
from processors.core.records.model import CorrelationKey
from processors.core.rules.context import Limits
from processors.core.rules.snapshots import snapshot_of
from processors.fold import correlation_fold
from processors.fold.stores import BrokenState
from processors.kafka.partitioner import partition_of
from tests.support.key_shards import DAY_MS, Shards, after, order, steps
from tests.support.shard_rig import START_MS, ShardRig


def outcomes(shards: Shards) -> list[str]:
    return [str(it.outcome) for it in shards.decided]


def test_an_event_by_key_reaches_the_wf_runs_that_have_the_key_wherever_they_live() -> None:
    shards = Shards()
    for number in range(6):
        shards.post(RunWf(f"w{number}", "order", {"order": "A7" if number % 2 else "B8"}))
    shards.run()
    shards.post(CorrelatedEvent("A7", "paid", "e1", {"cents": 5}))
    shards.run()
    assert {it for it, _ in shards.posted()} == {"w1", "w3", "w5"}
    assert {partition_of(it.encode(), 3) for it, _ in shards.posted()} > {partition_of(b"A7", 3)}
    for wf_run_id in ("w1", "w3", "w5"):
        names = [type(it.event).__name__ for it in shards.log(wf_run_id)]
        assert "ExternalEventPosted" in names
        assert "SpawnChild" in names


def test_an_event_before_its_registration_is_kept_over_a_crash() -> None:
    shards = Shards()
    shards.post(CorrelatedEvent("A7", "paid", "e1", 5))
    shards.run()
    shards.crash()
    shards.post(RunWf("w", "order", {"order": "A7"}))
    shards.run()
    assert shards.posted() == [("w", "e1")]
    assert outcomes(shards) == ["KEPT", "REGISTERED", "POSTED"]


# (rules key-owner-is-told, start-then-post)
def test_owners_are_told_of_a_key_that_a_start_gives_and_its_event_takes_away() -> None:
    shards = Shards()
    shards.post(CorrelatedEvent("A7", "paid", "e1"))
    shards.run()
    shards.post(RunWfAndPost("w", "order", "rename", "r1", {"order": "A7"}, "B8"))
    shards.run()
    told = [(type(it).__name__, it.correlation_key) for it in shards.decoded("correlation-commands")]
    assert told == [
        ("RegisterCorrelationKey", "A7"),
        ("RemoveCorrelationKey", "A7"),
        ("RegisterCorrelationKey", "B8"),
    ]
    assert shards.posted() == [("w", "e1")], "as if its ExternalEvent had come right behind its start"
    assert shards.keys() == {"paid/B8": ["w"]}


def test_a_changed_key_is_removed_and_the_other_registered() -> None:
    shards = Shards()
    shards.post(RunWf("w", "order", {"order": "A7"}))
    shards.post(ExternalEvent("w", "rename", "r1", "B8"))
    shards.run()
    assert shards.keys() == {"paid/B8": ["w"]}
    shards.post(CorrelatedEvent("A7", "paid", "e1"))
    shards.post(CorrelatedEvent("B8", "paid", "e1"))
    shards.run()
    assert shards.posted() == [("w", "e1")]


@pytest.mark.parametrize("end", [ExternalEvent("w", "done", "d1"), DeleteWfRun("w")])
def test_a_wf_run_that_has_ended_or_is_deleted_has_no_key(end: Any) -> None:
    shards = Shards()
    shards.post(RunWf("w", "order", {"order": "A7"}))
    shards.run()
    shards.post(end)
    shards.run()
    assert shards.keys() == {}
    assert outcomes(shards) == ["REGISTERED", "REMOVED"]


def test_an_id_that_is_deleted_and_used_again_has_the_key_by_its_new_incarnation() -> None:
    shards = Shards()
    shards.post(RunWf("w", "order", {"order": "A7"}))
    shards.post(DeleteWfRun("w"))
    shards.post(RunWf("w", "order", {"order": "A7"}))
    shards.run()
    [row] = [row for shard in shards.shards for row in shard.correlations.values()]
    assert [it.incarnation for it in row.wf_runs] == [shards.log("w")[-1].incarnation]


def test_a_wf_run_in_quarantine_keeps_its_key_and_what_comes_by_it() -> None:
    shards = Shards()
    shards.post(RunWf("w", "order", {"order": "A7"}))
    shards.run()
    shards.post(QuarantineWfRun("w"))
    shards.run()
    shards.post(CorrelatedEvent("A7", "paid", "e1"))
    shards.run()
    assert [type(it.event).__name__ for it in shards.log("w")][-1] == "InputKept"
    shards.post(ExternalEvent("w", "rename", "r1", "B8"))
    shards.post(ReleaseWfRun("w"))
    shards.run()
    assert "SpawnChild" in [type(it.event).__name__ for it in shards.log("w")]
    assert shards.keys() == {"paid/B8": ["w"]}


def test_an_input_with_very_many_empty_headers_is_not_kept_in_quarantine() -> None:
    shards = Shards(1)
    shards.post(RunWf("w", "order", {"order": "A7"}))
    shards.post(QuarantineWfRun("w"))
    shards.run()
    record = shards.post(ExternalEvent("w", "rename", "r1", "B8"))
    shards.inputs["external-events", 0][-1] = record._replace(headers=(("", b""),) * 150_000)
    shards.run()
    assert [it["halter.reason"] for it in shards.dead_letters()] == ["QUARANTINE_FULL"]


# (rule keys-end-with-the-wf-run)
def test_a_fork_has_the_key_of_its_source_as_well() -> None:
    shards = Shards()
    shards.post(RunWf("w", "order", {"order": "A7"}))
    shards.run()
    run = shards.shards[partition_of(b"w", 3)].wf_runs["w"]
    shards.post(ForkWfRun("f", snapshot_of(run, run.time_ms)))
    shards.run()
    assert shards.keys() == {"paid/A7": ["w", "f"]}


# (rule keys-end-with-the-wf-run)
def test_after_a_migration_the_keys_are_those_of_the_other_version() -> None:
    shards = Shards()
    shards.post(RunWf("w", "order", {"order": "A7"}))
    shards.post(PutWfSpec("order", json.dumps(order(correlated_events={"done": {"var": "order"}}))))
    shards.run()
    shards.post(MigrateWfRun("w", 0, 1))
    shards.run()
    assert shards.keys() == {"done/A7": ["w"]}
    shards.post(PutWfSpec("order", json.dumps(order(correlated_events={}))))
    shards.run()
    shards.post(MigrateWfRun("w", 0, 2))
    shards.run()
    assert shards.keys() == {}


def test_the_state_says_the_key_or_why_there_is_none() -> None:
    shards = Shards()
    shards.post(RunWf("w", "order", {"order": "A7"}))
    shards.post(RunWf("x", "order", {"order": ""}))
    shards.run()
    shards.crash()
    runs = {name: run for shard in shards.shards for name, run in shard.wf_runs.items()}
    assert runs["w"].correlation_keys == {"paid": CorrelationKey("A7")}
    assert "found 0" in (runs["x"].correlation_keys["paid"].problem or "")


# (rule kept-events-expire)
def test_an_event_for_which_nobody_comes_is_a_dead_letter_byte_for_byte() -> None:
    shards = Shards()
    record = shards.post(CorrelatedEvent("A7", "paid", "e1", "x"))
    shards.inputs["correlated-events", record.partition][-1] = record._replace(headers=(("trace", b"7"),))
    shards.run()
    shards.now_ms += 7 * DAY_MS - 1
    shards.fire()
    assert shards.dead_letters() == []
    shards.crash()
    shards.now_ms += 1
    assert shards.shards[record.partition].next_timer_ms() == shards.now_ms
    shards.fire()
    [letter] = [it for it in shards.outputs if it.topic == "dead-letters"]
    assert (letter.key, letter.value) == (record.key, record.value)
    [headers] = shards.dead_letters()
    assert headers["trace"] == "7"
    assert headers["halter.reason"] == "NOT_CORRELATED"
    assert (headers["halter.topic"], headers["halter.offset"]) == ("correlated-events", "0")
    assert "within 7 days" in headers["halter.message"]
    assert all(not shard.correlations for shard in shards.shards)
    assert all(shard.next_timer_ms() is None for shard in shards.shards)


# (rule correlated-event-waits)
def test_events_with_large_headers_that_wait_do_not_make_a_row_too_large() -> None:
    shards = Shards(1)
    for number in range(6):
        shards.post(CorrelatedEvent("A7", "paid", f"e{number}"))
        records = shards.inputs["correlated-events", 0]
        records[-1] = records[-1]._replace(headers=(("trace", bytes(900_000)),))
    shards.run()
    assert outcomes(shards) == ["KEPT", "KEPT", "REJECTED", "REJECTED", "REJECTED", "REJECTED"]


# (rule key-problem-is-no-key)
def test_all_keys_of_a_wf_run_share_the_steps_of_a_command() -> None:
    shards = Shards(1, Limits(steps_per_command=100))
    dear = {"add": [{"var": "order"}, "x" * 60 * 64]}
    shards.post(PutWfSpec("order", json.dumps(order(correlated_events={"done": dear, "paid": dear}))))
    shards.run()
    shards.post(RunWf("w", "order", {"order": "A7"}))
    shards.run()
    problems = [it.problem or "" for it in shards.shards[0].wf_runs["w"].correlation_keys.values()]
    assert "found 3842" in problems[0]
    assert "steps" in problems[1]
    assert shards.keys() == {}


def test_a_turn_that_has_posted_much_is_full_until_its_outputs_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.fold.correlation_fold.TURN_BYTES", 2_000)
    shards = Shards(1)
    for number in range(3):
        shards.post(RunWf(f"w{number}", "order", {"order": "A7"}))
    shards.run()
    [shard] = shards.shards
    assert not shard.is_full
    shard.fold(shard.read(shards.post(CorrelatedEvent("A7", "paid", "e1", "x" * 700))))
    assert shard.is_full
    shard.take_outputs()
    assert not shard.is_full


def test_a_timer_that_comes_early_is_fired_again() -> None:
    shards = Shards(1)
    shards.post(CorrelatedEvent("A7", "paid", "e1", "x"))
    shards.run()
    due_ms = START_MS + 7 * DAY_MS
    [timer] = shards.shards[0].due_timers(due_ms, 10)
    shards.now_ms = due_ms - 100  # the clock of the broker is behind
    shards._append(timer.topic, 0, timer.key or b"", timer.value or b"")
    shards.run()
    assert shards.shards[0].due_timers(due_ms, 10) == []
    assert len(shards.shards[0].due_timers(due_ms + 100, 10)) == 1


def test_timers_are_handed_out_no_more_at_once_than_asked_for() -> None:
    shards = Shards(1)
    for number in range(5):
        shards.post(CorrelatedEvent(f"k{number}", "paid", "e1", "x"))
    shards.run()
    due_ms = START_MS + 7 * DAY_MS
    assert len(shards.shards[0].due_timers(due_ms, 2)) == 2
    assert len(shards.shards[0].due_timers(due_ms, 10)) == 3


def test_a_wf_spec_without_correlated_events_writes_nothing_about_keys() -> None:
    shards = Shards()
    shards.post(PutWfSpec("plain", json.dumps(order(name="plain", correlated_events={}))))
    shards.post(RunWf("w", "plain", {"order": "A7"}))
    shards.post(ExternalEvent("w", "done", "d1"))
    shards.run()
    assert {it.topic for it in shards.outputs} & {"correlation-commands", "correlation-events", "correlations"} == set()


def test_a_row_that_cannot_be_read_is_named() -> None:
    shards = Shards(1)
    shards.tables[0]["correlations", b"paid/A7"] = b"nonsense"
    with pytest.raises(BrokenState, match=r"correlations\[0\], key 'paid/A7'"):
        shards.crash()


def test_timers_of_rows_that_were_loaded_are_armed_turn_by_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlation_fold, "ARMED_AT_ONCE", 2)
    shards = Shards(1)
    for number in range(7):
        shards.post(CorrelatedEvent(f"K{number}", "paid", "e1"))
    shards.run()
    shards.crash()
    [shard] = shards.shards
    shards.post(RunWf("w", "order", {"order": "K0"}))  # it takes what waits before its timer is armed
    shards.run()
    shards.now_ms += 8 * DAY_MS
    assert shard.next_timer_ms() == 0
    found = [[it.key for it in shard.due_timers(shards.now_ms, 100)] for _ in range(4)]
    assert sorted(key for keys in found for key in keys if key) == [b"K%d" % number for number in range(1, 7)]
    assert len(found[0]) == 4, "two at the load, two by each turn"
    assert shard.next_timer_ms() is None


def test_a_row_that_cannot_be_read_is_named_when_its_timer_is_to_be_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlation_fold, "ARMED_AT_ONCE", 1)
    shards = Shards(1)
    for number in range(2):
        shards.post(CorrelatedEvent(f"K{number}", "paid", "e1"))
    shards.run()
    shards.tables[0]["correlations", b"paid/K0"] = b"x"
    shards.crash()
    for _ in range(2):  # and again: a partition that is paused for it stays so
        with pytest.raises(BrokenState, match=r"correlations\[0\], key 'paid/K0'"):
            shards.shards[0].due_timers(shards.now_ms, 100)


def test_an_operator_may_skip_a_correlated_event() -> None:
    rig = ShardRig()
    rig.turn(PutExternalEventDef("paid"))
    record = rig.command(CorrelatedEvent("A7", "paid", "e1"))
    rig.turn(SkipRecord("correlated-events", 0, record.offset, record.timestamp_ms))
    assert rig.events(record) == ["RecordSkipped"]
    assert rig.shard.correlations == {}
    rig.crash()
    assert rig.shard.offsets["correlated-events"] == 1


def test_a_skipped_registration_is_logged_for_its_partition_and_not_for_the_wf_run_of_another() -> None:
    rig = ShardRig()
    register = rig.command(RegisterCorrelationKey("A7", "paid", "w", 3))
    rig.turn(SkipRecord("correlation-commands", 0, register.offset, register.timestamp_ms))
    [skipped] = rig.log(register)
    assert (skipped.wf_run_id, skipped.event.command) == ("partition/0", "RegisterCorrelationKey")  # type: ignore[union-attr]
    assert rig.factory.describe(register) == ("A7", "RegisterCorrelationKey")
    assert rig.shard.correlations == {}


def test_beside_an_earlier_release_there_are_no_keys() -> None:
    rig = ShardRig(release="0.2.0")
    rig.turn(PutExternalEventDef("paid"), PutExternalEventDef("rename"), PutExternalEventDef("done"))
    [refused, *_] = rig.turn(PutWfSpec("order", json.dumps(order())))
    assert refused.code == "FAILED_PRECONDITION"
    assert "earlier release" in refused.message
    topics = {topic for topic, _ in (*rig.factory.input_topics(0), *rig.factory.state_topics(0))}
    assert not {topic for topic in topics if topic.startswith("correlat")}


@settings(max_examples=60, deadline=None)
@given(commands=steps, seed=st.integers(0, 2**32))
def test_in_whatever_order_shards_fold_and_crash_each_event_reaches_whom_the_log_says_once(
    commands: list[Any], seed: int
) -> None:
    _judge(after(commands, seed))


def _judge(shards: Shards) -> None:
    """Compare what the topics have with what an independent reader makes of `wf-events` and of the inputs."""
    runs = {name: run for shard in shards.shards for name, run in shard.wf_runs.items()}
    have: dict[str, set[str]] = defaultdict(set)
    for wf_run_id, run in runs.items():
        if run.exists and run.timer is None and (key := run.threads[0].variables["order"]):
            have[f"paid/{key}"].add(wf_run_id)
    assert {name: set(ids) for name, ids in shards.keys().items()} == dict(have), "who has which key at the end"
    decided = shards.decided
    promised = sorted(
        (of.wf_run_id, it.external_event_id) for it in decided if it.outcome == "POSTED" for of in it.wf_runs
    )
    assert sorted(shards.posted()) == promised, "each is posted to whom the log says, once"
    causes = [(it.cause.topic, it.cause.partition, it.cause.offset) for it in decided]
    for topic in ("correlated-events", "correlation-commands"):
        for partition in range(shards.partitions):
            for record in shards.inputs[topic, partition]:
                assert (topic, partition, record.offset) in causes, "every record has an outcome"
    ends = {it.external_event_id for it in decided if it.outcome == "KEPT"}
    waiting = {it.external_event_id for s in shards.shards for row in s.correlations.values() for it in row.kept}
    assert waiting <= ends
    told: dict[tuple[str, str, int], list[type]] = defaultdict(list)
    for it in shards.decoded("correlation-commands"):
        told[it.correlation_key, it.wf_run_id, it.incarnation].append(type(it))
    for kinds in told.values():  # by turns, for a WfRun may come back to a key that it had
        assert set(kinds[::2]) == {RegisterCorrelationKey}, "no registration is told twice"
        assert set(kinds[1::2]) <= {RemoveCorrelationKey}, "no removal is told twice"
    refused = [it for it in shards.decoded("wf-events") if isinstance(it.event, Rejected)]
    twice = [it for it in refused if it.cause.topic == "external-events" and it.event.code != "ALREADY_EXISTS"]
    assert not twice
