"""The events of a WfRun are all there and in order, although most of the log between them is not read."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halter.client import events_of_wf_run
from halter.client.wf_run_reader import CLOCKS_DIFFER_MS, WfRunReader
from processors.core.records.commands import DeleteWfRun, ExternalEvent, PutWfSpec, RunWf, StopWfRun
from processors.core.records.events import LogEntry
from processors.core.records.topic_names import SHARD_STATE, WF_EVENTS
from processors.core.rules.versions import RULES
from processors.fold.outputs import OutputRecord
from tests.fold.test_rows_follow import TURNS
from tests.halter.test_rows_and_tail import IDS, TOPICS, Play, play
from tests.simulation.partition_log import PartitionLog
from tests.support.shard_rig import START_MS
from tests.support.side_by_side import LogsSideBySide, PartitionMessage

OTHERS = b"another WfRun"
A_DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def a_few_records_are_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_of_wf_run, "FAR", 3)


class Log:
    """The topics of a play, everything committed. On the log there are records of others between its own."""

    def __init__(self, played: Play, random: Random, *, others: int, skew_ms: int = 0) -> None:
        self.logs = {topic: PartitionLog((topic, 0)) for topic in (*SHARD_STATE, WF_EVENTS)}
        self._random, self._skew_ms = random, skew_ms
        self.looked_at = 0
        """How many records of the log were read."""
        before_ms = START_MS
        for output in (it for outputs in played.written for it in outputs):
            if output.topic == WF_EVENTS:
                time_ms = max(before_ms, output.timestamp_ms or 0)
                most = others if time_ms > before_ms else min(3, others)
                for other_ms in sorted(random.randint(before_ms, time_ms) for _ in range(random.randint(0, most))):
                    self.append(output._replace(key=OTHERS, timestamp_ms=other_ms))
                before_ms = time_ms
            self.append(output)

    def append(self, output: OutputRecord) -> None:
        time_ms = (output.timestamp_ms or 0) + self._random.randint(-self._skew_ms, self._skew_ms)
        self.logs[output.topic].append(time_ms, output.key, output.value, output.headers)

    def all_events(self, codec: Any, wf_run_id: str) -> list[tuple[int, LogEntry, int | None]]:
        """Return every event of an id, with its offset and rules, by reading everything."""
        records = [it for it in self.logs[WF_EVENTS].entries if it.key == wf_run_id.encode()]
        return [(it.offset, codec.decode(it.value), RULES) for it in records]

    @contextmanager
    def side_by_side(self, topics: Collection[str], _partition: int) -> Iterator[LogsSideBySide]:
        yield LogsSideBySide({topic: self.logs[topic] for topic in topics})

    def batches(
        self, topic: str, _partition: int, start: int, stop: int | None = None
    ) -> Iterator[list[PartitionMessage]]:
        entries = self.logs[topic].entries[max(0, start) : stop]
        while entries:
            size = self._random.randint(1, 4)
            records, entries = entries[:size], entries[size:]
            self.looked_at += len(records)
            yield [PartitionMessage(topic, it) for it in records]

    def offset_at(self, topic: str, _partition: int, time_ms: int) -> int:
        log = self.logs[topic]
        return next((it.offset for it in log.entries if it.timestamp_ms >= time_ms), log.high)


def expect_all(played: Play, log: Log, wf_run_id: str) -> None:
    """Check that what is read of a WfRun is the end of what a read of everything gives, with all of the WfRun."""
    reader = WfRunReader(log, TOPICS, played.rig.codec)  # type: ignore[arg-type]
    everything = log.all_events(played.rig.codec, wf_run_id)
    run = reader.show(wf_run_id)
    found = list(reader.events(wf_run_id))
    assert found == everything[len(everything) - len(found) :]
    if run is None or run.started_ms is None:
        assert len(found) == len(everything)
    else:
        assert sum(it.entry.incarnation == run.incarnation for it in found) == run.seq


@settings(max_examples=100, deadline=None)
@given(TURNS, st.sampled_from(IDS), st.integers(0, CLOCKS_DIFFER_MS // 2), st.integers(0, 1_000))
def test_no_event_is_left_out_whatever_the_clocks_say(
    turns: list[tuple[list[Any], bool, bool]], wf_run_id: str, skew_ms: int, seed: int
) -> None:
    played = play(turns)
    expect_all(played, Log(played, Random(seed), others=12, skew_ms=skew_ms), wf_run_id)


def busy() -> Play:
    """Return what a shard did about a WfRun in a month: ExternalEvents, and commands of whose times no row tells.

    An ExternalEvent comes before it, and a command that is refused, because nothing runs yet.
    """
    random, played = Random(1), Play()
    for record in (ExternalEvent("c1", "add", "early", 1), StopWfRun("c1", 0), RunWf("c1", "cart")):
        played.rig.now_ms += A_DAY_MS
        played.turn(record, rows=True)
    for number in range(30):
        played.rig.now_ms += A_DAY_MS
        event = ExternalEvent(random.choice(IDS), "add", f"e{number}", 1)
        played.turn(random.choice([event, event, StopWfRun("c1", 0)]), rows=random.random() < 0.7)
    return played


@pytest.mark.parametrize("skew_ms", [0, 1_000, CLOCKS_DIFFER_MS // 2])
def test_no_event_of_a_busy_wf_run_is_left_out(skew_ms: int) -> None:
    played = busy()
    for seed in range(150):
        expect_all(played, Log(played, Random(seed), others=20, skew_ms=skew_ms), "c1")


def expect_little_is_read(played: Play) -> None:
    log = Log(played, Random(1), others=1_000)
    reader = WfRunReader(log, TOPICS, played.rig.codec)  # type: ignore[arg-type]
    assert reader.show("c1") is not None
    for_the_state, log.looked_at = log.looked_at, 0
    assert list(reader.events("c1")) == log.all_events(played.rig.codec, "c1")
    assert log.looked_at - for_the_state < log.logs[WF_EVENTS].high / 10


def test_little_is_read_of_what_lies_between_events_whose_times_rows_tell() -> None:
    played = Play()
    played.turn(RunWf("c1", "cart"), rows=True)
    for number in range(10):
        played.rig.now_ms += A_DAY_MS
        played.turn(ExternalEvent("c1", "add", f"e{number}", 1), rows=True)
    expect_little_is_read(played)


def test_little_is_read_of_what_lies_between_timers() -> None:
    naps = [f"nap-{number}" for number in range(10)]
    nodes = {nap: {"kind": "SLEEP", "seconds": 86_400, "next": after} for nap, after in pairwise([*naps, "end"])}
    main = {"nodes": {"start": {"kind": "ENTRYPOINT", "next": naps[0]}, **nodes, "end": {"kind": "EXIT"}}}
    played = Play()
    document = {"name": "naps", "entrypoint": "main", "threads": {"main": main}}
    played.turn(PutWfSpec("naps", json.dumps(document)), rows=True)
    played.turn(RunWf("c1", "naps"), rows=True)
    for _ in naps[1:]:
        played.rig.now_ms += A_DAY_MS + 500
        due = played.rig.shard.due_timers(played.rig.now_ms, 100)
        played.turn(*(played.rig.record(it.topic, it.key, it.value) for it in due), rows=True)
    expect_little_is_read(played)


def test_a_wf_run_that_is_deleted_while_it_is_read_is_read_as_it_was() -> None:
    played = Play()
    for record in (RunWf("c1", "cart"), ExternalEvent("c1", "add", "e1", 1)):
        played.rig.now_ms += A_DAY_MS
        played.turn(record, rows=True)
    log = Log(played, Random(1), others=50)
    reader = WfRunReader(log, TOPICS, played.rig.codec)  # type: ignore[arg-type]
    run, before = reader.show("c1"), log.all_events(played.rig.codec, "c1")
    events = reader.events("c1")
    played.turn(DeleteWfRun("c1"), rows=True)
    for output in played.written[-1]:
        log.append(output)
    assert run is not None
    assert list(events) == before
