"""What a replay writes: the part of the log that it replays, the rows at its end, and nothing twice if it is killed."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halter.history.blocks import blocks
from halter.history.found import Report
from halter.history.state_of_log import StateOfLog
from halter.history.verifying import Verifying, Within, begins_at
from halter.replay.bounds import BadBound, InputPlace, bound_of, written
from halter.replay.destination import Destination, PrefixTaken, check_prefix
from halter.replay.manifest import (
    MANIFEST_KEY,
    Manifest,
    NotAManifest,
    Progress,
    Request,
    added_up,
    manifest_of,
    progress_of,
)
from halter.replay.ranges import CannotReplay, partitions_meant
from halter.replay.replay import manifest_for, replayed
from halter.replay.replaying import Replaying
from processors.core.records.commands import ExternalEvent, PutExternalEventDef, PutWfSpec, RunWf
from processors.core.records.events import LogEntry, TaskAttemptRequested, TaskCancellation, TaskRequest
from processors.core.records.topic_names import (
    DEAD_LETTERS,
    FOLD_POSITIONS,
    SHARD_STATE,
    TASK_CANCELLATIONS,
    TASK_REQUESTS,
    WF_EVENTS,
)
from processors.core.rules.versions import RULES
from processors.fold.outputs import OutputRecord
from processors.kafka.settings import Settings
from tests.fold.test_rows_follow import TURNS, Turn, play
from tests.halter.test_verify import some
from tests.support.recordings import log_of, recorded
from tests.support.shard_rig import START_MS, ShardRig

NOON_MS = START_MS + 12 * 3_600_000


class KilledError(Exception):
    """The process of a replay ended here."""


class Written:
    """The topics of a replay, in memory. `lives`: after how many transactions each process is killed."""

    def __init__(self, rig: ShardRig, within: Within, only: Sequence[str] | None = None, turn: int = 1_000) -> None:
        self.rig, self.within, self.only, self.turn = rig, within, only, turn
        self.outputs: list[OutputRecord] = []
        self.progress = Progress()
        self.left = 0

    def of(self, topic: str) -> list[OutputRecord]:
        return [it for it in self.outputs if it.topic == topic]

    def run(self, lives: Sequence[int] = ()) -> Report:
        """Replay, with a process for each number, killed after so many transactions, and one that is not."""
        for life in lives:
            self.left = life
            try:
                return self.once()
            except KilledError:
                pass
        self.left = 1_000_000
        return self.once()

    def once(self) -> Report:
        recording, codec = recorded(self.rig), self.rig.codec
        end = len(self.of(WF_EVENTS))
        replaying = Replaying(0, 1, codec, progress_of(self.progress.encoded()), end, self.write, self.turn)
        report = Verifying(recording, replaying, codec, only=self.only, within=self.within).run()
        replaying.finish(Progress(same=report.events, different=len(report.differences)))
        return report

    def write(self, outputs: Sequence[OutputRecord], progress: Progress) -> int | None:
        if self.left == 0:
            raise KilledError
        self.left -= 1
        self.outputs += outputs
        self.progress = progress
        return len(self.of(WF_EVENTS))

    def rows(self) -> dict[tuple[str, bytes], bytes]:
        """Return the rows that are left after compaction, without how far they are."""
        rows: dict[tuple[str, bytes], bytes] = {}
        for it in self.outputs:
            if it.topic not in SHARD_STATE or it.topic == FOLD_POSITIONS:
                continue
            if it.value is None:
                rows.pop((it.topic, it.key or b""), None)
            else:
                rows[it.topic, it.key or b""] = it.value
        return rows


def test_a_replay_tells_no_owner_of_a_key() -> None:
    """It has no topic for what a fold tells others: those are inputs."""
    rig = ShardRig()
    nodes = {
        "a": {"kind": "ENTRYPOINT", "next": "b"},
        "b": {"kind": "EXTERNAL_EVENT", "event": "paid", "next": "c"},
        "c": {"kind": "EXIT"},
    }
    main = {"variables": {"order": {"type": "STR"}}, "nodes": nodes}
    document = {
        "name": "order",
        "entrypoint": "main",
        "correlated_events": {"paid": {"var": "order"}},
        "threads": {"main": main},
    }
    rig.turn(PutExternalEventDef("paid"), PutWfSpec("order", json.dumps(document)))
    rig.turn(RunWf("w", "order", {"order": "A7"}))
    assert [it for it in rig.outputs if it.topic == "correlation-commands"]
    replay = Written(rig, Within(0, len(rig.log_records)))
    assert not replay.run().differences
    assert replay.of(WF_EVENTS)
    assert not replay.of("correlation-commands")


def rows_as_of(rig: ShardRig, end: int) -> dict[tuple[str, bytes], bytes]:
    """Return the rows that the first records of a log give."""
    state = StateOfLog(0, rig.codec)
    for recorded_ in log_of(rig)[:end]:
        entry = rig.codec.decode(recorded_.value)
        assert isinstance(entry, LogEntry)
        assert state.take(entry) is None
    return {(topic, row.key): row.value for topic, row in state.rows() if row.value is not None}


def part_of(rig: ShardRig, one: int, other: int) -> Within:
    """Return a part of a log between two inputs that numbers choose."""
    begins = [begins_at(it) for it in blocks(log_of(rig), rig.codec, {})] + [len(rig.log_records)]
    begin, end = sorted((begins[one % len(begins)], begins[other % len(begins)]))
    return Within(begin, end)


def event_of(rig: ShardRig, cancellation: OutputRecord) -> tuple[str, int, int]:
    """Return which event cancelled an attempt."""
    it = rig.codec.decode(cancellation.value or b"")
    assert isinstance(it, TaskCancellation)
    return it.wf_run_id, it.incarnation, it.seq


numbers = st.integers(0, 10_000)


@some
@given(TURNS, numbers, numbers)
def test_a_replay_has_the_log_of_its_range_and_the_rows_at_its_end(turns: list[Turn], one: int, other: int) -> None:
    rig = play(ShardRig(), turns, follow=True)
    within = part_of(rig, one, other)
    written_ = Written(rig, within)
    report = written_.run()
    assert (report.differences, report.unverified) == ({}, {})
    log = [(it.key, it.value) for it in written_.of(WF_EVENTS)]
    assert log == rig.log_records[within.begin : within.end]
    entries = [rig.codec.decode(value or b"") for _, value in log]
    asked = [(it.wf_run_id, it.event.attempt) for it in entries
             if isinstance(it, LogEntry) and isinstance(it.event, TaskAttemptRequested)]  # fmt: skip
    requests = [rig.codec.decode(it.value or b"") for it in written_.of(TASK_REQUESTS)]
    assert [(it.wf_run_id, it.attempt) for it in requests if isinstance(it, TaskRequest)] == asked
    in_range = {(it.wf_run_id, it.incarnation, it.seq) for it in entries if isinstance(it, LogEntry)}
    told = [
        (it.key, it.value) for it in rig.outputs if it.topic == TASK_CANCELLATIONS and event_of(rig, it) in in_range
    ]
    assert [(it.key, it.value) for it in written_.of(TASK_CANCELLATIONS)] == told
    assert written_.progress.task_cancellations == len(told)
    assert [it.timestamp_ms for it in written_.of(WF_EVENTS)] == [
        it.time_ms for it in entries if isinstance(it, LogEntry)
    ]
    assert written_.rows() == rows_as_of(rig, within.end)
    assert written_.progress.events == within.end - within.begin


@some
@given(TURNS, numbers, numbers, st.lists(st.integers(0, 4), max_size=8), st.integers(1, 3))
def test_a_replay_that_is_killed_goes_on_and_writes_nothing_twice(
    turns: list[Turn], one: int, other: int, lives: list[int], turn: int
) -> None:
    rig = play(ShardRig(), turns, follow=True)
    within = part_of(rig, one, other)
    whole, broken = Written(rig, within, turn=turn), Written(rig, within, turn=turn)
    whole.run()
    report = broken.run(lives)
    assert (report.differences, report.unverified) == ({}, {})
    for topic in (WF_EVENTS, TASK_REQUESTS, TASK_CANCELLATIONS, DEAD_LETTERS):
        assert broken.of(topic) == whole.of(topic)
    assert broken.rows() == whole.rows()
    counts = [(it.progress.inputs, it.progress.events, it.progress.dead_letters) for it in (whole, broken)]
    assert counts[0] == counts[1]
    assert broken.progress.done


@some
@given(TURNS, numbers)
def test_two_ranges_that_meet_have_every_dead_letter_once(turns: list[Turn], at: int) -> None:
    rig = play(ShardRig(), turns, follow=True)
    end = len(rig.log_records)
    middle = part_of(rig, at, at).begin
    whole = Written(rig, Within(0, end))
    parts = [Written(rig, Within(0, middle)), Written(rig, Within(middle, end))]
    for it in (whole, *parts):
        it.run()
    letters = [it for part in parts for it in part.of(DEAD_LETTERS)]
    assert sorted(map(repr, letters)) == sorted(map(repr, whole.of(DEAD_LETTERS)))
    assert letters == whole.of(DEAD_LETTERS), "ORDER"


def test_only_the_wf_runs_that_are_named_are_replayed() -> None:
    rig = ShardRig()
    for number in range(3):
        rig.turn(ExternalEvent("a", "none", f"e{number}"), ExternalEvent("b", "none", f"e{number}"))
    end = len(rig.log_records)
    written_ = Written(rig, Within(2, end), only=["a"])
    written_.run()
    its = [it for it in rig.log_records[2:end] if it[0] == b"a"]
    assert its
    assert [(it.key, it.value) for it in written_.of(WF_EVENTS)] == its
    assert {it.key.partition(b"/")[0] for it in written_.outputs if it.key and it.topic != FOLD_POSITIONS} <= {b"a"}


# What people write.


@pytest.mark.parametrize(
    ("text", "first", "found"),
    [
        ("2026-01-01T12:00:00Z", True, NOON_MS),
        ("12:00", True, NOON_MS),
        ("12:00", False, NOON_MS + 59_999),
        ("external-events[3]@41", True, InputPlace("external-events", 3, 41)),
        (" task-reports[0]@0 ", False, InputPlace("task-reports", 0, 0)),
    ],
)
def test_a_bound_is_a_time_or_an_input(text: str, first: bool, found: object) -> None:
    bound = bound_of("--from", text, UTC, START_MS, first=first)
    assert bound == found
    assert bound_of("--from", written(bound) or "", UTC, 0, first=True) == found, "it says the same when it is repeated"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("yesterday", "expected a time (12:03:11, 2026-01-31T12:03:11Z) or an input record"),
        ("57", "expected a time"),
        ("-3", "expected a time"),
        ("wf-events[0]@1", "expected an input record, of wf-commands, external-events"),
        ("definition-commands[0]@1", "expected an input record"),
        ("external-events[3]", "expected a time"),
    ],
)
def test_another_text_is_no_bound(text: str, sentence: str) -> None:
    with pytest.raises(BadBound, match=r"^--to: ") as raised:
        bound_of("--to", text, UTC, START_MS, first=False)
    assert sentence in str(raised.value)


def test_a_record_that_is_named_says_which_partition() -> None:
    places = [InputPlace("external-events", 3, 41), InputPlace("task-reports", 3, 7)]
    assert partitions_meant([], places, 8) == [3]
    assert partitions_meant([], [NOON_MS, None], 3) == [0, 1, 2]
    assert partitions_meant([2, 0, 2], [None, None], 3) == [0, 2]
    for chosen, bounds, sentence in (
        ([], [places[0], InputPlace("task-reports", 4, 7)], "expected records of one partition"),
        ([1], [places[0], None], "expected that of the record that is named, 3"),
        ([8], [None, None], "expected 0 to 7, found 8"),
        ([], [InputPlace("task-reports", 8, 7), None], "expected 0 to 7, found 8"),
    ):
        with pytest.raises(BadBound) as raised:
            partitions_meant(chosen, bounds, 8)
        assert sentence in str(raised.value)


# Prefixes, and what is kept about a replay.


@pytest.mark.parametrize(
    ("prefix", "live"),
    [("", ""), ("", "live-"), ("live-", "live-"), ("task-requests-x-", ""), ("a-task-requests-", "a-")],
)
def test_a_prefix_of_the_source_is_refused(prefix: str, live: str) -> None:
    with pytest.raises(PrefixTaken, match=r"^--into: expected "):
        check_prefix(prefix, live)


@pytest.mark.parametrize(("prefix", "live"), [("debug-", ""), ("live-debug-", "live-"), ("li", "live-")])
def test_another_prefix_is_taken(prefix: str, live: str) -> None:
    check_prefix(prefix, live)


def test_a_manifest_comes_back_as_it_was_written() -> None:
    request = Request("2026-01-01T12:00:00.000Z", None, (0, 3), ("cart-1",), what_is_left=True)
    manifest = Manifest("live-", "log-1", request, {0: Within(4, 9), 3: Within(0, 2)}, {0: 1, 3: 0}, ("gpu",), 7)
    for it in (manifest, replace(manifest, is_going=True)):
        assert manifest_of(it.encoded(), "debug-replay") == it


def destination_with(
    *records: tuple[bytes, bytes], topics: Sequence[str] = ("debug-replay",), end: int = 0
) -> Destination:
    """Return a prefix under which there are these topics. That of the manifest has these records, up to `end`."""
    found = object.__new__(Destination)
    found.prefix, found.topic = "debug-", "debug-replay"
    messages = [Mock(key=Mock(return_value=key), value=Mock(return_value=value)) for key, value in records]
    found.reader = Mock(read=Mock(return_value=messages), end=Mock(return_value=end or len(messages)))
    found.topics = Settings.load(None, {}, {}, prefix="debug-").topics()
    found._there = lambda: list(topics)  # type: ignore[method-assign]
    found.log_id = lambda: "log-1"  # type: ignore[method-assign]
    return found


MANIFEST = Manifest("live-", "log-1", Request(None, None, (0,)), {0: Within(0, 2)})


def test_only_a_topic_with_a_manifest_or_an_empty_one_is_that_of_a_replay() -> None:
    assert destination_with().manifest() is None, "killed before it wrote its manifest"
    assert destination_with((b"x", b"y"), (MANIFEST_KEY, MANIFEST.encoded())).manifest() == MANIFEST
    expired = destination_with(end=5)
    for it in (expired, destination_with((b"x", b"y")), destination_with(topics=("debug-replay", "debug-wf-events"))):
        with pytest.raises(PrefixTaken, match="nothing says that they are those of a replay"):
            it.manifest()
        with pytest.raises(PrefixTaken, match="nothing says that they are those of a replay"):
            it.remove()


def test_nobody_goes_on_with_a_replay_whose_removal_was_broken_off() -> None:
    source = Mock(topics=Mock(prefix="live-"))
    whole = destination_with((MANIFEST_KEY, MANIFEST.encoded()))
    assert manifest_for(source, whole, MANIFEST.request, dict) == MANIFEST
    going = destination_with((MANIFEST_KEY, replace(MANIFEST, is_going=True).encoded()))
    with pytest.raises(PrefixTaken, match="whose removal was broken off"):
        manifest_for(source, going, MANIFEST.request, dict)


def test_other_rules_do_not_go_on_with_a_replay() -> None:
    source = Mock(topics=Mock(prefix="live-"))
    other = destination_with((MANIFEST_KEY, replace(MANIFEST, rules=RULES + 1).encoded()))
    with pytest.raises(PrefixTaken, match=f"decided by rules {RULES + 1}, and this version has rules {RULES}"):
        manifest_for(source, other, MANIFEST.request, dict)


def test_what_is_left_is_not_gone_on_with_once_more_of_the_log_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(None, None, (0,), what_is_left=True)
    manifest = replace(MANIFEST, request=request, log_begins={0: 4})
    destination = Mock(prefix="debug-", manifest=Mock(return_value=manifest))
    monkeypatch.setattr("halter.replay.replay.check_range", Mock())
    monkeypatch.setattr("halter.replay.replay.Writing", writing := Mock())
    source = Mock(reader=Mock(bounds=Mock(return_value=(5, 9))))
    for done, is_refused in ((False, True), (True, False)):
        progress = {0: Progress(has_state=True, done=done)}
        monkeypatch.setattr("halter.replay.replay._progress", Mock(return_value=(progress, True)))
        with pytest.raises(CannotReplay, match="begins at offset 5, no longer at 4") if is_refused else nullcontext():
            assert replayed(source, destination, manifest) == progress
    writing.assert_called_once()


def test_a_replay_stops_before_it_writes_if_another_one_was_begun_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(MANIFEST, request=Request(None, None, (1,)))
    destination = Mock(prefix="debug-", manifest=Mock(side_effect=[None, other]))
    writing = Mock()
    monkeypatch.setattr("halter.replay.replay.Writing", writing)
    with pytest.raises(PrefixTaken, match="another process has begun a replay there"):
        replayed(Mock(), destination, MANIFEST)
    writing.assert_called_once()
    writing.return_value.write.assert_not_called()


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"{}", b'{"form": 2}', b'{"form": 1, "request": {}}', b"\xff"])
def test_something_else_is_no_manifest(value: bytes) -> None:
    with pytest.raises(NotAManifest, match="debug-replay"):
        manifest_of(value, "debug-replay")


def test_the_progress_of_partitions_adds_up() -> None:
    one = Progress(True, "wf-commands[0]@1", True, 1, 2, 3, 4, 5, 6, 1, ["a"], {"x": 1})
    total = added_up([one, one])
    assert (total.inputs, total.events, total.task_requests, total.dead_letters, total.rows) == (2, 4, 6, 8, 10)
    assert (total.same, total.different, total.for_instance, total.left_out) == (12, 2, ["a", "a"], {"x": 2})
