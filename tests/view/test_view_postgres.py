"""A view in PostgreSQL is the same as one in SQLite. The PostgreSQL is a real one."""

from pathlib import Path
from random import Random
from string import ascii_letters
from threading import Thread

import pytest
from sqlalchemy import Connection, func, select

from halter.scenarios.definitions import DefinitionsInMemory
from halter.scenarios.memory import MemoryEngine
from halter.testing.known import registered
from halter.view import tables
from halter.view.keeping import AnotherWrites, Keeper, Source
from halter.view.place import ViewTaken, ViewUnavailable, another_generation, open_view, replace
from processors.core.records.commands import RunWf
from processors.core.rules.context import Context, Limits
from tests.support.view_contents import contents
from tests.support.views import CODEC, EXAMPLES, START_MS, definitions_of, filled, in_pieces, log_of, news_of, shop

SHOP = shop()
COUNT = select(func.count()).select_from(tables.wf_runs)


def test_postgresql_has_the_rows_that_sqlite_has(postgres_url: str, tmp_path: Path) -> None:
    in_sqlite = contents(filled(str(tmp_path / "view.db"), SHOP))
    assert contents(filled(postgres_url, SHOP)) == in_sqlite


def test_a_rebuild_takes_the_place_of_the_old_view_while_others_read(postgres_url: str) -> None:
    view = filled(postgres_url, SHOP)
    writable = open_view(postgres_url, writable=True)
    with another_generation(writable) as beside:
        keeper = Keeper(beside, CODEC)
        keeper.begin(Source(partitions=1, cluster="in-memory"), START_MS)
        keeper.write(definitions_of(SHOP))
        keeper.write(news_of(log_of(SHOP)[:40]))
        keeper.ready()
        with view.read() as connection:
            before = connection.execute(COUNT).scalar()
            assert before == 10
        replace(writable, beside)
    with view.read() as connection:
        assert 0 < (connection.execute(COUNT).scalar() or 0) < 10


def test_a_rebuild_keeps_the_rights_of_readers_and_waits_for_none(postgres_url: str) -> None:
    """Nor for one that has left its transaction open, and no reader ends by it."""
    view = filled(postgres_url, SHOP)
    writable = open_view(postgres_url, writable=True)
    role = "reader_" + postgres_url.partition("view_")[2][:12]
    with writable.write() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role}")
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA halter_view TO {role}")
        connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA halter_view TO {role}")
        connection.exec_driver_sql("CREATE VIEW public.mine AS SELECT * FROM halter_view.wf_runs")
    with view.read() as reader:
        with another_generation(writable) as beside:
            keeper = Keeper(beside, CODEC)
            keeper.begin(Source(partitions=1, cluster="in-memory"), START_MS)
            keeper.ready()
            replace(writable, beside)
        assert reader.execute(COUNT).scalar() == 10
    with writable.write() as connection:
        connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
        assert connection.execute(COUNT).scalar() == 0
        connection.exec_driver_sql("RESET ROLE")
        assert connection.exec_driver_sql("SELECT count(*) FROM public.mine").scalar() == 0


def test_a_value_of_any_length_is_searchable_by_its_beginning(postgres_url: str) -> None:
    engine = MemoryEngine(SHOP.context, START_MS)
    random = Random(1)  # or PostgreSQL would compress it
    address = "".join(random.choices(ascii_letters, k=6_000))
    engine.put(RunWf("big", "order", {"items": [], "card": "c", "cents": 5, "address": address}))
    with filled(postgres_url, engine).read() as connection:
        found = select(tables.searchable.c.wf_run_id).where(tables.searchable.c.text_value == address)
        assert connection.execute(found).scalars().all() == ["big"]


def test_two_writers_never_write_from_the_same_offsets(postgres_url: str) -> None:
    """Also if one begins while the transaction of the other is not committed yet."""
    keepers = []
    for _ in range(2):
        keeper = Keeper(open_view(postgres_url, writable=True), CODEC)
        keeper.begin(Source(partitions=1, cluster="in-memory"), START_MS)
        keeper.ready()
        keepers.append(keeper)
    first, second = keepers
    first.write(definitions_of(SHOP))
    second.definitions = first.definitions
    piece = next(in_pieces(log_of(SHOP), 30))
    flush, refused = first._fold.flush, list[BaseException]()

    def write() -> None:
        try:
            second.write(piece)
        except AnotherWrites as error:
            refused.append(error)

    thread = Thread(target=write)

    def flush_meanwhile(connection: Connection) -> int:
        thread.start()
        while not connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar():
            pass
        return flush(connection)

    first._fold.flush = flush_meanwhile  # type: ignore[method-assign]
    first.write(piece)
    thread.join(20)
    assert len(refused) == 1


def test_one_process_writes_and_the_other_is_told(postgres_url: str) -> None:
    filled(postgres_url, SHOP)
    first, second = (open_view(postgres_url, writable=True) for _ in range(2))
    with first.taken(), pytest.raises(ViewTaken), second.taken():
        pass
    with second.taken():
        pass  # the first has ended


def test_a_writer_that_lost_its_lock_writes_nothing(postgres_url: str) -> None:
    keepers = []
    for _ in range(2):
        keeper = Keeper(open_view(postgres_url, writable=True), CODEC)
        keeper.begin(Source(partitions=1, cluster="in-memory"), START_MS)
        keeper.ready()
        keepers.append(keeper)
    pieces = list(in_pieces(log_of(SHOP), 30))
    keepers[0].write(definitions_of(SHOP))
    keepers[1].write(definitions_of(SHOP))
    keepers[0].write(pieces[0])
    with pytest.raises(AnotherWrites):
        keepers[1].write(pieces[0])


def test_a_reader_cannot_write(postgres_url: str) -> None:
    view = filled(postgres_url, SHOP)
    with pytest.raises(ViewUnavailable, match="read-only"), view.read() as connection:
        connection.execute(tables.wf_runs.delete())


def test_text_that_postgresql_cannot_store_is_stored_without_what_it_cannot(postgres_url: str) -> None:
    definitions = registered([EXAMPLES / "cart" / "cart.yaml"])
    assert isinstance(definitions, DefinitionsInMemory)
    engine = MemoryEngine(Context(definitions, Limits()), START_MS)
    engine.put(RunWf("odd", "cart", {"customer": "a\0b\\u0000c\ud7ff", "card": "x"}))
    view = filled(postgres_url, engine, with_masked=True)
    with view.read() as connection:
        (variables,) = connection.execute(select(tables.wf_runs.c.variables)).scalars()
    assert variables["customer"] == "a\N{SYMBOL FOR NULL}b\\u0000c\ud7ff"


def test_a_database_that_refuses_us_is_told(postgres: str) -> None:
    with pytest.raises(ViewUnavailable, match="no_such_database"):
        open_view(postgres.replace("/postgres?", "/no_such_database?"))
