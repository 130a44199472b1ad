"""The figures of a worker, for its log: what it did since its start and how long that took."""

from collections import deque
from dataclasses import dataclass, field
from statistics import median


@dataclass(slots=True)
class Figures:
    """Counts of the work of this worker since its start. The seconds are those of polling, folding and committing."""

    turns: int = 0
    records: int = 0
    outputs: int = 0
    timers: int = 0
    aborts: int = 0
    pauses: int = 0
    poll_s: float = 0.0
    fold_s: float = 0.0
    commit_s: float = 0.0
    commits: deque[float] = field(default_factory=lambda: deque(maxlen=1_000))
    """The seconds that each of the latest commits took."""

    def as_dict(self) -> dict[str, float]:
        """Return them for a log line."""
        totals = {name: round(getattr(self, name), 3) for name in self.__slots__ if name != "commits"}
        return {**totals, "commit_ms_p50": round(1_000 * median(self.commits or [0.0]), 1)}
