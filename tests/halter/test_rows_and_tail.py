"""A WfRun that is read is that of the end of the log, whenever its rows are written and however topics lag behind."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halter.client.lost_outcomes import folded
from halter.client.wf_run_reader import WfRunReader
from halter.explore.states import restored
from processors.core.records.commands import ExternalEvent, RunWf, StopWfRun
from processors.core.records.model import WfRun
from processors.core.records.topic_names import FOLD_POSITIONS, SHARD_STATE, WF_EVENTS
from processors.fold.log_tail import LogBroken
from processors.fold.outputs import OutputRecord
from processors.fold.rows import has_rows
from processors.kafka.topics_file import load_topics
from tests.fold.test_rows_follow import TURNS, records_of
from tests.fold.test_shard_fold import with_cart
from tests.simulation.partition_log import PartitionLog
from tests.support.shard_rig import ShardRig
from tests.support.side_by_side import LogsSideBySide, PartitionMessage
from tests.support.states import same

TOPICS = load_topics(None, "", 1)
IDS = ("c1", "c2")
WRITTEN = (*SHARD_STATE, WF_EVENTS)


def is_shown(shown: WfRun | None, state: WfRun | None) -> bool:
    if shown is None or state is None:
        return shown is state
    return same(shown, state)


def rows_of(run: WfRun | None) -> WfRun | None:
    """Return what the rows of a WfRun say; None if it has none. Before it is started, no row has its seq and time."""
    if run is None or not has_rows(run):
        return None
    copy = restored(run)
    if not copy.exists:
        copy.seq = copy.time_ms = 0
    return copy


class Play:
    """What a shard did, turn by turn. The first turn has definitions."""

    def __init__(self) -> None:
        self.rig = with_cart(ShardRig())
        self.written: list[list[OutputRecord]] = []
        self.states: list[dict[str, WfRun | None]] = []
        self.offsets: list[dict[str, int]] = []
        """What the fold was after each turn."""
        self._note(self.rig.outputs)

    def turn(self, *records: Any, rows: bool) -> None:
        before = len(self.rig.outputs)
        self.rig.turn(*records, rows=rows)
        self._note(self.rig.outputs[before:])

    def _note(self, outputs: list[OutputRecord]) -> None:
        self.written.append([output for output in outputs if output.topic in WRITTEN])
        self.states.append({wf_run_id: rows_of(self.rig.shard.wf_runs.get(wf_run_id)) for wf_run_id in IDS})
        self.offsets.append(dict(self.rig.shard.offsets))


class Step(NamedTuple):
    """A step of a turn: a record is written, or else a topic gets the mark that its transaction is committed."""

    turn: int
    topic: str
    record: OutputRecord | None


class Installation:
    """The topics of a play in Kafka, as far as they are written and visible.

    Each turn is a transaction of one of two producers in turn, and becomes visible topic by topic. The first turn is
    visible, and some of the others are. If the worker dies, its last transaction stays open.
    """

    def __init__(self, play: Play, random: Random, *, dies: bool) -> None:
        self._play, self._random = play, random
        self.logs = {topic: PartitionLog((topic, 0)) for topic in WRITTEN}
        self._steps = [self._steps_of(turn, written) for turn, written in enumerate(play.written)]
        if dies and len(self._steps) > 1:
            self._steps[-1] = [step for step in self._steps[-1] if step.record is not None]
        first = len(self._steps[0])
        self.go_on(first)
        self.go_on(random.randint(0, sum(map(len, self._steps))))

    def _steps_of(self, turn: int, written: list[OutputRecord]) -> list[Step]:
        """Return what a turn does. Records of a topic are in order, and topics have no order among themselves."""
        topics = [output.topic for output in written]
        self._random.shuffle(topics)
        records = {topic: iter([output for output in written if output.topic == topic]) for topic in topics}
        marks = sorted(set(topics), key=lambda _: self._random.random())
        return [*(Step(turn, it, next(records[it])) for it in topics), *(Step(turn, it, None) for it in marks)]

    def go_on(self, most: int) -> None:
        """Do so many steps. A turn may write when the one before it has written everything and not ended."""
        for _ in range(most):
            self._steps = [steps for steps in self._steps if steps]
            last = 2 if self._steps and self._steps[0][0].record is None else 1
            if self._steps:
                self._do(self._random.choice(self._steps[:last]).pop(0))

    def _do(self, step: Step) -> None:
        if step.record is None:
            self.logs[step.topic].mark(0, step.turn, commit=True)
        else:
            self.logs[step.topic].append(0, step.record.key, step.record.value, transaction=step.turn)

    def visible(self) -> int:
        """Return the last turn of which something is visible."""
        return max(entry.transaction or 0 for log in self.logs.values() for entry in log.records())

    def log_positions(self) -> set[int | None]:
        """Return where the log was each time that rows were written."""
        rows = (self._play.rig.codec.decode(it.value or b"") for it in self.logs[FOLD_POSITIONS].records())
        return {row.log_position for row in rows}


class Reader:
    """Reads the topics of an installation, which goes on meanwhile."""

    def __init__(self, installation: Installation, random: Random) -> None:
        self._installation, self._random = installation, random
        self._most = random.choice((1, 3, 10, 30))
        self.log_start = self.log_end = self.turn = 0
        """The part of the log that was read last, and the last turn of which it had something."""

    def _go_on(self) -> None:
        self._installation.go_on(self._random.randint(0, self._most))

    @contextmanager
    def side_by_side(self, topics: Collection[str], _partition: int) -> Iterator[LogsSideBySide]:
        yield LogsSideBySide({topic: self._installation.logs[topic] for topic in topics}, self._go_on)

    def read(self, topic: str, partition: int, start: int) -> Iterator[PartitionMessage]:
        for records in self.batches(topic, partition, start):
            yield from records

    def batches(
        self, topic: str, _partition: int, start: int, _stop: int | None = None
    ) -> Iterator[list[PartitionMessage]]:
        self._go_on()
        log = self._installation.logs[topic]
        if topic == WF_EVENTS:
            self.log_start, self.log_end = start, log.last_stable
            self.turn = max((entry.transaction or 0 for entry in log.records()), default=0)
        yield [PartitionMessage(topic, entry) for entry in log.records() if entry.offset >= start]


def play(turns: list[tuple[list[Any], bool, bool]]) -> Play:
    """Return what a shard did in these turns."""
    play = Play()
    for items, rows, crashes in turns:
        play.turn(*records_of(play.rig, items), rows=rows)
        if crashes:
            play.rig.crash()
    return play


def expect_the_end_of_the_log(play: Play, wf_run_id: str, random: Random) -> None:
    """Read a WfRun while the topics become visible: it is as it was after a turn, and the log shows no later turn."""
    installation = Installation(play, random, dies=random.random() < 0.2)
    reader: Any = Reader(installation, random)
    shown = rows_of(WfRunReader(reader, TOPICS, play.rig.codec).show(wf_run_id))
    states = [play.states[turn][wf_run_id] for turn in range(reader.turn, installation.visible() + 1)]
    assert any(is_shown(shown, state) for state in states)
    assert reader.log_start in installation.log_positions(), "it reads no more of the log than the rows do not have"


@settings(max_examples=300, deadline=None)
@given(TURNS, st.sampled_from(IDS), st.randoms(use_true_random=False))
def test_what_is_shown_is_the_state_at_the_end_of_the_log(
    turns: list[tuple[list[Any], bool, bool]], wf_run_id: str, random: Random
) -> None:
    expect_the_end_of_the_log(play(turns), wf_run_id, random)


def test_what_is_shown_of_a_wf_run_is_right_whichever_topic_lags_behind() -> None:
    random = Random(1)
    busy = Play()
    busy.turn(RunWf("c1", "cart"), rows=True)
    for number in range(30):
        busy.turn(ExternalEvent(random.choice(["c1", "c1", "c2"]), "add", f"e{number}", 1), rows=random.random() < 0.7)
    for _ in range(1_500):
        expect_the_end_of_the_log(busy, "c1", random)


@settings(max_examples=200, deadline=None)
@given(TURNS, st.randoms(use_true_random=False))
def test_what_has_an_outcome_on_the_log_is_folded(turns: list[tuple[list[Any], bool, bool]], random: Random) -> None:
    played = play(turns)
    installation = Installation(played, random, dies=random.random() < 0.2)
    reader: Any = Reader(installation, random)
    positions = folded(reader, TOPICS, played.rig.codec, 0)
    for entry in list(installation.logs[WF_EVENTS].records()):
        cause = played.rig.codec.decode(entry.value or b"").cause
        if entry.offset < reader.log_end:
            assert positions[cause.topic] > cause.offset
    assert all(offset <= played.offsets[-1][topic] for topic, offset in positions.items())


def test_a_log_that_does_not_fit_its_rows_is_told() -> None:
    played = Play()
    for command, rows in ((RunWf("c1", "cart"), True), (StopWfRun("c1", 0), False), (StopWfRun("c1", 0), False)):
        played.turn(command, rows=rows)
    installation = Installation(played, Random(0), dies=False)
    installation.go_on(1_000)
    log = installation.logs[WF_EVENTS]
    list(log.records())[-3].is_aborted = True
    reader: Any = Reader(installation, Random(0))
    with pytest.raises(LogBroken, match="expected the entry with seq"):
        WfRunReader(reader, TOPICS, played.rig.codec).show("c1")
