"""A database of its own for a test of the view, on the PostgreSQL of the session."""

import uuid

import pytest
from sqlalchemy import create_engine

from tests.support.postgres import Postgres


@pytest.fixture(scope="session")
def postgres(postgres_server: Postgres) -> str:
    """Return the URL of a PostgreSQL; another database follows in place of `postgres`."""
    return postgres_server.url


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """Return the URL of an empty database of its own."""
    name = f"view_{uuid.uuid4().hex[:12]}"
    engine = create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return postgres.replace("/postgres?", f"/{name}?")
