"""docs/view.md has the tables as they are, and its queries run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from halter.view import tables
from tests.support.views import filled

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "view.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_has_the_tables_as_they_are() -> None:
    done = subprocess.run([sys.executable, "docs/view_tables.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "python docs/view_tables.py"
    for table in tables.metadata.sorted_tables:
        assert f"### {table.name}\n" in PAGE
        assert table.comment
        assert all(column.comment for column in table.columns), table.name


def test_there_are_five_queries() -> None:
    assert len(QUERIES) == 5


@pytest.mark.parametrize("place", ["sqlite", "postgresql"])
def test_the_queries_of_the_page_find_something(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = str(tmp_path / "view.db") if place == "sqlite" else request.getfixturevalue("postgres_url")
    view = filled(url)
    for query in QUERIES:
        with view.read() as connection:
            assert connection.execute(text(query.strip().rstrip(";"))).all(), query
