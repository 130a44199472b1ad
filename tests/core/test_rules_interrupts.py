"""The rules of an interrupt, event by event: what stands on the log, in which order.

The documents of tests/scenarios say what is so after each command; here it is said what happened on the way.
"""

import pytest

from processors.core.records.commands import RunWf
from processors.core.records.events import (
    Halt,
    HaltReasonResolved,
    InterruptDropped,
    InterruptSuperseded,
    NodeCompleted,
    NodeFailed,
    RejectionCode,
    Resume,
    SpawnChild,
    TaskAttemptRequested,
    ThreadCompleted,
    ThreadFailed,
    ThreadHalted,
    VariableWrite,
)
from processors.core.records.failures import CHILD_FAILED, LINKS_MAX
from processors.core.records.model import (
    FailureClass,
    Interrupted,
    ManualHalt,
    ParentHalted,
    PendingFailure,
    PendingInterrupt,
    Status,
    ThreadType,
)
from processors.core.rules.context import Limits
from tests.support.scenario import (
    RUN,
    RUN_ID,
    event,
    exception,
    failed,
    given,
    like,
    report,
    rescue,
    resume,
    stop,
)

ADDRESS = """
    external_events: {changed: {type: STR}, approved: {}}
    wf_specs:
      - name: small
        entrypoint: main
        threads:
          main:
            variables: {address: {type: STR, default: unknown}}
            interrupts: [{event: changed, handler: store}]
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: approved, next: end}
              end: {kind: EXIT}
          store:
            variables: {INPUT: {type: STR}}
            nodes:
              start: {kind: ENTRYPOINT, next: {to: end, set: [{var: address, op: ASSIGN, value: {var: INPUT}}]}}
              end: {kind: EXIT}
    """


# One interrupt.


def test_an_interrupt_halts_the_thread_starts_its_handler_and_lets_it_resume() -> None:
    given(ADDRESS, RUN).when(event("changed", "12 Harbour Street")).then(
        "ExternalEventPosted",
        Halt(0, PendingInterrupt("changed", "changed1")),
        ThreadHalted(0),
        SpawnChild(
            thread=1,
            parent=0,
            spec="store",
            type=ThreadType.INTERRUPT,
            node="start",
            variables={"INPUT": "12 Harbour Street"},
            external_event_def="changed",
            external_event_id="changed1",
        ),
        NodeCompleted(1, 0, "start", "end", [VariableWrite(0, "address", "12 Harbour Street")]),
        ThreadCompleted(1),
        Resume(0, Interrupted(1)),
    )


def test_a_handler_reads_and_writes_the_variables_of_its_parent() -> None:
    history = given(ADDRESS, RUN, event("changed", "12 Harbour Street"))
    assert history.thread(0).variables == {"address": "12 Harbour Street"}


def test_an_interrupt_is_pending_while_the_threads_task_is_out() -> None:
    history = given("failure-handler-and-interrupt", RUN)
    history.when(event("i")).then("ExternalEventPosted", Halt(0, PendingInterrupt("i", "i1")))
    assert history.status() == Status.HALTING
    history.when(report()).then(
        "TaskAttemptEnded",
        ThreadHalted(0),
        like(SpawnChild, thread=1, parent=0),
        like(NodeCompleted, thread=1),
        like(TaskAttemptRequested, thread=1),
    )


def test_a_thread_is_halted_only_when_all_its_children_are() -> None:
    history = given("task-and-child", RUN, report(0))
    history.when(event("i")).then("ExternalEventPosted", Halt(0, PendingInterrupt("i", "i1")), Halt(1, ParentHalted(0)))
    assert (history.status(0), history.status(1)) == (Status.HALTING, Status.HALTING)
    history.when(report(1)).then_among_others(ThreadHalted(1), ThreadHalted(0), like(SpawnChild, thread=2, parent=0))


def test_children_go_on_when_their_parent_does() -> None:
    history = given("task-and-child", RUN, report(0), event("i"), report(1))
    history.when(report(2)).then(
        "TaskAttemptEnded",
        like(NodeCompleted, thread=2),
        ThreadCompleted(2),
        Resume(0, Interrupted(2)),
        Resume(1, ParentHalted(0)),
        like(NodeCompleted, thread=1),
        ThreadCompleted(1),
        like(NodeCompleted, thread=0),
        ThreadCompleted(0),
        "WfRunEnded",
    )


def test_an_event_that_no_thread_accepts_stays_unclaimed() -> None:
    history = given(ADDRESS, RUN, event("approved"))
    history.when(event("changed")).then("ExternalEventPosted")
    assert list(history.run.index.unclaimed["changed"]) == ["changed2"]


# (rules event-id-used-once, rejection-changes-nothing)
def test_the_same_event_again_is_refused_and_changes_nothing() -> None:
    history = given(ADDRESS, RUN, event("changed", "a", id="e1"))
    history.when(event("changed", "b", id="e1")).then_rejected(RejectionCode.ALREADY_EXISTS)
    assert history.thread(0).variables == {"address": "a"}


# (rule event-content-checked)
def test_an_event_with_content_of_another_type_is_refused() -> None:
    given(ADDRESS, RUN).when(event("changed", 12)).then_rejected(RejectionCode.INVALID_ARGUMENT)


# Several interrupts.


def test_pending_interrupts_launch_in_the_order_of_arrival() -> None:
    history = given("failure-handler-and-interrupt", RUN, event("i", id="b"), event("i", id="a"))
    history.when(report()).then_among_others(
        like(SpawnChild, thread=1, external_event_id="b"), like(SpawnChild, thread=2, external_event_id="a")
    )


def test_a_parent_resumes_after_its_last_handler() -> None:
    history = given("wait", RUN, event("i"), event("i"))
    assert history.reasons() == ["INTERRUPTED(1)", "INTERRUPTED(2)"]
    history.when(event("done")).then_among_others(ThreadCompleted(1), HaltReasonResolved(0, Interrupted(1)))
    history.then_not("Resume").when(event("done")).then_among_others(ThreadCompleted(2), Resume(0, Interrupted(2)))


def test_serial_handlers_start_one_after_the_other() -> None:
    history = given("serial-and-latest", RUN, report(), event("i"), event("i"))
    assert history.reasons() == ["INTERRUPTED(1)", "PENDING_INTERRUPT(i2)"]
    history.when(report(1)).then_among_others(
        ThreadCompleted(1), like(SpawnChild, thread=2, external_event_id="i2")
    ).then_not("Resume")


def test_latest_keeps_the_newest_pending_event_only() -> None:
    history = given("serial-and-latest", RUN, report(), event("j"), event("j"))
    history.when(event("j")).then(
        "ExternalEventPosted",
        Halt(0, PendingInterrupt("j", "j3")),
        InterruptSuperseded(0, "j", "j2", by_external_event_id="j3"),
    )


def test_an_interrupt_of_a_stopped_thread_waits_for_the_resume() -> None:
    history = given("wait", RUN, stop())
    history.when(event("i")).then("ExternalEventPosted", Halt(0, PendingInterrupt("i", "i1")))
    history.when(resume()).then_among_others(HaltReasonResolved(0, ManualHalt()), like(SpawnChild, thread=1))


def test_an_interrupt_beyond_the_cap_of_live_threads_is_dropped() -> None:
    history = given("wait", RUN, event("i"), limits=Limits(live_threads=2))
    history.when(event("i")).then("ExternalEventPosted", like(InterruptDropped, thread=0, external_event_id="i2"))
    assert (history.status(0), history.status(1)) == (Status.HALTED, Status.RUNNING)


def test_a_handler_with_halt_false_runs_beside_its_thread() -> None:
    history = given("beside", RUN)
    history.when(event("i")).then_among_others("InterruptAccepted", like(SpawnChild, thread=1, halts_parent=False))
    history.then_not("Halt")
    history.when(report(0)).then_among_others(like(NodeCompleted, thread=0, node="work"))


# Handlers that fail.


def test_a_handlers_failure_fails_its_parent_with_child_failed_whatever_handlers_that_has() -> None:
    history = given("failure-handler-and-interrupt", RUN, event("i"), report(0))
    history.when(exception(1, "no-stock", "why")).then_among_others(
        like(ThreadFailed, thread=1), like(ThreadFailed, thread=0), "WfRunEnded"
    )
    history.then_not("SpawnChild", "NodeFailed")
    failure = history.thread(0).failure
    assert failure is not None
    assert (failure.name, failure.failure_class, failure.cause_thread) == (CHILD_FAILED, FailureClass.EXCEPTION, 1)
    assert failure.cause is not None
    assert (failure.cause.name, failure.cause.message, failure.cause.content) == ("no-stock", "no", "why")


def test_the_causes_of_nested_handlers_are_a_chain() -> None:
    history = given("nested-handlers", RUN, event("i"), event("j"), report(1), failed(2))
    failure = history.thread(0).failure
    assert failure is not None
    assert [link.name for link in failure.chain()] == [CHILD_FAILED, CHILD_FAILED, "TASK_FAILURE"]
    assert [link.cause_thread for link in failure.chain()] == [1, 2, None]


def test_a_chain_of_causes_is_bounded_and_keeps_both_ends() -> None:
    history = given("own-handler", RUN, *(event("i"), report(0)), limits=Limits(live_threads=2 * LINKS_MAX))
    for number in range(1, LINKS_MAX + 5):
        history.when(event("i", thread=number)).when(report(number))
    history.when(exception(LINKS_MAX + 5))
    failure = history.thread(0).failure
    assert failure is not None
    links = list(failure.chain())
    assert len(links) == LINKS_MAX
    assert (links[0].cause_thread, links[-1].name) == (1, "oops")


def test_when_a_handler_fails_the_others_are_halted_and_what_is_pending_is_dropped() -> None:
    history = given("serial-and-latest", RUN, report(), event("i"), event("j"), event("i"))
    assert history.reasons() == ["INTERRUPTED(1)", "INTERRUPTED(2)", "PENDING_INTERRUPT(i3)"]
    history.when(failed(1)).then_among_others(
        like(ThreadFailed, thread=1),
        like(ThreadFailed, thread=0),
        Halt(2, ParentHalted(0)),
        like(InterruptDropped, external_event_id="i3"),
    )
    assert history.status(2) == Status.HALTING
    history.when(report(2)).then("TaskAttemptEnded", ThreadHalted(2), "WfRunEnded")


@pytest.mark.parametrize("number", [0, 1])
def test_the_failure_of_a_handler_is_final(number: int) -> None:
    history = given("failure-handler-and-interrupt", RUN, event("i"), report(0), failed(1))
    assert (history.status(0), history.status(1)) == (Status.ERROR, Status.ERROR)
    history.when(rescue(number)).then_rejected(RejectionCode.FAILED_PRECONDITION)


# Interrupts and failures of the same thread.


def test_an_interrupt_handler_goes_before_the_failure_handler() -> None:
    history = given("failure-handler-and-interrupt", RUN, event("i"))
    history.when(failed()).then_among_others(ThreadHalted(0), like(SpawnChild, thread=1, type=ThreadType.INTERRUPT))
    history.then_not("NodeFailed")
    history.when(report(1)).then_among_others(
        Resume(0, Interrupted(1)),
        like(NodeFailed, thread=0),
        Halt(0, PendingFailure(1)),
        like(SpawnChild, thread=2, type=ThreadType.FAILURE_HANDLER),
    )


def test_a_failure_handler_rests_while_an_interrupt_handler_runs() -> None:
    history = given("failure-handler-and-interrupt", RUN, failed(), event("i"))
    assert history.reasons() == ["HANDLING_FAILURE(1)", "PENDING_INTERRUPT(i1)"]
    assert history.status(1) == Status.HALTING
    history.when(report(1)).then_among_others(ThreadHalted(1), like(SpawnChild, thread=2, type=ThreadType.INTERRUPT))
    history.when(report(2)).then_among_others(ThreadCompleted(2), Resume(1, ParentHalted(0)))
    assert history.status() == Status.RUNNING


# Stop and resume.


def test_a_stop_halts_the_thread_with_its_handlers_and_a_resume_lets_all_go_on() -> None:
    history = given("wait", RUN, event("i"), event("i"))
    history.when(stop()).then(
        Halt(0, ManualHalt()), Halt(1, ParentHalted(0)), Halt(2, ParentHalted(0)), ThreadHalted(2), ThreadHalted(1)
    )
    assert history.run.status is Status.HALTED
    history.when(resume()).then(
        HaltReasonResolved(0, ManualHalt()), Resume(1, ParentHalted(0)), Resume(2, ParentHalted(0))
    )
    assert history.run.status is Status.RUNNING


def test_what_is_stopped_already_or_not_stopped_is_left_alone() -> None:
    given("wait", RUN, stop()).when(stop()).then_nothing()
    given("wait", RUN).when(resume()).then_nothing()


# What is late, wrong or over.


# (rule report-names-its-attempt)
def test_a_report_for_an_attempt_that_is_over_is_refused() -> None:
    history = given("failure-handler-and-interrupt", RUN)
    late = history.command(report())
    history.when(late).then_among_others("TaskAttemptEnded")
    history.when(late).then_rejected(RejectionCode.FAILED_PRECONDITION)


def test_a_timer_that_is_not_armed_any_more_does_nothing() -> None:
    history = given("timers", RUN)
    [timer] = history.engine.timers()
    history.after(10_000).then("TimerMatured", like(NodeCompleted, node="nap"), "TimerArmed")
    history.when(timer).then_nothing()


# (rule wf-run-id-used-once)
def test_a_wf_run_id_is_used_once() -> None:
    given("wait", RUN).when(RUN).then_rejected(RejectionCode.ALREADY_EXISTS)


def test_an_unknown_wf_spec_is_refused() -> None:
    given("wait").when(RunWf(RUN_ID, "unknown")).then_rejected(RejectionCode.NOT_FOUND)


# Time, ids and size.


# (rule same-records-same-bytes)
def test_the_same_records_give_the_same_events() -> None:
    def once() -> list[object]:
        history = given("nested-handlers", RUN, event("i"), event("j"), report(1), report(2), event("go"))
        return [entries for _, entries in history.engine.log]

    assert once() == once()


def test_a_wf_run_that_was_interrupted_a_thousand_times_is_no_larger_than_one_that_was_not() -> None:
    history = given(ADDRESS, RUN, limits=Limits(remembered_events=10, remembered_ms=0))
    for number in range(1_000):
        history.engine.time_ms += 1
        history.engine.put(history.command(event("changed", str(number), id=f"e{number}")))
    run = history.run
    assert run.greatest_thread_number == 1_000
    assert (len(run.threads), len(run.threads[0].children)) == (1, 0)
    assert len(run.external_events) <= 11
    assert len(run.accepted_interrupts) == 0


def test_threads_that_have_completed_are_known_by_their_number() -> None:
    history = given(ADDRESS, RUN, event("changed", "a"))
    assert history.run.thread_status(1) is Status.COMPLETED
    history.when(stop(1)).then_nothing()
    history.when(stop(2)).then_rejected(RejectionCode.INVALID_ARGUMENT)
