"""Explores every order in which a bounded set of inputs can reach a WfRun, on the pure fold.

A breadth-first search over commands: ExternalEvents, reports, timers, stop, resume, rescue, each as often as its bounds
allow. States that differ only in seq, time and cause are one. Every state is restored as its rows hold it before it is
moved on, and after each command all that `invariants` knows is checked. The first violation comes with its shortest
path, as a scenario document.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import yaml

from halter.scenarios.definitions import register
from halter.scenarios.document import read_scenario
from processors.core.commands import (
    Command,
    ExternalEvent,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    StopWfRun,
    TaskStatus,
    TimerFired,
)
from processors.core.context import Context
from processors.core.engine import attach, handle, new_run
from processors.core.events import Cause
from processors.core.model import TERMINAL, Changes, Index, ManualHalt, Status, ThreadRun, WfRun
from tests.support.invariants import Transition, Violated, Watch, check, check_rejections_change_nothing, check_settled

RUN = RunWf("w1", "small")
START_MS = 1_767_225_600_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """How often each kind of input may come."""

    events: tuple[tuple[str, int], ...] = ()
    """ExternalEventDef -> how many of it."""
    failures: int = 0
    """Reports that are not SUCCESS, business exceptions and technical failures alike."""
    stops: int = 0
    rescues: int = 0
    timers: int = 0
    before: int = 0
    """How many of the events may come before the WfRun."""


@dataclass(slots=True)
class Found:
    """What a search covered."""

    states: int = 0
    commands: int = 0
    depth: int = 0
    exhausted: bool = True
    """Whether everything within the bounds was explored."""
    transitions: set[Transition] = field(default_factory=set)


@dataclass(slots=True)
class _Node:
    run: WfRun | None
    """The state, as its rows hold it; None once all that follows from it has been looked at."""
    settled: dict[tuple[int, str, str], str]
    bounds: Bounds
    depth: int
    before: "_Node | None"
    command: Command | None
    time_ms: int


class Violation(AssertionError):
    """A rule does not hold; carries the shortest path to where it does not."""


class Search:
    """One WfSpec, searched within bounds."""

    def __init__(self, document: dict[str, Any], bounds: Bounds) -> None:
        self._document = document
        scenario, problems = read_scenario({**document, "steps": []}, lambda name: name)
        assert scenario is not None, problems
        definitions, refused = register(scenario.definitions)
        assert not refused, refused
        self._context = Context(definitions, scenario.limits)
        self._bounds = bounds
        self.found = Found()

    def explore(self, states_max: int) -> Found:
        """Search until everything is covered, or so many states. Raises Violation."""
        root = _Node(new_run(RUN.wf_run_id), {}, self._bounds, 0, None, None, START_MS)
        seen: set[int] = set()
        frontier = [root]
        while frontier:
            following: list[_Node] = []
            for node in frontier:
                assert node.run is not None
                for command, bounds in list(_moves(node.run, node)):
                    after = self._move(node, node.run, command, bounds, seen)
                    self.found.commands += 1
                    if after is None:
                        continue
                    self.found.states += 1
                    self.found.depth = after.depth
                    if self.found.states >= states_max:
                        self.found.exhausted = False
                        return self.found
                    following.append(after)
                node.run = None
            frontier = following
        return self.found

    def _move(self, node: _Node, run: WfRun, command: Command, bounds: Bounds, seen: set[int]) -> _Node | None:
        """Fold a command on the restored state, check it, and give the state it leads to if that is a new one."""
        time_ms = max(node.time_ms, command.due_ms) if isinstance(command, TimerFired) else node.time_ms
        live, copy = (attach(copied(run), self._context) for _ in range(2))
        cause = Cause("inputs", 0, node.depth, None, self._context.definitions.position)
        watch = Watch(copy)
        watch.settled.update(node.settled)
        after = _Node(live, watch.settled, bounds, node.depth + 1, node, command, time_ms)
        try:
            entries = handle(live, command, cause, time_ms, self._context)
            watch.see(entries)
            watch.end_of_command()
            check_rejections_change_nothing(entries)
            self.found.transitions |= watch.seen
            key = _key(live, after)
            if key in seen:
                return None
            seen.add(key)
            check(same(live, copy), "replaying the log gives the same state", command)
            check_rows(run, live)
            check_settled(live, self._context)
        except Exception as problem:
            path = [*_path(node), command]
            kind = "" if isinstance(problem, Violated) else f"{type(problem).__name__}: "
            raise Violation(f"{kind}{problem}\n\n{self._scenario(path, str(problem))}") from problem
        live.changes = Changes()
        return after

    def _scenario(self, path: list[Command], name: str) -> str:
        now = START_MS
        steps: list[dict[str, Any]] = []
        for command in path:
            due = max(now, command.due_ms) if isinstance(command, TimerFired) else now
            steps.append(_step(command, due - now))
            now = due
        document = {**self._document, "name": name.splitlines()[0], "steps": steps}
        return "\n".join(_yaml(key, value) for key, value in document.items())


def _yaml(key: str, value: Any) -> str:
    """A part of a scenario document; its steps on one line each."""
    if key == "steps":
        return "steps:\n" + "".join(f"  - {_flow(step)}\n" for step in value)
    return yaml.safe_dump({key: value}, sort_keys=False, width=110, default_flow_style=None).rstrip()


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=True, width=10_000)
    return text.strip()[1:-1]


def copied(run: WfRun) -> WfRun:
    """A copy that shares no value that may change, without what is not in rows: what restoring gives."""
    threads = {
        number: replace(
            thread,
            node=replace(
                thread.node,
                waits=None if thread.node.waits is None else [replace(wait) for wait in thread.node.waits],
            ),
            variables=dict(thread.variables),
            outputs=dict(thread.outputs),
            halt_reasons=list(thread.halt_reasons),
            children=list(thread.children),
            handled_children=list(thread.handled_children),
        )
        for number, thread in run.threads.items()
    }
    return replace(
        run,
        accepted_interrupts=list(run.accepted_interrupts),
        unstarted_failure_handlers=list(run.unstarted_failure_handlers),
        command_ids=list(run.command_ids),
        threads=threads,
        external_events={key: replace(event) for key, event in run.external_events.items()},
        changes=Changes(),
        index=Index(),
        spec=None,
    )


_NOT_STATE = frozenset({"changes", "index", "spec"})
_STATE = tuple(item.name for item in fields(WfRun) if item.name not in _NOT_STATE)


def same(one: WfRun, other: WfRun) -> bool:
    """Whether two WfRuns have the same rows."""
    return all(getattr(one, name) == getattr(other, name) for name in _STATE)


def check_rows(before: WfRun, run: WfRun) -> None:
    """Every row that differs from what was written last is noted as changed."""
    for number, thread in run.threads.items():
        if number not in run.changes.threads:
            check(before.threads.get(number) == thread, "a changed ThreadRun is written", number)
    for key, event in run.external_events.items():
        if key not in run.changes.external_events:
            check(before.external_events.get(key) == event, "a changed ExternalEvent is written", key)
    left = {thread.number for thread in run.changes.left}
    for number in before.threads:
        check(number in run.threads or number in left, "a ThreadRun that left gets its tombstone", number)


def _path(node: _Node) -> list[Command]:
    commands: list[Command] = []
    current: _Node | None = node
    while current is not None and current.command is not None:
        commands.append(current.command)
        current = current.before
    return commands[::-1]


def _moves(run: WfRun, node: _Node) -> Iterator[tuple[Command, Bounds]]:
    bounds = node.bounds
    if not run.exists:
        yield RUN, bounds
        if bounds.before == 0:
            return
        bounds = replace(bounds, before=bounds.before - 1)
    posted = len(run.external_events)
    for index, (name, times) in enumerate(bounds.events):
        if times:
            left = (*bounds.events[:index], (name, times - 1), *bounds.events[index + 1 :])
            event = ExternalEvent(RUN.wf_run_id, name, f"{name}{posted + 1}", None)
            yield event, replace(bounds, events=left)
    for thread in run.threads.values():
        if thread.status not in TERMINAL:
            yield from _moves_of(run, thread, bounds)
        elif thread.status is Status.ERROR and bounds.rescues:
            less = replace(bounds, rescues=bounds.rescues - 1)
            yield RescueThreadRun(RUN.wf_run_id, thread.number, skip_current_node=False), less
            yield RescueThreadRun(RUN.wf_run_id, thread.number, skip_current_node=True), less
    timers = sorted(
        (thread.node.timer.due_ms, thread.number, thread.node.position, thread.node.timer.kind)
        for thread in run.threads.values()
        if thread.node.timer is not None and thread.status not in TERMINAL
    )
    if timers and bounds.timers:
        due_ms, number, position, kind = timers[0]
        fired = TimerFired(RUN.wf_run_id, run.incarnation, number, position, kind, due_ms)
        yield fired, replace(bounds, timers=bounds.timers - 1)


def _moves_of(run: WfRun, thread: ThreadRun, bounds: Bounds) -> Iterator[tuple[Command, Bounds]]:
    if thread.task_out:
        assert thread.node.task is not None
        report = ReportTaskRun(
            RUN.wf_run_id,
            run.incarnation,
            thread.number,
            thread.node.position,
            thread.node.task.attempt,
            TaskStatus.SUCCESS,
        )
        yield report, bounds
        if bounds.failures:
            less = replace(bounds, failures=bounds.failures - 1)
            yield replace(report, status=TaskStatus.FAILED, message="broken"), less
            yield replace(report, status=TaskStatus.EXCEPTION, failure_name="oops", message="no"), less
    if ManualHalt() in thread.halt_reasons:
        yield ResumeWfRun(RUN.wf_run_id, thread.number), bounds
    elif bounds.stops:
        yield StopWfRun(RUN.wf_run_id, thread.number), replace(bounds, stops=bounds.stops - 1)


def _key(run: WfRun, node: _Node) -> int:
    """The state without seq, time and cause, and what may still come."""
    timers = sorted({t.node.timer.due_ms for t in run.threads.values() if t.node.timer is not None})
    return hash(
        (
            tuple(_thread_key(thread, timers) for thread in run.threads.values()),
            tuple((*event.key, event.status, event.thread) for event in run.external_events.values()),
            tuple(run.accepted_interrupts),
            tuple(run.unstarted_failure_handlers),
            run.greatest_thread_number,
            run.final_status,
            run.timer is None,
            node.bounds,
        )
    )


def _thread_key(thread: ThreadRun, timers: list[int]) -> tuple[object, ...]:
    node = thread.node
    task = node.task
    return (
        (thread.number, thread.type, thread.thread_spec, thread.parent, thread.status, thread.waiter),
        (node.node, node.position, node.matured_seq is not None, node.failure, node.failure_handled),
        None if node.timer is None else (node.timer.kind, timers.index(node.timer.due_ms)),
        None if task is None else (task.status, task.attempt, task.result, task.failure_name),
        None if node.waits is None else tuple((wait.thread, wait.handler, wait.handled) for wait in node.waits),
        repr(thread.variables) if thread.variables else "",
        repr(thread.outputs) if thread.outputs else "",
        tuple(thread.halt_reasons),
        tuple(thread.children),
        tuple(thread.handled_children),
        thread.external_event_id,
        thread.failure,
    )


def _step(command: Command, wait_ms: int) -> dict[str, Any]:
    match command:
        case RunWf():
            return {"run": {"id": command.wf_run_id, "spec": command.wf_spec_name}}
        case ExternalEvent():
            event = {"wf": command.wf_run_id, "name": command.external_event_def, "id": command.external_event_id}
            return {"event": event}
        case ReportTaskRun():
            report = {"wf": command.wf_run_id, "thread": command.thread, "status": command.status.value}
            if command.failure_name is not None:
                report["name"] = command.failure_name
            return {"report": report}
        case StopWfRun():
            return {"stop": {"wf": command.wf_run_id, "thread": command.thread}}
        case ResumeWfRun():
            return {"resume": {"wf": command.wf_run_id, "thread": command.thread}}
        case RescueThreadRun():
            rescue = {"wf": command.wf_run_id, "thread": command.thread}
            return {"rescue": rescue | ({"skip_current_node": True} if command.skip_current_node else {})}
        case TimerFired():
            return {"clock": f"+{wait_ms}ms"}
        case _:
            raise AssertionError(command)
