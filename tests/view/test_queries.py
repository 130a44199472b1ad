"""The lists of a view: each has what is asked for, once, in its order, and no index is missing for it."""

import base64
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, event, select

from halter.view import (
    dead_letter_lists,
    external_event_lists,
    looking,
    names,
    node_counts,
    progress,
    tables,
    totals,
    wf_run_lines,
    wf_run_lists,
)
from halter.view.filters import ANY, BadFilter, Sort, SortBy, WfRunFilter
from halter.view.paging import BadCursor, Page, cursor
from halter.view.place import View, open_view
from halter.view.projection import searchable_rows
from processors.core.rules.evolve import new_run
from tests.support.views import filled, many

NUMBER = 200
NOW_MS = 1_767_225_600_000 + NUMBER * 100 + 5_000


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    file = tmp_path_factory.mktemp("view") / "many.db"
    many(str(file), wf_runs=NUMBER).close()
    with closing(sqlite3.connect(file)) as connection:  # SQLite reads small tables from end to end if it knows sizes
        connection.execute("DELETE FROM sqlite_stat1")
        connection.commit()
    view = open_view(str(file))
    yield view
    view.close()


@pytest.fixture
def read(view: View) -> Iterator[Connection]:
    with view.read() as connection:
        yield connection


@pytest.fixture(params=[15, 10_000], ids=["many-are-meant", "few-are-meant"])
def looked_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many rows are looked at for a page: fewer than a filter means, or more."""
    monkeypatch.setattr(looking, "LOOKED_AT", request.param)
    return int(request.param)


def pages(connection: Connection, wanted: WfRunFilter, sort: Sort, limit: int = 7) -> Iterator[Page[Any]]:
    after = None
    for _ in range(10 * NUMBER):
        page = wf_run_lists.wf_runs(connection, wanted, sort, after, limit, now_ms=NOW_MS)
        yield page
        after = page.after
        if after is None:
            return
    raise AssertionError("the list does not end")


def meant(connection: Connection, wanted: WfRunFilter) -> list[dict[str, Any]]:
    """The WfRuns that a filter means, found by looking at all of them."""
    rows = [dict(it) for it in connection.execute(select(tables.wf_runs)).mappings()]
    reasons = [(it.wf_run_id, it.kind) for it in connection.execute(select(tables.halt_reasons))]
    waits = connection.execute(select(tables.waits)).mappings().all()
    values = {(it.wf_run_id, it.name): it.text_value for it in connection.execute(select(tables.searchable))}

    def holds(row: dict[str, Any]) -> bool:
        wf_run_id = row["wf_run_id"]
        kind, _, name = (wanted.waits_for or "").partition(":")
        return all(
            (
                not wanted.status or row["status"] in wanted.status,
                wanted.wf_spec in (None, row["wf_spec_name"]),
                wanted.wf_spec_version in (None, row["wf_spec_version"], row["wf_spec_version"].split(".")[0]),
                wanted.halted_for is None
                or (row["halted"] if wanted.halted_for == ANY else (wf_run_id, wanted.halted_for) in reasons),
                wanted.failed_with is None
                or (
                    row["failure_code"]
                    if wanted.failed_with == ANY
                    else wanted.failed_with in (row["failure_code"], row["cause_code"])
                ),
                not kind
                or any(
                    it["wf_run_id"] == wf_run_id
                    and it["waits_for"] == kind
                    and name in ("", it["external_event_def"], it["task_def"])
                    for it in waits
                ),
                wanted.older_than_ms is None or row["started_ms"] <= NOW_MS - wanted.older_than_ms,
                wanted.unchanged_for_ms is None or row["changed_ms"] <= NOW_MS - wanted.unchanged_for_ms,
                wanted.quarantined in (None, bool(row["quarantined"])),
                all(values.get((wf_run_id, name)) == value for name, value in wanted.variables),
                wanted.text is None or wanted.text in row["search_text"],
            )
        )

    return [row for row in rows if holds(row)]


FILTERS = st.builds(
    WfRunFilter,
    status=st.sampled_from([(), (), ("RUNNING",), ("ERROR", "EXCEPTION"), ("HALTED", "RUNNING")]),
    wf_spec=st.sampled_from([None, None, "shop-1", "nothing"]),
    wf_spec_version=st.sampled_from([None, None, "0", "0.0", "1"]),
    halted_for=st.sampled_from([None, None, None, ANY, "MANUAL_HALT"]),
    failed_with=st.sampled_from([None, None, None, ANY, "TIMEOUT", "CHILD_FAILED", "killed"]),
    waits_for=st.sampled_from([None, None, None, "EXTERNAL_EVENT", "EXTERNAL_EVENT:checkout", "TASK_REPORT:charge-2"]),
    older_than_ms=st.sampled_from([None, None, 20_000]),
    unchanged_for_ms=st.sampled_from([None, None, 15_000]),
    quarantined=st.sampled_from([None, None, None, True, False]),
    variables=st.sampled_from([(), (), (), (("order_number", "N000000017"),)]),
    text=st.sampled_from([None, None, None, "eve", "order-0000001", "100%"]),
)
SORTS = st.builds(Sort, st.sampled_from(SortBy), st.booleans())


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(FILTERS, SORTS, st.sampled_from([1, 7, 100]))
def test_the_pages_have_all_that_are_meant_once_and_in_order(
    read: Connection, looked_at: int, wanted: WfRunFilter, sort: Sort, limit: int
) -> None:
    found = [line for page in pages(read, wanted, sort, max(limit, 1)) for line in page.lines]
    those = meant(read, wanted)
    assert sorted(it.wf_run_id for it in found) == sorted(it["wf_run_id"] for it in those)
    column = {"changed": "changed_ms", "started": "started_ms"}.get(sort.by.value)
    keys = [((getattr(it, column),) if column else ()) + (it.wf_run_id,) for it in found]
    assert keys == sorted(keys, reverse=sort.descends)
    assert wf_run_lists.count_all(read, wanted, now_ms=NOW_MS) == len(those)
    counted = wf_run_lists.count(read, wanted, now_ms=NOW_MS)
    assert counted.number == len(those) if counted.is_exact else counted.number <= len(those)
    few = wf_run_lists.count(read, wanted, 2, now_ms=NOW_MS)
    assert few.number <= 2
    assert not few.is_exact or few.number == len(those)


FIELDS = [
    WfRunFilter(),
    WfRunFilter(status=("RUNNING",)),
    WfRunFilter(status=("ERROR", "EXCEPTION")),
    WfRunFilter(wf_spec="shop-1"),
    WfRunFilter(wf_spec="shop-1", wf_spec_version="0.0"),
    WfRunFilter(halted_for=ANY),
    WfRunFilter(halted_for="MANUAL_HALT"),
    WfRunFilter(failed_with="TIMEOUT"),
    WfRunFilter(failed_with=ANY),
    WfRunFilter(failed_with="killed"),
    WfRunFilter(failed_with="TASK_ERROR"),
    WfRunFilter(waits_for="EXTERNAL_EVENT"),
    WfRunFilter(waits_for="EXTERNAL_EVENT:checkout"),
    WfRunFilter(waits_for="TASK_REPORT:charge-2"),
    WfRunFilter(waits_for="TASK_RETRY:charge-2"),
    WfRunFilter(older_than_ms=20_000),
    WfRunFilter(unchanged_for_ms=20_000),
    WfRunFilter(quarantined=True),
    WfRunFilter(quarantined=False),
    WfRunFilter(variables=(("order_number", "N000000017"),)),
    WfRunFilter(text="eve"),
    WfRunFilter(status=("RUNNING",), wf_spec="shop-1", text="eve", quarantined=False),
]
ORDERS = [Sort(by, reverse) for by, reverse in product(SortBy, (False, True))]


class Plans:
    """Notes how SQLite answers each query of a connection."""

    def __init__(self, connection: Connection) -> None:
        self.plans: list[str] = []
        self._connection = connection
        event.listen(connection.engine, "before_cursor_execute", self._note)

    def _note(self, _: Any, cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if statement.startswith("SELECT"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            self.plans += [line for _, _, _, line in cursor.fetchall()]

    def end(self) -> list[str]:
        event.remove(self._connection.engine, "before_cursor_execute", self._note)
        return self.plans

    @property
    def scans(self) -> list[str]:
        """The tables that are read from end to end, which no index helps."""
        tables_ = {*tables.metadata.tables, "wf_runs"} - {"definitions", "source", "partitions"}
        return [it for it in self.plans if re.fullmatch(r"SCAN (\w+)", it) and it.split()[1] in tables_]


@pytest.mark.parametrize("wanted", FIELDS, ids=lambda it: it.words() or "all")
def test_each_filter_is_answered_by_an_index_in_every_order(
    read: Connection, looked_at: int, wanted: WfRunFilter
) -> None:
    plans = Plans(read)
    try:
        for sort in ORDERS:
            list(islice(pages(read, wanted, sort), 3))
        wf_run_lists.count(read, wanted, now_ms=NOW_MS)
        wf_run_lists.count_all(read, wanted, now_ms=NOW_MS)
    finally:
        plans.end()
    assert plans.plans
    assert plans.scans == []


def test_the_other_lists_are_answered_by_an_index(read: Connection) -> None:
    plans = Plans(read)
    try:
        totals.stats(read)
        node_counts.nodes_of(read, "shop-1")
        dead_letter_lists.dead_letters(read, reason="x", topic="y", after=cursor([1, 1, 1]))
        dead_letter_lists.dead_letters(read, wf_run_id="w", retried=False)
        dead_letter_lists.dead_letters(read, mapping="m")
        names.unknown_names_of_letters(read, "r", "t", "m")
        names.unknown_names(read, WfRunFilter(wf_spec="x", failed_with="x", waits_for="TASK_REPORT:x"))
        names.unknown_names(read, WfRunFilter(wf_spec="shop-1", wf_spec_version="9", waits_for="EXTERNAL_EVENT:x"))
        external_event_lists.external_events(
            read, wf_run_id="order-00000001", status="CLAIMED", after=cursor([1, "a", "b", "c"])
        )
        external_event_lists.external_events(read, external_event_def="checkout", status="UNCLAIMED")
        external_event_lists.external_events(read, status="UNCLAIMED")
        wf_run_lists.wf_run(read, "order-00000001")
        wf_run_lists.manually_halted(read, ["order-00000001"])
    finally:
        plans.end()
    assert plans.scans == []


def test_numbers_are_those_of_the_rows(read: Connection) -> None:
    told = totals.stats(read)
    assert {status: it.number for status, it in told.by_status.items()} == {
        "COMPLETED": 120,
        "RUNNING": 60,
        "HALTED": 10,
        "ERROR": 8,
        "EXCEPTION": 2,
    }
    assert {spec: it.number for spec, it in told.by_wf_spec.items()} == {f"shop-{n}": 20 for n in range(10)}
    assert sum(it.count.number for it in told.halted_by_reason.values()) == 10
    assert sum(it.number for it in told.failures.values()) == 10
    assert {kind: it.count.number for kind, it in told.waiting.items()} == {"EXTERNAL_EVENT": 30, "TASK_REPORT": 30}
    at_nodes = node_counts.nodes_of(read, "shop-1")
    hot = [it for it in meant(read, WfRunFilter(wf_spec="shop-1")) if it["status"] in ("RUNNING", "HALTED", "ERROR")]
    assert sum(it.count.number for it in at_nodes) == len(hot)
    assert all(it.count.is_exact for it in at_nodes)


def test_events_are_listed_page_by_page(read: Connection, looked_at: int) -> None:
    def listed(limit: int, **asked: str) -> list[str]:
        found, after = list[str](), None
        for _ in range(NUMBER):
            page = external_event_lists.external_events(read, **asked, after=after, limit=limit)  # type: ignore[arg-type]
            found += [it.external_event_id for it in page.lines]
            after = page.after
            if after is None:
                break
        return found

    unclaimed = listed(3, external_event_def="checkout", status="UNCLAIMED")
    assert unclaimed == [f"e-{n}" for n in range(NUMBER - 9, 0, -10)]
    assert listed(200) == listed(200, external_event_def="checkout"), "also without a filter"
    assert set(unclaimed) < set(listed(200))


def test_a_wf_run_says_what_holds_it_and_what_it_waits_for(tmp_path: Path) -> None:
    view = filled(str(tmp_path / "view.db"))
    with view.read() as connection:
        stopped, waits = (wf_run_lists.wf_run(connection, it) for it in ("cart-stopped", "cart-waits"))
        assert stopped is not None
        assert waits is not None
        assert stopped.halt_reasons[0].kind == "MANUAL_HALT"
        assert stopped.halted
        assert [(it.waits_for, it.name) for it in waits.waits if it.thread == 0][:1] == [("EXTERNAL_EVENT", "checkout")]
        assert wf_run_lists.wf_run(connection, "nobody") is None
        (line,) = wf_run_lists.wf_runs(connection, WfRunFilter(quarantined=True)).lines
        assert line.wf_run_id == "cart-quarantined"
        assert progress.lag(connection).records == 0
        assert [it.partition for it in progress.partitions(connection)] == [0]
    view.close()


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("10", {"int", "double", "text"}),
        ("10.0", {"int", "double"}),
        ("1e1", {"int", "double"}),
        ("010", {"int", "double"}),
        ("1.10", {"version"}),
        ("9007199254740993", {"large"}),
        ("True", {"flag"}),
        ('{"a":[1,2]}', {"json"}),
        ('{"a": [1, 2]}', {"json"}),
        ("0", {"zero"}),
    ],
)
def test_a_value_is_found_however_it_is_written(valued: View, written: str, found: set[str]) -> None:
    """Numbers as numbers, but a text only as it is: versions are no numbers."""
    with valued.read() as connection:
        asked = WfRunFilter(variables=(("n", written),))
        assert {it.wf_run_id for it in wf_run_lists.wf_runs(connection, asked).lines} == found


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def valued(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """A view with a WfRun for each of some values."""
    url = str(tmp_path_factory.mktemp("view") / "valued.db")
    if request.param == "postgresql":
        url = database_of(request.getfixturevalue("postgres"), "valued")
    values = {"int": 10, "double": 10.0, "text": "10", "version": "1.10", "large": 2**53 + 1, "near": float(2**53)}
    values |= {"flag": True, "json": {"a": [1, 2]}, "zero": -0.0}
    many(url, wf_runs=1).close()
    writable = open_view(url, writable=True)
    with writable.write() as connection:
        (one,) = connection.execute(select(tables.wf_runs)).mappings()
        connection.execute(tables.wf_runs.delete())
        connection.execute(tables.wf_runs.insert(), [{**one, "wf_run_id": it} for it in values])
        run = new_run("")
        for wf_run_id, value in values.items():
            (row,) = searchable_rows(run, {"n": value}, ["n"])
            connection.execute(tables.searchable.insert(), [{**row, "wf_run_id": wf_run_id}])
        connection.execute(tables.definitions.update().values(searchable=["n"]))
    writable.close()
    view = open_view(url)
    yield view
    view.close()


def test_a_variable_that_nobody_marked_is_refused(read: Connection) -> None:
    with pytest.raises(BadFilter, match="Variable 'customer' is not searchable: searchable are order_number"):
        wf_run_lists.wf_runs(read, WfRunFilter(variables=(("customer", "ann"),)))


def test_a_place_of_another_list_is_refused(read: Connection) -> None:
    with pytest.raises(BadCursor):
        wf_run_lists.wf_runs(read, after=cursor(["order-1"]))


@pytest.mark.parametrize("text", ["\ud800", "order\0"])
def test_a_place_with_a_text_that_no_database_takes_is_refused(text: str, read: Connection) -> None:
    place = base64.urlsafe_b64encode(json.dumps([1, text]).encode()).decode().rstrip("=")
    with pytest.raises(BadCursor, match="begin with the first page"):
        wf_run_lists.wf_runs(read, after=place)


def test_a_wf_run_of_many_threads_costs_its_line_no_more_than_another(tmp_path: Path) -> None:
    file = str(tmp_path / "wide.db")
    many(file, wf_runs=2).close()
    writable, steps = open_view(file, writable=True), dict[str, int]()
    wait = {"position": 0, "waits_for": "TIME", "since_ms": 1}
    for wf_run_id, threads in (("order-00000000", 30), ("order-00000001", 3_000)):
        rows = [{"wf_run_id": wf_run_id, "thread": it, **wait} for it in range(1, threads)]
        with writable.write() as connection:
            connection.execute(tables.waits.insert(), rows)
    writable.close()
    stored = open_view(file)
    for wf_run_id in ("order-00000000", "order-00000001"):
        with stored.read() as connection:
            counted = [0]

            def step(counted: list[int] = counted) -> None:
                counted[0] += 1

            connection.connection.driver_connection.set_progress_handler(step, 10)  # type: ignore[union-attr]
            line = wf_run_lists.wf_run(connection, wf_run_id)
            connection.connection.driver_connection.set_progress_handler(None, 0)  # type: ignore[union-attr]
            assert line is not None
            assert len(line.waits) == wf_run_lines.HELD_SHOWN
            steps[wf_run_id] = counted[0]
    stored.close()
    assert steps["order-00000001"] <= 1.2 * steps["order-00000000"]


def test_postgresql_reads_no_table_from_end_to_end(postgres_many: View) -> None:
    plans: list[str] = []

    def note(_: Any, cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if statement.startswith("SELECT"):
            cursor.execute(f"EXPLAIN {statement}", parameters)
            plans.extend(line for (line,) in cursor.fetchall())

    event.listen(postgres_many.engine, "before_cursor_execute", note)
    try:
        with postgres_many.read() as connection:
            for wanted in FIELDS:
                for sort in ORDERS:
                    list(islice(pages(connection, wanted, sort), 2))
                wf_run_lists.count(connection, wanted, now_ms=NOW_MS)
            totals.stats(connection)
    finally:
        event.remove(postgres_many.engine, "before_cursor_execute", note)
    assert any("Index" in it for it in plans)
    small = ("definitions", "source", "partitions")
    found = {it.strip() for it in plans if "Seq Scan on" in it}
    assert [it for it in found if not any(f"Seq Scan on {name}" in it for name in small)] == []


def most_read(postgres: View, ask: Callable[[Connection], object]) -> int:
    """Return how many rows a step of a question has read at most, those included that it passed over."""
    plans: list[dict[str, Any]] = []

    def note(_: Any, cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if statement.startswith("SELECT"):
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            plans.append(cursor.fetchone()[0][0]["Plan"])

    event.listen(postgres.engine, "before_cursor_execute", note)
    try:
        with postgres.read() as connection:
            ask(connection)
    finally:
        event.remove(postgres.engine, "before_cursor_execute", note)
    steps = list(plans)
    for step in steps:
        steps += step.get("Plans", ())
    passed_over = "Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck"
    return max(
        int(it["Actual Loops"] * (it["Actual Rows"] + sum(it.get(name, 0) for name in passed_over))) for it in steps
    )


@pytest.fixture(scope="module")
def postgres_more(postgres: str) -> Iterator[View]:
    """So many WfRuns in a PostgreSQL that its planner chooses as it does with a million."""
    view = many(database_of(postgres, "more"), wf_runs=4_000)
    with view.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")  # as PostgreSQL does by itself after a while
    yield view
    view.close()


def test_a_count_reads_no_more_rows_than_its_bound(postgres_more: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "LOOKED_AT", 100)
    counted = [it for it in FIELDS if len(it.pairs()) == 1 and it.text is None]
    assert len(counted) > 10
    for wanted in counted:
        ask = partial(wf_run_lists.count, filter=wanted, at_most=50)
        assert most_read(postgres_more, ask) <= 200, wanted.words()


def test_only_the_newest_wf_runs_of_a_wf_spec_are_looked_at(
    postgres_more: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "LOOKED_AT", 100)
    assert most_read(postgres_more, lambda it: node_counts.newest_of(it, "shop-1")) <= 100


@pytest.mark.parametrize("sort", ORDERS[::3], ids=lambda it: f"{it.by}{'-reversed' if it.reverse else ''}")
def test_postgresql_has_the_same_lists(postgres_many: View, read: Connection, sort: Sort, looked_at: int) -> None:
    with postgres_many.read() as connection:
        for wanted in FIELDS:
            found = [line.wf_run_id for page in pages(connection, wanted, sort, 50) for line in page.lines]
            here = [line.wf_run_id for page in pages(read, wanted, sort, 50) for line in page.lines]
            assert found == here, wanted.words()
            assert wf_run_lists.count(connection, wanted, now_ms=NOW_MS).number <= len(found)
        assert totals.stats(connection) == totals.stats(read)
        assert node_counts.nodes_of(connection, "shop-1") == node_counts.nodes_of(read, "shop-1")
        ours, theirs = (
            external_event_lists.external_events(it, external_event_def="checkout", status="UNCLAIMED")
            for it in (read, connection)
        )
        assert theirs == ours


@pytest.fixture(scope="module")
def postgres_many(postgres: str) -> Iterator[View]:
    """The same WfRuns in a real PostgreSQL."""
    view = many(database_of(postgres, "queries"), wf_runs=NUMBER)
    yield view
    view.close()


def database_of(postgres: str, name: str) -> str:
    """Make a database, and return its URL."""
    engine = create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return postgres.replace("/postgres?", f"/{name}?")
