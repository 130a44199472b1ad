"""The rows of a view follow from the log alone: not from how it was cut into transactions, nor from crashes."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from halter.scenarios.memory import MemoryEngine
from halter.view import tables
from halter.view.keeping import Ends, Keeper, News, Source
from halter.view.place import View, open_view
from processors.core.records.commands import Command
from processors.core.records.events import LogEntry
from processors.fold.rows import RowRecord
from tests.support.view_contents import Contents, contents
from tests.support.views import CODEC, START_MS, definitions_of, filled, in_pieces, log_of, news_of, shop, sized

SHOP = shop()
LOG = log_of(SHOP)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """What a view has that got everything in one transaction."""
    return contents(filled(str(tmp_path_factory.mktemp("view") / "whole.db"), SHOP, size=10_000))


def test_every_table_has_what_the_states_of_a_shop_are_to_show(whole: Contents) -> None:
    without_rows = {name for name, rows in whole.items() if not rows}
    assert without_rows == {"correlation_keys", "dead_letters"}
    assert len(whole["events"]) == len(LOG)


@pytest.mark.parametrize("size", [1, 7])
def test_rows_do_not_depend_on_where_transactions_end(size: int, tmp_path: Path, whole: Contents) -> None:
    assert contents(filled(str(tmp_path / "view.db"), SHOP, size=size)) == whole


def test_what_is_written_of_a_wf_run_is_found_by_its_id_though_the_database_knows_nothing_of_its_tables(
    tmp_path: Path,
) -> None:
    """Otherwise the time in which a new view is filled grows with the square of its WfRuns."""
    whole, by_rows, by_log = (
        filled(str(tmp_path / "whole.db"), SHOP, with_masked=True),
        *(open_view(str(tmp_path / name), writable=True) for name in ("rows.db", "log.db")),
    )
    lines: list[str] = []

    def note(_: Any, cursor: Any, statement: str, parameters: Any, __: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters[0] if many else parameters)
            lines.extend(line for _, _, _, line in cursor.fetchall())

    keepers = [_keeper(view) for view in (by_rows, by_log)]
    for view in (by_rows, by_log):
        event.listen(view.engine, "before_cursor_execute", note)
    list(keepers[0].put_rows(0, sized(_rows_in(whole))))
    keepers[1].write(news_of(LOG, 0))
    looks = [(found[1], line) for line in lines if (found := re.match(r"(?:SEARCH|SCAN) (\w+)", line))]
    of_wf_runs = {(name, line) for name, line in looks if name in {it.name for it in tables.OF_WF_RUNS}}
    assert {name for name, _ in of_wf_runs} >= {"tasks", "thread_runs", "external_events", "wf_runs", "state"}
    assert [line for _, line in of_wf_runs if "(wf_run_id=?" not in line] == []


class Killed(Exception):
    """The process was killed."""


@settings(max_examples=5, deadline=None)
@given(
    size=st.integers(8, 40),
    crashes=st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=4),
)
def test_a_view_that_was_killed_at_any_commit_equals_one_that_was_not(
    size: int, crashes: list[tuple[int, bool]], tmp_path_factory: pytest.TempPathFactory, whole: Contents
) -> None:
    url = str(tmp_path_factory.mktemp("view") / "view.db")
    view = open_view(url, writable=True)
    deaths = dict(crashes)
    keeper = _keeper(view)
    written = 0
    while True:
        at = keeper.ends[0].log_offset
        news = next(in_pieces(LOG[at:], size), None)
        if news is None:
            break
        news = news_of([entry for _, entry in news.entries[0]], at)
        survives_commit = deaths.pop(written, None)
        written += 1
        if survives_commit is None:
            keeper.write(news)
        else:
            _die_writing(keeper, news, view, after_commit=survives_commit)
            keeper = _keeper(view)
    keeper.ready()
    view.close()
    assert contents(open_view(url)) == whole


def _keeper(view: View) -> Keeper:
    keeper = Keeper(view, CODEC)
    keeper.begin(Source(partitions=1, cluster="in-memory"), START_MS)
    keeper.write(definitions_of(SHOP))
    return keeper


def _die_writing(keeper: Keeper, news: News, view: View, *, after_commit: bool) -> None:
    """Write news, and lose what the process knows: with its transaction, or just after that has committed."""
    if after_commit:
        keeper.write(news)
        return
    flush = keeper._fold.flush

    def flush_and_die(connection: Any) -> int:
        flush(connection)
        raise Killed

    keeper._fold.flush = flush_and_die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        keeper.write(news)


def test_what_the_log_has_no_more_is_dropped_and_the_state_stays(tmp_path: Path, whole: Contents) -> None:
    url = str(tmp_path / "view.db")
    filled(url, SHOP)
    view = open_view(url, writable=True)
    keeper = Keeper(view, CODEC)
    keeper.begin(Source(partitions=1, cluster="in-memory"), START_MS)
    assert keeper.prune({0: (len(LOG), 0)}) == len(LOG)
    left = contents(open_view(url))
    assert left["events"] == left["failures"] == []
    for table in ("wf_runs", "halt_reasons", "waits", "state", "searchable"):
        assert left[table] == whole[table]
    with view.read() as connection:
        assert set(connection.execute(select(tables.thread_runs.c.hot)).scalars()) == {1}
        assert set(connection.execute(select(tables.tasks.c.status)).scalars()) == {"OUT"}


def test_a_view_goes_on_after_rows_whose_beginning_the_log_has_no_more(tmp_path: Path, whole: Contents) -> None:
    """It has the state that the whole log gives, and of the past what is left of the log."""
    at = 60
    rows = _rows_in(filled(str(tmp_path / "before.db"), _cut(at), with_masked=True))
    view = open_view(str(tmp_path / "view.db"), writable=True)
    keeper = _keeper(view)
    for offset in range(30, at):
        keeper.write_before_rows(0, [(offset, LOG[offset])])
    list(keeper.put_rows(0, sized(rows)))
    keeper.write(News(ends={0: Ends(at, 0)}))
    for news in in_pieces(LOG[at:], 9):
        keeper.write(news_of([entry for _, entry in news.entries[0]], at + news.entries[0][0][0]))
    keeper.ready()
    found = contents(open_view(str(tmp_path / "view.db")))
    assert found["state"] == whole["state"]
    for table in ("waits", "searchable", "correlation_keys"):
        assert found[table] == whole[table]
    status = tables.wf_runs.columns.keys().index("status")
    assert [(row[0], row[status]) for row in found["wf_runs"]] == [(row[0], row[status]) for row in whole["wf_runs"]]
    assert len(found["events"]) == len(LOG) - 30


def _rows_in(view: View) -> dict[str, list[RowRecord]]:
    """Return the rows of the state of each WfRun that a view keeps."""
    rows: dict[str, list[RowRecord]] = {}
    with view.read() as connection:
        for row in connection.execute(select(tables.state)):
            record = CODEC.decode(row.value)
            assert isinstance(record, RowRecord)
            rows.setdefault(row.wf_run_id, []).append(record)
    return rows


def _cut(at: int) -> MemoryEngine:
    """Return an engine whose log ends at an entry."""
    engine = MemoryEngine(SHOP.context, SHOP.time_ms)
    engine.log = [(command, [LOG[number]]) for number, (command, _) in enumerate(_one_by_one()) if number < at]
    return engine


def _one_by_one() -> list[tuple[Command, LogEntry]]:
    return [(command, entry) for command, entries in SHOP.log for entry in entries]


def test_masked_values_are_nowhere_in_a_view_unless_asked_for(tmp_path: Path) -> None:
    secret = b"4111111111111111"
    for with_masked in (False, True):
        url = tmp_path / f"masked-{with_masked}.db"
        filled(str(url), SHOP, with_masked=with_masked).close()
        stored = b"".join(file.read_bytes() for file in tmp_path.glob(f"{url.name}*"))
        assert (secret in stored) == with_masked
