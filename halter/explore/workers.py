"""A search in several processes.

It begins in one process. When there are enough states, each worker takes its share of them, and from then on keeps the
states that it makes: no state goes from one process to another. What goes are the keys of new states. The parent knows
all keys and says which state is new; of two workers that made the same one, the first keeps it. All workers are at the
same depth, so what is found first is found by a shortest path here too, and the same every time.

Workers are forks of the parent: they need nothing sent to begin with.
"""

import multiprocessing
import os
import signal
from array import array
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from halter.explore.coverage import Coverage
from halter.explore.findings import Finding, Kind
from halter.explore.search import Report, Search, Tell
from halter.explore.states import State
from processors.core.records.errors import HalterError

SEEDS = 500
"""The states for each worker with which the processes part."""
AT_ONCE = 500
"""The states that a worker tries before it asks which of the new ones are new to all."""
PARENT_CHECK_SECONDS = 2
"""How often a worker that waits checks that its parent is still there."""


def can_fork() -> bool:
    """Return True if this system can fork processes."""
    return "fork" in multiprocessing.get_all_start_methods()


def explore(
    search: Search, workers: int, states_max: int, depth_max: int | None = None, tell: Tell | None = None
) -> Report:
    """Search as `Search.explore` does, in this number of processes."""
    for state in search.nearest(states_max, depth_max):
        search.frontier.extend(search.expand(state))
        # Only between two depths, so that all workers begin at the same one.
        last = search.frontier[0].depth == search.frontier[-1].depth if search.frontier else True
        if last and len(search.frontier) >= SEEDS * workers:
            break
    ahead = search.frontier[0].depth if search.frontier else None
    if ahead is None or search.covered.states >= states_max or (depth_max is not None and ahead >= depth_max):
        return search.explore(states_max, depth_max, tell)
    started = [_Worker(search, number, workers) for number in range(workers)]
    search.frontier.clear()
    try:
        _levels(search, started, states_max, depth_max, tell)
        _gather(search, started)
    finally:
        for worker in started:
            worker.stop()
    return search.report()


def _levels(
    search: Search, workers: Sequence["_Worker"], states_max: int, depth_max: int | None, tell: Tell | None
) -> None:
    """Let the workers search, one depth after the other."""
    covered = search.covered
    known = set(search.came)
    while True:
        depth = min((worker.depth for worker in workers if worker.waiting), default=None)
        covered.waiting = sum(worker.waiting for worker in workers)
        if depth is None or covered.states >= states_max or (depth_max is not None and depth >= depth_max):
            break
        at_work = [worker for worker in workers if worker.waiting and worker.depth == depth]
        for worker in at_work:
            worker.send(("expand", AT_ONCE))
        for worker in at_work:
            keys, inputs = worker.receive()
            new = bytearray(len(keys))
            for place, key in enumerate(keys):
                if key not in known:
                    known.add(key)
                    new[place] = 1
            covered.states += sum(new)
            covered.inputs += inputs
            if any(new):
                covered.depth = max(covered.depth, depth + 1)
            worker.send(bytes(new))
            worker.waiting, worker.depth, worker.found = worker.receive()
        if tell is not None:
            tell(covered, max(worker.found for worker in workers))
    if covered.waiting:
        covered.cut_by = "states" if covered.states >= states_max else "depth"


def _gather(search: Search, workers: Sequence["_Worker"]) -> None:
    """Let each kind of quiet state be probed where the nearest one is, and take over what was found."""
    nearest: dict[object, tuple[int, int]] = {kind: (state.depth, -1) for kind, state in search.quiet.items()}
    for number, worker in enumerate(workers):
        worker.send(("quiet", None))
        for kind, depth in worker.receive():
            nearest[kind] = min(nearest.get(kind, (depth, number)), (depth, number))
    for number, worker in enumerate(workers):
        worker.send(("probe", [kind for kind, (_, where) in nearest.items() if where == number]))
    search.probe([kind for kind, (_, where) in nearest.items() if where == -1])
    for worker in workers:
        found: tuple[dict[tuple[Kind, tuple[str, ...]], Finding], Coverage, int] = worker.receive()
        findings, coverage, unprobed = found
        for key, finding in findings.items():
            known = search.findings.get(key)
            if known is None or len(finding.path or ()) < len(known.path or ()):
                search.findings[key] = finding
        search.coverage.add(coverage)
        search.covered.unprobed += unprobed


class _Worker:
    """A process with its share of the states, as the parent sees it."""

    def __init__(self, search: Search, number: int, workers: int) -> None:
        context = multiprocessing.get_context("fork")
        share = list(search.frontier)[number::workers]
        self.waiting, self.depth = len(share), share[0].depth if share else 0
        self.found = 0
        self._connection, other_end = context.Pipe()
        self._process = context.Process(target=_work, args=(other_end, search, share), daemon=True)
        self._process.start()
        other_end.close()

    def send(self, message: object) -> None:
        self._connection.send(message)

    def receive(self) -> Any:
        """Wait for an answer. Raises the HalterError that ended the process, or EOFError if it was killed."""
        answer = self._connection.recv()
        if isinstance(answer, HalterError):
            raise answer
        return answer

    def stop(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.terminate()
        self._process.join()


def _work(connection: Connection, search: Search, share: list[State]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes, and the parent ends the others
    parent = os.getppid()
    search.frontier.clear()
    search.frontier.extend(share)
    search.quiet.clear()
    search.covered.unprobed = 0
    try:
        while _has_message(connection, parent):
            what, argument = connection.recv()
            match what:
                case "expand":
                    _expand(connection, search, argument)
                case "quiet":
                    connection.send([(kind, state.depth) for kind, state in search.quiet.items()])
                case "probe":
                    search.probe(argument)
                    connection.send((search.findings, search.coverage, search.covered.unprobed))
    except HalterError as error:
        connection.send(error)


def _has_message(connection: Connection, parent: int) -> bool:
    """Wait for a message; return False if the parent is gone. Other workers may hold the other end of the pipe."""
    while not connection.poll(PARENT_CHECK_SECONDS):
        if os.getppid() != parent:
            return False
    return True


def _expand(connection: Connection, search: Search, states: int) -> None:
    """Try the next states of one depth, and keep the new states that the parent says are new."""
    depth, inputs = search.frontier[0].depth, search.covered.inputs
    new: list[State] = []
    for _ in range(states):
        if not search.frontier or search.frontier[0].depth > depth:
            break
        new += search.expand(search.frontier.popleft())
    connection.send((array("q", [state.key for state in new]), search.covered.inputs - inputs))
    accepted: bytes = connection.recv()
    search.frontier.extend(state for state, is_new in zip(new, accepted, strict=True) if is_new)
    first = search.frontier[0].depth if search.frontier else 0
    connection.send((len(search.frontier), first, len(search.findings)))
