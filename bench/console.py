"""Measures how soon the console answers over a view with a great many WfRuns.

    python -m bench.console [--wf-runs 1000000] [--rounds 20] [--view FILE]

The view is made (`tests.support.views.many`) unless a file has one. The console is the real one, in a thread of this
process; each round asks for every page once, by one client after the other. `first` is the first answer of a console
that has just begun.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import httpx

from bench.figures import Figures
from halter.console.settings import Bounds
from tests.support.consoles import SETTINGS, served
from tests.support.views import many

TARGET_MS: Final = 200
ASKED: Final = {
    "the page of WfRuns": "/wf-runs",
    "the list": "/api/wf-runs",
    "the list of halted ones": "/api/wf-runs?status=HALTED",
    "the list of a WfSpec's failed ones": "/api/wf-runs?wf-spec=shop-3&status=ERROR",
    "the list by text": "/api/wf-runs?text=order-00000",
    "the list by a Variable": "/api/wf-runs?var=order_number%3DN000004711",
    "how many": "/api/wf-runs/count",
    "how many of what": "/api/stats",
    "the overview": "/",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wf-runs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--view", type=Path, default=None)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as folder:
        file = given.view or Path(folder) / "view.db"
        if not file.exists():
            many(str(file), given.wf_runs).close()
        figures = measured(file, given.rounds)
    print(figures.table())


def measured(file: Path, rounds: int) -> Figures:
    """Ask a console for each page, so many times."""
    figures = Figures(quiet=True)
    settings = replace(SETTINGS, view_url=str(file), bounds=Bounds(requests=1_000_000))
    taken: dict[str, list[float]] = {name: [] for name in ASKED}
    with served(settings) as console, console.client() as client:
        for _ in range(rounds):
            for name, path in ASKED.items():
                taken[name].append(asked_ms(client, path))
    for name, values in taken.items():
        target = f"≤ {TARGET_MS} ms" if name in ("the page of WfRuns", "the list") else ""
        figures.add(f"{name}: first", "ms", values[0], target)
        figures.add(f"{name}: median", "ms", statistics.median(values), target)
        figures.add(f"{name}: p95", "ms", statistics.quantiles(values, n=20)[-1], target)
    return figures


def asked_ms(client: httpx.Client, path: str) -> float:
    """Return the milliseconds until a whole answer is there."""
    begun = time.perf_counter()
    answer = client.get(path)
    taken = (time.perf_counter() - begun) * 1000
    answer.raise_for_status()
    return taken


if __name__ == "__main__":
    main()
