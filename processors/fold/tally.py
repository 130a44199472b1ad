"""The tally of a worker: what its partitions have counted since it started, for metrics.

It says which events of the log count, and under which labels. The `Census` of each partition adds to it what is
committed. Names of WfSpecs and TaskDefs are bounded, so that no user makes any number of time series. Any thread may
read it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from processors.core.records.events import (
    Ignored,
    Rejected,
    TaskAttemptEnded,
    TaskAttemptRequested,
    ThreadFailed,
    WfRunEnded,
    WfRunStarted,
)
from processors.core.records.failures import is_of_the_engine
from processors.core.records.model import WfRun
from processors.measuring import BoundedNames

Key: TypeAlias = tuple[str, ...]
"""What is counted, and its labels."""
BUSINESS: Final = "business"
"""Stands for all failures that a WfSpec or a task worker names."""


class Tally:
    """Counts since the start of a worker, of all its partitions."""

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}
        self.wf_specs, self.task_defs = BoundedNames(), BoundedNames()

    def add(self, counts: Mapping[Key, int]) -> None:
        """Add what one partition has counted."""
        for key, count in counts.items():
            self._counts[key] = self._counts.get(key, 0) + count

    def of(self, what: str) -> dict[Key, int]:
        """Return the counts of one thing, by its labels. Any thread may ask."""
        return {key[1:]: count for key, count in dict(self._counts).items() if key[0] == what}


# What is counted of the log. Each returns the key under which an event counts.


def _rejected(_: Tally, __: WfRun, event: Rejected) -> Key:
    return "rejections", event.command, event.code


def _ignored(_: Tally, __: WfRun, event: Ignored) -> Key:
    return "ignored", event.command


def _requested(tally: Tally, _: WfRun, event: TaskAttemptRequested) -> Key:
    return "attempts", tally.task_defs.label(event.task_def)


def _ended(_: Tally, __: WfRun, event: TaskAttemptEnded) -> Key:
    return "attempts_ended", event.status, "yes" if event.retry_at_ms is not None else "no"


def _failed(_: Tally, __: WfRun, event: ThreadFailed) -> Key:
    name = event.failure.name
    return "failures", name if is_of_the_engine(name) else BUSINESS


def _started(tally: Tally, _: WfRun, event: WfRunStarted) -> Key:
    return "started", tally.wf_specs.label(event.wf_spec.name)


def _over(tally: Tally, run: WfRun, event: WfRunEnded) -> Key:
    return "ended", tally.wf_specs.label("" if run.wf_spec is None else run.wf_spec.name), event.status


COUNTED: Final[Mapping[type[Any], Callable[[Tally, WfRun, Any], Key]]] = {
    Rejected: _rejected,
    Ignored: _ignored,
    TaskAttemptRequested: _requested,
    TaskAttemptEnded: _ended,
    ThreadFailed: _failed,
    WfRunStarted: _started,
    WfRunEnded: _over,
}
