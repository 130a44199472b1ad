"""The floor, the former code and the present one side by side: a table with ratios, and targets that are looked at.

All sides are measured in turn in one run, so a ratio is that of figures of the same minute: the median of the runs.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.figures import Figures, shown

FLOOR, FORMER, PRESENT, CEILING = "floor", "former", "present", "ceiling"
SIDES = (FLOOR, FORMER, PRESENT, CEILING)


@dataclass(frozen=True)
class Target:
    """What the present side must reach: at most or at least a number; or, instead, a multiple of another side."""

    most: float | None = None
    times_floor: float | None = None
    least: float | None = None
    times_former: float | None = None
    share_of_the_ceiling: float | None = None

    def text(self, unit: str) -> str:
        """Return the target in words."""
        ways = [
            f"≤ {shown(self.most)} {unit}" if self.most is not None else "",
            f"≤ {self.times_floor:g} times the floor" if self.times_floor is not None else "",
            f"≥ {shown(self.least)} {unit}" if self.least is not None else "",
            f"≥ {self.times_former:g} times the former" if self.times_former is not None else "",
            f"≥ {self.share_of_the_ceiling:.0%} of the ceiling" if self.share_of_the_ceiling else "",
        ]
        return " or ".join(filter(None, ways))

    def verdict(self, row: "Row") -> str:
        """Return `met` or `missed`; nothing if what it asks for was not measured."""
        to_floor, to_former, to_ceiling = (row.ratio(side) for side in (FLOOR, FORMER, CEILING))
        present = row.median(PRESENT) if PRESENT in row.values else None
        reached = [
            *at_most(present, self.most),
            *at_most(to_floor, self.times_floor),
            *at_least(present, self.least),
            *at_least(to_former, self.times_former),
            *at_least(to_ceiling, self.share_of_the_ceiling),
        ]
        return "" if not reached else "met" if any(reached) else "missed"


def at_most(found: float | None, wanted: float | None) -> list[bool]:
    """Compare, if both are there."""
    return [] if found is None or wanted is None else [found <= wanted]


def at_least(found: float | None, wanted: float | None) -> list[bool]:
    """Compare, if both are there."""
    return [] if found is None or wanted is None else [found >= wanted]


Targets = Sequence[Target]
"""Targets that must all be met."""


@dataclass
class Row:
    """One quantity, measured on several sides in each run."""

    unit: str
    targets: Targets
    values: dict[str, list[float]] = field(default_factory=dict)

    def median(self, side: str) -> float:
        """Return the median of the runs of a side."""
        return statistics.median(self.values[side])

    def ratio(self, other: str) -> float | None:
        """Return the present side over another, as the median of the runs; None if one of them was not measured."""
        if not self.values.get(other) or not self.values.get(PRESENT):
            return None
        pairs = zip(self.values[PRESENT], self.values[other], strict=True)
        return statistics.median(present / of_other for present, of_other in pairs)


class Sides:
    """The rows of one run, in the order in which they were measured. Each figure is noted among `figures` as well."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.rows: dict[str, Row] = {}

    def add(self, name: str, unit: str, side: str, value: float, *targets: Target) -> None:
        """Note one measurement of a side."""
        self.rows.setdefault(name, Row(unit, targets)).values.setdefault(side, []).append(value)
        self.figures.add(f"{name}, {side}", unit, value)

    def add_all(
        self, name: str, side: str, values: Mapping[str, float], unit: str, targets: Mapping[str, Targets]
    ) -> None:
        """Note several figures of one measurement, which have names of their own."""
        for what, value in values.items():
            self.add(f"{name}: {what}", unit, side, value, *targets.get(what, ()))

    def as_dict(self) -> dict[str, dict[str, list[float]]]:
        """Return the values of all runs: name -> side -> values."""
        return {name: row.values for name, row in self.rows.items()}

    def table(self) -> str:
        """Return a Markdown table."""
        sides = [side for side in SIDES if any(side in row.values for row in self.rows.values())]
        against = [side for side in sides if side != PRESENT]
        head = ["What", *sides, *(f"present ÷ {side}" for side in against), "Runs", "Target of present", ""]
        lines = [head, ["---", *["--:"] * (len(sides) + len(against) + 1), "---", "---"]]
        for name, row in self.rows.items():
            ratios = [row.ratio(side) for side in against]
            lines.append(
                [
                    name,
                    *(self._cell(row, side) for side in sides),
                    *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
                    str(max(map(len, row.values.values()))),
                    "; ".join(target.text(row.unit) for target in row.targets),
                    "; ".join(filter(None, (target.verdict(row) for target in row.targets))),
                ]
            )
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    @staticmethod
    def _cell(row: Row, side: str) -> str:
        if not (values := row.values.get(side)):
            return ""
        spread = f" ({shown(min(values))} … {shown(max(values))})" if len(values) > 1 else ""
        return f"{shown(row.median(side))} {row.unit}".rstrip() + spread
