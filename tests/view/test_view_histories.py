"""A view of any history: however its log is cut into transactions, and however much of it Kafka has deleted."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from halter.files.scenario_document import read_scenario
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.view import tables
from halter.view.keeping import Keeper, Source
from halter.view.place import open_view
from processors.core.records.commands import Command, DeleteWfRun, ExternalEvent, ReportTaskRun, RunWf
from processors.core.records.model import TaskStatus
from processors.core.rules.context import Context, Limits
from processors.core.rules.engine import new_run
from processors.fold.rows import RowRecord
from tests.core.test_migrations import over, thread, versions, waits
from tests.support import random_specs
from tests.support.random_commands import Producers
from tests.support.view_contents import Contents, contents
from tests.support.views import CODEC, START_MS, definitions_of, in_pieces, log_of, shop, sized

FEW_REMEMBERED = Limits(remembered_events=1, remembered_ms=0, events_per_command=60)
ENTRIES_MAX = 80
"""Longer logs take a test too long: each entry is a transaction."""
STATE = ("state", "waits", "correlation_keys")
"""Tables that follow from the state alone."""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty view: to copy it is quicker than to make one."""
    file = tmp_path_factory.mktemp("view") / "empty.db"
    open_view(str(file), writable=True).close()
    return file


class Views:
    """Views of one engine, each made from nothing."""

    def __init__(self, engine: MemoryEngine, empty: Path, folder: str | Path, *, with_masked: bool = False) -> None:
        self.engine, self._empty, self._folder = engine, empty, Path(folder)
        self._with_masked, self._made = with_masked, 0

    def _keeper(self, *, with_masked: bool) -> tuple[str, Keeper]:
        self._made += 1
        file = str(self._folder / f"{self._made}.db")
        shutil.copy(self._empty, file)
        keeper = Keeper(open_view(file, writable=True), CODEC, with_masked=with_masked)
        keeper.begin(Source(partitions=1, cluster="in-memory"), START_MS)
        keeper.write(definitions_of(self.engine))
        return file, keeper

    def whole(self, size: int) -> Contents:
        """Return what a view has that got the whole log, so many entries in a transaction."""
        file, keeper = self._keeper(with_masked=self._with_masked)
        for news in in_pieces(log_of(self.engine), size):
            keeper.write(news)
        return _closed(file, keeper)

    def from_rows(self, first: int, size: int) -> Contents:
        """Return what a view has that began with rows, and with a log of which only the entries from one on are left.

        Workers keep rows with masked values.
        """
        file, keeper = self._keeper(with_masked=True)
        for news in in_pieces(log_of(self.engine), 10_000):
            keeper.write(news)
        rows: dict[str, list[RowRecord]] = {}
        with keeper.view.write() as connection:
            for row in connection.execute(select(tables.state)):
                record = CODEC.decode(row.value)
                rows.setdefault(row.wf_run_id, []).append(record)  # type: ignore[arg-type]
        keeper.view.close()
        file, keeper = self._keeper(with_masked=self._with_masked)
        left = list(enumerate(log_of(self.engine)))[first:]
        for start in range(0, len(left), size):
            keeper.write_before_rows(0, left[start : start + size])
        list(keeper.put_rows(0, sized(rows)))
        return _closed(file, keeper)


def _closed(file: str, keeper: Keeper) -> Contents:
    keeper.ready()
    keeper.view.close()
    view = open_view(file)
    try:
        return contents(view)
    finally:
        view.close()


def present(found: Contents) -> dict[str, Any]:
    """Return what a view says of the present: it does not depend on how much of the log is left."""
    kept: dict[str, Any] = {name: found[name] for name in STATE}
    for table, columns, is_present in (
        ("thread_runs", ("wf_run_id", "thread", "status", "node_name"), {"hot": 1}),
        ("external_events", ("wf_run_id", "external_event_def", "external_event_id", "status"), {"hot": 1}),
        ("tasks", ("wf_run_id", "thread", "node_position", "attempt", "task_def", "until_ms"), {"status": "OUT"}),
        ("wf_runs", ("wf_run_id", "incarnation", "status", "seq", "live_threads", "node_name"), {}),
        ("halt_reasons", ("wf_run_id", "thread", "position", "kind", "handler", "by_thread"), {}),
    ):
        names = tables.metadata.tables[table].columns.keys()
        rows = [dict(zip(names, row, strict=True)) for row in found[table]]
        present_rows = [row for row in rows if is_present.items() <= row.items()]
        kept[table] = sorted((tuple(row[column] for column in columns) for row in present_rows), key=repr)
    return kept


def rows_of(found: Contents, table: str) -> list[dict[str, Any]]:
    names = tables.metadata.tables[table].columns.keys()
    return [dict(zip(names, row, strict=True)) for row in found[table]]


def check(views: Views) -> None:
    """Check a view of each kind against the one that got everything at once."""
    whole = views.whole(10_000)
    assert views.whole(2) == whole
    length = len(log_of(views.engine))
    for first in sorted({length // 4, length // 2} - {0}):
        assert present(views.from_rows(first, 7)) == present(whole)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    document=random_specs.documents(),
    numbers=st.lists(st.integers(0, 10**6), min_size=4, max_size=25),
    limits=st.sampled_from([Limits(events_per_command=60), FEW_REMEMBERED]),
)
def test_a_view_of_any_history_is_the_same_however_its_log_is_cut(
    document: dict[str, Any], numbers: list[int], limits: Limits, empty: Path
) -> None:
    scenario, problems = read_scenario({**document, "steps": []}, lambda name: name)
    assert scenario is not None, problems
    definitions, refused = register(scenario.definitions)
    if refused:
        return
    engine = MemoryEngine(Context(definitions, limits), START_MS)
    producers = Producers(list(document["external_events"]))
    for number in numbers:
        run = engine.runs.get("w1") or new_run("w1")
        command = producers.choose(run, number // 4)
        engine.time_ms += (1, 1_000, 60_000, 0)[number % 4]
        engine.put(command)
        if len(log_of(engine)) > ENTRIES_MAX:
            break
    with TemporaryDirectory() as folder:
        check(Views(engine, empty, folder))


def history(*commands: Command, limits: Limits | None = None) -> MemoryEngine:
    """Return an engine that has decided these commands, a second apart, with the definitions of `shop`."""
    engine = MemoryEngine(Context(shop().context.definitions, limits or Limits()), START_MS)
    for command in commands:
        engine.put(command)
        engine.pass_time(1_000)
    return engine


CART = RunWf("c1", "cart", {"customer": "Ann", "card": "4111"})
ORDER = RunWf("o1", "order", {"items": [{"sku": "mug", "quantity": 2}], "card": "c", "cents": 5, "address": "x"})


def moved(number: int) -> ExternalEvent:
    return ExternalEvent("c1", "address-changed", f"a{number % 4}", f"{number} Mill Lane")


def test_a_forgotten_external_event_is_past_and_its_id_may_come_again(empty: Path, tmp_path: Path) -> None:
    engine = history(CART, *map(moved, range(6)), limits=FEW_REMEMBERED)
    views = Views(engine, empty, tmp_path)
    check(views)
    events = rows_of(views.whole(1), "external_events")
    assert {it["external_event_id"] for it in events if it["hot"]} == {"a1"}
    assert {it["external_event_id"] for it in events} == {"a0", "a1", "a2", "a3"}
    assert all(it["log_offset"] is not None for it in events)


@pytest.mark.parametrize("name", ["checkout", "address-changed"])
def test_an_early_external_event_that_the_log_has_no_more_is_in_the_rows(
    name: str, empty: Path, tmp_path: Path
) -> None:
    early = ExternalEvent("c1", name, "e1", None if name == "checkout" else "x")
    engine = history(early, CART, moved(1))
    views = Views(engine, empty, tmp_path)
    whole = views.whole(10)
    for size in (1, 2, 100):
        assert present(views.from_rows(1, size)) == present(whole)


def test_a_deleted_wf_run_whose_beginning_is_gone_leaves_nothing_to_the_next_of_its_id(
    empty: Path, tmp_path: Path
) -> None:
    fails = {**ORDER.variables, "items": []}
    engine = history(ORDER, *_failing("o1", 0), DeleteWfRun("o1"), RunWf("o1", "order", fails))
    incarnation = engine.runs["o1"].incarnation
    for command in _failing("o1", incarnation):
        engine.put(command)
    views = Views(engine, empty, tmp_path)
    whole = views.whole(1)
    for size in (1, 100):
        found = views.from_rows(2, size)
        assert present(found) == present(whole)
        assert found["failures"] == whole["failures"]
        assert found["tasks"] == whole["tasks"]


def _failing(wf_run_id: str, incarnation: int) -> list[Command]:
    return [ReportTaskRun(wf_run_id, incarnation, 0, 1, 1, TaskStatus.FAILED, None, message="closed")]


def test_attempts_that_are_out_are_there_without_the_log_of_their_request(empty: Path, tmp_path: Path) -> None:
    views = Views(shop(), empty, tmp_path)
    end = len(log_of(views.engine))
    out = [it for it in rows_of(views.from_rows(end, 10), "tasks") if it["status"] == "OUT"]
    assert len(out) == 4
    assert present(views.from_rows(end, 10)) == present(views.whole(50))


def test_what_a_later_version_masks_is_in_a_view_no_more(empty: Path, tmp_path: Path) -> None:
    """Not of threads that have left either."""
    secret = "s3cr3t-4711"

    def version(*, masked: bool) -> dict[str, Any]:
        card = {"type": "STR", "default": secret} | ({"masked": True} if masked else {})
        child = {**thread({}), "variables": {"kid_card": card}}
        nodes = {"start_kid": {"kind": "START_THREAD", "thread": "kid"}, "w": waits()}
        return {"main": {**thread(nodes), "variables": {"card": card}}, "kid": child}

    told = versions(version(masked=False), version(masked=True))
    views = Views(over(told).engine, empty, tmp_path)
    found = views.whole(1)
    assert [it["variables"] for it in rows_of(found, "thread_runs") if not it["hot"]] == [{}]
    assert secret not in repr({table: rows for table, rows in found.items() if table != "definitions"})
    assert views.whole(100) == found
