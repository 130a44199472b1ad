"""Explores every order in which inputs can reach a WfRun of one WfSpec, on the pure fold.

The nearest states come first: each command takes a state a step further, an unusual one (`moves`) several. States that
differ only in seq, time and cause are one (`states`). Every state is restored as its rows hold it before it is moved
on, so there is a crash between any two commands. Every new row goes through Avro and back. After each command, the
search checks everything that `invariants` knows, and that the events alone give the same state. In each state, it
checks that what must be refused leaves no trace, and that a fork starts as its source is. The first violation comes
with the shortest path to it, as a scenario document.
"""

import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from halter.explore.states import restored
from halter.files.scenario_document import read_scenario
from halter.scenarios.definitions import register
from halter.scenarios.writing import step_of, text_of
from processors.codec import Codec
from processors.core.records.commands import (
    Command,
    DeleteWfRun,
    ForkWfRun,
    PutWfSpec,
    TaskWorkerCommand,
    TimerFired,
)
from processors.core.records.events import Cause, TaskAttemptRequested, WfRunDeleted, WfRunForked, WfRunStarted
from processors.core.records.model import TERMINAL, Changes, Index, ThreadRun, WfRun, WfRunExternalEvent
from processors.core.rules.context import Context
from processors.core.rules.engine import attach, handle, new_run
from processors.core.rules.snapshots import snapshot_of
from tests.support.invariants import (
    Transition,
    Violated,
    Watch,
    check,
    check_between_commands,
    check_rejections_change_nothing,
)
from tests.support.moves import RUN, Bounds, Move, moves, refusals
from tests.support.states import same, same_row, state_key, thread_key

START_MS = 1_767_225_600_000
NEAREST_MAX = 50_000
"""The number of states that are searched for a shorter path to a violation."""


@dataclass(slots=True)
class Found:
    """The numbers of what a search covered."""

    states: int = 0
    """Distinct states, without seq, time and cause, that no earlier search of the WfSpec has seen."""
    commands: int = 0
    refused: int = 0
    """Commands that changed nothing, as they should."""
    depth: int = 0
    """Commands on the path to the furthest state."""
    exhausted: bool = False
    """True if everything within the bounds was explored."""
    transitions: set[Transition] = field(default_factory=set)

    def __str__(self) -> str:
        extent = "exhausted" if self.exhausted else "the nearest"
        return f"{self.states} states ({extent}), {self.commands} commands, {self.refused} refused, depth {self.depth}"


@dataclass(slots=True)
class _Node:
    run: WfRun | None
    """The state as its rows hold it; None once everything that follows from it was explored."""
    became: dict[tuple[int, str, str], str]
    rescues: int
    """The number of rescues that are left."""
    steps: int
    depth: int
    before: "_Node | None"
    command: Command | None
    time_ms: int


class Violation(AssertionError):
    """An invariant does not hold. The message says which, and has the shortest path to it as a scenario document."""

    def __init__(self, rule: str, document: str, depth: int) -> None:
        super().__init__(rule, document, depth)
        self.rule, self.document, self.depth = rule, document, depth

    def __str__(self) -> str:
        return f"{self.rule}\n\n{self.document}"


class Search:
    """One WfSpec, searched within bounds. A search goes on where it stopped."""

    def __init__(
        self,
        document: dict[str, Any],
        bounds: Bounds,
        known: set[int] | None = None,
        *,
        every_step_alike: bool = False,
        later: Sequence[dict[str, Any]] = (),
    ) -> None:
        """`known` are the states that other searches of the WfSpec have seen. It grows.

        `later` are documents of further versions of the WfSpec. The last one is started.
        """
        self._document, self._later = document, later
        self._known: set[int] = set() if known is None else known
        scenario, problems = read_scenario({**document, "steps": []}, lambda name: name)
        assert scenario is not None, problems
        definitions, refused = register(scenario.definitions)
        for version in later:
            refused += definitions.register([PutWfSpec("small", json.dumps(version))])
        assert not refused, refused
        self._context = Context(definitions, scenario.limits)
        self._bounds = bounds
        self._every_step_alike = every_step_alike
        root = _Node(new_run(RUN.wf_run_id), {}, bounds.rescues, 0, 0, None, None, START_MS)
        assert root.run is not None
        self._frontier: list[tuple[int, int, _Node]] = [(0, 0, root)]
        self._root_key = state_key(root.run)
        self._rescues_left: dict[int, int] = {self._root_key: bounds.rescues}
        """Each state seen -> the most rescues that were left."""
        self._rows: set[int] = set()
        self._pushed = 0
        self.found = Found()

    def explore(self, states_max: int, depth_max: int | None = None) -> Found:
        """Search until everything is covered, or so many states, or so deep. Raises Violation."""
        while self._frontier and self.found.states < states_max:
            node = heapq.heappop(self._frontier)[2]
            if depth_max is not None and node.depth >= depth_max:
                break
            try:
                self._expand(node)
            except Violation as violation:
                raise self._nearest(violation) from violation.__cause__
        self.found.exhausted = not self._frontier
        return self.found

    def _nearest(self, violation: Violation) -> Violation:
        """Return the violation with the shortest path. Steps count differently, so there may be a nearer one."""
        if self._every_step_alike:
            return violation
        try:
            nearer = Search(self._document, self._bounds, every_step_alike=True, later=self._later)
            nearer.explore(NEAREST_MAX, violation.depth - 1)
        except Violation as nearest:
            return nearest
        return violation

    def _expand(self, node: _Node) -> None:
        run = node.run
        assert run is not None
        key = state_key(run)
        for move in moves(run, node.time_ms, self._bounds, node.rescues):
            self._take(node, run, move)
        self._check_refusals(node, run)
        check(state_key(run) == key, "what was restored shares nothing with what it was restored from", run)
        node.run = None

    def _take(self, node: _Node, run: WfRun, move: Move) -> None:
        """Fold a command on the restored state, check it, and keep the resulting state if it is new."""
        live, copy = (attach(restored(run), self._context) for _ in range(2))
        watch = Watch(copy, self._context)
        watch.became.update(node.became)
        rescues = node.rescues - move.rescues
        steps = node.steps + (1 if self._every_step_alike else move.steps)
        after = _Node(live, watch.became, rescues, steps, node.depth + 1, node, move.command, move.time_ms)
        self.found.commands += 1
        try:
            entries = handle(live, move.command, self._cause(node.depth), move.time_ms, self._context)
            watch.see(entries)
            watch.end_of_command()
            check_rejections_change_nothing(entries)
            self.found.transitions |= watch.seen
            check(same(live, copy), "replaying the log gives the same state", move.command)
            key = state_key(live)
            seen = self._rescues_left.get(key)
            if seen is not None and seen >= rescues:
                return
            check_rows(run, live)
            if key not in self._known:
                check_between_commands(live, self._context)
                self._check_avro(live)
                check_fork(live, self._context)
        except Exception as problem:
            raise self._violation(problem, [*_path(node), after]) from problem
        self._rescues_left[key] = rescues
        self.found.states += key not in self._known
        self._known.add(key)
        self.found.depth = max(self.found.depth, after.depth)
        live.changes, live.index = Changes(), Index()
        self._pushed += 1
        heapq.heappush(self._frontier, (steps, self._pushed, after))

    def _cause(self, offset: int) -> Cause:
        return Cause("inputs", 0, offset, None, self._context.definitions.position)

    def _check_refusals(self, node: _Node, run: WfRun) -> None:
        """Check that what must change nothing changes nothing, and that what ends the WfRun leaves nothing of it."""
        scratch = attach(restored(run), self._context)
        command: Command = RUN
        try:
            for command, outcome in refusals(run, node.time_ms):
                self.found.refused += 1
                entries = handle(scratch, command, self._cause(node.depth), node.time_ms, self._context)
                found = [type(entry.event) for entry in entries]
                check(found == [outcome], f"what cannot be now is {outcome.__name__}", (command, found))
                check(scratch.changes == Changes(), "what is refused changes no row", (command, scratch.changes))
            check(state_key(scratch) == state_key(run), "what is refused changes nothing", run.wf_run_id)
            command = _end_of(scratch)
            if run.exists:
                self._check_end(node, run, scratch, command)
        except Exception as problem:
            refused = _Node(None, {}, 0, 0, node.depth + 1, node, command, node.time_ms)
            raise self._violation(problem, [*_path(node), refused]) from problem

    def _check_end(self, node: _Node, run: WfRun, scratch: WfRun, command: Command) -> None:
        due_ms = command.due_ms if isinstance(command, TimerFired) else 0
        entries = handle(scratch, command, self._cause(node.depth), max(node.time_ms, due_ms), self._context)
        check([type(entry.event) for entry in entries] == [WfRunDeleted], "a WfRun is deleted anywhere", entries)
        left = {thread.number for thread in scratch.changes.left}
        forgotten = set(scratch.changes.forgotten)
        check(scratch.changes.deleted and left >= run.threads.keys(), "a deletion leaves no ThreadRun", left)
        check(forgotten >= run.external_events.keys(), "a deletion leaves no ExternalEvent", forgotten)
        check(state_key(scratch) == self._root_key, "a deletion leaves nothing", run.wf_run_id)
        late = (*(fired.command for fired in moves(run, node.time_ms, self._bounds, 0)), command)
        for stale in late:
            if isinstance(stale, TaskWorkerCommand | TimerFired):
                refusal = handle(scratch, stale, self._cause(node.depth + 1), node.time_ms, self._context)
                check(len(refusal) == 1 and not scratch.exists, "nothing wakes what was deleted", (stale, refusal))

    def _check_avro(self, run: WfRun) -> None:
        """Check that new rows are the same after they have been records of the state topics."""
        rows: list[tuple[object, WfRun | ThreadRun | WfRunExternalEvent]] = [
            (thread_key(run.threads[number]), run.threads[number]) for number in run.changes.threads
        ]
        rows += [(thread_key(thread), thread) for thread in run.changes.left]
        for event_key in run.changes.external_events:
            event = run.external_events[event_key]
            rows.append(((event_key, event.status, event.thread, event.content is None), event))
        waiting = (tuple(run.accepted_interrupts), tuple(run.unstarted_failure_handlers))
        rows.append(((*waiting, run.greatest_thread_number, run.final_status, run.timer is None), run))
        for key, row in rows:
            number = hash(key)
            if number in self._rows:
                continue
            self._rows.add(number)
            codec = Codec.load()
            decoded = codec.decode(codec.encode(row))
            if isinstance(row, WfRun):
                check(isinstance(decoded, WfRun) and same_row(row, decoded), "a row survives Avro", row.wf_run_id)
            else:
                check(decoded == row, "a row survives Avro", (row, decoded))

    def _violation(self, problem: Exception, path: list[_Node]) -> Violation:
        kind = "" if isinstance(problem, Violated) else f"{type(problem).__name__}: "
        rule = f"{kind}{problem}"
        return Violation(rule, self._scenario(path, rule), path[-1].depth)

    def _scenario(self, path: list[_Node], name: str) -> str:
        now = START_MS
        steps: list[dict[str, Any]] = [{"define": {"wf_specs": [version]}} for version in self._later]
        for node in path:
            assert node.command is not None
            timed = isinstance(node.command, TimerFired)
            steps.append({"clock": f"+{node.time_ms - now}ms"} if timed else step_of(node.command))
            now = node.time_ms
        document = {**self._document, "name": name.splitlines()[0], "steps": [*steps, {"crash": {}}]}
        return text_of(document)


def check_fork(run: WfRun, context: Context) -> None:
    """Check that a fork of a live WfRun is as the WfRun is: nothing follows but the requests for its tasks."""
    if run.status in TERMINAL or not run.exists:
        return
    snapshot = snapshot_of(run)
    fork = new_run("fork")
    entries = handle(fork, ForkWfRun("fork", snapshot), Cause("inputs", 0, 0, None, 0), run.time_ms + 1_000, context)
    found = [type(entry.event) for entry in entries]
    tasks = sum(it.task_out and it.status not in TERMINAL for it in run.threads.values())
    expected = [WfRunStarted, WfRunForked, *[TaskAttemptRequested] * tasks]
    check(found == expected, "nothing follows from a fork but its tasks", [entry.event for entry in entries])
    check(
        [*map(thread_key, fork.threads.values())] == [*map(thread_key, run.threads.values())],
        "a fork has the threads of its source",
        run.wf_run_id,
    )
    check_between_commands(fork, context)


def _end_of(run: WfRun) -> Command:
    """Return the command that takes a WfRun away: the end of its retention if that has begun, else DeleteWfRun."""
    if run.timer is None:
        return DeleteWfRun(run.wf_run_id)
    return TimerFired(run.wf_run_id, run.incarnation, 0, 0, run.timer.kind, run.timer.due_ms)


def check_rows(before: WfRun, run: WfRun) -> None:
    """Expect that every row that differs from the last written one is noted as changed."""
    for number, thread in run.threads.items():
        if number not in run.changes.threads:
            check(before.threads.get(number) == thread, "a changed ThreadRun is written", number)
    for key, event in run.external_events.items():
        if key not in run.changes.external_events:
            check(before.external_events.get(key) == event, "a changed ExternalEvent is written", key)
    left = {thread.number for thread in run.changes.left}
    for number in before.threads:
        check(number in run.threads or number in left, "a ThreadRun that left gets its tombstone", number)


def _path(node: _Node) -> Iterable[_Node]:
    nodes: list[_Node] = []
    current: _Node | None = node
    while current is not None and current.command is not None:
        nodes.append(current)
        current = current.before
    return nodes[::-1]
