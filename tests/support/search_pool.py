"""Searches over several WfSpecs with one budget of states, on all processors.

A search stays in one process. The budget is shared out in rounds: what those that are exhausted leave over goes to the
others, in equal parts, until it is used up or all is explored. So a result depends on the budget alone.
"""

import gc
import multiprocessing
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from tests.support.search import Bounds, Found, Search, Violation

Outcome = Found | Violation


def search_all(
    searches: Mapping[str, tuple[dict[str, Any], Bounds]], states: int, processes: int
) -> dict[str, Outcome]:
    """What each search found, or the violation that ended it; `searches` gives definitions and bounds by name."""
    names = list(searches)
    groups = [names[number::processes] for number in range(min(processes, len(names)))]
    workers = [_Worker({name: searches[name] for name in group}) for group in groups]
    try:
        found: dict[str, Outcome] = {name: Found() for name in names}
        shares = dict.fromkeys(names, 0)
        while open_names := [name for name in names if _goes_on(found[name])]:
            left = states - sum(outcome.states for outcome in found.values() if isinstance(outcome, Found))
            if left < len(open_names):
                break
            for name in open_names:
                shares[name] += left // len(open_names)
            for worker in workers:
                worker.explore({name: shares[name] for name in worker.names if name in open_names})
            for worker in workers:
                found |= worker.outcomes()
        return {name: found[name] for name in names}
    finally:
        for worker in workers:
            worker.stop()


def _goes_on(outcome: Outcome) -> bool:
    return isinstance(outcome, Found) and not outcome.exhausted


class _Worker:
    """A process with some of the searches."""

    def __init__(self, searches: dict[str, tuple[dict[str, Any], Bounds]]) -> None:
        self.names: Sequence[str] = tuple(searches)
        context = multiprocessing.get_context("spawn")
        self._connection, other_end = context.Pipe()
        self._process = context.Process(target=_work, args=(other_end, searches), daemon=True)
        self._process.start()
        other_end.close()

    def explore(self, states_max: dict[str, int]) -> None:
        """Have each of these explored until it has so many states."""
        self._connection.send(states_max)

    def outcomes(self) -> dict[str, Outcome]:
        """What came of it; waits for it. Raises EOFError if the process died."""
        outcomes: dict[str, Outcome] = self._connection.recv()
        return outcomes

    def stop(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.join()


def _work(connection: Connection, searches: dict[str, tuple[dict[str, Any], Bounds]]) -> None:
    # Millions of objects stay, and none of them is in a cycle: looking for cycles would take half of the time.
    gc.disable()
    at_work = {name: Search(document, bounds) for name, (document, bounds) in searches.items()}
    while True:
        try:
            states_max: dict[str, int] = connection.recv()
        except EOFError:
            return
        outcomes: dict[str, Outcome] = {}
        for name, states in states_max.items():
            try:
                outcomes[name] = at_work[name].explore(states)
            except Violation as violation:
                outcomes[name] = violation
        connection.send(outcomes)
