"""A view is opened for reading or writing, and what is wrong with it is a sentence."""

import sqlite3
from pathlib import Path
from typing import Final

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select

from halter.scenarios.memory import MemoryEngine
from halter.view import place, tables
from halter.view.filters import WfRunFilter
from halter.view.keeping import Keeper, Source
from halter.view.paging import BadCursor, cursor
from halter.view.place import View, ViewTaken, ViewUnavailable, analyze, another_generation, open_view, replace, url_of
from halter.view.wf_run_lists import count, wf_runs
from processors.core.records.commands import RunWf
from processors.core.rules.context import Context, Limits
from tests.support.views import CODEC, START_MS, filled, shop


def test_the_migrations_make_the_tables(tmp_path: Path) -> None:
    view = open_view(str(tmp_path / "view.db"), writable=True)
    with view.write() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        lacking = compare_metadata(context, tables.metadata)
        assert lacking == [], "halter/view/migrations lacks a revision: CONTRIBUTING.md, 'Change a table of the view'"


def test_the_package_names_the_revisions_that_it_carries() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(place.__file__).with_name("migrations")))
    scripts = ScriptDirectory.from_config(config)
    assert tuple(it.revision for it in reversed(list(scripts.walk_revisions()))) == place.REVISIONS
    assert place.REVISIONS[-1] == place.NEWEST


def refused(url: str) -> str:
    """Return the sentence with which a view is not opened."""
    with pytest.raises(ViewUnavailable) as refusal, open_view(url).read():
        pass
    return str(refusal.value)


def test_a_view_that_is_not_there_says_how_to_start_one(tmp_path: Path) -> None:
    assert "halter view" in refused(str(tmp_path / "none.db"))


def test_a_file_that_is_no_view_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("not a database at all, but long enough to be looked at\n" * 40)
    assert str(file) in refused(str(file))
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE t (a)").connection.close()
    assert "no tables" in refused(str(tmp_path / "empty.db"))


@pytest.mark.parametrize(("revision", "expected"), [("9999", "newer release"), ("0000", "newer release")])
def test_a_view_of_another_schema_is_refused(revision: str, expected: str, tmp_path: Path) -> None:
    url = str(tmp_path / "view.db")
    view = open_view(url, writable=True)
    with view.write() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    view.close()
    assert expected in refused(url)
    with pytest.raises(ViewUnavailable, match=expected):
        open_view(url, writable=True)


def test_an_older_schema_is_for_the_writer_to_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = str(tmp_path / "view.db")
    open_view(url, writable=True).close()
    monkeypatch.setattr(place, "REVISIONS", (*place.REVISIONS, "0009"))
    monkeypatch.setattr(place, "NEWEST", "0009")
    assert "halter view" in refused(url)


def test_a_view_that_was_never_filled_is_not_read(tmp_path: Path) -> None:
    url = str(tmp_path / "view.db")
    open_view(url, writable=True).close()
    assert "empty" in refused(url)


@pytest.mark.parametrize("url", ["mysql://host/db", "postgresql", "sqlite://", "://"])
def test_other_urls_are_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert url.partition(":")[0] in refused(url)


@pytest.mark.parametrize("port", ["1", "abc", "1x"])
def test_a_password_is_in_no_message(port: str) -> None:
    said = refused(f"postgresql://halter:secret@127.0.0.1:{port}/view")
    assert "127.0.0.1" in said
    assert "secret" not in said


def test_a_reader_sees_one_moment_while_another_writes(tmp_path: Path) -> None:
    url = str(tmp_path / "view.db")
    view = filled(url)
    with view.read() as before:
        count = "SELECT count(*) FROM wf_runs"
        seen = before.exec_driver_sql(count).scalar()
        writer = open_view(url, writable=True)
        with writer.write() as connection:
            connection.exec_driver_sql("DELETE FROM wf_runs")
        assert before.exec_driver_sql(count).scalar() == seen
    with view.read() as after:
        assert after.exec_driver_sql(count).scalar() == 0


ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_question_that_takes_too_long_ends_with_a_sentence(
    database: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "view.db") if database == "sqlite" else request.getfixturevalue("postgres_url")
    filled(url, size=1_000).close()
    monkeypatch.setattr(place, "QUESTION_SECONDS", 0.3)
    view = open_view(url)
    with pytest.raises(ViewUnavailable, match=r"took longer than 0\.3 s and was ended"), view.read() as connection:
        connection.exec_driver_sql(ENDLESS).all()
    with view.read() as connection:  # the next one has its own time
        assert count(connection).number == 10
    view.close()


def at_revision(url: str, revision: str) -> View:
    """Open a view with the tables of a revision."""
    view = View(url_of(url), place._engine(url_of(url), writable=True))
    config = Config()
    config.set_main_option("script_location", str(Path(place.__file__).with_name("migrations")))
    with view.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"CREATE SCHEMA {view.schema}")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return view


RUNS: Final = """
    INSERT INTO wf_runs (wf_run_id, partition, incarnation, seq, changed_ms, live_threads, search_text, failure_code)
    VALUES ('killed', 0, 0, 5, 1, 0, '', 'CHILD_FAILED'), ('late', 0, 0, 5, 1, 0, '', 'TIMEOUT'),
        ('passed-on', 0, 0, 5, 1, 0, '', 'no-money'), ('well', 0, 0, 5, 1, 0, '', NULL)
"""
FAILURES: Final = """
    INSERT INTO failures (wf_run_id, seq, thread, code, failure_class, message, failed_ms, cause_code)
    VALUES ('killed', 3, 0, 'CHILD_FAILED', 'ERROR', '', 1, 'before'),
        ('killed', 4, 0, 'CHILD_FAILED', 'ERROR', '', 1, 'card-declined'),
        ('killed', 5, 1, 'CHILD_FAILED', 'ERROR', '', 1, 'of another thread'),
        ('late', 4, 0, 'TIMEOUT', 'ERROR', '', 1, NULL),
        ('passed-on', 4, 0, 'no-money', 'EXCEPTION', '', 1, 'no-money')
"""
LETTERS: Final = """
    INSERT INTO dead_letters
        (partition, letter_offset, reason, message, source_topic, at_ms, mapping, retries)
    VALUES (0, 1, 'X', '', 'external-events', 1, NULL, 0), (0, 2, 'X', '', 'orders', 1, 'paid', 0),
        (0, 3, 'X', '', 'shop-wf-events', 1, 'changes', 0)
"""


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_view_of_the_first_schema_is_brought_up_to_date(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With what it knows of where failures and dead letters come from."""
    url = str(tmp_path / "view.db") if database == "sqlite" else request.getfixturevalue("postgres_url")
    first = at_revision(url, "0001")
    with first.write() as connection:
        for statement in (RUNS, FAILURES, LETTERS):
            connection.exec_driver_sql(statement)
    first.close()
    view = open_view(url, writable=True)
    runs, letters = tables.wf_runs.c, tables.dead_letters.c
    with view.write() as connection:
        if database == "sqlite":  # PostgreSQL would have comments, too
            assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
        causes = dict(connection.execute(select(runs.wf_run_id, runs.cause_code)).all())
        assert causes == {"killed": "card-declined", "late": None, "passed-on": None, "well": None}
        origins = connection.execute(select(letters.origin).order_by(letters.letter_offset)).scalars().all()
        assert origins == ["WORKER", "BINDING", "SINK"]
    view.close()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_planner_learns_how_the_tables_are_filled(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "view.db") if database == "sqlite" else request.getfixturevalue("postgres_url")
    filled(url, size=1_000).close()
    view = open_view(url, writable=True)
    analyze(view)
    known = "SELECT count(DISTINCT tbl) FROM sqlite_stat1"
    if database == "postgresql":
        known = "SELECT count(*) FROM pg_class WHERE relname = 'wf_runs' AND reltuples = 10"
    with view.read() as connection:
        assert connection.exec_driver_sql(known).scalar()
    view.close()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    view = filled(str(tmp_path / "view.db"))
    with pytest.raises(ViewUnavailable), view.read() as connection:
        connection.exec_driver_sql("DELETE FROM wf_runs")


@pytest.mark.parametrize("name", ["a b.db", "a%41.db", "q?x.db", "h#x.db"])
def test_a_file_may_have_any_name(name: str, tmp_path: Path) -> None:
    with filled(str(tmp_path / name), size=1_000).read() as connection:
        assert count(connection).number == 10


def test_a_view_that_another_process_writes_is_not_migrated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = str(tmp_path / "view.db")
    view = open_view(url, writable=True)
    monkeypatch.setattr(place, "REVISIONS", (*place.REVISIONS, "0009"))
    monkeypatch.setattr(place, "NEWEST", "0009")
    with view.taken(), pytest.raises(ViewTaken):
        open_view(url, writable=True)


def test_a_rebuild_leaves_alone_what_others_made_of_the_tables(tmp_path: Path) -> None:
    url = str(tmp_path / "view.db")
    filled(url, size=1_000).close()
    writable = open_view(url, writable=True)
    with writable.write() as connection:
        connection.exec_driver_sql("CREATE VIEW mine AS SELECT * FROM wf_runs")
    with another_generation(writable) as beside:
        keeper = Keeper(beside, CODEC)
        keeper.begin(Source(partitions=1, cluster="in-memory"), START_MS)
        keeper.ready()
        replace(writable, beside)
    writable.close()
    with open_view(url).read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM mine").scalar() == 0
    assert not list(tmp_path.glob("*-next*"))


def test_a_text_finds_variables_that_are_1_or_0(tmp_path: Path) -> None:
    engine = MemoryEngine(Context(shop().context.definitions, Limits()), START_MS)
    for wf_run_id, cents in (("a", 1), ("b", 0), ("c", 7)):
        engine.put(RunWf(wf_run_id, "order", {"items": [], "card": "c", "cents": cents, "address": "x"}))
    with filled(str(tmp_path / "view.db"), engine).read() as connection:
        for text, found in (("1", ["a"]), ("0", ["b"])):
            assert [it.wf_run_id for it in wf_runs(connection, WfRunFilter(text=text)).lines] == found


def test_a_cursor_that_is_no_text_is_refused(tmp_path: Path) -> None:
    import base64
    import json

    after = base64.urlsafe_b64encode(json.dumps([1, "\ud800"]).encode()).decode().rstrip("=")
    assert cursor([1, "a"]) != after
    with filled(str(tmp_path / "view.db"), size=1_000).read() as connection, pytest.raises(BadCursor):
        wf_runs(connection, after=after)
