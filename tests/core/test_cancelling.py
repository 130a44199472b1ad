"""Which task attempts are cancelled, and which are not: what task workers are told, event by event.

`tests/support/checked_engine.py` compares this with an oracle after each command of every scenario and random history.
"""

from processors.core.records.commands import DeleteWfRun, ForkWfRun, RescueThreadRun, RunWf
from processors.core.records.events import TaskAttemptRequested, TaskCancellation, ThreadFailed
from processors.core.rules.context import Limits
from processors.core.rules.snapshots import snapshot_of
from tests.support.scenario import RUN, RUN_ID, START_MS, event, exception, failed, given, like, report, resume, stop

TREE = """
    external_events: {i: {type: INT}, a: {}}
    tasks: {t: {}, u: {}}
    wf_specs:
      - name: small
        entrypoint: main
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: one}
              one: {kind: START_THREAD, thread: one, next: work}
              work: {kind: TASK, task: t, timeout_s: 10, retries: 1, next: done}
              done: {kind: EXIT}
          one:
            nodes:
              start: {kind: ENTRYPOINT, next: two}
              two: {kind: START_THREAD, thread: two, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: a, next: done}
              done: {kind: EXIT}
          two:
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: u, timeout_s: 60, next: done}
              done: {kind: EXIT}
          h:
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: u, timeout_s: 60, next: done}
              done: {kind: EXIT}
"""
"""Thread 0 has a task out, and so has thread 2, below thread 1, which waits."""

FAILED_0, FAILED_1, FAILED_2 = (like(ThreadFailed, thread=number) for number in range(3))


# (rules stops-cancel, cancellation-is-advice)
def test_a_stop_cancels_the_attempts_of_the_thread_and_of_all_below_and_they_stay_out() -> None:
    history = given(TREE, RUN).when(stop()).then_cancelled((0, "STOPPED"), (2, "STOPPED"))
    assert (history.status(0), history.status(2)) == ("HALTING", "HALTING")
    history.when(report(2)).when(report(0)).then_among_others("TaskAttemptEnded", "ThreadHalted").then_cancelled()
    assert history.status(0) == "HALTED"
    history.when(resume()).then_among_others("Resume").then_cancelled()


def test_a_stop_of_a_thread_below_cancels_nothing_above() -> None:
    given(TREE, RUN).when(stop(1)).then_cancelled((2, "STOPPED"))


def test_a_cancellation_names_the_attempt_as_its_request_does_and_the_event_that_cancelled_it() -> None:
    history = given(TREE, RUN).after(1_500).when(stop(2))
    [told] = history.engine.cancellations
    run = history.run
    [stopped, *_] = history.engine.log[-1][1]
    assert told == TaskCancellation(
        RUN_ID, run.incarnation, 2, run.threads[2].node.position, 1, "u", told.reason, START_MS + 1_500, stopped.seq
    )


# (rule interrupts-do-not-cancel)
def test_an_interrupt_cancels_nothing() -> None:
    history = given(TREE, RUN).when(event("i", 1)).then_cancelled()
    assert (history.status(0), history.status(2)) == ("HALTING", "HALTING")
    history.when(report(2)).then_cancelled().when(report(0)).then_among_others("SpawnChild").then_cancelled()


# (rule stops-cancel)
def test_a_stop_of_an_interrupted_thread_cancels_also_what_the_interrupt_had_halted_before() -> None:
    history = given(TREE, RUN, event("i", 1))
    history.when(stop()).then("Halt").then_cancelled((0, "STOPPED"), (2, "STOPPED"))


def test_a_stop_cancels_the_attempt_of_an_interrupt_handler() -> None:
    given(TREE, RUN, event("i", 1), report(2), report(0)).when(stop()).then_cancelled((3, "STOPPED"))


# (rule cancellation-is-advice)
def test_an_attempt_may_be_cancelled_again_by_a_later_event() -> None:
    history = given(TREE, RUN, stop(2)).when(stop(1)).then_cancelled((2, "STOPPED"))
    history.when(stop(1)).then_nothing().then_cancelled()
    history.when(resume(1)).then_cancelled().when(stop(1)).then_cancelled((2, "STOPPED"))


# (rule time-outs-cancel)
def test_a_time_out_cancels_its_own_attempt_whether_another_follows_or_not() -> None:
    history = (
        given(TREE, RUN).after(10_000).then_among_others("TaskAttemptEnded", like(TaskAttemptRequested, attempt=2))
    )
    history.then_cancelled((0, "TIMED_OUT"))
    assert [it.attempt for it in history.engine.cancellations] == [1]
    history.after(10_000).then_among_others("ThreadFailed").then_cancelled((0, "TIMED_OUT"), (2, "FAILED_ABOVE"))
    assert [it.attempt for it in history.engine.cancellations] == [1, 2, 1]


def test_an_attempt_that_is_reported_is_not_cancelled() -> None:
    given(TREE, RUN).when(report(2)).then_cancelled().when(failed(0)).then_cancelled()
    given(TREE, RUN, failed(0), failed(0)).then_cancelled((2, "FAILED_ABOVE"))


# (rule failures-cancel)
def test_a_failure_cancels_what_is_out_below_and_a_rescue_takes_the_advice_back_for_nobody() -> None:
    history = given(TREE, RUN, report(2), event("a")).when(exception(0)).then_cancelled()
    history = given(TREE, RUN).when(exception(0)).then_cancelled((2, "FAILED_ABOVE"))
    history = given(TREE, RUN, failed(0)).when(failed(0)).then_cancelled((2, "FAILED_ABOVE"))
    assert history.status(2) == "HALTING"
    history.when(RescueThreadRun(RUN_ID, 0)).then_among_others("ThreadRescued").then_cancelled()
    history.when(report(2)).then_among_others("TaskAttemptEnded")


BESIDE = """
    external_events: {i: {}}
    tasks: {t: {}}
    wf_specs:
      - name: small
        entrypoint: main
        threads:
          main:
            interrupts: [{event: i, handler: h, halt: false}]
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, next: done}
              done: {kind: EXIT}
          h:
            nodes:
              start: {kind: ENTRYPOINT, next: below}
              below: {kind: START_THREAD, thread: below, next: work}
              work: {kind: TASK, task: t, next: done}
              done: {kind: EXIT}
          below:
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, next: done}
              done: {kind: EXIT}
"""


# (rule failures-cancel)
def test_a_failure_that_climbs_cancels_each_attempt_once_that_of_a_thread_that_fails_with_its_handler_too() -> None:
    history = given(BESIDE, RUN, event("i")).when(exception(1))
    history.then_among_others(FAILED_1, FAILED_0).then_cancelled((2, "FAILED_ABOVE"), (0, "FAILED_ABOVE"))
    # The attempt of thread 0 is over with its thread; that of thread 2 is out still.
    history.when(DeleteWfRun(RUN_ID)).then_cancelled((2, "DELETED"))


HANDLED = """
    external_events: {a: {}}
    tasks: {t: {}, u: {}}
    wf_specs:
      - name: small
        entrypoint: main
        threads:
          main:
            nodes:
              start: {kind: ENTRYPOINT, next: one}
              one: {kind: START_THREAD, thread: one, next: work}
              work: {kind: TASK, task: t, on_failure: [{handler: h}], next: done}
              done: {kind: EXIT}
          one:
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: u, next: done}
              done: {kind: EXIT}
          h:
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, next: done}
              done: {kind: EXIT}
"""


# (rule interrupts-do-not-cancel)
def test_a_failure_that_is_handled_cancels_nothing() -> None:
    history = given(HANDLED, RUN).when(failed(0)).then_among_others("NodeFailed").then_cancelled()
    assert history.status(1) == "HALTING"
    history.when(report(1)).then_among_others("SpawnChild").then_cancelled()
    history.when(failed(2)).then_among_others(FAILED_2, FAILED_0).then_cancelled()


# (rule losses-cancel)
def test_a_loss_cancels_what_is_out_in_the_loser_and_below_it() -> None:
    history = given(
        """
        external_events: {x: {}, end: {}}
        tasks: {t: {}}
        wf_specs:
          - name: small
            entrypoint: main
            threads:
              main:
                nodes:
                  start: {kind: ENTRYPOINT, next: one}
                  one: {kind: START_THREAD, thread: quick, next: two}
                  two: {kind: START_THREAD, thread: slow, next: join}
                  join: {kind: WAIT_FOR_THREADS, threads: [{output: one}, {output: two}], strategy: FIRST, next: wait}
                  wait: {kind: EXTERNAL_EVENT, event: end, next: done}
                  done: {kind: EXIT}
              quick:
                nodes:
                  start: {kind: ENTRYPOINT, next: wait}
                  wait: {kind: EXTERNAL_EVENT, event: x, next: done}
                  done: {kind: EXIT}
              slow:
                nodes:
                  start: {kind: ENTRYPOINT, next: kid}
                  kid: {kind: START_THREAD, thread: kid, next: work}
                  work: {kind: TASK, task: t, next: done}
                  done: {kind: EXIT}
              kid:
                nodes:
                  start: {kind: ENTRYPOINT, next: work}
                  work: {kind: TASK, task: t, next: done}
                  done: {kind: EXIT}
        """,
        RUN,
    )
    history.when(event("x")).then_cancelled((2, "LOST"), (3, "LOST"))
    history.when(report(3)).then_cancelled().when(report(2)).then_among_others("ThreadRetired").then_cancelled()


# (rule deletions-cancel)
def test_a_deletion_cancels_all_that_is_out_and_the_id_is_free() -> None:
    history = given(TREE, RUN).when(DeleteWfRun(RUN_ID)).then("WfRunDeleted")
    history.then_cancelled((0, "DELETED"), (2, "DELETED"))
    first = {it.incarnation for it in history.engine.cancellations}
    history.when(RunWf(RUN_ID, "small")).then_cancelled().when(stop()).then_cancelled((0, "STOPPED"), (2, "STOPPED"))
    assert {it.incarnation for it in history.engine.cancellations[2:]}.isdisjoint(first)


def test_a_deletion_of_what_was_never_started_or_has_ended_cancels_nothing() -> None:
    given(TREE, event("a")).when(DeleteWfRun(RUN_ID)).then("WfRunDeleted").then_cancelled()
    history = given(TREE, RUN, event("a"), report(2), report(0)).then_among_others("WfRunEnded")
    history.when(DeleteWfRun(RUN_ID)).then_cancelled()


# (rule failures-cancel)
def test_a_wf_run_that_does_not_settle_fails_and_cancels_what_is_out() -> None:
    history = given(
        """
        tasks: {t: {}, u: {}}
        wf_specs:
          - name: small
            entrypoint: main
            threads:
              main:
                nodes:
                  start: {kind: ENTRYPOINT, next: one}
                  one: {kind: START_THREAD, thread: one, next: work}
                  work: {kind: TASK, task: t, next: round}
                  round: {kind: NOP, next: round-again}
                  round-again: {kind: NOP, next: [{to: round, when: {eq: [1, 1]}}, done]}
                  done: {kind: EXIT}
              one:
                nodes:
                  start: {kind: ENTRYPOINT, next: work}
                  work: {kind: TASK, task: u, next: done}
                  done: {kind: EXIT}
        """,
        RUN,
        limits=Limits(events_per_command=50),
    )
    history.when(report(0)).then_among_others(FAILED_0).then_cancelled((1, "FAILED_ABOVE"))


def test_what_a_fork_requests_anew_is_its_own_and_is_not_cancelled_with_its_source() -> None:
    history = given(TREE, RUN, stop())
    told = len(history.engine.cancellations)
    history.engine.put(ForkWfRun("fork", snapshot_of(history.run)))
    history.engine.put(DeleteWfRun(RUN_ID))
    assert {it.wf_run_id for it in history.engine.cancellations[told:]} == {RUN_ID}
    history.engine.put(DeleteWfRun("fork"))
    assert [(it.wf_run_id, it.thread) for it in history.engine.cancellations[-2:]] == [("fork", 0), ("fork", 2)]
