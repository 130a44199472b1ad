"""Where a view is: opens its database for reading or for writing, and says in a sentence what is wrong with it.

Knows URLs, versions of the schema and the ways of SQLite and PostgreSQL. Does not know what is in the tables.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, inspect, make_url, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError

from halter.view import tables
from processors.core.records.errors import HalterError

VARIABLE: Final = "HALTER_VIEW"
FILE: Final = "halter-view.db"
REVISIONS: Final = ("0001", "0002")
"""All revisions of the schema that this release knows, oldest first."""
NEWEST: Final = REVISIONS[-1]
"""The revision that this release reads and writes."""
SCHEMA: Final = "halter_view"
"""The schema of PostgreSQL that has the tables."""
NEXT: Final = "halter_view_next"
"""The schema in which a view is built anew beside the old one."""
LOCK_SECONDS: Final = 10
"""How long a statement waits in PostgreSQL for what another has locked."""
WAL_BYTES: Final = 64 * 1024 * 1024
"""How much of SQLite's log of writes stays on the disk."""
CANCELED: Final = "57014"
"""The code of PostgreSQL for a statement that was ended, by `statement_timeout` or by somebody."""
LOCK: Final = 1_751_477_366
"""The number of our advisory lock in PostgreSQL."""
QUESTION_SECONDS: Final = 30
"""How long a question of a reader may take. Those of Halter take milliseconds: something is wrong with a longer one."""
STEPS: Final = 20_000
"""After so many steps SQLite looks at the clock: about a millisecond."""
BY_INDEX: Final = " ".join(
    f"-c enable_{it}=off" for it in ("seqscan", "bitmapscan", "hashjoin", "mergejoin", "material")
)
"""Each question of ours has an index that gives its first rows. PostgreSQL would rather read tables from end to end,
large ones too. It still does so where there is no other way.
"""
ANALYZED_ROWS: Final = 1_000
"""How many rows of an index SQLite looks at to learn how it is filled."""
WAIT_SECONDS: Final = 3
"""How long somebody waits for a database that another has locked."""
READY: Final = "READY"
START_ONE: Final = "start one: `halter view`"


class ViewUnavailable(HalterError):
    """There is no view at a place, or it cannot be used. Whoever asked does what the sentence says."""


def default_url(env: Mapping[str, str] = os.environ) -> str:
    """Return where the view is if nobody says so: HALTER_VIEW, or a file in the folder of the user's data."""
    if named := env.get(VARIABLE):
        return named
    base = Path(env.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return str(base / "halter" / FILE)


def url_of(text: str) -> URL:
    """Return the URL of a database: a file of SQLite, or `postgresql://…`. Raises ViewUnavailable."""
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser().absolute()))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        found = re.sub(r"://.*@", "://***@", text)  # there may be a password
        raise ViewUnavailable(
            f"the view: expected a file or a URL such as postgresql://user@host/database, found '{found}'"
        ) from error
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite" and url.database:
        return url.set(database=str(Path(url.database).absolute()))
    raise ViewUnavailable(
        f"the view: expected a file (SQLite) or a URL that begins with postgresql://, found '{shown(url)}'"
    )


def shown(url: URL) -> str:
    """Return a URL as messages name it: a file by its path, and no password."""
    if url.get_backend_name() == "sqlite" and url.database:
        return url.database
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


class ViewTaken(ViewUnavailable):
    """Another process keeps the view current. Whoever asked ends that one, or names another view."""


@dataclass(frozen=True, slots=True)
class View:
    """An open view."""

    url: URL
    engine: Engine
    schema: str = SCHEMA
    """The schema of PostgreSQL that has its tables."""

    @property
    def where(self) -> str:
        """Its place, as messages name it."""
        return shown(self.url)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one moment of the view, however long it reads. Raises ViewUnavailable."""
        with explained(self.url), self.engine.connect() as connection:
            expect_ready(connection, self.where)
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection whose writes are committed together, when the block ends. Raises ViewUnavailable."""
        with explained(self.url), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Keep other processes from writing the view during the block. Raises ViewTaken if one does."""
        with explained(self.url), _taken(self):
            yield

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_view(url: str | None = None, *, writable: bool = False) -> View:
    """Open a view; `url` is a file or a URL, by default `default_url()`.

    For writing it is created if need be, and gets the tables of this release. For reading it must be there, with the
    schema of this release. Raises ViewUnavailable.
    """
    place = url_of(default_url() if url is None else url)
    if writable:
        return _writable(place)
    if place.get_backend_name() == "sqlite" and not Path(str(place.database)).is_file():
        raise ViewUnavailable(
            f"the view: there is no file {shown(place)}; {START_ONE}, or name another with {VARIABLE}"
        )
    view = View(place, _engine(place, writable=False))
    with explained(place), view.engine.connect() as connection:
        expect_schema(revision_of(connection), shown(place))
    return view


def _writable(place: URL) -> View:
    if place.get_backend_name() == "sqlite":
        file = Path(str(place.database))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ViewUnavailable(f"the view: the folder {file.parent} cannot be made: {error.strerror}") from error
        if file.is_dir():
            raise ViewUnavailable(f"the view: expected a file, found the folder {file}")
    view = View(place, _engine(place, writable=True))
    with explained(place), view.engine.connect() as connection:
        found = revision_of(connection)
    if found is not None and found != NEWEST:
        expect_known(found, view.where)
        with view.taken():  # nobody writes it by another schema meanwhile
            migrate(view)
    with explained(place):
        migrate(view)
    return view


@contextmanager
def _taken(view: View) -> Iterator[None]:
    if view.url.get_backend_name() == "postgresql":
        with view.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.detach()  # so that it is closed at the end, and the lock goes with it
            asked = f"SELECT pg_try_advisory_lock({LOCK}, hashtext(current_database()))"
            if not connection.exec_driver_sql(asked).scalar():
                raise _taken_already(view)
            yield
        return
    file = Path(f"{view.url.database}-writer")
    with file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _taken_already(view) from error
        yield


def _taken_already(view: View) -> ViewTaken:
    return ViewTaken(
        f"the view {view.where}: another `halter view` keeps it current; end that one, or name another view (--url)"
    )


@contextmanager
def another_generation(view: View) -> Iterator[View]:
    """Give an empty view beside one, to fill it; `replace` puts it in its place. What is left of it goes at the end."""
    if view.url.get_backend_name() == "postgresql":
        with view.engine.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {NEXT} CASCADE")
        beside = View(view.url, _engine(view.url, writable=True, schema=NEXT), NEXT)
    else:
        place = view.url.set(database=f"{view.url.database}-next")
        _remove(place)
        beside = View(place, _engine(place, writable=True))
    try:
        with explained(beside.url):
            migrate(beside)
        yield beside
    finally:
        beside.close()
        if view.url.get_backend_name() == "postgresql":
            with view.engine.begin() as connection:
                connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {NEXT} CASCADE")
        else:
            _remove(beside.url)


def replace(view: View, beside: View) -> None:
    """Put the rows of another generation in the place of those of a view, in one transaction.

    Readers go on with what they see and wait for nothing. Tables stay, and with them who may read them, and what
    others have made of them.
    """
    beside.close()
    with explained(view.url), view.engine.connect() as connection:
        if view.url.get_backend_name() == "sqlite":
            own: Any = connection.connection.driver_connection
            connection.detach()  # it is closed at the end, and lets go of the other file
            own.execute(f"ATTACH ? AS {NEXT}", (str(beside.url.database),))
        with connection.begin():
            for table in tables.metadata.sorted_tables:
                filled = table.to_metadata(MetaData(), schema=NEXT)
                connection.execute(table.delete())
                connection.execute(table.insert().from_select(table.columns.keys(), select(filled)))


def analyze(view: View) -> None:
    """Tell the planner of the database how the tables are filled. It is quick: SQLite looks at some rows of each index.

    Afterwards PostgreSQL does it by itself.
    """
    with explained(view.url), view.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA analysis_limit = {ANALYZED_ROWS}")
            connection.exec_driver_sql("ANALYZE")
            return
        for table in tables.metadata.sorted_tables:
            connection.exec_driver_sql(f"ANALYZE {view.schema}.{table.name}")


def _remove(url: URL) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{url.database}{suffix}").unlink(missing_ok=True)


def migrate(view: View) -> None:
    """Give a database the tables of this release, whatever it had. Raises ViewUnavailable if a newer release did."""
    with view.engine.connect() as connection:
        found = revision_of(connection)
    if found == NEWEST:
        return
    if found is not None:
        expect_known(found, view.where)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    with view.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {view.schema}")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the schema that a database has; None if it has none of the view."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def expect_known(found: str, where: str) -> None:
    """Raise ViewUnavailable if a newer release made a schema."""
    if found not in REVISIONS:
        raise ViewUnavailable(
            f"the view {where} has the schema {found}, which a newer release of Halter made; this one knows schemas up "
            f"to {NEWEST}: upgrade this program, or name another view"
        )


def expect_schema(found: str | None, where: str) -> None:
    """Raise ViewUnavailable unless a schema is that of this release."""
    if found is None:
        raise ViewUnavailable(f"the view {where} has no tables: no `halter view` has written it yet; {START_ONE}")
    expect_known(found, where)
    if found != NEWEST:
        raise ViewUnavailable(
            f"the view {where} has the schema {found}, this release reads {NEWEST}: start `halter view` of this "
            "release, which brings it up to date"
        )


def expect_ready(connection: Connection, where: str) -> None:
    """Raise ViewUnavailable while a view is filled for the first time."""
    state = connection.execute(select(tables.source.c.state)).scalar()
    if state != READY:
        raise ViewUnavailable(
            f"the view {where} is being filled for the first time: wait until `halter view` says that it is current "
            "(`halter view status` shows how far it is)"
            if state
            else f"the view {where} is empty: {START_ONE}"
        )


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn errors of the database into a sentence that names the view."""
    try:
        yield
    except DBAPIError as error:
        raise ViewUnavailable(f"the view {shown(url)}: {_reason(error, url)}") from error


def _reason(error: DBAPIError, url: URL) -> str:
    first, *_ = (str(error.orig).strip() or type(error.orig).__name__).splitlines()
    if first == "interrupted" or getattr(error.orig, "sqlstate", None) == CANCELED:
        return (
            f"a question took longer than {QUESTION_SECONDS:g} s and was ended ({first}): ask for less, by more "
            "filters, or look at what else the database and its disk have to do"
        )
    if url.get_backend_name() == "sqlite":
        if "locked" in first or "busy" in first:
            return f"another process has locked it for more than {WAIT_SECONDS} s ({first}); try again, or end it"
        if "readonly" in first or "unable to open" in first:
            return f"it cannot be opened ({first}): check the rights of the file and of its folder"
        if "not a database" in first:
            return f"the file is no database of SQLite ({first}): name another file"
        if "full" in first or "disk I/O error" in first:
            return f"the disk is full, or it cannot be written ({first})"
    if isinstance(error, OperationalError):
        return f"the database does not answer or refuses us: {first}"
    if isinstance(error, ProgrammingError) and "permission denied" in first:
        return f"{first}: the user needs rights on the schema {SCHEMA}"
    return first


def _engine(url: URL, *, writable: bool, schema: str = SCHEMA) -> Engine:
    if url.get_backend_name() == "postgresql":
        bounds = f"-c lock_timeout={LOCK_SECONDS}s"
        if not writable:
            bounds += f" -c statement_timeout={round(QUESTION_SECONDS * 1_000)} {BY_INDEX}"
        engine = create_engine(
            url.update_query_dict({"connect_timeout": str(WAIT_SECONDS)}),
            connect_args={
                "options": f"-c search_path={schema} {bounds}",
                "application_name": "halter-view",
            },
            isolation_level="READ COMMITTED" if writable else "REPEATABLE READ",
            pool_pre_ping=True,
        )
        if not writable:
            event.listen(engine, "begin", _read_only)
        return engine
    if writable:
        engine = create_engine(url, connect_args={"timeout": WAIT_SECONDS})
    else:
        by_uri = url.set(database=f"file:{quote(str(url.database))}", query={"mode": "ro", "uri": "true"})
        engine = create_engine(by_uri, connect_args={"timeout": WAIT_SECONDS})
    event.listen(engine, "connect", _for_writing if writable else _for_reading)
    event.listen(engine, "begin", _begin_writing if writable else _begin)
    if not writable:
        event.listen(engine, "before_cursor_execute", _begin_question)
    return engine


class _Deadline:
    """When the question that a connection of SQLite answers now has taken too long."""

    def __init__(self) -> None:
        self._until = inf

    def begin(self) -> None:
        """Note that a question begins."""
        self._until = monotonic() + QUESTION_SECONDS

    def has_passed(self) -> bool:
        """Say whether to end the question. SQLite asks now and then."""
        return monotonic() > self._until


DEADLINE: Final = "halter.deadline"


def _begin_question(connection: Connection, *_: object) -> None:
    connection.info[DEADLINE].begin()


def _for_reading(connection: Any, record: Any) -> None:
    deadline = record.info[DEADLINE] = _Deadline()
    connection.set_progress_handler(deadline.has_passed, STEPS)
    connection.isolation_level = None  # so that a transaction begins where we say so, and a reader sees one moment
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA mmap_size = 268435456")
    connection.execute("PRAGMA query_only = 1")


def _for_writing(connection: Any, _: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    connection.execute("PRAGMA cache_size = -65536")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _read_only(connection: Connection) -> None:
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
