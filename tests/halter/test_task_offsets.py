"""Whatever the order in which attempts finish: nothing unfinished is passed, and what is finished is not run again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halter.task_worker.offsets import AHEAD_MAX, Offsets, finished_by, metadata_of
from halter.task_worker.work import WAITING_MAX, Work
from processors.core.records.events import TaskRequest

REQUESTS = 40


class Queue:
    """A partition of requests with holes between them, what its group has committed, and what is really finished."""

    def __init__(self, offsets: list[int]) -> None:
        self.offsets = offsets
        self.committed: tuple[int, str] | None = None
        self.finished: set[int] = set()
        self.runs: list[int] = []

    @property
    def start(self) -> int:
        return 0 if self.committed is None else self.committed[0]


class Owner:
    """A task worker that has the partition: it takes requests, finishes them in any order, and commits."""

    def __init__(self, queue: Queue) -> None:
        self.queue, self.offsets = queue, Offsets()
        self.waiting: list[int] = []
        self.running: set[int] = set()
        self.assign()

    def assign(self) -> None:
        committed, metadata = self.queue.committed or (None, None)
        finished = set() if committed is None else finished_by(committed, metadata)
        self.offsets.assigned(committed, finished, self.running)
        self.unread = [it for it in self.queue.offsets if it >= self.queue.start]
        self.waiting.clear()

    def take(self) -> None:
        if self.unread and self.offsets.take(offset := self.unread.pop(0)):
            self.waiting.append(offset)

    def start(self) -> None:
        if self.waiting:
            offset = self.waiting.pop(0)
            self.running.add(offset)
            self.queue.runs.append(offset)

    def finish(self, choice: int) -> None:
        if self.running:
            offset = sorted(self.running)[choice % len(self.running)]
            self.running.discard(offset)
            self.queue.finished.add(offset)
            self.offsets.finish(offset)

    def commit(self) -> None:
        if (committable := self.offsets.committable()) is not None:
            passed = {it for it in self.queue.offsets if it < committable[0]}
            assert passed <= self.queue.finished, "a committed offset passed a request that is not finished"
            assert finished_by(*committable) <= self.queue.finished
            assert committable[0] >= self.queue.start, "a committed offset went back"
            self.queue.committed = committable


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "take", "start", "start", "finish", "finish", "commit", "back", "die"]),
              st.integers(0, 100)),
    max_size=300,
)  # fmt: skip


@given(steps=STEPS, gaps=st.lists(st.integers(1, 3), min_size=REQUESTS, max_size=REQUESTS))
def test_whatever_finishes_when_no_commit_passes_what_is_not_finished(steps: list[tuple[str, int]], gaps: list[int]):
    offsets = [sum(gaps[:number]) for number in range(REQUESTS)]
    queue = Queue(offsets)
    owner, deaths = Owner(queue), 0
    for step, choice in steps:
        match step:
            case "take":
                owner.take()
            case "start":
                owner.start()
            case "finish":
                owner.finish(choice)
            case "commit":
                owner.commit()
            case "back":  # the partition is taken away and comes back; attempts go on
                owner.commit()
                owner.assign()
            case _:
                owner, deaths = Owner(queue), deaths + 1
    while queue.committed is None or queue.finished != set(offsets) or owner.unread:
        owner.take()
        owner.start()
        owner.finish(0)
        owner.commit()
    owner.commit()
    assert queue.committed == (offsets[-1] + 1, "")
    if not deaths:
        assert sorted(queue.runs) == offsets, "without a death each request runs once"


@given(st.integers(0, 2**62), st.sets(st.integers(0, AHEAD_MAX - 1)))
def test_metadata_name_what_is_finished_and_fit_into_what_brokers_take(committed: int, ahead: set[int]) -> None:
    finished = {committed + it for it in ahead}
    metadata = metadata_of(committed, finished)
    assert finished_by(committed, metadata) == finished
    assert len(metadata) < 4_096


@pytest.mark.parametrize("metadata", [None, "", "by another program", "1:", "1:5:", "1:5:é", "1:5:A", "2:5:AAAA"])
def test_other_metadata_name_nothing(metadata: str | None) -> None:
    assert finished_by(5, metadata) == set()


def test_metadata_for_another_offset_name_nothing() -> None:
    """A tool that copied the group to another cluster has committed another offset there."""
    metadata = metadata_of(5, {7})
    assert finished_by(5, metadata) == {7}
    assert finished_by(4, metadata) == set()


def test_a_partition_is_not_read_far_past_an_attempt_that_hangs() -> None:
    offsets = Offsets()
    offsets.assigned(0, (), ())
    taken = 0
    while not offsets.is_far_ahead:
        offsets.take(taken)
        if taken:
            offsets.finish(taken)
        taken += 1
    assert taken == AHEAD_MAX
    offsets.finish(0)
    assert not offsets.is_far_ahead
    assert offsets.committable() == (AHEAD_MAX, "")


REQUEST = TaskRequest("w", 0, 0, 1, 1, "t", {}, 0, 60_000)
MEGABYTE = 1_000_000


def test_a_partition_that_was_just_assigned_takes_no_more_than_others() -> None:
    work = Work(concurrency=1)
    work.assigned({("q", 0): (0, None)})
    taken = 0
    while work.wait_for_room(0) and taken <= WAITING_MAX:
        work.take(("q", 0), taken, REQUEST, 1)
        taken += 1
    assert taken == WAITING_MAX


def test_a_partition_that_is_assigned_beside_a_full_one_is_held_to_the_same_bytes() -> None:
    work = Work(concurrency=1)
    work.assigned({("q", 0): (0, None)})
    work.flow()
    for offset in range(10):
        work.take(("q", 0), offset, REQUEST, MEGABYTE)
    work.assigned({("q", 1): (0, None)})
    assert work.flow() == ([], [])
    taken = 0
    while work.wait_for_room(0) and taken < 100:
        work.take(("q", 1), taken, REQUEST, MEGABYTE)
        taken += 1
    assert taken == 7
    assert set(work.flow()[0]) == {("q", 0), ("q", 1)}


def test_a_paused_partition_is_resumed_before_it_goes_and_not_when_it_comes_back() -> None:
    work = Work(concurrency=1)
    work.assigned({("q", 0): (0, None), ("q", 1): (0, None)})
    for offset in range(WAITING_MAX):
        work.take(("q", 0), offset, REQUEST, 1)
    assert work.flow() == ([("q", 0)], [])
    assert work.given_up([("q", 0), ("q", 1)]) == [("q", 0)]
    work.assigned({("q", 0): (0, None)})
    assert work.flow() == ([], []), "it is fetched at once"
    assert work.given_up([("q", 0)]) == []
