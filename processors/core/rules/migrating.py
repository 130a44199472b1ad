"""Migrations: what another version of its WfSpec makes of a WfRun's state, or all that is in the way.

Threads keep their ThreadSpecs and nodes by name, and what is under way there goes on. So the version has to have these
names, and what the state takes for granted about them: that a TASK whose attempt is out is a TASK of that TaskDef, that
a handler still is one of its thread. Here this is held against the version thread by thread, and everything that does
not fit is told, in words for the author of the WfSpec. In the end `possible` looks at the state that would come of it:
what was overlooked here is refused there, and breaks no rule.

Knows two WfSpecs and a state. Changes nothing: the event that it returns says what is to change.
"""

from collections.abc import Iterator
from typing import Final

from processors.core.records.events import Cause, LogEntry, MigratedThread, WfRunMigrated
from processors.core.records.model import (
    FAILED,
    TERMINAL,
    TaskRunStatus,
    ThreadRun,
    ThreadType,
    WfRun,
    WfSpecId,
)
from processors.core.records.spec import (
    AnyNode,
    ExternalEventNode,
    InterruptPolicy,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThreadSpec,
    WaitForThreadsNode,
    WfSpec,
)
from processors.core.records.topic_names import WF_COMMANDS
from processors.core.records.values import Value, ValueProblem, check_total, fits, kind_of, stored
from processors.core.rules.context import Context
from processors.core.rules.evolve import evolve
from processors.core.rules.possible import Impossible, check_state
from processors.core.rules.snapshots import run_of, snapshot_of

PROBLEMS_TOLD_MAX: Final = 20
THREADS_NAMED_MAX: Final = 5


def migration(run: WfRun, to: WfSpecId, context: Context) -> WfRunMigrated:
    """Return the event by which a WfRun goes on by another version. Raises Impossible, which tells all problems."""
    assert run.wf_spec is not None
    found = _Fit(run, to, context)
    found.look()
    event = WfRunMigrated(to, run.wf_spec, found.threads)
    if not found.problems:
        _check(run, event, context)
        return event
    told = [f"{_named(numbers)}: {problem}" for problem, numbers in found.problems.items()]
    more = len(told) - PROBLEMS_TOLD_MAX
    raise Impossible("; ".join(told[:PROBLEMS_TOLD_MAX]) + (f"; and {more} more" if more > 0 else ""))


def _check(run: WfRun, event: WfRunMigrated, context: Context) -> None:
    """Check the state that would come of a migration. Raises Impossible."""
    after = run_of(snapshot_of(run))
    cause = Cause(WF_COMMANDS, 0, 0, None, context.definitions.position)
    evolve(after, LogEntry(run.wf_run_id, run.incarnation, run.seq + 1, run.time_ms, cause, event))
    after.spec = context.definitions.wf_spec(event.wf_spec)
    check_state(after, context)


def _named(numbers: list[int]) -> str:
    """Return threads in words."""
    if len(numbers) == 1:
        return f"thread {numbers[0]}"
    more = len(numbers) - THREADS_NAMED_MAX
    shown = ", ".join(map(str, numbers[:THREADS_NAMED_MAX]))
    return f"threads {shown}" + (f" and {more} more" if more > 0 else "")


def kind_of_node(node: AnyNode) -> str:
    """Return the kind of a node as documents write it: SLEEP."""
    name = type(node).__name__.removesuffix("Node")
    return "".join(f"_{it}" if it.isupper() and place else it for place, it in enumerate(name)).upper()


class _Fit:
    """Holds a state against a version. Few sentences come of many threads that have the same problem."""

    def __init__(self, run: WfRun, to: WfSpecId, context: Context) -> None:
        assert run.spec is not None
        self.problems: dict[str, list[int]] = {}
        """Problem -> the threads that have it, in the order in which they were found."""
        self.threads: list[MigratedThread] = []
        self._run, self._to, self._context = run, to, context
        self._old: WfSpec = run.spec
        self._new: WfSpec = context.definitions.wf_spec(to)
        self._started: dict[str, frozenset[str]] = {}
        """ThreadSpec of the version -> the ThreadSpecs that its START nodes start."""

    def look(self) -> None:
        """Look at every thread, and at every handler that has not started."""
        for thread in self._run.threads.values():
            for problem in self._of_thread(thread):
                self._note(thread.number, problem)
        for number, problem in self._of_pending():
            self._note(number, problem)

    def _note(self, number: int, problem: str) -> None:
        numbers = self.problems.setdefault(problem, [])
        if number not in numbers[-1:]:
            numbers.append(number)

    # Threads.

    def _of_thread(self, thread: ThreadRun) -> Iterator[str]:
        name = thread.thread_spec
        spec = self._new.threads.get(name)
        if spec is None:
            yield f"there is no ThreadSpec {name!r}"
            return
        if thread.number == 0 and name != self._new.entrypoint:
            yield f"the entrypoint is ThreadSpec {self._new.entrypoint!r}, it runs {name!r}"
        variables: dict[str, Value] = {}
        yield from self._of_variables(thread, spec, variables)
        forgets_visit = False
        node = spec.nodes.get(thread.node.node)
        if node is None:
            yield f"ThreadSpec {name!r} has no node {thread.node.node!r}, where it stands"
        elif thread.status in FAILED:
            forgets_visit = self._is_another(thread, node)
        else:
            yield from self._of_node(thread, node)
        yield from self._of_relation(thread)
        variables_gone = [it for it in thread.variables if it not in spec.variables]
        outputs_gone = [it for it in thread.outputs if it not in spec.nodes]
        if variables or variables_gone or outputs_gone or forgets_visit:
            self.threads.append(
                MigratedThread(thread.number, variables, variables_gone, outputs_gone, forgets_visit=forgets_visit)
            )

    # (rule migration-keeps-variables)
    def _of_variables(self, thread: ThreadRun, spec: ThreadSpec, changed: dict[str, Value]) -> Iterator[str]:
        """Tell what is wrong with its Variables; `changed` gets those that are new or stored otherwise."""
        before = self._old.threads[thread.thread_spec].variables
        after: dict[str, Value] = {}
        for name, declared in spec.variables.items():
            what = f"Variable {name!r} of ThreadSpec {spec.name!r}"
            if name not in thread.variables:
                if declared.required:
                    yield f"{what} is new and required: nothing gives it a value"
                after[name] = changed[name] = stored(declared.default, declared.type)
                continue
            value = thread.variables[name]
            if not fits(value, declared.type):
                yield f"{what} is {declared.type}, its value is {kind_of(value)}"
                continue
            after[name] = stored(value, declared.type)
            if type(after[name]) is not type(value):
                changed[name] = after[name]
            # (rule migration-uncovers-nothing)
            if before[name].masked and not declared.masked:
                yield f"{what} is masked until now, and would be shown"
        try:
            check_total((*after.values(), *thread.outputs.values()), "its Variables and outputs")
        except ValueProblem as problem:
            yield str(problem)

    # (rule migration-keeps-nodes)
    def _of_node(self, thread: ThreadRun, new: AnyNode) -> Iterator[str]:
        """Tell what a thread that may run on has begun at its node and could not go on with."""
        state, old = thread.node, self._node(thread)
        what = f"node {new.name!r} of ThreadSpec {thread.thread_spec!r}, where it stands,"
        if type(old) is not type(new):
            yield f"{what} is {kind_of_node(new)}, it was {kind_of_node(old)}"
        elif isinstance(new, TaskNode) and state.task is not None and state.task.task_def != new.task_def:
            of = "an attempt is out" if state.task.status is TaskRunStatus.OUT else "attempts were made"
            yield f"{what} is a TASK of {new.task_def!r}, and {of} of {state.task.task_def!r}"
        elif isinstance(new, TaskNode) and _has_to_start(thread) and new.run_timeout_s is None:
            yield f"{what} has no run_timeout_s, and its attempt has a time until which it has to be started"
        elif isinstance(new, ExternalEventNode) and isinstance(old, ExternalEventNode):
            if new.external_event_def != old.external_event_def:
                yield f"{what} waits for {new.external_event_def!r}, it has waited for {old.external_event_def!r}"
            elif new.timeout_s is None and old.timeout_s is not None:
                yield f"{what} has no time-out, and the one that it had counts already"

    def _is_another(self, thread: ThreadRun, new: AnyNode) -> bool:
        """Say whether the node at which a thread failed is another, so that nothing of its visit means anything."""
        old = self._node(thread)
        if type(old) is not type(new):
            return True
        if isinstance(new, TaskNode):
            is_another = thread.node.task is not None and thread.node.task.task_def != new.task_def
            return is_another or (_has_to_start(thread) and new.run_timeout_s is None)
        if isinstance(new, ExternalEventNode) and isinstance(old, ExternalEventNode):
            is_timed_alike = (new.timeout_s is None) == (old.timeout_s is None)
            return new.external_event_def != old.external_event_def or not is_timed_alike
        return isinstance(new, SleepNode) and thread.node.arrival_failure is not None

    def _node(self, thread: ThreadRun) -> AnyNode:
        """Return the node at which a thread stands, as the version until now has it."""
        return self._old.threads[thread.thread_spec].nodes[thread.node.node]

    # (rule migration-keeps-handlers)
    def _of_relation(self, thread: ThreadRun) -> Iterator[str]:
        """Tell what a thread is to the one above it, and would be no longer."""
        if thread.parent is None:
            return
        parent = self._run.threads[thread.parent]
        above = self._new.threads.get(parent.thread_spec)
        if above is None:
            return  # that is a problem of its parent
        name = thread.thread_spec
        match thread.type:
            case ThreadType.CHILD:
                if name not in self._started_by(above):
                    yield f"no node of ThreadSpec {above.name!r} starts ThreadSpec {name!r}, which one did"
            case ThreadType.INTERRUPT:
                event_def = thread.external_event_def or ""
                interrupt = above.interrupt_of.get(event_def)
                if interrupt is None or interrupt.handler != name:
                    yield f"ThreadSpec {above.name!r} has no interrupt by {event_def!r} with the handler {name!r}"
                elif interrupt.halt is not thread.halts_parent:
                    yield _says_halt(above, event_def, is_halt=interrupt.halt)
            case ThreadType.FAILURE_HANDLER if thread.status not in TERMINAL:
                yield from self._of_failure_handler(thread, parent, above)

    def _of_failure_handler(self, thread: ThreadRun, parent: ThreadRun, above: ThreadSpec) -> Iterator[str]:
        name = thread.thread_spec
        if thread.waiter is None:
            node = above.nodes.get(parent.node.node)
            if node is not None and all(it.handler != name for it in node.failure_handlers):
                yield f"node {node.name!r} of ThreadSpec {above.name!r} has no failure handler {name!r}"
            return
        waiter = self._run.threads.get(thread.waiter)
        spec = None if waiter is None else self._new.threads.get(waiter.thread_spec)
        if spec is not None and not any(
            it.handler == name
            for node in spec.nodes.values()
            if isinstance(node, WaitForThreadsNode)
            for it in node.on_child_failure
        ):
            yield f"no WAIT_FOR_THREADS of ThreadSpec {spec.name!r} has the handler {name!r} for failed children"

    def _started_by(self, spec: ThreadSpec) -> frozenset[str]:
        found = self._started.get(spec.name)
        if found is None:
            nodes = spec.nodes.values()
            starts = (it.thread for it in nodes if isinstance(it, StartThreadNode | StartMultipleThreadsNode))
            found = self._started[spec.name] = frozenset(starts)
        return found

    # Handlers that have not started.

    # (rule migration-keeps-handlers)
    def _of_pending(self) -> Iterator[tuple[int, str]]:
        waiting: set[tuple[int, str]] = set()
        for accepted in self._run.accepted_interrupts:
            number, event_def, event_id = accepted.thread, accepted.external_event_def, accepted.external_event_id
            thread = self._run.threads[number]
            spec = self._new.threads.get(thread.thread_spec)
            if spec is None:
                continue  # that is a problem of the thread
            interrupt = spec.interrupt_of.get(event_def)
            if interrupt is None:
                yield (
                    number,
                    f"ThreadSpec {spec.name!r} has no interrupt by {event_def!r}, which accepted {event_id!r}",
                )
                continue
            if interrupt.halt is not self._old.threads[spec.name].interrupt_of[event_def].halt:
                yield number, _says_halt(spec, event_def, is_halt=interrupt.halt)
            if interrupt.policy is InterruptPolicy.LATEST and (number, event_def) in waiting:
                yield number, f"of interrupts by {event_def!r} only the latest may wait for its handler, and several do"
            waiting.add((number, event_def))
            yield from self._of_content(number, event_def, event_id)
        for unstarted in self._run.unstarted_failure_handlers:
            thread = self._run.threads[unstarted.thread]
            spec = self._new.threads.get(thread.thread_spec)
            node = None if spec is None else spec.nodes.get(thread.node.node)
            if node is not None and all(it.handler != unstarted.handler_spec for it in node.failure_handlers):
                what = f"node {node.name!r} of ThreadSpec {thread.thread_spec!r}"
                yield unstarted.thread, f"{what} has no failure handler {unstarted.handler_spec!r}, which is to start"

    def _of_content(self, number: int, event_def: str, event_id: str) -> Iterator[tuple[int, str]]:
        """Tell of an accepted ExternalEvent that its handler could not be given."""
        bound = self._context.definitions.external_event_def(event_def, self._to)
        content = self._run.external_events[event_def, event_id].content
        if self._context.binds_event_defs and bound is not None and not fits(content, bound.content_type):
            what = f"ExternalEvent {event_id!r} waits for its handler"
            yield number, f"{what} with {kind_of(content)}, and {self._to} binds {event_def!r} as {bound.content_type}"


def _has_to_start(thread: ThreadRun) -> bool:
    """Say whether the attempt of a thread's TASK has a time until which a task worker has to start it."""
    return thread.node.task is not None and thread.node.task.start_by_ms is not None


def _says_halt(spec: ThreadSpec, event_def: str, *, is_halt: bool) -> str:
    """Return the sentence about an interrupt that is at work and would halt its thread, or halt it no longer."""
    says = "true" if is_halt else "false"
    return f"the interrupt by {event_def!r} of ThreadSpec {spec.name!r} says halt: {says}, the one at work does not"
