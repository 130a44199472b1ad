"""Rules of the transactional runtime, on a real Kafka, with the counting fold in processes of their own.

That nothing is lost or doubled is the ledger's verdict, which uses nothing of the runtime.
"""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from processors.kafka.partitioner import partition_of
from processors.runtime.group.crash_points import CrashPoint
from tests.support.installation import Installation
from tests.support.waiting import wait_until


@pytest.fixture
def installation(bootstrap: str, prefix: str, tmp_path: Path) -> Iterator[Installation]:
    with Installation(bootstrap, prefix, tmp_path) as it:
        yield it


def event_of(installation: Installation, cause: tuple[str, int, int]) -> dict[str, object]:
    """Wait for the event that a record caused."""
    found: list[dict[str, object]] = []

    def is_there() -> bool:
        found[:] = [event for event in installation.ledger.events() if event["cause"] == list(cause)]
        return bool(found)

    wait_until(f"the event of {cause}", is_there)
    return found[0]


def test_every_input_has_one_event_in_order_and_the_state_is_the_fold_of_the_log(installation: Installation) -> None:
    installation.post_many(1_000)
    worker = installation.worker("one")
    worker.wait_ready()
    with installation.trickle():
        installation.post_many(2_000)
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict
    assert verdict.inputs >= 3_000


def test_sigterm_hands_the_shards_over_and_ends_within_5_seconds(installation: Installation) -> None:
    first, second = installation.worker("first"), installation.worker("second")
    first.wait_ready()
    second.wait_ready()
    wait_until("shared shards", lambda: len(first.shards) == len(second.shards) == 2)
    with installation.trickle():
        exit_code, seconds = first.stop()
        wait_until("take-over", lambda: second.shards == [0, 1, 2, 3])
    assert (exit_code, seconds < 5) == (0, True), first.log
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict


def test_when_one_of_two_workers_is_killed_the_other_takes_its_shards(installation: Installation) -> None:
    first, second = installation.worker("first"), installation.worker("second")
    first.wait_ready()
    wait_until("shared shards", lambda: len(first.shards) == len(second.shards) == 2)
    with installation.trickle():
        second.kill()
        wait_until("take-over", lambda: first.shards == [0, 1, 2, 3])
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict


@pytest.mark.parametrize(
    "stop_at", [CrashPoint.AFTER_POLL, CrashPoint.AFTER_PRODUCE, f"{CrashPoint.AFTER_SEND_OFFSETS}:2"]
)
def test_a_zombie_cannot_commit_what_it_held_when_its_shards_moved(installation: Installation, stop_at: str) -> None:
    """Both believe that they own the shards: the zombie sleeps through its session in the middle of a turn."""
    zombie = installation.worker("zombie", HALTER_STOP_AT=stop_at)
    zombie.wait_ready()
    installation.post_many(50)
    other = installation.worker("other")
    other.wait_ready()
    wait_until("take-over", lambda: other.shards == [0, 1, 2, 3])
    installation.post_many(50)
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict
    zombie.send(signal.SIGCONT)
    wait_until("refusal", lambda: "turn_aborted" in zombie.log or "kind=Fenced" in zombie.log)
    installation.post_many(50)
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict
    assert verdict.inputs == 150


def test_a_static_member_that_is_killed_goes_on_with_its_shards_and_no_other_is_disturbed(
    installation: Installation,
) -> None:
    # Long sessions: what is seen here is not that the group has noticed a death.
    session = {"KAFKA_SESSION_TIMEOUT_MS": "45000"}
    first = installation.worker("first", static=True, **session)
    second = installation.worker("second", static=True, **session)
    wait_until("shared shards", lambda: len(first.shards) == len(second.shards) == 2)
    rebalances = second.log.count("assigned")
    with installation.trickle():
        shards = first.shards
        first.kill()
        again = installation.worker("first", static=True, **session)
        again.wait_ready()
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict
    assert again.shards == shards
    assert second.log.count("assigned") == rebalances


def test_the_new_group_protocol_works_as_well(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    variables = {"KAFKA_GROUP_PROTOCOL": "consumer"}
    with Installation(bootstrap, prefix, tmp_path, variables=variables) as installation:
        first, second = installation.worker("first"), installation.worker("second")
        wait_until("shared shards", lambda: len(first.shards) == len(second.shards) == 2)
        with installation.trickle():
            assert second.stop()[0] == 0
            wait_until("take-over", lambda: first.shards == [0, 1, 2, 3])
        verdict = installation.verdict_when_folded()
        assert verdict.ok, verdict


def test_a_record_that_breaks_a_rule_pauses_its_partition_by_name_and_the_others_go_on(
    installation: Installation,
) -> None:
    installation.post_many(50)
    topic, partition, offset = installation.post("external-events", "key-1", boom=True)
    installation.post_many(50)
    worker = installation.worker("one")
    worker.wait_logged("partition_paused")
    (line,) = (line for line in worker.log.splitlines() if "partition_paused" in line)
    assert f"{topic}[{partition}]@{offset}" in line
    assert "RuleBroke: told to" in line
    assert "Traceback" not in worker.log
    others = [place for place in installation.ledger.inputs() if place[1] != partition]
    installation.ledger.wait_until_folded(others)
    installation.post_many(50)
    others = [place for place in installation.ledger.inputs() if place[1] != partition]
    installation.ledger.wait_until_folded(others)
    assert [topic, partition, offset] not in [event["cause"] for event in installation.ledger.events()]
    assert worker.stop()[0] == 0


def test_a_position_that_was_deleted_unread_stops_the_worker(installation: Installation) -> None:
    _, partition, offset = installation.post("external-events", "key")
    worker = installation.worker("one")
    event_of(installation, ("external-events", partition, offset))
    worker.stop()
    for _ in range(3):
        _, _, offset = installation.post("external-events", "key")
    place = TopicPartition(installation.topics.external_events, partition, offset)
    next(iter(installation.admin.delete_records([place]).values())).result()
    worker = installation.worker("one")
    assert worker.wait_end() == 1
    assert f"external-events[{partition}]: expected the record at offset" in worker.log.splitlines()[-1]
    assert "deleted unread" in worker.log.splitlines()[-1]


def test_a_position_beyond_the_end_of_its_topic_stops_the_worker(installation: Installation) -> None:
    row = json.dumps({"task-reports": 1_000_000})
    installation.producer.produce(installation.topics.fold_positions, row, b"2", partition=2)
    installation.producer.flush()
    worker = installation.worker("one")
    assert worker.wait_end() == 1
    assert "task-reports[2]: expected offset 1000000" in worker.log.splitlines()[-1]


def test_a_group_that_is_past_the_beginning_without_state_stops_the_worker(installation: Installation) -> None:
    _, partition, offset = installation.post("wf-commands", "key")
    consumer = Consumer(installation.settings.consumer(group_id=installation.topics.group))
    committed = TopicPartition(installation.topics.wf_commands, partition, offset + 1)
    consumer.commit(offsets=[committed], asynchronous=False)
    consumer.close()
    worker = installation.worker("one")
    assert worker.wait_end() == 1
    assert f"shard {partition}: expected state" in worker.log.splitlines()[-1]


def test_a_missing_topic_is_explained_before_anything_starts(installation: Installation) -> None:
    for future in installation.admin.delete_topics([installation.topics.wf_events]).values():
        future.result()
    worker = installation.worker("one")
    assert worker.wait_end() == 1
    assert worker.log.splitlines()[-1] == (
        f"halter: topic '{installation.topics.wf_events}' does not exist: run `halter topics apply`"
    )


# (rule seen-definitions-waited-for)
def test_a_command_that_names_a_newer_position_of_definitions_waits_for_it(installation: Installation) -> None:
    worker = installation.worker("one")
    worker.wait_ready()
    for number in range(10):
        topic, _, offset = installation.post("definition-commands", f"spec-{number}", body=number)
        wait_until(
            "the definition", lambda n=number: len(installation.ledger.read(installation.topics.definitions, 1)) > n
        )
        position = (
            max(message.offset() or 0 for message in installation.ledger.read(installation.topics.definitions, 1)) + 1
        )
        cause = installation.post("wf-commands", "key", requires=position)
        assert int(str(event_of(installation, cause)["definitions"])) >= position, (topic, offset)


# (rule unknown-definitions-looked-for)
def test_a_command_that_names_an_unknown_definition_waits_for_all_that_are_there(installation: Installation) -> None:
    workers = [installation.worker("one"), installation.worker("two")]
    for worker in workers:
        worker.wait_ready()
    definitions = installation.topics.definitions
    for number in range(10):
        installation.post("definition-commands", f"spec-{number}", body=number)
        wait_until("the definition", lambda n=number: len(installation.ledger.read(definitions, 1)) > n)
        newest = max(message.offset() or 0 for message in installation.ledger.read(definitions, 1))
        causes = [installation.post("wf-commands", str(key), lacks=True) for key in range(4)]
        for cause in causes:
            assert int(str(event_of(installation, cause)["definitions"])) > newest
    assert not [it for it in workers if "definitions_behind" in it.log]


# (rule unknown-definitions-looked-for)
def test_an_aborted_transaction_at_the_end_of_definitions_is_not_waited_for(installation: Installation) -> None:
    worker = installation.worker("one")
    worker.wait_ready()
    installation.post("definition-commands", "spec")
    wait_until("the definition", lambda: installation.ledger.read(installation.topics.definitions, 1))
    other = Producer(installation.settings.producer(transactional_id="other"))
    other.init_transactions()
    for end in (4, 6):  # each transaction has a record and its mark
        other.begin_transaction()
        other.produce(installation.topics.definitions, b"{}", b"spec", partition=0)
        other.flush()
        other.abort_transaction()
        event = event_of(installation, installation.post("wf-commands", "key", lacks=True))
        assert event["definitions"] == end
    assert "definitions_behind" not in worker.log


def test_a_definition_that_takes_long_to_read_holds_up_those_alone_who_need_it(installation: Installation) -> None:
    worker = installation.worker("one")
    worker.wait_ready()
    installation.post("definition-commands", "spec", read_s=3.0)
    wait_until("the definition", lambda: installation.ledger.read(installation.topics.definitions, 1))
    position = installation.ledger.read(installation.topics.definitions, 1)[0].offset() + 1
    needs_it = installation.post("wf-commands", "key", requires=position)
    others = [it for it in map(str, range(100)) if partition_of(it.encode(), 4) != needs_it[1]]
    event_of(installation, installation.post("wf-commands", others[0]))
    assert not [event for event in installation.ledger.events() if "requires" in event["input"]]
    assert int(str(event_of(installation, needs_it)["definitions"])) >= position
    assert "definitions_behind" not in worker.log


# (rule seen-definitions-waited-for)
def test_a_position_of_definitions_that_does_not_exist_is_not_waited_for(installation: Installation) -> None:
    worker = installation.worker("one")
    worker.wait_ready()
    event = event_of(installation, installation.post("wf-commands", "key", requires=1_000))
    assert event["definitions"] == 0
    assert "definitions_position_unknown" in worker.log
    assert "definitions_behind" not in worker.log


def test_a_timer_fires_without_any_input_and_survives_a_crash(installation: Installation) -> None:
    def fired() -> list[int]:
        events = [event for event in installation.ledger.events() if "fired" in event["input"]]
        return [event["cause"][1] for event in events]

    worker = installation.worker("one", static=True)
    worker.wait_ready()
    due_ms = int(time.time() * 1_000) + 3_000
    _, partition, _ = installation.post("wf-commands", "key", timer_ms=due_ms)
    wait_until("the timer to be armed", lambda: installation.ledger.rows(installation.topics.thread_runs) or fired())
    worker.kill()
    installation.worker("one", static=True)
    wait_until("the timer to fire", fired)
    assert set(fired()) == {partition}
    assert int(time.time() * 1_000) >= due_ms
    wait_until("the timer to be gone", lambda: not installation.ledger.rows(installation.topics.thread_runs))
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict


def test_readiness_tells_what_the_worker_does(installation: Installation) -> None:
    worker = installation.worker("one")
    worker.wait_ready()
    assert worker.ready is not None
    assert worker.ready["state"] == "folding"
    assert worker.ready["shards"] == [0, 1, 2, 3]
    worker.stop()
    assert worker.ready is None
