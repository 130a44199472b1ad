"""Bulk jobs on a real Kafka: each WfRun has its command once, however often the job is run, and says who asked."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from halter import Client
from halter.bulk.job import Action, Job, began_ms, new_job_id
from halter.bulk.running import run_job
from halter.view.filters import WfRunFilter
from halter.view.place import View, open_view
from tests.support.halter_processes import Halter, halter_with_the_cart
from tests.support.views import filled

CARTS = [f"cart-{number:02d}" for number in range(12)]


@pytest.fixture(scope="module")
def halter(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    folder = tmp_path_factory.mktemp("bulk")
    with halter_with_the_cart(bootstrap, folder) as installation:
        installation.environment["HALTER_VIEW"] = str(folder / "view.db")
        yield installation


@pytest.fixture(scope="module")
def client(halter: Halter) -> Iterator[Client]:
    with halter.client() as it:
        yield it


@pytest.fixture(scope="module", autouse=True)
def _carts(halter: Halter, client: Client) -> None:
    for posted in [client.run("cart", {"customer": "Ann", "card": "1"}, wf_run_id=it) for it in CARTS]:
        posted.outcome()
    current(halter)


def current(halter: Halter) -> View:
    """Bring the view up to date, and open it."""
    ended = halter.command("view", "--once")
    assert ended.returncode == 0, ended.stderr
    return open_view(halter.environment["HALTER_VIEW"])


def told(halter: Halter, *arguments: str) -> tuple[int, dict[str, int]]:
    ended = halter.command("bulk", *arguments, "--json")
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def test_a_dry_run_does_nothing(halter: Halter, client: Client) -> None:
    shown = halter.command("bulk", "stop", "--where", "wf-spec=cart")
    assert shown.returncode == 0
    assert "dry run: 12 WfRuns, of which 10 are above" in " ".join(shown.stderr.split())
    assert told(halter, "stop", "--where", "wf-spec=cart")[1]["count"] == 12
    run = client.get(CARTS[0])
    assert run is not None
    assert not run.threads[0].halt_reasons


def test_a_job_that_is_run_again_goes_on_where_it_was(halter: Halter, client: Client) -> None:
    view = current(halter)
    job, other = (
        Job(new_job_id(2**41, Action.STOP, wanted), Action.STOP, wanted, "anna", "prices are wrong")
        for wanted in (WfRunFilter(wf_spec="cart"), WfRunFilter(wf_spec="cart", text="cart-0"))
    )
    first = run_job(client, view, other, rate=1_000, timeout_s=30)
    assert (first.looked_at, first.done, first.refused) == (10, 10, 0)
    resumed = client.resume("cart-03", operator="ben")
    resumed.outcome()
    again = run_job(client, view, other, rate=1_000, timeout_s=30)
    assert (again.done, again.done_before) == (0, 10), "the view is as before, and cart-03 stays resumed"
    whole = run_job(client, view, job, rate=1_000, timeout_s=30)
    assert (whole.done, whole.ignored) == (3, 9), "another job: the two that were left, and cart-03"
    view.close()


def test_no_command_is_sent_by_a_view_of_another_installation_or_to_too_many(halter: Halter, tmp_path: Path) -> None:
    other = filled(str(tmp_path / "other.db"))
    refused = halter.command("bulk", "stop", "--all", "--run", "--view", other.where)
    other.close()
    assert refused.returncode == 1
    assert "is of another installation: the prefix is ''" in " ".join(refused.stderr.split())
    current(halter).close()
    many = halter.command("bulk", "stop", "--all", "--run", "--at-most", "3")
    assert many.returncode == 1
    assert "--at-most: expected 3 WfRuns or fewer, found 12; nothing was sent" in " ".join(many.stderr.split())


def test_the_log_says_who_asked_for_each_command_and_why(halter: Halter, client: Client) -> None:
    halts = [it for it in client.history("cart-01").entries if type(it.event).__name__ == "Halt"]
    assert halts[0].asked is not None
    assert (halts[0].asked.operator, halts[0].asked.reason) == ("anna", "prices are wrong")
    shown = halter.command("history", "cart-01", "--event", "Halt")
    assert "by anna: prices are wrong" in shown.stdout


def test_a_command_resumes_them_at_its_rate_and_counts(halter: Halter, client: Client) -> None:
    current(halter).close()
    code, progress = told(halter, "resume", "--where", "halted-for=MANUAL_HALT", "--run", "--rate", "200")
    assert (code, progress["done"], progress["refused"]) == (0, 12, 0)
    current(halter).close()
    code, progress = told(halter, "rescue", "--where", "wf-spec=cart", "--where", "text=cart-1", "--run")
    assert (code, progress["refused"]) == (1, 2)
    fork = new_job_id(2**41, Action.FORK, WfRunFilter(text="cart-11"), "-1")
    forked = told(halter, "fork", "--where", "text=cart-11", "--at", "-1", "--run", "--job", fork)
    assert forked[0] == 0, forked
    assert forked[1]["done"] == 1
    code, progress = told(halter, "delete", "--where", "text=cart-0", "--run")
    assert (code, progress["done"]) == (0, 10)
    assert client.get("cart-00") is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("stop",), "expected --where NAME=VALUE, which says which WfRuns, or --all, found neither"),
        (("stop", "--all", "--where", "status=ERROR"), "found both"),
        (("stop", "--all", "--job", "x", "--run"), "--job: expected the id that a bulk job has printed"),
        (("stop", "--all", "--job", "20261130T154500123-3fa9c1"), "--job goes on with a job: add --run"),
        (("halt", "--all"), "ACTION: 'halt' is none; there are stop, resume"),
        (("fork", "--all"), "--at MOMENT is for fork, which needs it"),
        (("stop", "--all", "--at", "3"), "and for no other action"),
        (("stop", "--where", "staus=ERROR"), "did you mean 'status'?"),
        (("stop", "--all", "--view", "/nowhere.db"), "there is no file /nowhere.db; start one: `halter view`"),
    ],
)
def test_what_cannot_be_a_job_is_said(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    from tests.support.command_line import halter as called

    code, out, err = called(capsys, "bulk", *arguments)
    assert code in (1, 2)
    assert out == ""
    assert sentence in " ".join(err.split())


def test_ids_follow_from_the_job_alone(tmp_path: Path) -> None:
    job = Job("20261130T154500123-9b2cd41f-3fa9c1", Action.STOP, WfRunFilter())
    assert job.began_ms == 1_796_053_500_123
    assert job.filter.started_before_ms == job.began_ms
    assert began_ms(new_job_id(5, Action.STOP, WfRunFilter())) == 5
    assert job.command_id("w", 1) == job.command_id("w", 1)
    ids = {job.command_id("w", 1), job.command_id("w", 2), job.command_id("v", 1), job.command_id("w", 1, 2)}
    assert len(ids) == 4
    assert job.fork_id("w") == "w-3fa9c1"
