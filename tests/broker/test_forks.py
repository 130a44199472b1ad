"""`halter fork` and `halter reset` with a real Kafka, a real worker and a task worker."""

import json
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from halter.client import CannotFork, Client, CommandRejected, Posted, PostedFork, Removal, Reset
from halter.client.forking import reset_id
from halter.files.scenario_document import read_scenario
from halter.history.forking import ForkPoint, fork_point
from halter.history.live import Live
from halter.task_worker.worker import TaskWorker
from processors.core.records.events import Halt, TaskAttemptRequested, TimerArmed, WfRunDeleted, WfRunForked
from processors.core.records.model import Status
from tests.halter.test_forking import document
from tests.support.halter_processes import Halter
from tests.support.waiting import wait_until

CARD = "card-12345678"
LATER_MS = 4_102_444_800_000


@pytest.fixture(scope="module")
def halter(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    """An installation with a worker and a task worker, where orders can be run."""
    installation = Halter(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", tmp_path_factory.mktemp("forks"))
    scenario, problems = read_scenario(document(sleep_s=2), str)
    assert scenario is not None, problems
    with installation.worker(), installation.client() as client:
        for command in scenario.definitions:
            client.put(command)
        with TaskWorker(client, {"charge": lambda _: None, "check": lambda _: None}) as worker:
            thread = threading.Thread(target=worker.run)
            thread.start()
            try:
                yield installation
            finally:
                worker.stop()
                thread.join()


@pytest.fixture
def client(halter: Halter) -> Iterator[Client]:
    with halter.client() as it:
        yield it


def order(client: Client, *, with_note: bool = False) -> str:
    """Start an order and interrupt it once it has paid. Without a note it waits for one in the end.

    With a note it ends by itself, and on a busy machine that may be before the interrupt: then this takes another.
    """
    for _ in range(10):
        wf_run_id = paid_order(client)
        if with_note:
            client.post(wf_run_id, "note", "at last")
        if any(isinstance(it.event, Halt) for it in client.post(wf_run_id, "changed", event_id="e1").outcome()):
            return wf_run_id
    pytest.fail("no order was interrupted before it had ended")


def paid_order(client: Client) -> str:
    posted = client.run("order", {"total": 5, "card": CARD})
    posted.outcome()
    wait_until("the payment", lambda: at_node(client, posted.wf_run_id, 0) == "done")
    return posted.wf_run_id


def at_node(client: Client, wf_run_id: str, number: int) -> str | None:
    run = client.get(wf_run_id)
    return None if run is None or number not in run.threads else run.threads[number].node.node


def interrupted(client: Client, wf_run_id: str) -> ForkPoint:
    """Return the moment at which the handler's task was out, thread 1 slept, and both threads were halted."""
    log = client.history(wf_run_id).entries
    (seq,) = [it.seq for it in log if isinstance(it.event, TaskAttemptRequested) and it.event.thread == 2]
    return fork_point(Live(client), wf_run_id, str(seq), LATER_MS)


def forks(client: Client, wf_run_id: str) -> list[WfRunForked]:
    """Return what the log says of forks that were started under an id, ever."""
    return [it.event for it in client.history(wf_run_id, from_start=True).entries if isinstance(it.event, WfRunForked)]


def facts(client: Client, wf_run_id: str) -> Any:
    """Return how a WfRun ended, without times and numbers of events."""
    run = client.ended(wf_run_id)
    threads = {
        number: (it.status, it.thread_spec, it.variables, it.node.node, it.failure)
        for number, it in run.threads.items()
    }
    return run.wf_spec, threads, [(key, it.status) for key, it in run.external_events.items()]


def test_a_fork_ends_as_its_source_did_and_is_made_once(halter: Halter, client: Client) -> None:
    source = order(client, with_note=True)
    wait_until("the end of the source", lambda: (run := client.get(source)) and run.status is Status.COMPLETED)
    moment = interrupted(client, source)
    states = {number: it.status for number, it in moment.moments.state(moment.index).threads.items()}
    assert states == {0: Status.HALTED, 1: Status.HALTED, 2: Status.RUNNING}
    new, at = f"{source}-b", str(moment.snapshot.seq)
    done = halter.command("fork", source, "--at", at, "--as", new, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "COMPLETED"
    assert f"halter: {new} goes on from {source} after event {at} of" in done.stderr
    assert "3 threads, 1 task attempt requested anew, 1 timer" in done.stderr
    assert facts(client, new) == facts(client, source)
    timers = [it.event.timer.due_ms for it in client.history(new).entries if isinstance(it.event, TimerArmed)]
    assert not timers, "the timer came along, and was not armed again"
    again = halter.command("fork", source, "--at", at, "--as", new, "--wait")
    assert again.returncode == 0, again.stderr
    assert "nothing was done" in again.stderr
    assert "COMPLETED" in again.stdout
    assert len(forks(client, new)) == 1
    started = fork_point(Live(client), source, str(first_end(client, source)), LATER_MS)
    with pytest.raises(CommandRejected, match=r"ALREADY_EXISTS: ForkWfRun for WfRun .* was started at"):
        client.fork(started.snapshot, new).outcome()
    assert len(forks(client, new)) == 1


def first_end(client: Client, wf_run_id: str) -> int:
    """Return the seq of the last event of the RunWf."""
    log = client.history(wf_run_id).entries
    return max(it.seq for it in log if it.cause == log[0].cause)


def test_a_deleted_wf_run_is_forked_from_its_export_if_that_is_clear(
    halter: Halter, client: Client, tmp_path: Path
) -> None:
    source = order(client, with_note=True)
    at = str(interrupted(client, source).snapshot.seq)
    for name, options in (("masked", []), ("clear", ["--clear"])):
        assert halter.command("export", source, "-o", str(tmp_path / name), *options).returncode == 0
    client.delete(source).outcome()
    new = f"{source}-b"
    refused = halter.command("fork", "--file", str(tmp_path / "masked"), "--at", at, "--as", new)
    assert refused.returncode == 1
    assert "made with --clear" in refused.stderr
    done = halter.command("fork", "--file", str(tmp_path / "clear"), "--at", at, "--as", new, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "COMPLETED"
    assert client.ended(new).threads[0].variables == {"total": 5, "card": CARD}
    assert halter.command("show", new).stdout.count(CARD) == 0
    live = halter.command("fork", source, "--at", at, "--as", f"{source}-c")
    assert live.returncode == 0, "its log is still there: " + live.stderr


def test_history_and_cause_lead_from_a_fork_to_its_source(halter: Halter, client: Client) -> None:
    source = order(client)
    moment = interrupted(client, source).snapshot
    new = f"{source}-b"
    assert halter.command("fork", source, "--at", str(moment.seq), "--as", new).stdout == f"{new}\n"
    assert f"as a fork of {source} after event {moment.seq}, from " in halter.command("history", new).stdout
    assert (
        f"it goes on from event {moment.seq} of {source}"
        in halter.command("cause", "--wf-run", new, "--event", "2").stdout
    )
    why = halter.command("why", new)
    assert (why.returncode, f"ForkWfRun of {source}" in why.stdout) == (0, True), why.stderr
    for command in ("state", "show"):
        assert CARD not in halter.command(command, new).stdout


# Reset.


class Killed(BaseException):
    """Ends a reset where a test wants it, as a kill does."""


def kill(*_: object, **__: object) -> Any:
    raise Killed


class TestAResetThatIsKilled:
    """It may be repeated, wherever it was."""

    @pytest.fixture
    def moment(self, client: Client) -> ForkPoint:
        return interrupted(client, order(client))

    def killed(self, client: Client, moment: ForkPoint) -> None:
        with pytest.raises(Killed):
            client.reset(moment.snapshot)

    def reset_again(self, halter: Halter, moment: ForkPoint) -> Reset:
        """Reset once more, in a new client as in a new process, and check that all is as if that was the only time."""
        source, new = moment.snapshot.wf_run_id, reset_id(moment.snapshot)
        with halter.client() as client:
            done = client.reset(moment.snapshot)
            assert done.forked.wf_run_id == new
            assert (client.get(source), len(forks(client, new))) == (None, 1)
            assert client.get(new) is not None
            log = client.history(source, from_start=True).entries
            assert sum(isinstance(it.event, WfRunDeleted) for it in log) == 1
        return done

    def test_behind_the_sending_of_the_fork(
        self, halter: Halter, client: Client, moment: ForkPoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(PostedFork, "outcome", kill)
        self.killed(client, moment)
        monkeypatch.undo()
        assert self.reset_again(halter, moment).removal is Removal.DELETED

    def test_between_its_steps(
        self, halter: Halter, client: Client, moment: ForkPoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "delete", kill)
        self.killed(client, moment)
        assert client.get(moment.snapshot.wf_run_id) is not None
        done = self.reset_again(halter, moment)
        assert (done.forked.was_done, done.removal) == (True, Removal.DELETED)
        assert self.reset_again(halter, moment).removal is Removal.GONE_BEFORE

    def test_behind_the_sending_of_the_deletion(
        self, halter: Halter, client: Client, moment: ForkPoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send = client.delete
        monkeypatch.setattr(client, "delete", lambda *source, **asked: kill(send(*source, **asked).outcome()))
        self.killed(client, moment)
        done = self.reset_again(halter, moment)
        assert (done.forked.was_done, done.removal) == (True, Removal.GONE_BEFORE)

    def test_as_a_process(self, halter: Halter, client: Client, moment: ForkPoint) -> None:
        source, new, at = moment.snapshot.wf_run_id, reset_id(moment.snapshot), str(moment.snapshot.seq)
        process = subprocess.Popen(
            [sys.executable, "-m", "halter", "reset", source, "--at", at],
            env=halter.environment, cwd=halter.root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until("the fork", lambda: client.get(new) is not None)
        process.kill()
        process.wait(20)
        done = halter.command("reset", source, "--at", at)
        assert (done.returncode, done.stdout) == (0, f"{new}\n"), done.stderr
        assert f"nothing was done, for {new} was forked at " in done.stderr
        assert self.reset_again(halter, moment).removal is Removal.GONE_BEFORE


def test_a_reset_goes_on_from_the_moment_and_says_what_it_did(halter: Halter, client: Client) -> None:
    source = order(client)
    moment = interrupted(client, source)
    new = reset_id(moment.snapshot)
    done = halter.command("reset", source, "--at", str(moment.snapshot.seq), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["wf_run_id"], told["was_forked_before"], told["source"]["removal"]) == (new, False, "DELETED")
    assert [it["event"] for it in told["events"][:2]] == ["WfRunStarted", "WfRunForked"]
    assert CARD not in done.stdout
    assert f"{source} is deleted; its events stay on the log" in done.stderr
    client.post(new, "note").outcome()
    wait_until("its end", lambda: (run := client.get(new)) and run.status is Status.COMPLETED)


def test_a_reset_from_an_export_deletes_the_wf_run_that_was_exported(
    halter: Halter, client: Client, tmp_path: Path
) -> None:
    source, file = order(client), str(tmp_path / "order.halter")
    moment = interrupted(client, source)
    at, new = str(moment.snapshot.seq), reset_id(moment.snapshot)
    assert halter.command("export", source, "--clear", "-o", file).returncode == 0
    done = halter.command("reset", "--file", file, "--at", at)
    assert (done.returncode, done.stdout) == (0, f"{new}\n"), done.stderr
    assert f"{source} is deleted" in done.stderr
    assert client.get(source) is None
    again = halter.command("reset", source, "--file", file, "--at", at)
    assert (again.returncode, again.stdout) == (0, f"{new}\n"), again.stderr
    assert f"{source} was deleted before" in again.stderr


def test_a_wf_run_that_has_the_id_now_is_left_alone(client: Client) -> None:
    source = order(client)
    moment = interrupted(client, source)
    client.reset(moment.snapshot)
    client.run("order", {"total": 6, "card": CARD}, wf_run_id=source).outcome()
    done = client.reset(moment.snapshot)
    assert (done.forked.was_done, done.removal) == (True, Removal.ANOTHER)
    assert client.get(source) is not None


def test_a_wf_run_that_gets_the_id_in_the_last_moment_is_left_alone_too(
    halter: Halter, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = order(client)
    moment = interrupted(client, source)
    send = client.delete

    def too_late(wf_run_id: str, incarnation: int, **_asked: object) -> Posted:
        with halter.client() as other:
            other.delete(wf_run_id).outcome()
            other.run("order", {"total": 6, "card": CARD}, wf_run_id=wf_run_id).outcome()
        return send(wf_run_id, incarnation)

    monkeypatch.setattr(client, "delete", too_late)
    assert client.reset(moment.snapshot).removal is Removal.ANOTHER
    run = client.get(source)
    assert run is not None
    assert run.incarnation > moment.snapshot.incarnation


def test_a_reset_starts_nothing_again_once_both_wf_runs_are_gone(client: Client) -> None:
    source = order(client)
    moment = interrupted(client, source)
    client.reset(moment.snapshot)
    client.delete(reset_id(moment.snapshot)).outcome()
    for new in (None, f"{source}-b"):
        with pytest.raises(CannotFork, match="found that both are gone: `halter fork` starts another one from its log"):
            client.reset(moment.snapshot, new)
    assert client.fork(moment.snapshot, f"{source}-b").outcome()


def test_a_reset_whose_fork_is_refused_deletes_nothing(halter: Halter, client: Client) -> None:
    source, other = order(client), order(client)
    at = str(interrupted(client, source).snapshot.seq)
    for new, said in ((other, "ALREADY_EXISTS"), (source, "expected another id than"), ("a/b", "expected an id of")):
        refused = halter.command("reset", source, "--at", at, "--as", new)
        assert (refused.returncode, said in refused.stderr) == (1, True), refused.stderr
    newest_before = client.history(source).entries[-1].seq
    refused = halter.command("reset", source, "--at", "-0")
    assert refused.returncode == 2
    (newest,) = re.findall(r"expected --at (\d+) or a time", refused.stderr)
    assert newest_before <= int(newest) <= client.history(source).entries[-1].seq, "the order goes on meanwhile"
    assert client.get(source) is not None


def test_what_is_in_quarantine_is_deleted_when_that_ends(client: Client) -> None:
    source = order(client)
    moment = interrupted(client, source)
    client.quarantine(source).outcome()
    assert client.reset(moment.snapshot).removal is Removal.KEPT
    client.release(source).outcome()
    wait_until("the deletion", lambda: client.get(source) is None)


def test_a_version_that_is_not_there_is_named_with_those_that_are(halter: Halter, client: Client) -> None:
    source = order(client)
    at = str(interrupted(client, source).snapshot.seq)
    refused = halter.command("fork", source, "--at", at, "--as", f"{source}-b", "--spec", "7")
    assert refused.returncode == 1
    assert "NOT_FOUND" in refused.stderr
    assert "(registered: 0.0)" in refused.stderr


def test_a_version_that_masks_less_is_told(halter: Halter, client: Client) -> None:
    source = order(client)
    at = str(interrupted(client, source).snapshot.seq)
    (spec,) = document(sleep_s=2)["wf_specs"]
    client.put_wf_spec(json.dumps(spec).replace('"masked": true', '"masked": false'), "order")
    newest = client.definitions().latest_wf_spec("order")
    assert newest is not None
    version = f"{newest.major}.{newest.revision}"
    done = halter.command("fork", source, "--at", at, "--as", f"{source}-b", "--spec", version)
    assert done.returncode == 0, done.stderr
    assert f"{newest} masks less than order:0.0: what {source}-b has in Variable card of main is shown" in done.stderr
    same = halter.command("fork", source, "--at", at, "--as", f"{source}-c", "--spec", "0.0")
    assert (same.returncode, "masks less" in same.stderr) == (0, False)
