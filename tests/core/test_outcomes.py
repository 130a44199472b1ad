"""What became of an ExternalEvent in each thread: how many are kept, and of which ExternalEvents."""

from processors.core.records.events import Cause, ExternalEventPosted
from processors.core.records.model import OUTCOMES_MAX, ExternalEventOutcome, ExternalEventStatus
from processors.core.rules.context import Context
from processors.core.rules.engine import handle, new_run
from tests.support.scenario import RUN, History, event, exception, given

THREADS = OUTCOMES_MAX + 50


def many_that_accept() -> History:
    """Many children at tasks accept one event; thread 0 waits for the task of its own child, the first."""
    return given(
        f"""
        external_events: {{i: {{}}}}
        tasks: {{t: {{}}}}
        wf_specs:
          - name: small
            entrypoint: main
            threads:
              main:
                nodes:
                  start: {{kind: ENTRYPOINT, next: one}}
                  one: {{kind: START_THREAD, thread: fails, next: kids}}
                  kids: {{kind: START_MULTIPLE_THREADS, thread: kid, over: {list(range(THREADS))}, next: join}}
                  join: {{kind: WAIT_FOR_THREADS, threads: [{{output: one}}], next: done}}
                  done: {{kind: EXIT}}
              fails:
                nodes:
                  start: {{kind: ENTRYPOINT, next: work}}
                  work: {{kind: TASK, task: t, next: done}}
                  done: {{kind: EXIT}}
              kid:
                interrupts: [{{event: i, handler: h}}]
                nodes:
                  start: {{kind: ENTRYPOINT, next: work}}
                  work: {{kind: TASK, task: t, next: done}}
                  done: {{kind: EXIT}}
              h:
                nodes:
                  start: {{kind: ENTRYPOINT, next: done}}
                  done: {{kind: EXIT}}
        """,
        RUN,
        event("i"),
    )


def test_of_the_first_hundred_threads_there_is_an_outcome_and_the_others_are_counted() -> None:
    history = many_that_accept()
    (posted,) = history.run.external_events.values()
    claimed = [ExternalEventOutcome(2 + number, ExternalEventStatus.CLAIMED) for number in range(OUTCOMES_MAX)]
    assert (posted.outcomes, posted.outcomes_left_out) == (claimed, THREADS - OUTCOMES_MAX)


def test_what_becomes_of_it_later_in_a_thread_that_was_left_out_is_not_counted_again() -> None:
    history = many_that_accept().when(exception(1))
    assert history.status() == "EXCEPTION"
    (posted,) = history.run.external_events.values()
    dropped = [ExternalEventOutcome(2 + number, ExternalEventStatus.DROPPED) for number in range(OUTCOMES_MAX)]
    assert (posted.outcomes, posted.outcomes_left_out) == (dropped, THREADS - OUTCOMES_MAX)


def test_of_what_was_posted_before_outcomes_were_kept_there_are_none_and_not_no_outcomes() -> None:
    """Each ExternalEvent on the log says whether outcomes are kept: those of earlier releases are folded as before."""
    history = given("wait", RUN)
    old = Context(history.engine.context.definitions, keeps_outcomes=False)
    run = new_run("w1")
    handle(run, RUN, Cause("wf-commands", 0, 0, None, 0), 0, old)
    cause = Cause("external-events", 0, 0, None, 0)
    (posted, *_) = handle(run, history.command(event("i")), cause, 0, old)
    assert isinstance(posted.event, ExternalEventPosted)
    assert not posted.event.keeps_outcomes
    (row,) = run.external_events.values()
    assert (row.status, row.outcomes) == (ExternalEventStatus.CLAIMED, None)
    (row,) = history.when(event("i")).run.external_events.values()
    assert row.outcomes == [ExternalEventOutcome(0, ExternalEventStatus.CLAIMED)]
