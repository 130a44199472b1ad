"""The rules that hold for every command: outcomes, order, time, bounds, repeats."""

from dataclasses import replace

import pytest

from processors.core.records.commands import (
    DeleteWfRun,
    ResumeWfRun,
    RunWf,
    StopWfRun,
    TimerFired,
)
from processors.core.records.events import ExternalEventPosted, Ignored, Rejected, RejectionCode, ThreadFailed
from processors.core.records.failures import INTERNAL_ERROR, VAR_SUB_ERROR
from processors.core.records.model import FAILED, Status, TimerKind
from processors.core.rules.context import Limits
from processors.core.rules.decide import EARLY
from processors.core.rules.evolve import COMMAND_IDS_REMEMBERED
from tests.support.scenario import RUN, RUN_ID, START_MS, event, given, like, report, rescue, resume, stop

LOOP = """
    external_events: {go: {}}
    wf_specs:
      - name: small
        entrypoint: main
        threads:
          main:
            variables: {n: {type: INT, default: 0}}
            nodes:
              start: {kind: ENTRYPOINT, next: child}
              child: {kind: START_THREAD, thread: other, next: round}
              round: {kind: NOP, next: {to: again, set: [{var: n, op: ADD, value: 1}]}}
              again: {kind: NOP, next: [{to: round, when: {lt: [{var: n}, 1000000]}}, {to: end}]}
              end: {kind: EXIT}
          other:
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, next: end}
              end: {kind: EXIT}
    """


# (rules seq-has-no-gap, event-names-its-cause)
def test_the_events_of_a_wf_run_are_counted_without_gap_and_know_their_cause() -> None:
    history = given("wait", event("go"), RUN, event("i"), event("i", id="i2"), resume(), event("done"))
    entries = [entry for _, outcome in history.engine.log for entry in outcome]
    assert [entry.seq for entry in entries] == [0, *range(1, len(entries))]
    assert entries[0].incarnation == -1
    assert {entry.incarnation for entry in entries[1:]} == {0}
    assert [entry.cause.topic for entry in entries[:2]] == ["external-events", "wf-commands"]


# (rule time-never-runs-backwards)
def test_the_time_of_a_wf_run_never_runs_backwards() -> None:
    history = given("wait", RUN)
    history.engine.time_ms -= 60_000
    history.when(event("i"))
    assert {entry.time_ms for entry in history.engine.log_of(RUN_ID)} == {START_MS}


# (rule commands-are-bounded)
def test_a_wf_spec_that_loops_fails_its_wf_run_and_halts_its_threads() -> None:
    history = given(LOOP, limits=Limits(events_per_command=200))
    history.when(RUN).then_among_others("WfRunStarted", like(ThreadFailed, thread=0), "WfRunEnded")
    failure = history.thread(0).failure
    assert failure is not None
    assert failure.name == INTERNAL_ERROR
    assert "did not settle: 200 events" in failure.message
    assert history.status(1) == Status.HALTED


# (rule bounds-count-anew)
def test_the_bound_on_events_is_counted_anew_at_each_event_that_is_claimed() -> None:
    history = given(LOOP.replace("1000000", "30"), limits=Limits(events_per_command=80))
    history.when(RUN).when(event("go"))
    assert history.run.status is Status.COMPLETED


# (rule bounds-count-anew)
@pytest.mark.parametrize(
    "following",
    [
        "{kind: NOP, next: rest}",
        "{kind: SLEEP, seconds: 5, next: rest}",
        "{kind: EXTERNAL_EVENT, event: go, timeout_s: 5, next: rest}",
        "{kind: START_THREAD, thread: other, next: rest}",
        "{kind: WAIT_FOR_THREADS, threads: [], next: rest}",
    ],
)
def test_the_bound_on_bytes_is_counted_anew_at_each_event_that_is_claimed_whatever_comes_next(following: str) -> None:
    document = f"""
        external_events: {{claimed: {{}}, go: {{}}}}
        wf_specs:
          - name: small
            entrypoint: main
            threads:
              main:
                variables: {{text: {{type: STR, default: ""}}}}
                nodes:
                  start: {{kind: ENTRYPOINT, next: {{to: claim, set: [{{var: text, op: ASSIGN, value: {"x" * 90}}}]}}}}
                  claim:
                    kind: EXTERNAL_EVENT
                    event: claimed
                    next: {{to: following, set: [{{var: text, op: ASSIGN, value: {"y" * 90}}}]}}
                  following: {following}
                  rest: {{kind: EXTERNAL_EVENT, event: go, next: end}}
                  end: {{kind: EXIT}}
              other: {{nodes: {{start: {{kind: ENTRYPOINT, next: end}}, end: {{kind: EXIT}}}}}}
        """
    history = given(document, event("claimed"), RUN, limits=Limits(bytes_per_command=150))
    assert history.run.status is Status.RUNNING


# (rule bounds-count-anew)
@pytest.mark.parametrize("name", ["i", "j", "k"])
def test_the_bound_on_events_is_counted_anew_at_each_event_that_an_interrupt_takes(name: str) -> None:
    """Serial, latest and beside it, parallel: each is taken, and its handler starts, within a few events."""
    early = [event(name) for _ in range(20)]
    history = given("all-policies-that-come-early", *early, RUN, limits=Limits(events_per_command=8))
    assert history.run.status is Status.RUNNING


# (rule early-timer-stays-armed)
def test_an_early_timer_is_ignored_and_stays_armed() -> None:
    history = given("timers", RUN)
    [timer] = history.engine.timers()
    assert history.when(timer).events == [Ignored("TimerFired", EARLY)]
    assert history.engine.timers() == [timer]


# (rule stale-timer-ignored)
@pytest.mark.parametrize("changed", [{"due_ms": 1}, {"position": 7}, {"thread": 9}, {"incarnation": 5}])
def test_a_timer_that_was_never_armed_is_ignored(changed: dict[str, int]) -> None:
    history = given("timers", RUN)
    [timer] = history.engine.timers()
    history.when(replace(timer, **changed)).then_nothing()


def test_a_timer_for_nothing_is_ignored() -> None:
    given("timers").when(TimerFired(RUN_ID, 0, 0, 0, TimerKind.SLEEP, START_MS)).then_nothing()


SLEEP = """
    wf_specs:
      - name: small
        entrypoint: main
        threads:
          main:
            variables: {n: {type: INT, required: true}}
            nodes:
              start: {kind: ENTRYPOINT, next: nap}
              nap: {kind: SLEEP, seconds: {var: n}, next: end}
              end: {kind: EXIT}
    """
THOUSAND_YEARS_S = 31_622_400_000


# (rule durations-are-bounded)
@pytest.mark.parametrize(
    ("seconds", "status"),
    [
        (0, Status.COMPLETED),
        (THOUSAND_YEARS_S, Status.RUNNING),
        (THOUSAND_YEARS_S + 1, Status.ERROR),
        (-1, Status.ERROR),
    ],
)
def test_a_sleep_takes_0_seconds_to_a_thousand_years(seconds: int, status: Status) -> None:
    history = given(SLEEP).when(replace(RUN, variables={"n": seconds}))
    assert history.run.status is status
    if status is Status.ERROR:
        history.then_among_others("ThreadFailed")
        failure = history.thread(0).failure
        assert failure is not None
        assert failure.name == VAR_SUB_ERROR


# (rule command-id-decided-once)
def test_a_command_id_is_decided_once() -> None:
    first = StopWfRun(RUN_ID, command_id="c1")
    history = given("wait", RUN, first, ResumeWfRun(RUN_ID, command_id="c2"))
    history.when(first).then_rejected(RejectionCode.ALREADY_EXISTS)
    assert history.run.status is Status.RUNNING


# (rule command-id-decided-once)
def test_the_last_command_ids_are_remembered() -> None:
    history = given("wait", RUN)
    for number in range(COMMAND_IDS_REMEMBERED + 1):
        history.engine.put(ResumeWfRun(RUN_ID, command_id=f"c{number}"))
    assert len(history.run.command_ids) == COMMAND_IDS_REMEMBERED
    history.when(ResumeWfRun(RUN_ID, command_id="c0")).then_nothing()
    history.when(ResumeWfRun(RUN_ID, command_id=f"c{COMMAND_IDS_REMEMBERED}"))
    history.then_rejected(RejectionCode.ALREADY_EXISTS)


# (rule wf-run-id-form)
@pytest.mark.parametrize("wf_run_id", ["", "-a", "a/b", "a_b", "ä", "a" * 129, "a\n"])
def test_an_id_that_is_none_is_refused(wf_run_id: str) -> None:
    history = given("wait")
    [entry] = history.engine.put(RunWf(wf_run_id, "small"))
    assert isinstance(entry.event, Rejected)
    assert entry.event.code is RejectionCode.INVALID_ARGUMENT


@pytest.mark.parametrize("command", [stop(), resume()])
def test_a_command_for_no_wf_run_is_refused(command: StopWfRun | ResumeWfRun) -> None:
    given("wait").when(command).then_rejected(RejectionCode.NOT_FOUND)


# (rules deleted-id-is-free, incarnation-is-an-offset)
def test_a_deleted_id_is_free_again_and_the_new_wf_run_is_another_incarnation() -> None:
    history = given("nested-handlers", RUN, event("i"), DeleteWfRun(RUN_ID))
    assert history.run.status is None
    late = given("nested-handlers", RUN, event("i")).command(report(1))
    history.when(RUN).then_among_others("WfRunStarted")
    assert history.run.incarnation == 2
    history.when(event("i", id="i1")).then_among_others("SpawnChild")
    history.when(late).then_rejected(RejectionCode.FAILED_PRECONDITION)


# (rule delete-may-name-the-incarnation)
def test_a_delete_that_names_an_incarnation_deletes_no_other_one() -> None:
    first = DeleteWfRun(RUN_ID, incarnation=0)
    history = given("wait", RUN, first, RUN)
    assert history.run.incarnation == 2
    history.when(first).then_nothing()
    assert history.run.exists
    history.when(DeleteWfRun(RUN_ID, incarnation=2)).then_among_others("WfRunDeleted")
    history.when(DeleteWfRun(RUN_ID, incarnation=2)).then_nothing()
    assert not history.run.exists


# (rule no-op-is-ignored)
def test_deleting_what_is_not_there_is_ignored() -> None:
    given("wait").when(DeleteWfRun(RUN_ID)).then_nothing()


# (rule unclaimed-events-bounded)
def test_unclaimed_events_have_a_bound() -> None:
    history = given("wait", event("go"), event("go"), limits=Limits(unclaimed_events=2))
    history.when(event("go")).then_rejected(RejectionCode.RESOURCE_EXHAUSTED)


# (rule event-id-remembered)
def test_remembered_events_are_forgotten_beyond_their_number_and_time_and_unclaimed_ones_never() -> None:
    limits = Limits(remembered_events=3, remembered_ms=1_000)
    history = given("wait", event("go", id="kept", thread=7), RUN, limits=limits)
    for number in range(10):
        history.engine.time_ms += 400
        history.when(event("i", id=f"i{number}"))
    remembered = [event_id for _, event_id in history.run.external_events]
    assert len(remembered) <= 6
    assert (remembered[0], remembered[-1]) == ("kept", "i9")


def test_events_that_nobody_claims_do_not_keep_remembered_ones_from_being_forgotten() -> None:
    limits = Limits(remembered_events=3, remembered_ms=1_000)
    history = given("wait", *(event("go", id=f"kept{n}", thread=7) for n in range(20)), RUN, limits=limits)
    for number in range(100):
        history.engine.time_ms += 400
        history.when(event("i", id=f"i{number}"))
    assert len(history.run.external_events) <= 26


WAIT_WITH_DEADLINE = """
    external_events: {a: {}, x: {}}
    wf_specs:
      - name: small
        entrypoint: main
        threads:
          main:
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: a, timeout_s: 60, next: end}
              end: {kind: EXIT}
    """


# (rule event-at-deadline-is-late)
def test_an_awaited_event_is_too_late_at_the_deadline_before_the_timer_has_fired() -> None:
    history = given(WAIT_WITH_DEADLINE, RUN)
    [timer] = history.engine.timers()
    history.engine.time_ms += 60_000
    history.when(event("a")).then("ExternalEventPosted")
    history.when(timer).then_among_others(like(ThreadFailed, thread=0))


# (rule event-in-time-wins)
def test_an_awaited_event_from_before_the_deadline_is_in_time_though_later_records_were_folded_first() -> None:
    history = given(WAIT_WITH_DEADLINE, RUN)
    history.engine.time_ms += 90_000
    history.when(stop()).when(resume())
    history.engine.time_ms -= 60_000
    history.when(event("a")).then_among_others(like(ExternalEventPosted, appended_ms=START_MS + 30_000))
    assert history.run.status is Status.COMPLETED


# (rule event-in-time-wins)
def test_an_awaited_event_that_is_folded_after_the_timer_is_too_late_whenever_it_was_appended() -> None:
    history = given(WAIT_WITH_DEADLINE, RUN)
    [timer] = history.engine.timers()
    history.engine.time_ms += 60_000
    history.when(stop()).when(timer)
    history.engine.time_ms -= 60_000
    history.when(event("a")).when(resume())
    assert history.run.status is Status.ERROR


# (rules children-start-all-or-none, live-threads-are-capped, numbers-in-spawning-order)
def test_starting_more_threads_than_may_live_fails_the_node_and_uses_no_number_up() -> None:
    history = given("exit-with-children", limits=Limits(live_threads=2))
    history.when(RUN)
    failure = history.thread(0).failure
    assert failure is not None
    assert failure.name == INTERNAL_ERROR
    assert history.run.greatest_thread_number == 1
    assert history.status(0) in FAILED


LONG_HANDLER = """
    external_events: {go: {}, i: {}}
    wf_specs:
      - name: small
        entrypoint: main
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, next: end}
              end: {kind: EXIT}
          h:
            nodes:
              start: {kind: ENTRYPOINT, next: one}
              one: {kind: NOP, next: two}
              two: {kind: NOP, next: three}
              three: {kind: NOP, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, next: end}
              end: {kind: EXIT}
    """


# (rule no-rescue-while-dealt-with)
def test_a_thread_that_failed_while_its_handler_ran_is_not_rescued_beside_it() -> None:
    history = given(LONG_HANDLER, RUN, event("i"), limits=Limits(events_per_command=4))
    assert (history.status(0), history.status(1)) == (Status.ERROR, Status.HALTED)
    history.when(rescue()).then_rejected(RejectionCode.FAILED_PRECONDITION)
