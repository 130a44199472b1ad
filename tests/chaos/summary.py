"""Prints several runs in two tables, for docs/reliability.md: python -m tests.chaos.summary EVIDENCE...

The folders are those that `--evidence` named. Nothing is measured again: each run has its findings in report.json.
"""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.chaos.faults import FAULTS
from tests.chaos.findings import Kind
from tests.chaos.table import recovery

COUNTED: Final = (Kind.LOST, Kind.DOUBLED, Kind.OUT_OF_ORDER)


def summary(reports: list[dict[str, Any]]) -> Iterator[str]:
    """Return a row per run, then a row per kind of fault over all runs."""
    yield (
        "| brokers | partitions | workers | members | protocol | store | seed | faults | inputs | events "
        "| lost | doubled | out of order | else wrong | recovery p50 | max | minutes |"
    )
    yield f"|{'--:|' * 3}---|---|---|{'--:|' * 11}"
    for report in reports:
        yield run_row(report)
    yield ""
    yield "| fault | times | recovery p50 | max | what it is |"
    yield "|---|--:|--:|--:|---|"
    felt = defaultdict(list)
    for report in reports:
        for fault in report["faults"]:
            felt[fault["kind"]].append(fault["seconds"])
    for kind, strike in FAULTS.items():
        if found := felt.get(kind):
            yield f"| {kind} | {len(found)} | {recovery(found)} | {(strike.__doc__ or '').strip()} |"
    everything = [seconds for found in felt.values() for seconds in found]
    yield f"| **all** | **{len(everything)}** | {recovery(everything)} | |"
    yield ""
    yield from (f"{'; '.join(versions)}." for versions in dict.fromkeys(tuple(it["versions"]) for it in reports))
    yield from (f"Machine: {machine}." for machine in dict.fromkeys(it["machine"] for it in reports))


def run_row(report: dict[str, Any]) -> str:
    """Return the row of one run."""
    options, verdict = report["options"], report["verdict"]
    kinds = Counter(finding.partition(":")[0] for finding in verdict["findings"])
    counts = [kinds[kind] for kind in COUNTED]
    cells = [
        options["brokers"],
        options["partitions"],
        options["workers"],
        options["members"],
        "KIP-848" if options["kip848"] else "classic",
        options.get("store", "memory"),
        options["seed"],
        len(report["faults"]),
        verdict["inputs"],
        verdict["events"],
        *counts,
        sum(kinds.values()) - sum(counts),
        recovery([fault["seconds"] for fault in report["faults"]]),
        f"{report['seconds'] / 60:.0f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print the tables."""
    reports = [json.loads((Path(folder) / "report.json").read_text(encoding="utf-8")) for folder in sys.argv[1:]]
    print("\n".join(summary(reports)))


if __name__ == "__main__":
    main()
