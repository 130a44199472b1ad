"""Task attempts between their request and their report: in the queue, started, timed out, and their progress."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from halter.show.waiting_text import NO_BREAK, wait_text
from processors.core.records.commands import ForkWfRun, StartTaskRun, TimerFired
from processors.core.records.events import (
    Cause,
    Ignored,
    Rejected,
    RejectionCode,
    TaskAttemptEnded,
    TaskAttemptProgressed,
    TaskAttemptRequested,
    TaskAttemptStarted,
)
from processors.core.records.model import TaskStatus, TimerKind, WfRun
from processors.core.records.values import PROGRESS_BYTES_MAX, VALUE_BYTES_MAX, Timestamp, Value
from processors.core.rules.engine import handle
from processors.core.rules.snapshots import snapshot_of
from processors.core.rules.waiting import ForReport, waits_of
from tests.support.scenario import (
    RUN,
    RUN_ID,
    START_MS,
    History,
    failed,
    given,
    like,
    progress,
    report,
    rescue,
    started,
)

QUEUE_MS, RUN_MS = 20_000, 8_000
WORK = """
    tasks: {t: {}}
    wf_specs:
      - name: small
        entrypoint: main
        threads:
          main:
            variables: {queue: {type: INT, default: 20}, running: {type: INT, default: 8}}
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work:
                kind: TASK
                task: t
                queue_timeout_s: {var: queue}
                run_timeout_s: {var: running}
                retries: 3
                next: end
              end: {kind: EXIT}
"""


def fold(history: History, command: Any, time_ms: int) -> list[Any]:
    """Fold a record whose time is not that of the WfRun."""
    run = history.run
    return [
        it.event for it in handle(run, command, Cause("task-reports", 0, 99, None, 0), time_ms, history.engine.context)
    ]


def start_of(run: WfRun, attempt: int = 1) -> StartTaskRun:
    return StartTaskRun(RUN_ID, run.incarnation, 0, run.threads[0].node.position, attempt)


def due_ms(history: History) -> int:
    timer = history.thread().node.timer
    assert timer is not None
    return timer.due_ms


# (rule queueing-is-not-running)
def test_a_request_says_by_when_it_must_be_started_and_when_it_is_over_without_a_start() -> None:
    times = {"start_by_ms": START_MS + QUEUE_MS, "deadline_ms": START_MS + QUEUE_MS + RUN_MS}
    history = given(WORK).when(RUN).then_among_others(like(TaskAttemptRequested, attempt=1, **times))
    assert due_ms(history) == times["deadline_ms"]


Taken = st.tuples(st.sampled_from(["start", "progress", "fail", "crash"]), st.integers(0, 12_000))


# (rules queueing-is-not-running, first-start-counts)
@settings(max_examples=150, deadline=None)
@drawn(st.lists(Taken, max_size=12))
def test_whatever_task_workers_say_no_attempt_is_out_for_longer_than_both_times(taken: list[tuple[str, int]]) -> None:
    history = given(WORK, RUN)
    requested: dict[int, int] = {}
    begun: dict[int, int] = {}
    seen = 0
    for what, after_ms in taken:
        history.after(after_ms)
        if history.thread().node.node != "work" or not history.thread().task_out:
            break
        match what:
            case "start":
                history.when(started())
            case "progress":
                history.when(progress(after_ms))
            case "fail":
                history.when(failed())
            case _:
                history.engine.crash()
        entries = [entry for _, entries in history.engine.log for entry in entries]
        for entry in entries[seen:]:
            match entry.event:
                case TaskAttemptRequested() as event:
                    requested[event.attempt] = entry.time_ms
                case TaskAttemptStarted() as event:
                    assert event.attempt not in begun, "the first start counts"
                    begun[event.attempt] = event.started_ms
        seen = len(entries)
        task = history.thread().node.task
        if task is None or not history.thread().task_out:
            break
        latest_ms = requested[task.attempt] + QUEUE_MS + RUN_MS
        assert due_ms(history) == min(latest_ms, begun.get(task.attempt, latest_ms) + RUN_MS)
        assert due_ms(history) <= latest_ms


def test_a_time_out_that_was_written_for_both_times_does_nothing_after_a_start() -> None:
    history = given(WORK, RUN)
    node, incarnation = history.thread().node, history.run.incarnation
    stale = TimerFired(RUN_ID, incarnation, 0, node.position, TimerKind.TASK_TIMEOUT, due_ms(history))
    history.after(QUEUE_MS - 1).when(started())
    assert [type(it) for it in fold(history, stale, stale.due_ms)] == [Ignored]
    assert history.thread().task_out


def test_a_time_out_that_was_folded_first_wins_over_a_start_of_the_same_batch() -> None:
    history = given(WORK, RUN)
    start = start_of(history.run)
    history.after(QUEUE_MS + RUN_MS)
    (refused,) = fold(history, start, START_MS + 1)
    assert isinstance(refused, Rejected)
    assert refused.code is RejectionCode.FAILED_PRECONDITION


# (rule time-never-runs-backwards)
def test_a_start_is_in_time_by_the_time_of_its_own_record() -> None:
    history = given(WORK, RUN)
    history.run.time_ms = START_MS + QUEUE_MS + 5_000  # a record of another topic was folded first
    (event,) = fold(history, start_of(history.run), START_MS + QUEUE_MS - 1)
    assert event == TaskAttemptStarted(0, 1, 1, START_MS + QUEUE_MS - 1, START_MS + QUEUE_MS - 1 + RUN_MS)


def test_a_start_whose_broker_has_a_clock_that_is_behind_is_not_before_the_arrival() -> None:
    history = given(WORK, RUN)
    (event,) = fold(history, start_of(history.run), START_MS - 60_000)
    assert event == TaskAttemptStarted(0, 1, 1, START_MS, START_MS + RUN_MS)


# (rule late-start-times-out)
@pytest.mark.parametrize("late_ms", [0, 1, RUN_MS - 1])
def test_a_start_that_comes_too_late_ends_the_attempt(late_ms: int) -> None:
    history = given(WORK, RUN).after(QUEUE_MS + late_ms).when(started())
    ended = like(TaskAttemptEnded, status=TaskStatus.TIMEOUT, message="not started in time")
    history.then(ended, like(TaskAttemptRequested, attempt=2))


# (rule first-start-counts)
def test_a_second_start_says_when_the_first_was() -> None:
    history = given(WORK, RUN, started()).when(started()).then_nothing()
    (ignored,) = history.events
    assert isinstance(ignored, Ignored)
    assert ignored.reason == "attempt 1 of thread 0 started at 2026-01-01T00:00:00.000Z"


def test_an_attempt_that_was_reported_keeps_no_start() -> None:
    history = given(WORK, RUN, started(), progress("half")).when(failed())
    task = history.thread().node.task
    assert task is not None
    assert (task.attempt, task.started_ms, task.start_by_ms) == (2, None, START_MS + QUEUE_MS)
    history.when(report())
    assert history.thread().node.task is None


def test_a_bound_that_cannot_be_computed_fails_the_node() -> None:
    spec = WORK.replace("default: 8", "default: -1")
    history = given(spec, RUN)
    failure = history.thread().failure
    assert failure is not None
    assert failure.name == "VAR_ERROR"
    assert "run_timeout_s" in failure.message


# (rule progress-is-bounded)
@pytest.mark.parametrize(
    ("content", "size"),
    [
        ("x" * PROGRESS_BYTES_MAX, None),
        ("x" * (PROGRESS_BYTES_MAX + 1), PROGRESS_BYTES_MAX + 1),
        ("é" * (PROGRESS_BYTES_MAX // 2 + 1), PROGRESS_BYTES_MAX + 2),
        (b"x" * (PROGRESS_BYTES_MAX + 1), PROGRESS_BYTES_MAX + 1),
        (["x" * PROGRESS_BYTES_MAX], PROGRESS_BYTES_MAX + 4),
        ("x" * VALUE_BYTES_MAX, VALUE_BYTES_MAX),
        (None, None),
        (Timestamp(0), None),
    ],
)
def test_a_progress_that_is_too_large_is_refused_with_its_size(content: Value, size: int | None) -> None:
    history = given(WORK, RUN).when(progress(content))
    if size is None:
        history.then(TaskAttemptProgressed(0, 1, 1, content))
        return
    history.then_rejected(RejectionCode.INVALID_ARGUMENT)
    (refused,) = history.events
    assert isinstance(refused, Rejected)
    assert f"at most {PROGRESS_BYTES_MAX} bytes, found {size}" in refused.message


def test_a_progress_that_is_no_number_is_refused() -> None:
    given(WORK, RUN).when(progress(float("nan"))).then_rejected(RejectionCode.INVALID_ARGUMENT)


# (rule progress-goes-to-the-next-attempt)
def test_progress_goes_along_with_each_attempt_and_moves_no_time_out() -> None:
    history = given(WORK, RUN).after(5_000)
    before = due_ms(history)
    history.when(progress({"line": 7}))
    assert due_ms(history) == before
    history.after(QUEUE_MS + RUN_MS).then_among_others(like(TaskAttemptRequested, attempt=2, progress={"line": 7}))
    history.when(failed()).then_among_others(like(TaskAttemptRequested, attempt=3, progress={"line": 7}))


def test_beside_an_earlier_release_nothing_is_started_and_the_sum_counts() -> None:
    history = given(WORK)
    history.engine.context = replace(history.engine.context, attempt_starts=False)
    history.when(RUN).then_among_others(
        like(TaskAttemptRequested, start_by_ms=None, deadline_ms=START_MS + QUEUE_MS + RUN_MS)
    )
    history.when(started()).then_rejected(RejectionCode.FAILED_PRECONDITION)
    history.when(progress(1)).then_rejected(RejectionCode.FAILED_PRECONDITION)


def test_a_thread_says_whether_its_attempt_is_in_the_queue_or_runs() -> None:
    history = given(WORK, RUN).after(5_000)
    (queued,) = waits_of(history.run, history.thread())
    assert isinstance(queued, ForReport)
    assert (queued.since_ms, queued.start_by_ms, queued.started_ms) == (START_MS, START_MS + QUEUE_MS, None)
    told = wait_text(queued, history.run, history.thread(), None).replace(NO_BREAK, " ")
    since, by = "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:20.000Z"
    assert told == f"waits for task t, attempt 1 of 4, in the queue since {since}, to start by {by}"
    history.when(started())
    (runs,) = waits_of(history.run, history.thread())
    told = wait_text(runs, history.run, history.thread(), START_MS + 6_000).replace(NO_BREAK, " ")
    at, until = "2026-01-01T00:00:05.000Z (1 s)", "2026-01-01T00:00:13.000Z (in 7 s)"
    assert told == f"waits for task t, attempt 1 of 4, running since {at}, until {until}"


# (rule fork-requests-tasks-anew)
def test_a_fork_gives_an_attempt_its_whole_time_and_its_progress_and_it_is_not_started() -> None:
    history = given(WORK, RUN).after(5_000).when(started()).when(progress("half"))
    history.engine.time_ms += 1_000
    snapshot = snapshot_of(history.run, history.engine.time_ms)
    history.engine.time_ms += 3_600_000
    entries = history.engine.put(ForkWfRun("fork", snapshot))
    now_ms = history.engine.time_ms
    (request,) = [it.event for it in entries if isinstance(it.event, TaskAttemptRequested)]
    assert (request.attempt, request.progress) == (1, "half")
    assert (request.start_by_ms, request.deadline_ms) == (now_ms + QUEUE_MS, now_ms + QUEUE_MS + RUN_MS)
    task = history.engine.runs["fork"].threads[0].node.task
    assert task is not None
    assert (task.started_ms, task.progress) == (None, "half")


# (rule rescue-runs-the-node-again)
def test_a_rescue_is_another_visit_of_the_node_and_has_no_progress() -> None:
    history = given(WORK.replace("retries: 3", "retries: 0"), RUN, progress("half"), failed())
    history.when(rescue()).then_among_others(like(TaskAttemptRequested, attempt=1, progress=None))
