"""Searches over several WfSpecs with one budget of states, on all processors.

A WfSpec stays in one process. Its searches, each within other bounds, share what they have seen. The budget is given
out in rounds: what exhausted searches leave over goes to the others, in equal parts, until it is used up or everything
is explored.
"""

import gc
import multiprocessing
from collections.abc import Collection, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from tests.support.search import Bounds, Found, Search, Violation

Outcome = Found | Violation
Task = tuple[dict[str, Any], Sequence[Bounds]]
"""The definitions of a WfSpec, and the bounds of its searches, one after the other."""
SearchId = tuple[str, int]
"""The name of the WfSpec and its bounds."""


def search_all(tasks: Mapping[str, Task], states: int, processes: int) -> dict[SearchId, Outcome]:
    """The result of each search, or the violation that ended it."""
    groups = [list(tasks)[number::processes] for number in range(min(processes, len(tasks)))]
    workers = [_Worker({name: tasks[name] for name in group}) for group in groups]
    found: dict[SearchId, Outcome] = {
        (name, number): Found() for name, (_, bounds) in tasks.items() for number in range(len(bounds))
    }
    shares = dict.fromkeys(found, 0)
    try:
        while open_ids := [search for search, outcome in found.items() if _goes_on(outcome)]:
            left = states - sum(outcome.states for outcome in found.values() if isinstance(outcome, Found))
            if left <= 0:
                break
            for search in open_ids:
                shares[search] += -(-left // len(open_ids))
            for worker in workers:
                worker.explore({search: shares[search] for search in open_ids if search[0] in worker.names})
            for worker in workers:
                found |= worker.outcomes()
    finally:
        for worker in workers:
            worker.stop()
    return found


def _goes_on(outcome: Outcome) -> bool:
    return isinstance(outcome, Found) and not outcome.exhausted


class _Worker:
    """A process with some of the searches."""

    def __init__(self, tasks: dict[str, Task]) -> None:
        self.names: Collection[str] = tuple(tasks)
        context = multiprocessing.get_context("spawn")
        self._connection, other_end = context.Pipe()
        self._process = context.Process(target=_work, args=(other_end, tasks), daemon=True)
        self._process.start()
        other_end.close()

    def explore(self, states_max: dict[SearchId, int]) -> None:
        """Let each of these searches explore until it has found so many states."""
        self._connection.send(states_max)

    def outcomes(self) -> dict[SearchId, Outcome]:
        """Wait for the result. Raises EOFError if the process died."""
        outcomes: dict[SearchId, Outcome] = self._connection.recv()
        return outcomes

    def stop(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.join()


def _work(connection: Connection, tasks: dict[str, Task]) -> None:
    # Millions of objects stay, and none of them is in a cycle. Looking for cycles would take half of the time.
    gc.disable()
    at_work: dict[SearchId, Search] = {}
    for name, (document, all_bounds) in tasks.items():
        known: set[int] = set()
        for number, bounds in enumerate(all_bounds):
            at_work[name, number] = Search(document, bounds, known)
    while True:
        try:
            states_max: dict[SearchId, int] = connection.recv()
        except EOFError:
            return
        outcomes: dict[SearchId, Outcome] = {}
        for search, states in states_max.items():
            try:
                outcomes[search] = at_work[search].explore(states)
            except Violation as violation:
                outcomes[search] = violation
        connection.send(outcomes)
