"""Figures of a console for Prometheus: requests, refusals, logins, actions, and clients of its live events.

Every label has a bounded number of values: none comes from a request.
"""

from collections import Counter
from threading import Lock
from typing import Any

from halter.console.problems import FAILING
from processors.worker.exposition import Exposition, Values
from processors.worker.metric_table import CONSOLE


class Figures:
    """What one console has counted. Any thread may count and ask."""

    live = True
    """The process answers, so it works."""
    ready = True

    def __init__(self) -> None:
        self._lock = Lock()
        # Prometheus does not see the first increase of a series that was not there, and an alert looks at these.
        self._counts: Counter[tuple[str, ...]] = Counter({("requests", str(status)): 0 for status in FAILING})
        self._live = 0
        self._exposition = Exposition(CONSOLE, self._fill)

    def _count(self, what: str, *labels: str) -> None:
        with self._lock:
            self._counts[what, *labels] += 1

    def answered(self, status: int) -> None:
        """Count an answer."""
        self._count("requests", str(status))

    def refused(self, code: str) -> None:
        """Count a refusal by a code of ours."""
        self._count("refusals", code)

    def login(self, way: str, outcome: str) -> None:
        """Count an attempt to log in."""
        self._count("logins", way, outcome)

    def acted(self, action: str, outcome: str) -> None:
        """Count an action."""
        self._count("actions", action, outcome)

    def live_clients(self, number: int) -> None:
        """Note how many clients listen to live events."""
        self._live = number

    def dropped(self, reason: str) -> None:
        """Count a client of live events that was dropped."""
        self._count("live_dropped", reason)

    def as_dict(self) -> dict[str, Any]:
        """Return how it is doing, for probes."""
        return {"live": self.live, "ready": self.ready}

    def _fill(self, values: Values) -> None:
        with self._lock:
            counts = dict(self._counts)
        for (what, *labels), count in counts.items():
            values.set(f"halter_console_{what}_total", count, *labels)
        values.set("halter_console_live_clients", self._live)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return self._exposition.text()
