"""Bulk jobs without Kafka: which WfRuns and threads a view chooses, whether it may, and what becomes of commands."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from halter.bulk.job import Action, BadJob, Job, expect_same_job, new_job_id
from halter.bulk.running import Out, Progress, chosen
from halter.bulk.view_checks import StaleView, expect_current
from halter.cli.bulk import _again, _where
from halter.cli.connection import Kafka
from halter.client import DeadLettered, NoOutcome
from halter.scenarios.definitions import DefinitionsInMemory
from halter.view import looking, progress, wf_run_lists
from halter.view.filters import WfRunFilter, filter_of
from halter.view.installation import expect_same_installation
from halter.view.keeping import OtherSource, Source
from halter.view.place import VARIABLE, View, open_view
from halter.view.progress import STALE_MS
from processors.core.records.commands import StopWfRun
from processors.core.records.events import LogEntry
from tests.support.command_line import halter
from tests.support.views import CODEC, START_MS, filled, log_of, many, shop

LATE = START_MS + 10**10


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    engine = shop()
    engine.put(StopWfRun("order-halted", 1))
    view = filled(str(tmp_path_factory.mktemp("bulk") / "shop.db"), engine)
    yield view
    view.close()


def threads_of(view: View, job: Job, *more: Any) -> dict[str, list[int]]:
    """Return the threads that get the command of a job, by WfRun."""
    definitions = shop().context.definitions
    assert isinstance(definitions, DefinitionsInMemory)
    return {line.wf_run_id: threads for line, threads in chosen(view, job, CODEC, definitions, *more)}


def job(action: Action, wanted: WfRunFilter) -> Job:
    return Job(new_job_id(LATE, action, wanted), action, wanted)


def test_those_that_are_resumed_are_the_threads_that_somebody_stopped(view: View) -> None:
    halted = job(Action.RESUME, WfRunFilter(halted_for="MANUAL_HALT"))
    assert threads_of(view, halted) == {"cart-stopped": [0], "order-halted": [1]}
    waiting = job(Action.RESUME, WfRunFilter(waits_for="EXTERNAL_EVENT"))
    assert threads_of(view, waiting)["cart-waits"] == [0]


def test_a_view_may_choose_for_its_own_installation_alone(view: View) -> None:
    with view.read() as connection:
        expect_same_installation(connection, view.where, Source(1, cluster="in-memory"))
        for other in (Source(2), Source(1, prefix="shop-"), Source(1, cluster="another")):
            with pytest.raises(OtherSource, match=r"of another installation: .*--view"):
                expect_same_installation(connection, view.where, other)


def test_a_view_may_choose_while_somebody_keeps_it_current(view: View) -> None:
    with view.read() as connection:
        seen_ms = progress.lag(connection).seen_ms
        assert seen_ms is not None
        expect_current(connection, view.where, seen_ms + STALE_MS)
        with pytest.raises(StaleView, match=r"up to date 1 min ago.*start `halter view`"):
            expect_current(connection, view.where, seen_ms + 60_000)


def test_before_each_page_it_is_looked_whether_the_view_may_choose(view: View) -> None:
    def refuse(_: object) -> None:
        raise StaleView("it is old")

    with pytest.raises(StaleView):
        threads_of(view, job(Action.STOP, WfRunFilter()), refuse)


def test_a_dry_run_says_the_number_of_those_that_get_the_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(str(tmp_path / "many.db"), wf_runs=400).close()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "many.db"))
    monkeypatch.setattr(looking, "LOOKED_AT", 20)
    monkeypatch.setattr(wf_run_lists, "COUNTED", 20)
    stored = open_view()
    for wanted in (["status=COMPLETED"], ["status=COMPLETED", "wf-spec=shop-7"], ["text=ann"]):
        where = [word for it in wanted for word in ("--where", it)]
        code, out, _ = halter(capsys, "bulk", "delete", *where, "--json")
        get_it = job(Action.DELETE, filter_of(tuple(it.split("=")) for it in wanted))  # type: ignore[misc]
        assert (code, json.loads(out)["count"]) == (0, len(threads_of(stored, get_it)))
        assert json.loads(out)["count"] > 20
    stored.close()
    code, _, err = halter(capsys, "bulk", "delete", "--where", "text=ann", "--at-most", "49")
    assert code == 1
    assert "--at-most: expected 49 WfRuns or fewer, found 50; nothing was sent" in " ".join(err.split())


def test_a_job_goes_on_with_what_it_began_with_alone() -> None:
    wanted = filter_of([("status", "ERROR"), ("older-than", "1h")])
    begun = new_job_id(LATE, Action.FORK, wanted, "12")
    expect_same_job(begun, Action.FORK, filter_of([("older-than", "60m"), ("status", "error")]), "12")
    for action, other, at in (
        (Action.STOP, wanted, None),
        (Action.FORK, WfRunFilter(status=("ERROR",)), "12"),
        (Action.FORK, wanted, "11"),
    ):
        with pytest.raises(BadJob, match="another ACTION, other filters or another --at"):
            expect_same_job(begun, action, other, at)


def test_the_command_that_goes_on_says_where_and_who_and_no_password(view: View) -> None:
    going_on = Job("20261130T154500123-9b2cd41f-3fa9c1", Action.STOP, WfRunFilter(), "anna", "it is wrong")
    said = " ".join(_again(going_on, ["status=ERROR"], None))
    assert said.endswith(f"--job {going_on.id} --where status=ERROR --operator anna --reason it is wrong")
    kafka = Kafka("broker:9092", None, ["sasl.username=me", "sasl.password=hidden"], "shop-")
    told = " ".join(_where(view, kafka))
    assert f"--view {view.where} --bootstrap broker:9092" in told
    assert "--property sasl.username=me" in told
    assert "--prefix shop-" in told
    assert "hidden" not in told


class Sent:
    """A command on a partition, of which an outcome comes or does not."""

    def __init__(self, partition: int, comes: LogEntry | Exception) -> None:
        self.partition, self._comes = partition, comes
        self.waited: list[float] = []

    def outcome(self, timeout_s: float) -> list[LogEntry]:
        self.waited.append(timeout_s)
        if isinstance(self._comes, Exception):
            raise self._comes
        return [self._comes]

    def is_cause_of(self, _: LogEntry) -> bool:
        return True


def test_a_partition_that_stands_still_is_counted_and_waited_for_once() -> None:
    stuck = [Sent(1, NoOutcome("nobody has decided it")) for _ in range(3)]
    well = [Sent(2, log_of(shop())[0]) for _ in range(2)]
    wrong = Sent(2, DeadLettered.__new__(DeadLettered))
    out, progress = Out(30.0), Progress()
    all_: list[Any] = [stuck[0], well[0], wrong, stuck[1], well[1], stuck[2]]
    out.posted = [(f"w-{number}", it) for number, it in enumerate(all_)]
    out.settle(progress)
    assert (progress.done, progress.refused, progress.no_outcome) == (2, 1, 3)
    assert not progress.is_whole
    assert progress.problems[0] == ("w-0", "nobody has decided it")
    assert [it.waited for it in stuck[1:]] == [[0], [0]]
    assert all(0 < it.waited[0] <= 30 for it in (stuck[0], *well))
    assert out.posted == []
