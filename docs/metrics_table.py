"""Write the tables of docs/metrics.md from the table of metrics in the code; with --check, fail if they differ.

python docs/metrics_table.py
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from docs.made import between, write_or_check
from processors.worker.metric_table import LABELS, PROCESS, PROCESSES, Metric

PAGE = Path(__file__).with_name("metrics.md")
BEGIN, END = "<!-- made by docs/metrics_table.py -->", "<!-- end -->"


def rows_of(metrics: tuple[Metric, ...]) -> Iterator[str]:
    """Yield a table with one row for each metric."""
    yield "| Metric | Type | Labels | Meaning |"
    yield "|---|---|---|---|"
    for it in metrics:
        labels = ", ".join(f"`{label}`" for label in it.labels)
        says = f"{it.says.rstrip('.')}; {it.only}." if it.only else it.says
        yield f"| `{it.name}` | {it.kind} | {labels} | {says} |"


def tables() -> Iterator[str]:
    """Yield the tables of all processes."""
    for process, metrics in PROCESSES.items():
        yield f"### {' and '.join(f'`{it}`' for it in process.split(', '))}"
        yield ""
        yield from rows_of(metrics)
        yield ""
    yield "### Every process"
    yield ""
    yield from rows_of(PROCESS)
    yield ""
    yield "### Labels"
    yield ""
    yield "| Label | Values |"
    yield "|---|---|"
    for label, values in LABELS.items():
        yield f"| `{label}` | {values} |"


def page(text: str) -> str:
    """Return the page with the tables as the code has them now."""
    return between(text, BEGIN, END, "\n".join(["", "", *tables(), "", ""]))


if __name__ == "__main__":
    sys.exit(write_or_check(__file__, PAGE, page))
