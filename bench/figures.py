"""The results of a benchmark: named figures with their spread, as JSON and as a table."""

import json
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from processors.core.rules import engine
from tests.support.machine import Machine

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Figure:
    """One quantity, measured several times."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    target: str = ""
    """The target that docs/performance.md gives for it, as text; empty if there is none."""

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)

    def row(self) -> list[str]:
        """Return the figure as a row of the table."""
        spread = f"{shown(min(self.values))} … {shown(max(self.values))}" if len(self.values) > 1 else ""
        return [self.name, f"{shown(self.median)} {self.unit}", spread, str(len(self.values)), self.target]


class Figures:
    """All figures of one run, in the order in which they were measured."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.all: dict[str, Figure] = {}
        self._quiet = quiet

    def add(self, name: str, unit: str, value: float, target: str = "") -> None:
        """Note one measurement, and print it unless we are quiet."""
        self.all.setdefault(name, Figure(name, unit, target=target)).values.append(value)
        if not self._quiet:
            print(f"  {name}: {shown(value)} {unit}", flush=True)

    def table(self) -> str:
        """Return the figures as a Markdown table."""
        rows = [["What", "Median", "Spread", "Runs", "Target"], *(figure.row() for figure in self.all.values())]
        return "\n".join(
            ["| " + " | ".join(row) + " |" for row in rows[:1]]
            + ["|---|---|---|---|---|"]
            + ["| " + " | ".join(row) + " |" for row in rows[1:]]
        )

    def write(self, path: Path, what: str) -> None:
        """Write the figures as JSON, with machine, versions and date."""
        document = {"what": what, **circumstances(), "figures": [vars(figure) for figure in self.all.values()]}
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def shown(value: float) -> str:
    """Return a number as text, with only the digits that matter."""
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def circumstances() -> dict[str, Any]:
    """Return machine, versions, date and commit."""
    from halter.broker.jars import KAFKA_VERSION

    machine = asdict(Machine())
    del machine["python"]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit_of(ROOT),
        "machine": machine,
        "versions": {
            "python": platform.python_version(),
            "kafka": KAFKA_VERSION,
            "halter": version("halter-kafka"),
            **{name: version(name) for name in ("confluent-kafka", "faust-streaming", "fastavro")},
        },
        "core": "compiled by mypyc" if core_is_compiled() else "as Python",
    }


def commit_of(checkout: Path) -> str:
    """Return the commit that a checkout stands at; nothing if git does not know."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def core_is_compiled() -> bool:
    """Return True if the measured processes, which get the paths of this one, import the compiled core."""
    return not (engine.__file__ or "").endswith(".py")


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def in_words(names: Iterable[str]) -> str:
    """Return names as a list for a sentence."""
    return ", ".join(names)
