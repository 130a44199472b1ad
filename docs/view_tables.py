"""Write the tables of docs/view.md from halter/view/tables.py; with --check, fail if they differ.

python docs/view_tables.py
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Table

from docs.made import between, write_or_check
from halter.view import tables

PAGE = Path(__file__).with_name("view.md")
BEGIN, END = "<!-- made by docs/view_tables.py -->", "<!-- end -->"
ORDER = (
    tables.wf_runs,
    tables.thread_runs,
    tables.halt_reasons,
    tables.waits,
    tables.external_events,
    tables.tasks,
    tables.failures,
    tables.dead_letters,
    tables.definitions,
    tables.searchable,
    tables.correlation_keys,
    tables.partitions,
    tables.events,
    tables.source,
    tables.state,
)


def shown(table: Table) -> Iterator[str]:
    """Yield the lines about a table."""
    keys = ", ".join(f"`{column.name}`" for column in table.primary_key.columns)
    yield f"### {table.name}"
    yield ""
    yield f"{table.comment} Key: {keys}."
    yield ""
    yield "| Column | Content |"
    yield "|---|---|"
    for column in table.columns:
        yield f"| `{column.name}` | {(column.comment or '').replace('|', chr(92) + '|')} |"
    yield ""


def page(text: str) -> str:
    """Return the page with the tables as the code has them now."""
    lines = [line for table in ORDER for line in shown(table)]
    return between(text, BEGIN, END, "\n".join(["", "", *lines, ""]))


if __name__ == "__main__":
    sys.exit(write_or_check(__file__, PAGE, page))
