"""Task workers on a real Kafka: how often handlers run, whatever happens to the process that runs them."""

import asyncio
import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from structlog.testing import capture_logs

from halter.client import Client, Posted
from halter.task_worker import Task, TaskWorker, WorkerNotStarted
from processors.core.records.model import Status
from processors.core.records.values import VariableType
from processors.kafka.partitioner import partition_of
from tests.support.command_line import halter as halter_command
from tests.support.halter_processes import Halter
from tests.support.slow_tasks import Runs
from tests.support.waiting import wait_until

PARTITIONS = 3
HAND_OVER_SECONDS = 8.0
"""A group waits three seconds for its first members, and this machine may be busy. Without leaving it takes 45."""


def spec(name: str, task: str, retries: int = 2, **bounds: float) -> dict[str, Any]:
    work = {
        "kind": "TASK", "task": task, "input": {"ms": {"var": "ms"}}, "retries": retries, "next": "done", **bounds,
    }  # fmt: skip
    nodes = {"start": {"kind": "ENTRYPOINT", "next": "work"}, "work": work, "done": {"kind": "EXIT"}}
    return {
        "name": name,
        "entrypoint": "main",
        "threads": {"main": {"variables": {"ms": {"type": "INT"}}, "nodes": nodes}},
    }


@pytest.fixture(scope="module")
def halter(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    folder = tmp_path_factory.mktemp("task-workers")
    halter = Halter(bootstrap, f"test-tasks-{time.time_ns()}-", folder, PARTITIONS)
    halter.environment["RUNS"] = str(folder / "runs")
    Runs(folder / "runs")
    with halter.worker(), halter.client() as client:
        for task in ("slow", "slow-async", "leaves-a-thread"):
            client.put_task_def(task, {"ms": VariableType.INT}, VariableType.STR)
            client.put_wf_spec(spec(task, task, timeout_s=60))
        client.put_wf_spec(spec("patient", "slow", timeout_s=6))
        client.put_wf_spec(spec("queued", "slow", run_timeout_s=3))
        client.put_wf_spec(spec("hurried", "slow", retries=20, queue_timeout_s=1, run_timeout_s=60))
        yield halter


@pytest.fixture
def client(halter: Halter) -> Iterator[Client]:
    Runs(halter.folder / "runs").forget()
    with halter.client() as client:
        yield client


@contextmanager
def process(halter: Halter, name: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    with halter.process(name, "-m", "halter", "task-worker", "tests.support.slow_tasks:worker", *options) as started:
        yield started


def log_of(halter: Halter, name: str) -> str:
    return (halter.folder / f"{name}.log").read_text()


def start(client: Client, count: int, ms: int, name: str = "slow", partition: int | None = None) -> list[Posted]:
    ids = (f"{name}-{time.time_ns()}-{number}" for number in range(1_000_000))
    fitting = (it for it in ids if partition is None or partition_of(it.encode(), PARTITIONS) == partition)
    return [client.run(name, {"ms": ms}, wf_run_id=next(fitting)) for _ in range(count)]


def ends(posted: list[Posted], seconds: float = 60) -> set[Status]:
    return {it.until_ended(seconds).status for it in posted}


@contextmanager
def running(worker: TaskWorker, client: Client, **options: Any) -> Iterator[None]:
    thread = threading.Thread(target=worker.run, args=(client,), kwargs=options)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()


def test_why_says_that_no_task_worker_is_running_and_only_then(halter: Halter, client: Client) -> None:
    def said() -> str:
        return " ".join(halter.command("why", posted.wf_run_id).stderr.split())

    worker, begun, may_end = TaskWorker(group="elsewhere"), threading.Event(), threading.Event()

    @worker.task("slow")
    def slow(ms: int) -> str:
        begun.set()
        may_end.wait(30)
        return "done"

    (posted,) = start(client, 1, 10, "patient")
    wait_until("the sentence", lambda: "no task worker is running: group" in said())
    with running(worker, client):
        wait_until("the attempt", begun.is_set)
        assert said() == ""
        may_end.set()
        assert ends([posted]) == {Status.COMPLETED}


def test_slow_handlers_that_wait_for_each_other_nowhere_run_once(client: Client) -> None:
    """The time-out counts from the request. Ten handlers of 1.5 s one after the other would pass 6 s."""
    worker, runs = TaskWorker(), []

    @worker.task("slow")
    def slow(ms: int, task: Task) -> str:
        runs.append((task.wf_run_id, task.attempt))
        time.sleep(ms / 1_000)
        return "done"

    with running(worker, client):
        wait_until("partitions", lambda: worker.is_ready)
        posted = start(client, 10, 1_500, "patient")
        assert ends(posted) == {Status.COMPLETED}
    ours = {it.wf_run_id for it in posted}  # the queue may still hold what the test before asked for
    assert sorted(it for it in runs if it[0] in ours) == [(it, 1) for it in sorted(ours)]


def test_queueing_is_not_running(client: Client) -> None:
    """Ten handlers of 0.8 s, one after the other, take longer than one of them may run."""
    worker, runs = TaskWorker(concurrency=1), []

    @worker.task("slow")
    def slow(ms: int, task: Task) -> str:
        runs.append((task.wf_run_id, task.attempt))
        assert 2.0 < task.seconds_left <= 3.0
        time.sleep(ms / 1_000)
        return "done"

    with running(worker, client):
        posted = start(client, 10, 800, "queued")
        assert ends(posted) == {Status.COMPLETED}
    assert sorted(runs) == sorted((it.wf_run_id, 1) for it in posted)


def test_an_attempt_that_waits_too_long_is_not_run_and_the_next_one_follows(client: Client) -> None:
    worker, runs = TaskWorker(concurrency=1), list[str]()

    @worker.task("slow")
    def slow(ms: int, task: Task) -> str:
        runs.append(task.wf_run_id)
        time.sleep(ms / 1_000)
        return "done"

    with capture_logs() as logs, running(worker, client):
        posted = start(client, 4, 1_100, "hurried")
        assert ends(posted) == {Status.COMPLETED}
    assert sorted(runs) == sorted(it.wf_run_id for it in posted)
    assert worker.counts.expired >= 1
    assert [it for it in logs if it["event"].startswith("report_")] == []


def test_the_next_attempt_finds_the_progress_of_the_one_before(client: Client) -> None:
    worker, found = TaskWorker(), list[Any]()

    @worker.task("slow")
    def slow(ms: int, task: Task) -> str:
        found.append(task.progress)
        for page in range(5_000):
            task.report_progress({"page": page, "attempt": task.attempt})
        if task.attempt < 3:
            raise RuntimeError("the disk is full")
        return "done"

    with running(worker, client):
        assert ends(start(client, 1, 0)) == {Status.COMPLETED}
    assert found == [None, {"page": 4_999, "attempt": 1}, {"page": 4_999, "attempt": 2}]


@pytest.mark.parametrize("is_async", [False, True])
def test_as_many_as_allowed_run_at_once_on_one_partition(client: Client, is_async: bool) -> None:
    worker, all_there, here = TaskWorker(concurrency=32), threading.Barrier(32), list[int]()
    name = "slow-async" if is_async else "slow"

    def meet(ms: int) -> str:
        here.append(ms)
        all_there.wait(30)
        return "met"

    async def meet_on_the_loop(ms: int) -> str:
        here.append(ms)
        async with asyncio.timeout(30):
            while len(here) < 32:  # noqa: ASYNC110  no event is worth the lines
                await asyncio.sleep(0.01)
        return "met"

    worker.task(name)(meet_on_the_loop if is_async else meet)
    with running(worker, client):
        assert ends(start(client, 32, 0, name, partition=1)) == {Status.COMPLETED}
    assert len(here) == worker.counts.succeeded == 32


@pytest.mark.parametrize("is_async", [False, True])
def test_a_handler_hears_that_its_wf_run_was_stopped_and_runs_again_when_it_goes_on(
    client: Client, is_async: bool
) -> None:
    worker, begun, heard = TaskWorker(), list[int](), list[str | None]()

    def wait(ms: int, task: Task) -> str:
        begun.append(task.attempt)
        if task.attempt == 1:
            heard.append(task.wait_cancelled(60))
            raise RuntimeError("as I was told")
        return "done"

    async def wait_on_the_loop(ms: int, task: Task) -> str:
        begun.append(task.attempt)
        if task.attempt == 1:
            heard.append(await asyncio.to_thread(task.wait_cancelled, 60))
            raise RuntimeError("as I was told")
        return "done"

    name = "slow-async" if is_async else "slow"
    worker.task(name)(wait_on_the_loop if is_async else wait)
    with running(worker, client):
        (posted,) = start(client, 1, 0, name)
        wait_until("the handler", lambda: begun)
        client.stop(posted.wf_run_id)
        wait_until("the word", lambda: heard)
        client.resume(posted.wf_run_id)
        assert ends([posted]) == {Status.COMPLETED}
    assert heard == ["STOPPED"]
    assert begun == [1, 2]


def test_task_workers_of_one_group_with_other_tasks_are_told(
    halter: Halter, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of the two gets requests that the other one has the handler for."""
    one, like_it, other = TaskWorker(), TaskWorker(), TaskWorker()

    def done(ms: int) -> str:
        return str(ms)

    for worker in (one, like_it):
        worker.task("slow")(done)
    other.task("slow-async")(done)

    def doctor() -> list[tuple[str, str]]:
        where = ["--bootstrap", halter.settings.bootstrap, "--prefix", halter.settings.prefix]
        _, out, _ = halter_command(capsys, "doctor", "--json", *where, "--partitions", str(PARTITIONS))
        findings = {it["check"]: it["findings"] for it in json.loads(out)["checks"]}["task workers"]
        return [(it["verdict"], it["found"]) for it in findings]

    wait_until("the TaskDefs", lambda: client.definitions().task_def("slow-async") is not None)
    with capture_logs() as logs, running(one, client):
        with running(like_it, client):
            wait_until("both have partitions", lambda: one.is_ready and like_it.is_ready)
            assert [verdict for verdict, _ in doctor()] == ["fine"]
            assert not warnings(logs)
        with running(other, client):
            wait_until("both warn", lambda: len(warnings(logs)) == 2)
            assert {(line["group"], len(line["members"])) for line in warnings(logs)} == {(client.topics.task_group, 1)}
            (_, (verdict, found)) = doctor()
            assert verdict == "warning"
            assert "have handlers for different tasks" in found
        apart = TaskWorker(group="mail")
        apart.task("slow-async")(done)
        with running(apart, client):
            wait_until("it has partitions", lambda: apart.is_ready)
            ((verdict, found),) = doctor()
            usual = client.topics.task_group
            assert (verdict, found.endswith(f"(group {usual}, {usual}-mail)")) == ("fine", True)
        assert len(warnings(logs)) == 2


def warnings(logs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [line for line in logs if line["event"] == "other_tasks_in_group"]


def test_a_handler_hears_that_its_time_is_up_and_sends_no_report(client: Client) -> None:
    worker, heard = TaskWorker(), list[str | None]()

    @worker.task("slow")
    def wait(ms: int, task: Task) -> str:
        if task.attempt == 1:
            heard.append(task.wait_cancelled(60))
        return "done"

    with capture_logs() as logs, running(worker, client):
        (posted,) = start(client, 1, 0, "patient")
        assert ends([posted]) == {Status.COMPLETED}
    assert heard == ["TIMED_OUT"]
    assert [line["event"] for line in logs if line["event"] in {"report_refused", "report_not_sent"}] == [
        "report_not_sent"
    ]


def test_a_handler_that_does_not_fit_its_task_def_is_told_at_the_start(client: Client) -> None:
    worker = TaskWorker()

    @worker.task("slow")
    def slow(mss: int) -> int:
        return mss

    @worker.task("slwo")
    def unknown() -> None: ...

    with pytest.raises(WorkerNotStarted) as refused:
        worker.run(client)
    first, *others = str(refused.value).splitlines()
    where = "@task('slow') slow: parameter 'mss': expected an input of the TaskDef (ms), found none of that name"
    assert first == f"{where} (did you mean ms?)"
    assert others == [
        "@task('slow') slow: expected a parameter for the input 'ms' (INT), found none",
        "@task('slow') slow: returns int: expected STR, the output of the TaskDef",
        "@task('slwo'): expected a TaskDef of this name, found none (did you mean slow?)",
    ]


def test_kill_9_loses_nothing_and_repeats_only_what_was_not_finished(halter: Halter, client: Client) -> None:
    runs = Runs(halter.folder / "runs")
    with process(halter, "killed", "--concurrency", "4") as killed:
        posted = start(client, 30, 300)
        wait_until("a third of the runs", lambda: len(runs.lines("end")) >= 10)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    ended = Counter(runs.lines("end"))
    with process(halter, "successor", "--concurrency", "8"):
        assert ends(posted) == {Status.COMPLETED}
    assert set(runs.lines("end")) == {it.wf_run_id for it in posted}
    again = [it for it, times in Counter(runs.lines("begin")).items() if times > 1]
    # Those that ran, and those whose end was not committed yet: half a second's worth at most.
    assert len(again) <= 4 + 12
    assert len(ended) >= 10


@pytest.mark.parametrize("name", ["slow", "slow-async"])
def test_after_sigterm_the_next_task_worker_goes_on_within_seconds(halter: Halter, client: Client, name: str) -> None:
    runs = Runs(halter.folder / "runs")
    with process(halter, f"leaving-{name}", "--concurrency", "2") as leaving:
        posted = start(client, 6, 1_000, name)
        wait_until("a run", lambda: runs.lines("begin"))
        leaving.send_signal(signal.SIGTERM)
        assert leaving.wait(20) == 0
    left_at, begun = time.monotonic(), len(runs.lines("begin"))
    assert Counter(runs.lines("begin")) == Counter(runs.lines("end")), "what ran has ended"
    with process(halter, f"next-{name}"):
        wait_until("the next run", lambda: len(runs.lines("begin")) > begun)
        assert time.monotonic() - left_at < HAND_OVER_SECONDS
        assert ends(posted) == {Status.COMPLETED}
    assert Counter(runs.lines("begin")) == Counter({it.wf_run_id: 1 for it in posted})
    assert "stopped" in log_of(halter, f"leaving-{name}")


def test_a_thread_that_a_coroutine_has_left_keeps_no_process_alive(halter: Halter, client: Client) -> None:
    with process(halter, "left", "--grace", "0.5") as leaving:
        assert ends(start(client, 1, 120_000, "leaves-a-thread")) == {Status.COMPLETED}
        leaving.send_signal(signal.SIGTERM)
        assert leaving.wait(10) == 0
    assert "threads_given_up" in log_of(halter, "left")


def test_a_handler_that_outlasts_the_grace_runs_again_elsewhere(halter: Halter, client: Client) -> None:
    runs = Runs(halter.folder / "runs")
    with process(halter, "impatient", "--grace", "0.2") as impatient:
        posted = start(client, 1, 4_000)
        wait_until("a run", lambda: runs.lines("begin"))
        impatient.send_signal(signal.SIGTERM)
        assert impatient.wait(3) == 1
    assert "attempts_given_up" in log_of(halter, "impatient")
    with process(halter, "patient"):
        assert ends(posted) == {Status.COMPLETED}
    assert (len(runs.lines("begin")), len(runs.lines("end"))) == (2, 1)


def test_probes_say_whether_it_is_ready_and_what_it_did(halter: Halter, client: Client, unused_port: int) -> None:
    def ask(path: str) -> tuple[int, str]:
        try:
            with urlopen(f"http://127.0.0.1:{unused_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as refusal:
            return refusal.code, ""

    with process(halter, "probed", "--health-port", str(unused_port), "--counts", "1"):
        wait_until("readiness", lambda: ask("/ready")[0] == 200)
        assert ends(start(client, 3, 10)) == {Status.COMPLETED}
        assert json.loads(ask("/live")[1]) == {
            "ready": True, "live": True, "started": 3, "succeeded": 3, "exceptions": 0, "failed": 0, "cancelled": 0,
            "expired": 0, "running": 0,
        }  # fmt: skip
        assert 'halter_task_worker_attempts_total{what="succeeded"} 3.0' in ask("/metrics")[1]
        wait_until("the counts in the log", lambda: "succeeded=3" in log_of(halter, "probed"))


def test_a_second_signal_ends_it_at_once(halter: Halter, client: Client) -> None:
    runs = Runs(halter.folder / "runs")
    with process(halter, "twice") as twice:
        posted = start(client, 1, 5_000)
        wait_until("a run", lambda: runs.lines("begin"))
        twice.send_signal(signal.SIGTERM)
        wait_until("the first signal", lambda: "stopping" in log_of(halter, "twice"))
        twice.send_signal(signal.SIGTERM)
        assert twice.wait(2) == -signal.SIGTERM
    with process(halter, "after-twice"):
        assert ends(posted) == {Status.COMPLETED}


def test_a_rebalance_repeats_nothing_that_was_finished(halter: Halter, client: Client) -> None:
    """Three more task workers join and leave under load; handlers of 300 ms end while the group waits for them."""
    runs = Runs(halter.folder / "runs")
    with process(halter, "stays", "--concurrency", "4"):
        posted = start(client, 120, 300)
        with ExitStack() as others:
            for number in range(2):
                other = others.enter_context(process(halter, f"joins-{number}", "--concurrency", "4"))
                wait_until("its part", lambda number=number: "partitions_assigned" in log_of(halter, f"joins-{number}"))
                if number == 0:
                    other.send_signal(signal.SIGTERM)
                    assert other.wait(20) == 0
            assert ends(posted) == {Status.COMPLETED}
    assert Counter(runs.lines("begin")) == Counter({it.wf_run_id: 1 for it in posted})
