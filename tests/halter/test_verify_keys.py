"""What `halter verify --all` finds of correlation keys: nothing in what shards wrote, and whatever else is there."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from halter.history.deciding import Row
from halter.history.found import KeyReport, Kind, Reason
from halter.history.recording import InMemory, Recorded
from halter.history.verify import How, keys_verified
from halter.history.verify_text import key_lines
from halter.history.verifying_keys import VerifyingKeys
from processors.core.records.commands import CorrelatedEvent, DeleteWfRun, RunWf, SkipRecord
from processors.fold.inputs import CORRELATION_INPUTS, InputRecord
from processors.kafka.partitioner import partition_of
from tests.support.key_shards import DAY_MS, Shards, after, steps

ROOT = Path(__file__).parents[2]
PARTITION = partition_of(b"A7", 3)


class Keys(InMemory):
    """What shards left on the topics of one partition, that about keys included."""

    def __init__(self, shards: Shards, partition: int = PARTITION, begins: dict[str, int] | None = None) -> None:
        begins = begins or {}
        inputs: list[InputRecord] = []
        for topic in CORRELATION_INPUTS:
            inputs += shards.inputs[topic, partition][begins.get(topic, 0) :]
        log = [Recorded(at, it.key or b"", it.value or b"") for at, it in enumerate(shards.logs[partition])]
        definitions = [Row(it.key or b"", it.value) for it in shards.outputs if it.topic == "definitions"]
        super().__init__(partition, shards.partitions, log, inputs, enumerate(definitions), begins=begins)
        written = [it for it in shards.outputs if (it.topic, it.partition) == ("correlation-events", partition)]
        self.all = [Recorded(at, it.key or b"", it.value or b"") for at, it in enumerate(written)]
        self.decisions_begin: int | None = begins.get("correlation-events", 0)

    def decisions(self) -> Iterator[Recorded]:
        return iter(self.all[self.decisions_begin :])


def verified(shards: Shards, keys: Keys) -> KeyReport:
    return keys_verified(keys, shards.codec)


def changed(shards: Shards, keys: Keys, at: int, **fields: Any) -> None:
    """Let a recorded decision say something else."""
    keys.all[at] = keys.all[at]._replace(value=shards.codec.encode(replace(decided(shards, keys)[at], **fields)))


def decided(shards: Shards, keys: Keys) -> Sequence[Any]:
    return [shards.codec.decode(it.value) for it in keys.all]


def some() -> Shards:
    """Return shards in which an event by key went to two WfRuns, and then to one."""
    shards = Shards()
    for wf_run_id in ("a", "b"):
        shards.post(RunWf(wf_run_id, "order", {"order": "A7"}))
        shards.run()
    shards.post(CorrelatedEvent("A7", "paid", "e1", 5))
    shards.post(DeleteWfRun("a"))
    shards.run()
    shards.post(CorrelatedEvent("A7", "paid", "e2", 5))
    shards.run()
    return shards


@settings(max_examples=40, deadline=None)
@given(commands=steps, seed=st.integers(0, 2**32))
def test_what_shards_decided_is_decided_again(commands: list[Any], seed: int) -> None:
    shards = after(commands, seed)
    for partition in range(shards.partitions):
        keys = Keys(shards, partition)
        found = verified(shards, keys)
        assert (found.decisions, found.differences, found.unverified) == (len(keys.all), {}, {})


@settings(max_examples=40, deadline=None)
@given(commands=steps, seed=st.integers(0, 2**32), data=st.data())
def test_whatever_inputs_are_gone_nothing_differs(commands: list[Any], seed: int, data: st.DataObject) -> None:
    shards = after(commands, seed)
    ends = {topic: len(shards.inputs[topic, PARTITION]) for topic in CORRELATION_INPUTS}
    begins = {topic: data.draw(st.integers(0, end)) for topic, end in ends.items()}
    keys = Keys(shards, PARTITION, begins)
    found = verified(shards, keys)
    assert found.differences == {}
    assert set(found.unverified.values()) <= {Reason.INPUT_GONE}
    assert found.decisions + found.taken_over <= len(keys.all)


def test_an_event_that_went_to_others_than_had_the_key_is_told() -> None:
    shards = some()
    keys = Keys(shards)
    [first, second] = [at for at, it in enumerate(decided(shards, keys)) if it.outcome == "POSTED"]
    changed(shards, keys, first, wf_runs=decided(shards, keys)[second].wf_runs)
    [(key, difference)] = verified(shards, keys).differences.items()
    assert (key, difference.kind, difference.offset) == ("paid/A7", Kind.OTHER_VALUE, first)
    told = [*key_lines(key, difference)]
    assert told[0].startswith(f"key paid/A7, correlation-events[{PARTITION}]@{first}, because of ")
    assert told[1:] == ["  recorded  POSTED e1 (b)", "  decided   POSTED e1 (a, b)"]


def test_inputs_and_decisions_without_each_other_are_told() -> None:
    shards = some()
    keys = Keys(shards)
    first = next(at for at, it in enumerate(decided(shards, keys)) if it.outcome == "POSTED")
    posted = keys.all.pop(first)
    assert [it.kind for it in verified(shards, keys).differences.values()] == [Kind.NOT_RECORDED]
    keys = Keys(shards)
    keys.all.append(posted)
    assert [it.kind for it in verified(shards, keys).differences.values()] == [Kind.OUT_OF_ORDER]
    keys = Keys(shards)
    keys.all[0] = keys.all[0]._replace(value=b"x")
    assert next(it.kind for it in verified(shards, keys).differences.values()) is Kind.UNREADABLE
    shards.inputs["correlated-events", PARTITION].pop()
    assert [it.kind for it in verified(shards, Keys(shards)).differences.values()] == [Kind.NO_INPUT]


def test_an_input_that_an_operator_had_skipped_needs_no_decision() -> None:
    shards = some()
    record = shards.post(CorrelatedEvent("A7", "paid", "e3", 5))
    shards.post(SkipRecord("correlated-events", PARTITION, record.offset, record.timestamp_ms))
    topics = shards.factory.input_topics(PARTITION)
    shards.turn(PARTITION, topics=[it for it in topics if it[0] == "operator-commands"])
    shards.post(CorrelatedEvent("A7", "paid", "e4", 5))
    shards.run()
    assert "e3" not in {it.external_event_id for it in decided(shards, Keys(shards))}
    assert verified(shards, Keys(shards)).differences == {}


def test_of_a_log_without_its_beginning_keys_count_once_an_event_says_who_has_them() -> None:
    shards = some()
    keys = Keys(shards)
    cut, inputs = len(keys.all), {topic: len(shards.inputs[topic, PARTITION]) for topic in CORRELATION_INPUTS}
    shards.post(CorrelatedEvent("B8" if partition_of(b"B8", 3) == PARTITION else "A7", "paid", "e3"))
    shards.run()
    begins = {**inputs, "correlation-events": cut}
    assert set(verified(shards, Keys(shards, PARTITION, begins)).unverified.values()) == {Reason.BEGINNING_GONE}
    shards.now_ms += DAY_MS + 1
    shards.post(CorrelatedEvent("A7", "paid", "e4"))
    shards.run()
    begins |= {topic: len(shards.inputs[topic, PARTITION]) for topic in CORRELATION_INPUTS}
    shards.post(CorrelatedEvent("A7", "paid", "e5"))
    shards.run()
    found = verified(shards, Keys(shards, PARTITION, begins))
    assert (found.decisions, found.differences, found.unverified) == (1, {}, {})


def test_other_rules_decide_keys_again_if_they_can() -> None:
    shards = some()
    keys = Keys(shards)
    assert keys_verified(keys, shards.codec, How(ROOT)) == verified(shards, keys)
    earlier = VerifyingKeys(keys, cast("Any", SimpleNamespace(decides_keys=False)), shards.codec).run()
    assert (earlier.are_unknown, earlier.decisions) == (True, 0)
