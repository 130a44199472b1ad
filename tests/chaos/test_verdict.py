"""The verdict can fail: it names each mistake that is put into a log.

The tape is a right one, folded in memory. Every test changes it in one way.
"""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from itertools import pairwise

import pytest

from processors.core.records.commands import ExternalEvent
from tests.chaos.avro import decode, encode
from tests.chaos.findings import Kind
from tests.chaos.memory import MemoryInstallation
from tests.chaos.recovery import PULSES
from tests.chaos.script import Posting, posting
from tests.chaos.tape import (
    DEAD_LETTERS,
    LOG,
    STATE,
    TASK_CANCELLATIONS,
    TASK_REQUESTS,
    Entry,
    RecordAddress,
    Tape,
    TapeRecord,
    entries,
)
from tests.chaos.verdict import Verdict, judge
from tests.support.keys import one_key_each

SEED, STEPS = 7, 90
KEY = one_key_each(2, PULSES)[0]


@cache
def right_tape() -> Tape:
    early = posting(ExternalEvent(KEY, "heartbeat", "e-1", 7))
    garbage = Posting("wf-commands", KEY.encode(), b"garbage")
    return MemoryInstallation().run(SEED, STEPS, [early, garbage])


@pytest.fixture
def tape() -> Tape:
    """Return a copy of a right tape."""
    return deepcopy(right_tape())


def kinds(verdict: Verdict) -> set[Kind]:
    return {finding.kind for finding in verdict.findings}


def named(verdict: Verdict, kind: Kind, *words: object) -> bool:
    """Return True if a finding of a kind has all these words in it."""
    return any(
        finding.kind is kind and all(str(word) in finding.what for word in words) for finding in verdict.findings
    )


def log_of(tape: Tape, partition: int = 0) -> list[TapeRecord]:
    return tape.topics[LOG][partition]


def find(tape: Tape, name: str, **fields: object) -> int:
    """Return the index, on the log of partition 0, of the first entry of a name that has these fields."""
    return next(
        index
        for index, (found, has) in enumerate(decode(record.value or b"") for record in log_of(tape))
        if found == name and fields.items() <= has.items()
    )


def of_partition(tape: Tape, partition: int) -> Iterator[Entry]:
    return (entry for entry in entries(tape) if entry.partition == partition)


def blocks(tape: Tape, partition: int = 0) -> Iterator[tuple[RecordAddress, list[int]]]:
    """Yield causes, each with the indexes of its entries."""
    found: list[tuple[RecordAddress, list[int]]] = []
    for index, entry in enumerate(of_partition(tape, partition)):
        if not found or found[-1][0] != entry.cause:
            found.append((entry.cause, []))
        found[-1][1].append(index)
    yield from found


def rewritten(record: TapeRecord, **fields: object) -> TapeRecord:
    """Return the record with other fields."""
    name, was = decode(record.value or b"")
    return record._replace(value=encode(name, {**was, **fields}))


def test_what_an_earlier_release_wrote_is_judged_as_if_todays_schemas_had_written_it() -> None:
    tape = MemoryInstallation(release="0.1.0").run(SEED, STEPS)
    assert judge(tape, decide_again=False).count(Kind.STATE) > 0
    assert judge(tape.in_current_schemas(), decide_again=False).ok
    assert not any(tape.of(TASK_CANCELLATIONS)), "earlier releases have no such topic"
    assert tape.in_current_schemas().topics["wf-runs"] != tape.topics["wf-runs"]


def test_a_right_tape_is_right_and_has_something_of_everything() -> None:
    tape = MemoryInstallation().run(SEED, 350)
    verdict = judge(tape)
    assert verdict.ok, verdict
    assert verdict.inputs > 500
    assert verdict.refused > 20
    assert verdict.dead_letters
    told = {decode(record.value or b"")[1]["reason"] for _, record in tape.of(TASK_CANCELLATIONS)}
    assert told >= {"STOPPED", "TIMED_OUT", "FAILED_ABOVE"}
    names = {decode(record.value or b"")[0] for _, record in tape.of(LOG)}
    assert names >= {
        "Halt", "SpawnChild", "Resume", "InterruptSuperseded", "TimerMatured", "TaskAttemptEnded", "NodeFailed",
        "ThreadFailed", "WfRunEnded", "WfRunDeleted", "WaitStarted", "Rejected", "Ignored",
    }  # fmt: skip


def test_an_input_without_outcome_is_lost(tape: Tape) -> None:
    cause, indexes = next((cause, them) for cause, them in blocks(tape) if len(them) > 2)
    del log_of(tape)[indexes[0] : indexes[-1] + 1]
    verdict = judge(tape)
    assert named(verdict, Kind.LOST, cause)
    assert verdict.count(Kind.LOST) == 1
    assert Kind.SEQ in kinds(verdict)


def test_an_outcome_that_is_there_twice_is_doubled(tape: Tape) -> None:
    cause, indexes = next((cause, them) for cause, them in blocks(tape) if len(them) > 2)
    log_of(tape).extend(log_of(tape)[indexes[0] : indexes[-1] + 1])
    verdict = judge(tape)
    assert named(verdict, Kind.DOUBLED, cause, "2 outcomes")
    assert named(verdict, Kind.SEQ, "repeats")


def test_an_outcome_that_is_written_twice_in_a_row_is_doubled(tape: Tape) -> None:
    index = find(tape, "ExternalEventPosted", seq=0)
    log_of(tape).insert(index, log_of(tape)[index])
    assert named(judge(tape), Kind.DOUBLED, "there twice")


def test_a_dead_letter_that_is_there_twice_is_doubled(tape: Tape) -> None:
    partition = next(partition for partition, letters in tape.topics[DEAD_LETTERS].items() if letters)
    letters = tape.topics[DEAD_LETTERS][partition]
    letters.append(letters[0]._replace(offset=99))
    assert named(judge(tape), Kind.DOUBLED, "2 outcomes")


def test_a_dead_letter_that_was_changed_is_found(tape: Tape) -> None:
    partition = next(partition for partition, letters in tape.topics[DEAD_LETTERS].items() if letters)
    letters = tape.topics[DEAD_LETTERS][partition]
    letters[0] = letters[0]._replace(value=b"something else")
    assert named(judge(tape), Kind.DECIDED, "not the bytes")


def test_an_input_that_was_taken_and_refused_is_doubled(tape: Tape) -> None:
    rejected = log_of(tape)[find(tape, "Rejected", command="ExternalEvent")]
    index = find(tape, "ExternalEventPosted")
    cause = decode(log_of(tape)[index].value or b"")[1]["cause"]
    log_of(tape).insert(index + 1, rewritten(rejected, cause=cause))
    assert named(judge(tape), Kind.DOUBLED, "taken and refused")


def test_outcomes_in_another_order_than_their_inputs_are_out_of_order(tape: Tape) -> None:
    found = list(blocks(tape))
    (one, first), (_, second) = next(pair for pair in pairwise(found) if pair[0][0].topic == pair[1][0].topic)
    log = log_of(tape)
    moved = [log[index] for index in first]
    log[first[0] : second[-1] + 1] = [*(log[index] for index in second), *moved]
    assert named(judge(tape), Kind.OUT_OF_ORDER, one)


def test_a_gap_in_the_seq_of_a_wf_run_is_found(tape: Tape) -> None:
    _, indexes = next((cause, them) for cause, them in blocks(tape) if len(them) > 3)
    del log_of(tape)[indexes[2]]
    verdict = judge(tape)
    assert named(verdict, Kind.SEQ, "leaves a gap")
    assert Kind.DECIDED in kinds(verdict)


def test_an_event_of_another_content_than_was_decided_is_found(tape: Tape) -> None:
    index = find(tape, "SpawnChild", spec="change-address")
    log_of(tape)[index] = rewritten(log_of(tape)[index], variables={})
    verdict = judge(tape)
    assert named(verdict, Kind.DECIDED, "decided again")
    assert Kind.LOST not in kinds(verdict)


@pytest.mark.parametrize("topic", STATE)
def test_a_row_that_is_not_what_the_log_says_is_found(tape: Tape, topic: str) -> None:
    (partition, key), _ = min(tape.last_values(topic).items())
    rows = tape.topics[topic][partition]
    older = next(record for record in rows if record.key == key)
    rows.append(older._replace(offset=len(rows), value=None))
    assert named(judge(tape), Kind.STATE, topic, key, "is missing")


def test_a_row_of_an_earlier_turn_is_found(tape: Tape) -> None:
    key, value = next(
        (record.key, record.value)
        for address, record in tape.of("wf-runs")
        if tape.last_values("wf-runs").get((address.partition, record.key or b""), record.value) != record.value
    )
    partition = next(address.partition for address, record in tape.of("wf-runs") if record.key == key)
    tape.topics["wf-runs"][partition].append(TapeRecord(10_000, 0, key, value))
    assert named(judge(tape), Kind.STATE, "wf-runs", key, "differs")


def written_again(tape: Tape, topic: str) -> tuple[list[TapeRecord], list[int]]:
    """Return the rows of a partition, and the indexes of a key whose row was written with other values."""
    for records in tape.topics[topic].values():
        for key in {record.key for record in records}:
            indexes = [index for index, record in enumerate(records) if record.key == key]
            if len({records[index].value for index in indexes} - {None}) > 3:
                return records, indexes
    raise AssertionError(f"no row of {topic} was written again")


@pytest.mark.parametrize("topic", STATE[:2])
def test_a_row_that_is_ahead_of_its_position_is_found(tape: Tape, topic: str) -> None:
    records, (first, second, *_) = written_again(tape, topic)
    records[first] = records[second]
    assert named(judge(tape), Kind.STATE, topic, records[first].key, "at the position")


@pytest.mark.parametrize("topic", STATE[:2])
def test_a_row_that_is_not_written_with_its_position_is_found(tape: Tape, topic: str) -> None:
    records, (_, second, *_) = written_again(tape, topic)
    key = records.pop(second).key
    assert named(judge(tape), Kind.STATE, topic, key, "at the position")


def test_rows_that_stand_for_another_position_than_the_others_of_their_partition_are_found(tape: Tape) -> None:
    positions = tape.topics["fold-positions"][0]
    del positions[1:-1:2]
    assert named(judge(tape), Kind.STATE, "at the position fold-positions[0]")


def test_a_finished_thread_without_a_last_row_is_found(tape: Tape) -> None:
    threads = tape.topics["thread-runs"][0]
    last = next(index for index, record in enumerate(threads[1:]) if record.value is None)
    key = threads.pop(last).key
    assert named(judge(tape), Kind.STATE, "thread-runs[0]", key, "of a thread that has finished is missing")


def test_a_position_that_says_that_the_rows_have_more_of_the_log_than_they_do_is_found(tape: Tape) -> None:
    positions = tape.topics["fold-positions"][0]
    half = len(positions) // 2
    positions[half] = rewritten(positions[half], log_position=log_of(tape)[-1].offset + 1)
    assert named(judge(tape), Kind.STATE, f"fold-positions[0]@{positions[half].offset}", "the rows do not have")


def test_rows_that_have_not_followed_the_log_to_its_end_are_found(tape: Tape) -> None:
    records = max(tape.topics["wf-runs"].items(), key=lambda it: len(it[1]))[1]
    key = records.pop().key
    assert named(judge(tape), Kind.STATE, "wf-runs", key)


def test_folded_offsets_that_lag_behind_are_found(tape: Tape) -> None:
    positions = tape.topics["fold-positions"][0]
    positions.append(positions[-4])
    assert named(judge(tape), Kind.STATE, "fold-positions[0]", "is folded up to")


def test_a_task_attempt_that_was_requested_twice_is_found(tape: Tape) -> None:
    requests = tape.topics[TASK_REQUESTS][0]
    requests.append(requests[0]._replace(offset=len(requests)))
    assert named(judge(tape), Kind.TASK, "2 times")


def test_a_task_attempt_whose_request_is_missing_is_found(tape: Tape) -> None:
    del tape.topics[TASK_REQUESTS][0][3]
    assert named(judge(tape), Kind.TASK, "0 times")


def cancellations(tape: Tape) -> list[TapeRecord]:
    """Return the cancellations of a partition that has some."""
    return next(records for _, records in sorted(tape.topics[TASK_CANCELLATIONS].items()) if len(records) > 1)


@pytest.mark.parametrize("decide_again", [True, False])
def test_a_task_worker_that_was_told_twice_is_found(tape: Tape, *, decide_again: bool) -> None:
    told = cancellations(tape)
    told.append(told[0]._replace(offset=len(told)))
    assert named(judge(tape, decide_again=decide_again), Kind.TASK, TASK_CANCELLATIONS, "is there 2 times, expected 1")


def test_a_task_worker_that_was_not_told_is_found(tape: Tape) -> None:
    del cancellations(tape)[1]
    assert named(judge(tape), Kind.TASK, TASK_CANCELLATIONS, "is there 0 times, expected 1")
    assert named(judge(tape), Kind.DECIDED, TASK_CANCELLATIONS)


@pytest.mark.parametrize("decide_again", [True, False])
def test_a_cancellation_that_the_log_does_not_explain_is_found(tape: Tape, *, decide_again: bool) -> None:
    told = cancellations(tape)
    told[0] = rewritten(told[0], reason="LOST")
    found = judge(tape, decide_again=decide_again)
    assert named(found, Kind.TASK, "LOST", "is there 1 times, expected 0")


def timer_fired(tape: Tape) -> tuple[int, int]:
    """Return partition and index of a TimerFired that took effect."""
    matured = next(
        entry for entry in entries(tape) if entry.name == "TimerMatured" and entry.cause.topic == "wf-commands"
    )
    return matured.partition, matured.cause.offset


def test_a_timer_that_took_effect_early_is_found(tape: Tape) -> None:
    partition, index = timer_fired(tape)
    due_ms = decode(tape.topics["wf-commands"][partition][index].value or b"")[1]["due_ms"]
    log = log_of(tape, partition)
    cause = RecordAddress("wf-commands", partition, index)
    matured = next(number for number, entry in enumerate(of_partition(tape, partition)) if entry.cause == cause)
    log[matured] = rewritten(log[matured], time_ms=due_ms - 1)
    assert named(judge(tape), Kind.TIMER, "1 ms before its time")


def test_a_timer_that_nobody_armed_is_found(tape: Tape) -> None:
    partition, index = timer_fired(tape)
    records = tape.topics["wf-commands"][partition]
    records[index] = rewritten(records[index], position=4_711)
    assert named(judge(tape), Kind.TIMER, "never armed")


def test_a_timer_that_took_effect_twice_is_found(tape: Tape) -> None:
    partition, index = timer_fired(tape)
    records = tape.topics["wf-commands"][partition]
    records.append(records[index]._replace(offset=len(records), timestamp_ms=tape.read_at_ms))
    log = log_of(tape, partition)
    matured = next(it for it in log if decode(it.value or b"")[1]["cause"]["offset"] == index)
    cause = {**decode(matured.value or b"")[1]["cause"], "topic": "wf-commands", "offset": len(records) - 1}
    log.append(rewritten(matured, cause=cause))
    assert named(judge(tape), Kind.TIMER, "took effect 2 times")


def test_a_timer_that_never_fired_is_found(tape: Tape) -> None:
    tape.read_at_ms += 8 * 24 * 60 * 60 * 1_000
    partition, index = timer_fired(tape)
    cause = RecordAddress("wf-commands", partition, index)
    log = log_of(tape, partition)
    first = next(number for number, entry in enumerate(of_partition(tape, partition)) if entry.cause == cause)
    wf_run = log[first].key
    tape.topics[LOG][partition] = [*log[:first], *(record for record in log[first:] if record.key != wf_run)]
    assert named(judge(tape), Kind.TIMER, "has been due for")


def test_an_outcome_of_an_input_that_nobody_can_see_comes_from_nowhere(tape: Tape) -> None:
    cause, _ = next((cause, them) for cause, them in blocks(tape) if cause.topic == "external-events")
    events = tape.topics["external-events"][0]
    events[:] = [record for record in events if record.offset != cause.offset]
    assert named(judge(tape), Kind.FROM_NOWHERE, cause, "no read_committed reader")


def test_what_was_in_an_aborted_transaction_is_recognised_by_its_ids(tape: Tape) -> None:
    index = find(tape, "ExternalEventPosted")
    log_of(tape)[index] = rewritten(log_of(tape)[index], external_event_id="void-event-1")
    assert named(judge(tape), Kind.FROM_NOWHERE, "aborted transaction")
