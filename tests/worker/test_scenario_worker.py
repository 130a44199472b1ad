"""A scenario's worker fires timers only when told to, one at a time, and works only on a scenario's topics."""

import json
from functools import partial

import pytest

from processors.core.records.commands import PutWfSpec, RunWf
from processors.core.rules.context import Context, Limits
from processors.fold.outputs import OutputRecord
from processors.fold.shard_folds import ShardFolds
from processors.kafka.topic_check import FoundConfig, FoundTopic, problems
from processors.kafka.topics import Topic
from processors.kafka.topics_file import load_topics
from processors.worker.scenario_worker import Assignment, ScenarioClock, ScenarioFold, topics_for
from tests.support.shard_rig import START_MS, ShardRig

NAPS = {
    "name": "naps",
    "entrypoint": "main",
    "threads": {
        "main": {
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "naps"},
                "naps": {"kind": "START_MULTIPLE_THREADS", "thread": "nap", "over": [1, 1, 2], "next": "join"},
                "join": {"kind": "WAIT_FOR_THREADS", "threads": {"output": "naps"}, "next": "done"},
                "done": {"kind": "EXIT"},
            }
        },
        "nap": {
            "variables": {"INPUT": {"type": "INT"}},
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "nap"},
                "nap": {"kind": "SLEEP", "seconds": {"var": "INPUT"}, "next": "done"},
                "done": {"kind": "EXIT"},
            },
        },
    },
}
WALL_CLOCK_MS = START_MS + 10**12


@pytest.fixture
def clock() -> ScenarioClock:
    return ScenarioClock()


@pytest.fixture
def rig(clock: ScenarioClock) -> ShardRig:
    """Return a shard of a scenario with three naps: two until the same time, one longer."""
    rig = ShardRig()
    rig.factory = ShardFolds(1, rig.codec, rig.view, new_fold=partial(ScenarioFold, clock))
    rig.shard = rig.factory.create(0)
    rig.turn(PutWfSpec("naps", json.dumps(NAPS)))
    rig.turn(RunWf("w", "naps"))
    return rig


def due(rig: ShardRig) -> list[OutputRecord]:
    return list(rig.shard.due_timers(WALL_CLOCK_MS, 100))


def fold(rig: ShardRig, timer: OutputRecord) -> None:
    rig.turn(rig.record(timer.topic, timer.key, timer.value))


def test_no_timer_fires_by_the_clock_on_the_wall(rig: ShardRig) -> None:
    assert due(rig) == []


def test_one_timer_fires_at_a_time_and_its_record_has_the_scenarios_time(rig: ShardRig, clock: ScenarioClock) -> None:
    clock.until_ms = START_MS + 1_500
    (first,) = due(rig)
    assert first.timestamp_ms == START_MS + 1_500
    assert due(rig) == []
    fold(rig, first)
    assert due(rig) == []  # the next one needs its own permission
    clock.until_ms = START_MS + 1_500
    (second,) = due(rig)
    assert second.value != first.value
    fold(rig, second)
    clock.until_ms = START_MS + 1_500
    assert due(rig) == []  # the third is not due yet


def test_a_timer_that_was_let_fire_fires_after_a_turn_that_was_undone(rig: ShardRig, clock: ScenarioClock) -> None:
    clock.until_ms = START_MS + 1_000
    (lost,) = due(rig)
    rig.crash()
    assert due(rig) == [lost]


def test_a_worker_with_armed_timers_looks_often_and_one_without_does_not(rig: ShardRig, clock: ScenarioClock) -> None:
    looks_at_ms = rig.shard.next_timer_ms()
    assert looks_at_ms is not None
    assert looks_at_ms > START_MS + 2_000  # a time that is not the scenario's
    assert ScenarioFold(clock, 0, 1, rig.codec, Context(rig.view)).next_timer_ms() is None


def test_what_a_worker_is_told_is_what_it_reads() -> None:
    assignment = Assignment("prefix-", ("gpu",), Limits(live_threads=3))
    line = assignment.line()
    assert line.count(b"\n") == 1
    assert Assignment.read(line) == assignment


def found(topic: Topic) -> FoundTopic:
    configs = {name: FoundConfig(value, own=True) for name, value in topic.configs.items()}
    return FoundTopic(topic.name, topic.partitions, topic.replication, configs)


def test_a_scenarios_worker_refuses_real_topics_and_a_real_one_a_scenarios() -> None:
    real = load_topics(prefix="p-", partitions=1)
    of_scenario = topics_for(real, ())
    for wanted, others in ((real, of_scenario), (of_scenario, real)):
        (refused,) = problems(wanted[wanted.wf_commands], found(others[others.wf_commands]), wanted)
        assert "message.timestamp.type" in refused
        assert problems(wanted[wanted.wf_commands], found(wanted[wanted.wf_commands]), wanted) == []


def test_a_scenarios_queues_are_added_to_those_of_the_file_and_nothing_is_ever_too_old() -> None:
    real = load_topics(prefix="p-", partitions=1)
    topics = topics_for(real, ["gpu"])
    assert topics.task_queue("gpu") == "p-task-requests-gpu"
    assert topics["p-task-requests-gpu"].partitions == 1
    assert {topic.configs.get("retention.ms", "-1") for topic in topics.all} == {"-1"}
    assert topics_for(topics, ["gpu"]).all == topics.all
