"""How far a view is, for people and programs. It also reads one that is still filled for the first time."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from halter.show.counting import counted
from halter.show.times import iso, span
from halter.view import tables
from halter.view.keeping import Ends, ends_of
from halter.view.paging import Count, count_up_to
from halter.view.place import View, ViewUnavailable, explained

WF_RUNS_COUNTED: Final = 1_000_000
"""Where counting WfRuns ends: beyond, the number is `1,000,000+`."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a view says of itself."""

    where: str
    state: str
    """BUILDING or READY."""
    prefix: str
    with_masked: bool
    built_ms: int
    wf_runs: Count
    partitions: dict[int, Ends]

    @property
    def lag(self) -> int:
        """How many offsets are not read yet, as far as is known."""
        return sum(it.lag for it in self.partitions.values())

    def age_s(self, now_ms: int) -> float:
        """How many seconds ago Kafka told how far it goes."""
        return max(0, now_ms - min((it.seen_ms for it in self.partitions.values()), default=now_ms)) / 1000

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "view": self.where,
            "state": self.state,
            "prefix": self.prefix,
            "with_masked": self.with_masked,
            "built": iso(self.built_ms),
            "wf_runs": self.wf_runs.number,
            "wf_runs_is_exact": self.wf_runs.is_exact,
            "lag": self.lag,
            "partitions": {
                str(number): {"log_offset": it.log_offset, "lag": it.lag, "seen": iso(it.seen_ms)}
                for number, it in sorted(self.partitions.items())
            },
        }

    def lines(self, now_ms: int) -> list[str]:
        """Return it as text."""
        age_s = self.age_s(now_ms)
        installation = f"prefix {self.prefix}" if self.prefix else "no prefix"
        masked = "with masked values" if self.with_masked else "without masked values"
        lines = [
            f"{self.where}  {self.state}",
            f"  of {counted(len(self.partitions), 'partition')}, {installation}, {masked}",
            f"  {self.wf_runs.of('WfRun')}; built {iso(self.built_ms)}",
            f"  {counted(self.lag, 'record')} behind, as of {span(round(age_s * 1000))} ago",
        ]
        behind = [f"{number} by {it.lag:,}" for number, it in sorted(self.partitions.items()) if it.lag]
        return [*lines, f"  behind: partition {', '.join(behind)}"] if behind else lines


def status_of(view: View) -> Status:
    """Return how far a view is. Raises ViewUnavailable."""
    with explained(view.url), view.engine.connect() as connection:
        found = connection.execute(select(tables.source)).mappings().one_or_none()
        if found is None:
            raise ViewUnavailable(f"the view {view.where} is empty: no `halter view` has begun to fill it")
        wf_runs = count_up_to(connection, select(tables.wf_runs.c.wf_run_id), WF_RUNS_COUNTED)
        return Status(
            view.where,
            found["state"],
            found["prefix"],
            bool(found["with_masked"]),
            found["built_ms"],
            wf_runs,
            ends_of(connection),
        )
