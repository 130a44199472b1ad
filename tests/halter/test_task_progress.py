"""When progress is sent, whatever a handler does and however late the thread that sends it comes."""

import threading
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from halter.task_worker.progress import PROGRESS_SECONDS, Progress, Watched

STEPS = st.lists(st.sampled_from(["note", "tick", "wait"]) | st.floats(0.0, 3.0, allow_nan=False), max_size=60)


class Rig:
    """One attempt, the clock, and what Kafka was given: each record with its time."""

    def __init__(self) -> None:
        self.now, self.noted = 100.0, 0
        self.sent: list[tuple[float, int]] = []
        self.watched = Watched(lambda: self.now)
        self.progress = Progress(
            lambda content: str(content).encode(),
            lambda value: self.sent.append((self.now, int(value))),
            self.watched.add,
        )

    def step(self, step: str | float) -> None:
        if isinstance(step, float):
            self.now += step
        elif step == "note":
            self.noted += 1
            self.progress.note(self.noted)
        elif step == "tick":
            self.watched.send_due()
        elif (seconds := self.watched.seconds) is not None:  # as the thread does: it sleeps until something is due
            self.now += seconds
            self.watched.send_due()


@given(STEPS)
def test_progress_is_sent_in_order_and_once_a_second_at_most(steps: list[str | float]) -> None:
    rig = Rig()
    for step in steps:
        rig.step(step)
    times, contents = [at for at, _ in rig.sent], [content for _, content in rig.sent]
    assert contents == sorted(set(contents))
    assert all(later - earlier >= PROGRESS_SECONDS - 1e-9 for earlier, later in pairwise(times))


@given(STEPS)
def test_the_newest_progress_is_sent_within_a_second_of_the_last_one(steps: list[str | float]) -> None:
    rig = Rig()
    for step in steps:
        rig.step(step)
    before = rig.now
    if rig.noted > (rig.sent[-1][1] if rig.sent else 0):
        rig.step("wait")
        assert rig.sent[-1][1] == rig.noted
        assert rig.now <= before + PROGRESS_SECONDS
    rig.step("wait")
    rig.step("wait")
    assert rig.watched.seconds is None, "nobody wakes up for nothing"


@given(STEPS, st.booleans(), STEPS)
def test_nothing_follows_the_end_and_a_flush_sends_the_newest(
    steps: list[str | float], flush: bool, after: list[str | float]
) -> None:
    rig = Rig()
    for step in steps:
        rig.step(step)
    noted = rig.noted
    rig.progress.end(flush=flush)
    sent = list(rig.sent)
    if flush and noted:
        assert sent[-1][1] == noted
    for step in after:
        rig.step(step)
    assert rig.sent == sent


def test_many_threads_that_note_and_end_leave_nothing_behind_the_end() -> None:
    for _ in range(50):
        rig, over = Rig(), threading.Event()

        def note(rig: Rig = rig, over: threading.Event = over) -> None:
            while not over.is_set():
                rig.progress.note(1)
                rig.watched.send_due()

        threads = [threading.Thread(target=note) for _ in range(3)]
        for thread in threads:
            thread.start()
        rig.progress.end(flush=True)
        sent = len(rig.sent)
        over.set()
        for thread in threads:
            thread.join()
        assert len(rig.sent) == sent
