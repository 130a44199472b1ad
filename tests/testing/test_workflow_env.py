"""A workflow runs in memory with its real task functions, and a clock that the test sets."""

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from halter import (
    BusinessException,
    CommandRejected,
    InvalidArgument,
    InvalidDefinitions,
    Task,
    TaskWorker,
    WorkerNotStarted,
    Workflow,
)
from halter.commands import ExternalEvent, RunWfAndPost
from halter.events import Halt, Rejected, Resume, TaskAttemptProgressed, TaskAttemptRequested
from halter.testing import NeverSo, NoSuchWfRunHere, NoTaskFunction, NotInWfRun, Stuck, WorkflowEnv
from halter.workflow import Thread, Variable

CART = Path(__file__).parents[2] / "examples" / "cart"
MUG: Any = {"sku": "mug-01", "name": "Mug", "quantity": 2, "price_cents": 1450}
SHOP = """
external_events: {changed: {type: STR}, late: {}}
tasks:
  charge: {input: {cents: INT}, output: STR}
  pack: {input: {items: JSON_ARR}, output: JSON_ARR}
wf_specs:
  - name: shop
    entrypoint: main
    threads:
      main:
        variables: {cents: {type: INT, default: 5}, receipt: {type: STR}, note: {type: STR, masked: true}}
        interrupts: [{event: changed, handler: on-changed}]
        nodes:
          start: {kind: ENTRYPOINT, next: charge}
          charge:
            kind: TASK
            task: charge
            input: {cents: {var: cents}}
            %s
            next: {to: done, set: [{var: receipt, op: ASSIGN, value: {output: charge}}]}
          done: {kind: EXIT, return: {var: receipt}}
      on-changed:
        variables: {INPUT: {type: STR}}
        nodes:
          start: {kind: ENTRYPOINT, next: {to: done, set: [{var: note, op: ASSIGN, value: {var: INPUT}}]}}
          done: {kind: EXIT}
  - name: packing
    entrypoint: main
    threads:
      main:
        variables: {items: {type: JSON_ARR, default: [tea]}}
        nodes:
          start: {kind: ENTRYPOINT, next: pack}
          pack: {kind: TASK, task: pack, input: {items: {var: items}}, next: done}
          done: {kind: EXIT, return: {output: pack}}
  - name: nap
    entrypoint: main
    threads:
      main:
        nodes:
          start: {kind: ENTRYPOINT, next: sleep}
          sleep: {kind: SLEEP, seconds: 86400, next: done}
          done: {kind: EXIT}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Any]:
    """Make an environment of the shop: `shop(tasks, "timeout_s: 60")`."""
    made: list[WorkflowEnv] = []

    def make(tasks: Any = (), node: str = "timeout_s: 60", **more: Any) -> WorkflowEnv:
        file = tmp_path / "shop.yaml"
        file.write_text(SHOP % node)
        made.append(WorkflowEnv(file, tasks=tasks, **more))
        return made[-1]

    yield make
    for env in made:
        env.close()


def receipt(cents: int) -> str:
    return f"receipt for {cents}"


async def receipt_async(cents: int) -> str:
    return f"receipt for {cents}"


# Commands and state.


@pytest.mark.parametrize("source", ["cart.yaml", "workflow.py:workflow"])
def test_the_cart_runs_with_its_own_task_worker(source: str) -> None:
    with WorkflowEnv(source, tasks="tasks.py:worker", folder=CART) as env:
        env.run("cart", {"customer": "Ann", "card": "card-1"}, wf_run_id="ann")
        env.post("ann", "item-added", MUG)
        env.post("ann", "slot-chosen", "tomorrow")
        env.post("ann", "checkout")
        run = env.wf_run("ann")
        assert run.status == "COMPLETED"
        assert run.variables["total_cents"] == 2900
        assert run.output == "receipt-ann/0/0/4"
        assert run.thread("delivery").status == "COMPLETED"
        assert [it.input["cents"] for it in env.attempts_of("charge-card")] == [2900]


def test_a_wf_run_that_nobody_has_spoken_of_has_no_events_to_look_at(shop: Any) -> None:
    env = shop({"charge": receipt})
    env.run("shop", wf_run_id="w1")
    for ask in (env.events, env.entries):
        with pytest.raises(NoSuchWfRunHere, match="w1"):
            ask("w2")
    with pytest.raises(InvalidArgument, match=r"a class of halter\.events"):
        env.events("w1", "Halt")


def test_the_clock_stops_at_the_last_moment_that_a_record_can_have(shop: Any) -> None:
    env = shop(start=datetime(9999, 12, 30, tzinfo=UTC))
    env.run("nap", wf_run_id="w")
    with pytest.raises(InvalidArgument, match="up to 9999-12-31"):
        env.pass_time(days=365)
    assert env.run_until_ended("w").status == "COMPLETED"
    with pytest.raises(NeverSo):
        env.run_until(lambda: False)


def test_a_fork_goes_on_from_the_state_that_its_source_has(shop: Any) -> None:
    env = shop({"charge": receipt})
    env.run("nap", wf_run_id="w")
    env.pass_time(hours=12)
    forked = env.fork("w", "w-2")
    assert forked.wf_run_id == "w-2"
    assert env.run_until_ended("w-2").status == env.wf_run("w").status == "COMPLETED"


def test_events_of_one_id_are_told_apart_by_their_external_event_defs(shop: Any) -> None:
    env = shop()
    env.post("w", "late", event_id="e1")
    env.post("w", "changed", "x", event_id="e1")
    env.run("nap", wf_run_id="w")
    assert {name: list(ids) for name, ids in env.wf_run("w").external_events.items()} == {
        "late": ["e1"],
        "changed": ["e1"],
    }


# (rule arrival-across-topics)
def test_events_are_shown_in_the_order_in_which_they_came_on_whatever_topic(shop: Any) -> None:
    env = shop({"charge": receipt, "pack": lambda items: items})
    for _ in range(5):  # so that offsets of `external-events` are ahead
        env.post("another", "late")
    env.run("nap", wf_run_id="w")
    env.post("w", "late", event_id="first")
    env.send(RunWfAndPost("w", "nap", "late", "second"))
    assert list(env.wf_run("w").external_events["late"]) == ["first", "second"]


def test_a_workflow_in_python_runs_with_the_function_that_it_names() -> None:
    worker = TaskWorker()

    @worker.task("double")
    def double(number: int) -> int:
        return 2 * number

    number = Variable("number", int, default=4)

    def main(thread: Thread) -> None:
        thread.declare(number)
        thread.exit(thread.task(double, number=number))

    with WorkflowEnv(Workflow("doubling", main), tasks=worker) as env:
        assert env.wf_run(env.run("doubling").wf_run_id).output == 8


@pytest.mark.parametrize("function", [receipt, receipt_async])
def test_a_mapping_of_functions_does_tasks(shop: Any, function: Any) -> None:
    env = shop({"charge": function})
    env.run("shop", {"cents": 7}, wf_run_id="w1")
    assert env.wf_run("w1").output == "receipt for 7"


def test_later_tasks_count_before_earlier_ones(shop: Any) -> None:
    env = shop([{"charge": receipt, "pack": lambda items: items}, {"charge": lambda **_: "fake"}])
    assert env.wf_run(env.run("shop").wf_run_id).output == "fake"


def test_an_event_may_come_before_its_wf_run(shop: Any) -> None:
    with WorkflowEnv("cart.yaml", tasks="tasks.py:worker", folder=CART) as env:
        env.post("ann", "item-added", MUG)
        env.run("cart", {"customer": "Ann", "card": "card-1"}, wf_run_id="ann")
        assert env.wf_run("ann").variables["total_cents"] == 2900


def test_what_the_engine_refuses_is_raised_and_kept(shop: Any) -> None:
    env = shop({"charge": receipt})
    env.run("shop", wf_run_id="w1")
    with pytest.raises(CommandRejected) as refused:
        env.run("shop", wf_run_id="w1")
    assert refused.value.code == "ALREADY_EXISTS"
    assert [it.refused is None for it in env.outcomes] == [True, False]
    assert isinstance(env.events("w1")[-1], Rejected)


def test_what_no_record_can_hold_is_refused_as_by_a_client(shop: Any) -> None:
    env = shop({"charge": receipt})
    with pytest.raises(InvalidArgument, match="variables"):
        env.run("shop", {"cents": object()})
    with pytest.raises(InvalidArgument):
        env.post("", "changed", "x")


def test_a_view_does_not_change_and_a_thread_is_found_by_number_or_name(shop: Any) -> None:
    env = shop({"charge": receipt})
    with env.held("charge"):
        env.run("shop", wf_run_id="w1")
        before = env.wf_run("w1")
    assert before.status == "RUNNING"
    assert before.variables["receipt"] is None
    assert env.wf_run("w1").variables["receipt"] == "receipt for 5"
    with pytest.raises(NotInWfRun, match=r"expected a thread 'mian' in WfRun 'w1', found 0 \(main\)"):
        before.thread("mian")
    with pytest.raises(NoSuchWfRunHere, match=r"expected a WfRun 'w2', found none \(w1\)"):
        env.wf_run("w2")


def test_stop_resume_rescue_and_delete_do_what_they_do(shop: Any) -> None:
    answers = iter([OSError("no bank"), "second"])

    def charge(cents: int) -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    env = shop({"charge": charge})
    env.run("nap", wf_run_id="n")
    env.stop("n")
    assert env.wf_run("n").thread().halt_reasons == ["MANUAL_HALT"]
    env.pass_time(days=2)
    assert env.wf_run("n").status == "HALTED"
    env.resume("n")
    assert env.wf_run("n").status == "COMPLETED"
    env.run("shop", wf_run_id="w1")
    failure = env.wf_run("w1").failure
    assert failure is not None
    assert failure.message.endswith("OSError: no bank")
    env.rescue("w1")
    assert env.wf_run("w1").output == "second"
    env.delete("w1")
    assert not env.exists("w1")


def test_a_crash_of_the_engine_changes_nothing(shop: Any) -> None:
    env = shop({"charge": receipt})
    with env.held("charge"):
        env.run("shop", wf_run_id="w1")
        env.crash()
    assert env.wf_run("w1").output == "receipt for 5"


def test_a_new_version_is_registered_and_a_wf_run_goes_on_by_it(shop: Any, tmp_path: Path) -> None:
    env = shop({"charge": receipt})
    env.run("nap", wf_run_id="n")
    new = (SHOP % "timeout_s: 60").replace("seconds: 86400", "seconds: 60").replace("default: 5}", "default: 6}")
    (tmp_path / "new.yaml").write_text(new)
    env.register(tmp_path / "new.yaml")
    assert env.wf_run(env.run("shop").wf_run_id).output == "receipt for 6"
    env.migrate("n", 0)
    assert str(env.wf_run("n").wf_spec) == "nap:0.1"


# Time.


def test_a_sleep_of_a_day_takes_no_time(shop: Any) -> None:
    env = shop()
    env.run("nap", wf_run_id="n")
    began = time.monotonic()
    ended = env.run_until_ended("n")
    assert ended.status == "COMPLETED"
    assert env.now == datetime(2026, 1, 2, tzinfo=UTC)
    assert time.monotonic() - began < 5


def test_the_clock_stands_still_unless_the_test_moves_it(shop: Any) -> None:
    env = shop(start=datetime(2030, 5, 1, tzinfo=UTC))
    env.run("nap", wf_run_id="n")
    env.pass_time(hours=23, minutes=59)
    assert env.wf_run("n").status == "RUNNING"
    env.pass_time(timedelta(minutes=1))
    assert env.wf_run("n").status == "COMPLETED"
    assert env.now == datetime(2030, 5, 2, tzinfo=UTC)


def test_time_to_pass_is_added_up(shop: Any) -> None:
    env = shop()
    env.pass_time(timedelta(hours=1), minutes=30)
    assert env.now == datetime(2026, 1, 1, 1, 30, tzinfo=UTC)


def test_what_is_no_time_and_no_command_is_told(shop: Any) -> None:
    env = shop()
    for wrong in (lambda: env.pass_time(5), lambda: env.run_until(lambda: False, within=5)):
        with pytest.raises(InvalidArgument, match=r"expected a timedelta, .* found int"):
            wrong()
    with pytest.raises(InvalidArgument, match="start: expected a datetime, found int"):
        shop(start=5)
    with pytest.raises(InvalidArgument, match="send: expected a command to a WfRun, found int"):
        env.send(5)
    with pytest.raises(InvalidArgument, match="external_event_id: expected text, found None"):
        env.send(ExternalEvent("w1", "changed", None))  # type: ignore[arg-type]


def test_retries_and_back_off_are_virtual(shop: Any) -> None:
    seen: list[tuple[int, datetime]] = []

    def charge(cents: int, task: Task) -> str:
        seen.append((task.attempt, env.now))
        if task.attempt < 3:
            raise OSError("no bank")
        return "at last"

    env = shop({"charge": charge}, "retries: 2\n            backoff: {base_ms: 10000, multiplier: 2}")
    env.run("shop", wf_run_id="w1")
    assert env.run_until_ended("w1").output == "at last"
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert [(attempt, (at - start).seconds) for attempt, at in seen] == [(1, 0), (2, 10), (3, 30)]
    assert [it.status for it in env.attempts] == ["FAILED", "FAILED", "SUCCESS"]
    assert "no bank" in str(env.attempts[0].traceback)


def test_run_until_stops_at_the_first_moment_at_which_it_is_so(shop: Any) -> None:
    env = shop({"charge": receipt})
    env.run("nap", wf_run_id="n")
    env.run_until(lambda: env.wf_run("n").status == "COMPLETED")
    assert env.now == datetime(2026, 1, 2, tzinfo=UTC)


def test_a_misspelt_name_is_refused_with_the_one_that_is_meant(shop: Any) -> None:
    env = shop({})
    env.run("nap", wf_run_id="n")
    with pytest.raises(CommandRejected, match="there is no ExternalEventDef 'chnaged'; did you mean 'changed'"):
        env.post("n", "chnaged", "x")
    with pytest.raises(CommandRejected, match="; did you mean 'nap'"):
        env.run("napp")
    with pytest.raises(CommandRejected, match=r"there is no WfSpec 'nap' 9 \(registered: 0\.0\)"):
        env.migrate("n", 9)


def test_a_misspelt_variable_is_refused_with_the_one_that_is_meant() -> None:
    env = WorkflowEnv(CART / "cart.yaml")
    with pytest.raises(CommandRejected, match=r"no Variable 'custmer'; it has address, .*; did you mean 'customer'"):
        env.run("cart", {"custmer": "Ann"})
    env.close()


def test_what_never_comes_about_is_told_with_why(shop: Any) -> None:
    env = shop({"charge": receipt})
    env.run("nap", wf_run_id="n")
    with pytest.raises(
        NeverSo, match=r"expected WfRun 'n' to end, found it RUNNING, and it is not so until 2026-01-01 01:00"
    ):
        env.run_until_ended("n", within=timedelta(hours=1))
    env.stop("n")
    with pytest.raises(AssertionError, match="nothing is left that could happen by itself: no timer is set"):
        env.run_until(lambda: False)
    with pytest.raises(NeverSo, match=r"come true \(expected a WfRun 'm', found none \(n\)\), found that nothing"):
        env.run_until(lambda: env.wf_run("m").status == "RUNNING")
    with pytest.raises(NeverSo, match=r"expected WfRun 'm' to end, found none \(n\), and nothing is left"):
        env.run_until_ended("m")


# Tasks that are out.


@pytest.mark.parametrize("function", [receipt, receipt_async])
def test_an_event_while_a_task_is_held_waits_for_its_report(shop: Any, function: Any) -> None:
    env = shop({"charge": function})
    with env.held("charge") as held:
        env.run("shop", wf_run_id="w1")
        assert [it.input for it in held.attempts] == [{"cents": 5}]
        env.post("w1", "changed", "a")
        assert env.wf_run("w1").thread().status == "HALTING"
        assert env.events("w1", TaskAttemptRequested)[0].task_def == "charge"
    assert env.wf_run("w1").status == "COMPLETED"
    assert len(env.events("w1", Halt)) == len(env.events("w1", Resume)) == 1


@pytest.mark.parametrize("function", [receipt, receipt_async])
def test_a_task_that_is_held_too_long_times_out_and_its_function_is_not_called(shop: Any, function: Any) -> None:
    env = shop({"charge": function})
    with env.held("charge"):
        env.run("shop", wf_run_id="w1")
        env.pass_time(seconds=61)
        failure = env.wf_run("w1").failure
        assert failure is not None
        assert failure.name == "TIMEOUT"
    assert env.attempts[0].cancelled == "TIMED_OUT"
    assert env.attempts[0].status is None


def test_held_tasks_have_begun_and_queued_ones_have_not(shop: Any) -> None:
    node = "queue_timeout_s: 10\n            run_timeout_s: 60"
    for started, name in ((True, "COMPLETED"), (False, "ERROR")):
        env = shop({"charge": receipt}, node)
        with env.held("charge", started=started):
            env.run("shop", wf_run_id="w1")
            env.pass_time(seconds=30)
        assert env.wf_run("w1").status == name


def test_a_task_function_may_post(shop: Any) -> None:
    def charge(cents: int) -> str:
        env.post("w1", "changed", "by the task")
        assert env.wf_run("w1").thread().status == "HALTING"
        return "paid"

    env = shop({"charge": charge})
    env.run("shop", wf_run_id="w1")
    assert env.wf_run("w1").variables["note"] == "by the task"
    assert env.wf_run("w1").output == "paid"


def test_waiting_in_a_task_function_takes_virtual_time(shop: Any) -> None:
    def charge(cents: int, task: Task) -> str:
        assert task.seconds_left == 60
        assert task.wait_cancelled(20) is None
        return f"{task.seconds_left:g} s left"

    async def charge_async(cents: int, task: Task) -> str:
        await asyncio.sleep(20)
        async with asyncio.timeout(10):
            return await asyncio.to_thread(lambda: f"{task.seconds_left:g} s left")

    for function in (charge, charge_async):
        env = shop({"charge": function})
        env.run("shop", wf_run_id="w1")
        assert env.wf_run("w1").output is None
        env.pass_time(seconds=19)
        assert env.wf_run("w1").status == "RUNNING"
        env.pass_time(seconds=1)
        assert env.wf_run("w1").output == "40 s left"


def test_two_functions_that_wait_do_so_side_by_side(shop: Any) -> None:
    def charge(cents: int, task: Task) -> str:
        task.wait_cancelled(cents)
        return str((env.now - datetime(2026, 1, 1, tzinfo=UTC)).seconds)

    env = shop({"charge": charge})
    env.run("shop", {"cents": 30}, wf_run_id="slow")
    env.run("shop", {"cents": 10}, wf_run_id="quick")
    env.run_until_ended("slow")
    assert [env.wf_run(it).output for it in ("quick", "slow")] == ["10", "30"]


def test_a_function_hears_that_its_result_is_of_no_use(shop: Any) -> None:
    heard: list[object] = []

    def charge(cents: int, task: Task) -> str:
        heard.append(task.wait_cancelled())
        return "too late"

    async def charge_async(cents: int, task: Task) -> str:
        try:
            await asyncio.sleep(3600)
        finally:
            heard.append(task.cancelled)
        return "too late"

    async def charge_in_thread(cents: int, task: Task) -> str:
        return await asyncio.to_thread(charge, cents, task)

    for function in (charge, charge_async, charge_in_thread):
        env = shop({"charge": function})
        env.run("shop", wf_run_id="w1")
        env.pass_time(seconds=60)
        failure = env.wf_run("w1").failure
        assert failure is not None
        assert failure.name == "TIMEOUT"
    env = shop({"charge": charge})
    env.run("shop", wf_run_id="w1")
    env.stop("w1")
    assert heard == ["TIMED_OUT", "TIMED_OUT", "TIMED_OUT", "STOPPED"]


def test_progress_goes_to_the_next_attempt(shop: Any) -> None:
    found: list[object] = []

    def charge(cents: int, task: Task) -> str:
        found.append(task.progress)
        if task.attempt == 1:
            task.report_progress({"done": 1})
            raise OSError("no bank")
        return "paid"

    env = shop({"charge": charge}, "retries: 1")
    env.run("shop", wf_run_id="w1")
    assert env.run_until_ended("w1").output == "paid"
    assert found == [None, {"done": 1}]


def test_progress_is_told_once_a_second_the_newest(shop: Any) -> None:
    def charge(cents: int, task: Task) -> str:
        for number in range(30):
            task.report_progress(number)
            task.wait_cancelled(0.1)
        return "paid"

    env = shop({"charge": charge})
    env.run("shop", wf_run_id="w1")
    env.run_until_ended("w1")
    told = [it.content for it in env.events("w1", TaskAttemptProgressed)]
    assert told[0] == 0
    assert told == sorted(told)  # type: ignore[type-var]
    assert 3 <= len(told) <= 4


def test_what_a_function_does_to_its_inputs_is_nothing_to_the_workflow(shop: Any) -> None:
    def pack(items: list[Any]) -> list[Any]:
        items.append("string")
        return items

    env = shop({"pack": pack})
    env.run("packing", wf_run_id="w1")
    assert env.wf_run("w1").variables["items"] == ["tea"]
    assert env.wf_run("w1").output == ["tea", "string"]


def test_a_business_exception_is_one(shop: Any) -> None:
    def charge(cents: int) -> str:
        raise BusinessException("declined", "no", {"limit": 3})

    env = shop({"charge": charge})
    env.run("shop", wf_run_id="w1")
    assert env.wf_run("w1").status == "EXCEPTION"
    (attempt,) = env.attempts
    assert (attempt.status, attempt.failure_name, attempt.message) == ("EXCEPTION", "declined", "no")


# Mistakes.


def test_a_task_without_a_function_is_told(shop: Any) -> None:
    env = shop({"pack": lambda items: items})
    with pytest.raises(
        NoTaskFunction, match=r"WfRun 'w1' asks for task 'charge' in thread 0: expected a function for it"
    ):
        env.run("shop", wf_run_id="w1")
    held = env.hold("charge")
    env.run("shop", wf_run_id="w2")
    with pytest.raises(NoTaskFunction, match="WfRun 'w2' asks for task 'charge'"):
        env.release(held)


@pytest.mark.parametrize(
    ("tasks", "sentence"),
    [
        (
            {"chrage": receipt},
            r"tasks\['chrage'\]: expected a TaskDef of this name, found none \(did you mean charge\?\)",
        ),
        ({"charge": lambda sent: sent}, r"parameter 'sent': expected an input of the TaskDef \(cents\), found none"),
        ({"charge": lambda: "x"}, r"expected a parameter for the input 'cents' \(INT\), found none"),
        (5, "tasks: expected a TaskWorker, MODULE:NAME of one, or a mapping"),
    ],
)
def test_functions_that_fit_no_task_def_are_told_at_once(shop: Any, tasks: Any, sentence: str) -> None:
    with pytest.raises(WorkerNotStarted, match=sentence):
        shop(tasks)


def test_a_task_worker_may_have_tasks_of_other_workflows(shop: Any) -> None:
    worker = TaskWorker()
    worker.task("charge")(receipt)
    worker.task("other")(lambda: None)
    env = shop(worker)
    assert env.wf_run(env.run("shop").wf_run_id).output == "receipt for 5"


def test_definitions_that_are_refused_are_told_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text((SHOP % "timeout_s: 60").replace("  charge: {input", "  chrage: {input"))
    with pytest.raises(InvalidDefinitions, match=r"a\.yaml:\d+:\d+: .*TASKDEF_MISSING|a\.yaml:\d+:\d+: .*charge"):
        WorkflowEnv(file)
    with pytest.raises(InvalidArgument, match="definitions: expected a file or a Workflow, found none"):
        WorkflowEnv()


def test_a_function_that_never_returns_is_told(shop: Any) -> None:
    release = threading.Event()

    def charge(cents: int) -> str:
        release.wait(20)
        return "x"

    env = shop({"charge": charge}, stuck_s=0.2)
    with pytest.raises(Stuck, match=r"the function of task 'charge': expected it to return within 0.2 s of real time"):
        env.run("shop")
    release.set()


def test_a_task_function_cannot_let_time_pass(shop: Any) -> None:
    env = shop({"charge": lambda **_: env.pass_time(hours=1)})
    env.run("shop", wf_run_id="w1")
    failure = env.wf_run("w1").failure
    assert failure is not None
    assert "a task function cannot let the time of its test pass" in failure.message


def test_functions_that_still_wait_end_with_the_environment(shop: Any) -> None:
    ended: list[str] = []

    def charge(cents: int, task: Task) -> str:
        try:
            task.wait_cancelled()
        finally:
            ended.append("def")
        return "x"

    async def charge_async(cents: int) -> str:
        try:
            await asyncio.sleep(1e6)
        finally:
            ended.append("async def")
        return "x"

    for function in (charge, charge_async):
        before = threading.active_count()
        env = shop({"charge": function})
        env.run("shop")
        env.close()
        with pytest.raises(InvalidArgument, match="found one that is closed"):
            env.run("shop")
        for thread in threading.enumerate():
            if thread.name == "task":
                thread.join(5)
        assert threading.active_count() <= before
    assert ended == ["def", "async def"]


# The report.


def test_the_report_has_the_history_and_what_failed_and_no_masked_value(shop: Any) -> None:
    def charge(cents: int) -> str:
        raise OSError("no bank")

    env = shop({"charge": charge})
    with env.held("charge"):
        env.run("shop", {"note": "4111-1111"}, wf_run_id="w1")
        assert "task charge, attempt 1, thread 0 of w1: out since 2026-01-01T00:00:00.000Z" in env.report()
    text = env.report()
    assert "WfRunStarted" in text
    assert "OSError: no bank" in text
    assert "in charge" in text
    assert "[redacted]" in text
    assert "4111" not in text


# Definitions that were read before.


def test_a_file_that_has_changed_is_read_again(shop: Any, tmp_path: Path) -> None:
    env = shop({"charge": receipt})
    first = env.wf_run(env.run("shop").wf_run_id)
    (tmp_path / "shop.yaml").write_text((SHOP % "timeout_s: 60").replace("default: 5}", "default: 66}"))
    with WorkflowEnv(tmp_path / "shop.yaml", tasks={"charge": receipt}) as other:
        assert other.wf_run(other.run("shop").wf_run_id).output == "receipt for 66"
    assert first.output == "receipt for 5"


def test_what_one_test_registers_is_nothing_to_another(shop: Any, tmp_path: Path) -> None:
    env, other = shop(), shop()
    (tmp_path / "new.yaml").write_text((SHOP % "timeout_s: 60").replace("seconds: 86400", "seconds: 60"))
    env.register(tmp_path / "new.yaml")
    assert str(env.wf_run(env.run("nap").wf_run_id).wf_spec) == "nap:0.1"
    assert str(other.wf_run(other.run("nap").wf_run_id).wf_spec) == "nap:0.0"
