"""All that is in a view, to compare views."""

from typing import Any, TypeAlias

from sqlalchemy import select

from halter.view import tables
from halter.view.place import View

Contents: TypeAlias = dict[str, list[tuple[Any, ...]]]


def contents(view: View, *, without: tuple[str, ...] = ()) -> Contents:
    """Return all rows of all tables but some, sorted."""
    with view.read() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in tables.metadata.sorted_tables
            if table.name not in without
        }
