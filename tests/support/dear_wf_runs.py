"""WfRuns for which one record is as expensive as a record can be, each of a kind, in any size.

A kind sets a WfRun up and gives the record that is then folded. The cost of a record must be linear in what it says and
in what it brings about (`Cost.bound`), whatever the WfRun is like: wide or deep, with many interrupts pending, many
ExternalEvents unclaimed, many threads that wait for one another.
"""

import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from processors.core.records.commands import (
    DeleteWfRun,
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    ReportTaskProgress,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    RunWfAndPost,
    StartTaskRun,
    StopWfRun,
)
from processors.core.records.events import LogEntry
from processors.core.records.model import TaskStatus, ThreadRun, WakeOn, WfRun
from processors.core.records.values import PROGRESS_BYTES_MAX
from processors.core.rules.context import Limits
from processors.core.rules.snapshots import snapshot_of
from processors.fold.outputs import OutputRecord
from tests.support.bytecodes import bytecodes
from tests.support.shard_rig import ShardRig

RUN_ID = "w1"
Nodes = dict[str, Any]
END = {"kind": "EXIT"}
HANDLED = {"on_failure": [{"handler": "handler"}]}
EVENTS = ("e", "go", "other", "next", *(f"e{number}" for number in range(200)))


def thread(nodes: Nodes, **more: Any) -> dict[str, Any]:
    """Return a ThreadSpec whose ENTRYPOINT leads to the first node, and whose last node leads to `end`."""
    return {**more, "nodes": {"start": {"kind": "ENTRYPOINT", "next": next(iter(nodes), "end")}, **nodes, "end": END}}


def waits_for(event: str, then: str = "end") -> dict[str, Any]:
    """Return a node."""
    return {"kind": "EXTERNAL_EVENT", "event": event, "next": then}


TASK = {"kind": "TASK", "task": "work", "timeout_s": 100_000, "next": "end"}
WAITING = thread({"wait": waits_for("go")})
NUMBERS = {"numbers": {"type": "JSON_ARR", "default": []}}
ENDING = thread({})
FAILING = {"nodes": {"start": {"kind": "ENTRYPOINT", "next": "end"}, "end": {"kind": "EXIT", "fail": {"name": "no"}}}}


def starts(child: str, then: str) -> dict[str, Any]:
    """Return a node that starts a child for each of `numbers`."""
    return {"kind": "START_MULTIPLE_THREADS", "thread": child, "over": {"var": "numbers"}, "next": then}


def waits_for_all(then: str = "end", threads: Any = None, **more: Any) -> dict[str, Any]:
    """Return a node that waits for the children of the node `many`, or for others."""
    return {"kind": "WAIT_FOR_THREADS", "threads": threads or {"output": "many"}, "next": then, **more}


class Case:
    """A shard with one WfRun."""

    def __init__(self, threads: dict[str, Any], limits: Limits | None = None, **variables: Any) -> None:
        self.rig = ShardRig(limits)
        self.rig.turn(*(PutExternalEventDef(name) for name in EVENTS), PutTaskDef("work"))
        self._document: dict[str, Any] = {"name": "w", "entrypoint": "main", "threads": threads}
        outcome = self.rig.turn(PutWfSpec("w", json.dumps(self._document)))
        assert len(outcome) > 1, outcome
        self._posted = 0
        self.take(RunWf(RUN_ID, "w", variables))

    @property
    def run(self) -> WfRun:
        """The WfRun."""
        return self.rig.shard.wf_runs[RUN_ID]

    def take(self, *commands: Any) -> list[LogEntry]:
        """Fold commands."""
        self.rig.now_ms += 1
        return self.rig.log(*commands)

    def put_another_version(self) -> None:
        """Register a version that every state fits: it differs in how long a WfRun is kept."""
        outcome = self.rig.turn(PutWfSpec("w", json.dumps({**self._document, "retention_s": 77})))
        assert len(outcome) > 1, outcome

    def event(self, name: str, thread: int | None = None, content: Any = None) -> ExternalEvent:
        """Return a new ExternalEvent."""
        self._posted += 1
        return ExternalEvent(RUN_ID, name, f"{name}-{self._posted}", content, thread)

    def events(self, name: str, count: int, thread: int | None = None) -> list[ExternalEvent]:
        """Return so many new ExternalEvents."""
        return [self.event(name, thread) for _ in range(count)]

    def report(self, number: int, status: TaskStatus = TaskStatus.SUCCESS) -> ReportTaskRun:
        """Return the report of a thread's task."""
        found: ThreadRun = self.run.threads[number]
        assert found.node.task is not None
        return ReportTaskRun(RUN_ID, self.run.incarnation, number, found.node.position, found.node.task.attempt, status)


Kind = Callable[[int], tuple[Case, Any]]
"""Makes a WfRun of a size, and the record to fold."""


def _interrupted(policy: str, handler: dict[str, Any], *, at: dict[str, Any], halt: bool = True) -> dict[str, Any]:
    interrupts = [{"event": "e", "handler": "handler", "policy": policy, "halt": halt}]
    return {"main": thread({"at": at}, interrupts=interrupts), "handler": handler}


def _pending(policy: str, size: int, handler: dict[str, Any] = ENDING) -> Case:
    case = Case(_interrupted(policy, handler, at=TASK))
    case.take(*case.events("e", size))
    return case


def pending_parallel(size: int) -> tuple[Case, Any]:
    case = _pending("parallel", size)
    return case, case.report(0)


def pending_serial(size: int) -> tuple[Case, Any]:
    case = _pending("serial", size)
    return case, case.report(0)


def one_more_pending(size: int) -> tuple[Case, Any]:
    case = _pending("parallel", size)
    return case, case.event("e")


def one_more_serial(size: int) -> tuple[Case, Any]:
    case = _pending("serial", size)
    return case, case.event("e")


def latest_over_and_over(size: int) -> tuple[Case, Any]:
    case = _pending("latest", size)
    return case, case.event("e")


def pending_of_a_failed_task(size: int) -> tuple[Case, Any]:
    case = _pending("parallel", size)
    return case, case.report(0, TaskStatus.FAILED)


def handlers_that_wait(size: int) -> tuple[Case, Any]:
    case = _pending("parallel", size, WAITING)
    return case, case.report(0)


def one_of_many_handlers_ends(size: int) -> tuple[Case, Any]:
    case = Case(_interrupted("parallel", WAITING, at=waits_for("other")))
    case.take(*case.events("e", size))
    return case, case.event("go", size // 2)


def one_of_many_handlers_beside_ends(size: int) -> tuple[Case, Any]:
    case = Case(_interrupted("parallel", WAITING, at=waits_for("other"), halt=False))
    case.take(*case.events("e", size))
    return case, case.event("go", size // 2)


def one_of_many_handlers_fails(size: int) -> tuple[Case, Any]:
    case = Case(_interrupted("parallel", thread({"at": TASK}), at=waits_for("other")))
    case.take(*case.events("e", size))
    return case, case.report(size // 2, TaskStatus.FAILED)


def one_serial_handler_ends(size: int) -> tuple[Case, Any]:
    case = Case(_interrupted("serial", WAITING, at=waits_for("other")))
    case.take(*case.events("e", size))
    return case, case.event("go", 1)


def _wide(child: dict[str, Any], size: int, then: Nodes | None = None, **more: Any) -> Case:
    nodes = then or {"wait": waits_for("other")}
    many = starts("child", next(iter(nodes)))
    return Case(
        {"main": thread({"many": many, **nodes}, variables=NUMBERS), "child": child, **more}, numbers=[0] * size
    )


def an_event_for_none_of_many(size: int) -> tuple[Case, Any]:
    case = _wide(WAITING, size)
    case.take(*case.events("go", 2 * size, 0))
    return case, case.event("go", 0)


def an_event_for_one_of_many(size: int) -> tuple[Case, Any]:
    case = _wide(WAITING, size)
    case.take(*case.events("go", 2 * size, 0))
    return case, case.event("go")


def an_event_for_nobody(size: int) -> tuple[Case, Any]:
    case = _wide(WAITING, size)
    return case, case.event("e")


def stop_of_a_wide_tree(size: int) -> tuple[Case, Any]:
    return _wide(WAITING, size), StopWfRun(RUN_ID, 0)


def resume_of_a_wide_tree(size: int) -> tuple[Case, Any]:
    case = _wide(WAITING, size)
    case.take(StopWfRun(RUN_ID, 0))
    return case, ResumeWfRun(RUN_ID, 0)


def stop_of_a_wide_tree_of_tasks(size: int) -> tuple[Case, Any]:
    return _wide(thread({"at": TASK}), size), StopWfRun(RUN_ID, 0)


def a_report_below_a_halting_wide_tree(size: int) -> tuple[Case, Any]:
    case = _wide(thread({"at": TASK}), size)
    case.take(StopWfRun(RUN_ID, 0))
    case.take(*(case.report(number) for number in range(1, size // 2)))
    return case, case.report(size)


def a_child_ends_below_EXIT(size: int) -> tuple[Case, Any]:  # noqa: N802
    case = _wide(thread({"at": TASK}), size, {"nop": {"kind": "NOP", "next": "end"}})
    return case, case.report(size // 2)


def a_child_ends_below_a_wait(size: int) -> tuple[Case, Any]:
    case = _wide(thread({"at": TASK}), size, {"all": waits_for_all()})
    return case, case.report(size // 2)


def losers_of_first(size: int) -> tuple[Case, Any]:
    case = _wide(thread({"at": TASK}), size, {"all": waits_for_all(strategy="FIRST")})
    return case, case.report(size // 2)


def losers_that_wait(size: int) -> tuple[Case, Any]:
    case = _wide(WAITING, size, {"all": waits_for_all(strategy="FIRST")})
    return case, case.event("go")


def one_child_fails_all(size: int) -> tuple[Case, Any]:
    case = _wide(thread({"at": TASK}), size, {"all": waits_for_all()})
    return case, case.report(size // 2, TaskStatus.FAILED)


def a_child_fails_at_ANY(size: int) -> tuple[Case, Any]:  # noqa: N802
    case = _wide(thread({"at": TASK}), size, {"all": waits_for_all(strategy="ANY")})
    case.take(*(case.report(number, TaskStatus.FAILED) for number in range(1, size - 1)))
    return case, case.report(size, TaskStatus.FAILED)


def children_that_end_at_once(size: int) -> tuple[Case, Any]:
    many = starts("child", "all")
    main = thread({"wait": waits_for("other", "many"), "many": many, "all": waits_for_all()}, variables=NUMBERS)
    case = Case({"main": main, "child": ENDING}, numbers=[0] * size)
    return case, case.event("other")


def children_that_fail_at_once(size: int) -> tuple[Case, Any]:
    handlers = [{"handler": "handler"}]
    many = starts("child", "all")
    wait = waits_for_all(on_child_failure=handlers)
    main = thread({"wait": waits_for("other", "many"), "many": many, "all": wait}, variables=NUMBERS)
    case = Case({"main": main, "child": FAILING, "handler": ENDING}, numbers=[0] * (size // 2))
    return case, case.event("other")


def _finished(size: int, at: Nodes, rounds_of: int = 500) -> Case:
    """So many children have ended. Then the thread goes on at `at`."""
    rounds = max(1, size // rounds_of)
    more = {"lt": [{"var": "round"}, rounds]}
    count = {"var": "round", "op": "ADD", "value": 1}
    nodes = {
        "many": starts("child", "all"),
        "all": {**waits_for_all(), "next": [{"to": "wait", "set": [count]}]},
        "wait": {**waits_for("next"), "next": [{"to": "many", "when": more}, {"to": next(iter(at))}]},
        **at,
    }
    variables = {**NUMBERS, "round": {"type": "INT", "default": 0}, "list": {"type": "JSON_ARR", "default": []}}
    threads = {"main": thread(nodes, variables=variables), "child": ENDING}
    case = Case(threads, numbers=[0] * rounds_of, list=list(range(1, rounds * rounds_of + 1)))
    for _ in range(rounds - 1):
        case.take(case.event("next"))
    return case


def a_wait_for_the_finished(size: int) -> tuple[Case, Any]:
    case = _finished(10 * size, {"list": waits_for_all(threads={"var": "list"})})
    return case, case.event("next")


def _in_line(size: int, bottom: dict[str, Any], wait: dict[str, Any] | None = None, **more: Any) -> Case:
    """Each thread starts the next and waits for it. The last one is another."""
    last = {"ge": [{"var": "depth"}, 1]}
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": [{"to": "one", "when": last}, {"to": "bottom"}]},
        "one": {
            "kind": "START_THREAD",
            "thread": "other",
            "input": {"depth-other": {"subtract": [{"var": "depth"}, 1]}},
            "next": "all",
        },
        "all": wait or waits_for_all(threads=[{"output": "one"}]),
        "bottom": {"kind": "START_THREAD", "thread": "last", "next": "rest"},
        "rest": waits_for_all(threads=[{"output": "bottom"}]),
        "end": END,
    }
    text = json.dumps(nodes)
    # No ThreadSpec starts itself: two take turns.
    other = text.replace('"other"', '"main"').replace("depth-other", "DEPTH").replace('"depth"', '"depth-other"')
    other = other.replace("DEPTH", "depth")
    depth, other_depth = ({name: {"type": "INT", "default": 0}} for name in ("depth", "depth-other"))
    threads = {
        "top": thread(
            {
                "one": {"kind": "START_THREAD", "thread": "main", "input": {"depth": {"var": "size"}}, "next": "all"},
                "all": waits_for_all(threads=[{"output": "one"}]),
            },
            variables={"size": {"type": "INT"}},
        ),
        "main": {"variables": depth, "nodes": nodes},
        "other": {"variables": other_depth, "nodes": json.loads(other)},
        "last": bottom,
        **more,
    }
    document = {
        "main": threads.pop("top"),
        **{("line" if name == "main" else name): it for name, it in threads.items()},
    }
    return Case(json.loads(json.dumps(document).replace('"thread": "main"', '"thread": "line"')), size=size - 3)


def stop_of_a_deep_tree(size: int) -> tuple[Case, Any]:
    return _in_line(size, WAITING), StopWfRun(RUN_ID, 0)


def resume_of_a_deep_tree(size: int) -> tuple[Case, Any]:
    case = _in_line(size, WAITING)
    case.take(StopWfRun(RUN_ID, 0))
    return case, ResumeWfRun(RUN_ID, 0)


def a_report_below_a_halting_deep_tree(size: int) -> tuple[Case, Any]:
    case = _in_line(size, thread({"at": TASK}))
    case.take(StopWfRun(RUN_ID, 0))
    return case, case.report(max(case.run.threads))


def a_failure_at_the_bottom(size: int) -> tuple[Case, Any]:
    case = _in_line(size, thread({"at": TASK}))
    return case, case.report(max(case.run.threads), TaskStatus.FAILED)


def a_long_failure_at_the_bottom(size: int) -> tuple[Case, Any]:
    case = _in_line(size, thread({"at": TASK}))
    number = max(case.run.threads)
    node = case.run.threads[number].node
    assert node.task is not None
    content = {"x": "y" * 100_000}
    return case, ReportTaskRun(
        RUN_ID,
        case.run.incarnation,
        number,
        node.position,
        1,
        TaskStatus.EXCEPTION,
        failure_name="no",
        message="m" * 1000,
        content=content,
    )


def a_rescue_at_the_bottom(size: int) -> tuple[Case, Any]:
    case = _in_line(size, thread({"at": TASK}))
    number = max(case.run.threads)
    case.take(case.report(number, TaskStatus.FAILED))
    return case, RescueThreadRun(RUN_ID, number)


def _handlers_of_handlers(size: int, at: dict[str, Any]) -> Case:
    """Each handler is interrupted in turn. All but the last are halted."""
    interrupts = [{"event": "e", "handler": "handler"}]
    case = Case(
        {
            "main": thread({"at": waits_for("other")}, interrupts=[{"event": "e0", "handler": "handler"}]),
            "handler": thread({"at": at}, interrupts=interrupts),
        }
    )
    case.take(case.event("e0"))
    for number in range(1, size):
        case.take(case.event("e", number))
    return case


def an_interrupt_of_the_last_handler(size: int) -> tuple[Case, Any]:
    case = _handlers_of_handlers(size, waits_for("go"))
    return case, case.event("e", max(case.run.threads))


def the_last_handler_ends(size: int) -> tuple[Case, Any]:
    case = _handlers_of_handlers(size, waits_for("go"))
    return case, case.event("go", max(case.run.threads))


def stop_of_handlers_of_handlers(size: int) -> tuple[Case, Any]:
    return _handlers_of_handlers(size, waits_for("go")), StopWfRun(RUN_ID, 0)


def the_last_handler_fails(size: int) -> tuple[Case, Any]:
    # The last thread runs its task. Those above it are halted, and wait for theirs no longer than for it.
    at = {"kind": "WAIT_FOR_CONDITION", "condition": {"var": "no"}, "next": "end"}
    interrupts = [{"event": "e", "handler": "handler"}, {"event": "go", "handler": "failing"}]
    case = Case(
        {
            "main": thread(
                {"at": waits_for("other")},
                interrupts=[{"event": "e0", "handler": "handler"}],
                variables={"no": {"type": "BOOL", "default": False}},
            ),
            "handler": thread({"at": at}, interrupts=interrupts),
            "failing": FAILING,
        }
    )
    case.take(case.event("e0"))
    for number in range(1, size):
        case.take(case.event("e", number))
    return case, case.event("go", max(case.run.threads))


def _siblings_in_line(size: int, before: Nodes | None = None, **more: dict[str, Any]) -> Case:
    """Each waits for the one that came after it, and the last one for an ExternalEvent.

    `before` are nodes that are passed before, where three threads are started.
    """
    first = 4 if before else 1
    last = {"eq": [{"var": "INPUT"}, first + size - 1]}
    child = thread(
        {
            "which": {"kind": "NOP", "next": [{"to": "last", "when": last}, {"to": "all"}]},
            "all": waits_for_all(threads=[{"add": [{"var": "INPUT"}, 1]}]),
            "last": waits_for("go"),
        },
        variables={"INPUT": {"type": "INT"}},
    )
    nodes = {**(before or {}), "many": starts("child", "other"), "other": waits_for("other")}
    main = thread(nodes, variables=NUMBERS)
    return Case({"main": main, "child": child, **more}, numbers=list(range(first, first + size)))


def a_record_beside_siblings_that_wait(size: int) -> tuple[Case, Any]:
    case = _siblings_in_line(size)
    return case, case.event("e")


def _siblings_beside_a_kept_thread(size: int) -> Case:
    """Thread 1 would leave, but below it a failure handler works for thread 2."""
    kid = {"kind": "START_THREAD", "thread": "kid", "next": "join"}
    case = _siblings_in_line(
        size,
        before={
            "one": {"kind": "START_THREAD", "thread": "kept", "next": "two"},
            "two": {"kind": "START_THREAD", "thread": "waiter", "next": "many"},
        },
        kept=thread({"kid": kid, "join": {**waits_for_all(threads=[{"output": "kid"}]), **HANDLED}}),
        waiter=thread({"join": waits_for_all(threads=[3], on_child_failure=[{"handler": "working"}])}),
        kid=thread({"at": TASK}),
        working=thread({"at": TASK}),
        handler=ENDING,
    )
    case.take(case.report(3, TaskStatus.FAILED))
    assert case.run.index.staying
    return case


def a_record_beside_a_kept_thread(size: int) -> tuple[Case, Any]:
    case = _siblings_beside_a_kept_thread(size)
    return case, StopWfRun(RUN_ID, max(case.run.threads))


def siblings_that_end_beside_a_kept_thread(size: int) -> tuple[Case, Any]:
    case = _siblings_beside_a_kept_thread(size)
    return case, case.event("go")


def the_last_of_the_siblings_ends(size: int) -> tuple[Case, Any]:
    case = _siblings_in_line(size)
    return case, case.event("go")


def a_delete(size: int) -> tuple[Case, Any]:
    return _wide(WAITING, size), DeleteWfRun(RUN_ID)


def conditions_that_do_not_hold(size: int) -> tuple[Case, Any]:
    child = thread({"at": {"kind": "WAIT_FOR_CONDITION", "condition": {"gt": [{"var": "x"}, 10]}, "next": "end"}})
    main = thread(
        {
            "many": starts("child", "wait"),
            "wait": {**waits_for("other"), "next": {"to": "rest", "set": [{"var": "x", "op": "ADD", "value": 1}]}},
            "rest": waits_for("go"),
        },
        variables={**NUMBERS, "x": {"type": "INT", "default": 0}},
    )
    case = Case({"main": main, "child": child}, numbers=[0] * size)
    return case, case.event("other")


def _preemptive(size: int) -> dict[str, Any]:
    interrupts = [{"event": "e", "handler": "handler", "preemptive": True}]
    child = thread({"at": waits_for("go")}, interrupts=interrupts)
    main = thread(
        {"wait": waits_for("other", "many"), "many": starts("child", "rest"), "rest": waits_for("next")},
        variables=NUMBERS,
    )
    return {"main": main, "child": child, "handler": ENDING}


def starts_beside_events_for_others(size: int) -> tuple[Case, Any]:
    case = Case(_preemptive(size), numbers=[0] * size)
    case.take(*case.events("e", 2 * size, 0))
    return case, case.event("other")


def one_start_takes_all(size: int) -> tuple[Case, Any]:
    case = Case(_preemptive(size), numbers=[0])
    case.take(*case.events("e", size))
    return case, case.event("other")


def claims_one_after_the_other(size: int) -> tuple[Case, Any]:
    nodes = {
        "wait": waits_for("other", "take"),
        "take": {**waits_for("go"), "next": "again"},
        "again": {"kind": "NOP", "next": "take"},
    }
    case = Case({"main": thread(nodes)})
    case.take(*case.events("go", 4 * size))
    return case, case.event("other")


def many_interrupt_defs(size: int) -> tuple[Case, Any]:
    defs = min(size, 200)
    interrupts = [{"event": f"e{number}", "handler": "handler", "policy": "serial"} for number in range(defs)]
    case = Case({"main": thread({"at": TASK}, interrupts=interrupts), "handler": ENDING})
    case.take(*(case.event(f"e{number % defs}") for number in range(size)))
    return case, case.report(0)


def failures_that_wait_for_their_handlers(size: int) -> tuple[Case, Any]:
    """Each child fails at a wait while a grandchild of it works, so its failure handler has to wait."""
    node = {"kind": "START_THREAD", "thread": "grandchild", "next": "fail"}
    fail = {"kind": "TASK", "task": "work", "next": "end", **HANDLED}
    child = thread({"one": node, "fail": fail})
    case = _wide(child, size // 3, grandchild=thread({"at": TASK}), handler=ENDING)
    children = [it.number for it in case.run.threads.values() if it.thread_spec == "child"]
    case.take(*(case.report(number, TaskStatus.FAILED) for number in children))
    below = [it.number for it in case.run.threads.values() if it.thread_spec == "grandchild"]
    return case, case.report(below[len(below) // 2])


FAILS_AT_ONCE = {"eq": [{"divide": [1, {"subtract": [1, {"var": "x"}]}]}, 5]}
"""A condition that can no longer be computed once x is 1."""
SETS_X = [{"var": "x", "op": "ADD", "value": 1}]
X = {"x": {"type": "INT", "default": 0}}


def _with_unstarted_failure_handlers(size: int, main: Nodes) -> Case:
    """The children have failed at a node, and a grandchild of each still works."""
    node = {"kind": "START_THREAD", "thread": "grandchild", "next": "fail"}
    fail = {"kind": "TASK", "task": "work", "next": "end", **HANDLED}
    case = _wide(thread({"one": node, "fail": fail}), size, main, grandchild=thread({"at": TASK}), handler=ENDING)
    children = [it.number for it in case.run.threads.values() if it.thread_spec == "child"]
    case.take(*(case.report(number, TaskStatus.FAILED) for number in children))
    return case


def claims_beside_failures_that_wait(size: int) -> tuple[Case, Any]:
    nodes = {
        "wait": waits_for("other", "take"),
        "take": waits_for("go", "again"),
        "again": {"kind": "NOP", "next": "take"},
    }
    case = _with_unstarted_failure_handlers(min(5 * size, 480), nodes)
    case.take(*case.events("go", size, 0))
    return case, case.event("other")


def failures_that_are_handled_at_once(size: int) -> tuple[Case, Any]:
    at = {"kind": "WAIT_FOR_CONDITION", "condition": FAILS_AT_ONCE, "next": "end", **HANDLED}
    main = thread(
        {
            "many": starts("child", "wait"),
            "wait": {**waits_for("other"), "next": {"to": "rest", "set": SETS_X}},
            "rest": waits_for("go"),
        },
        variables={**NUMBERS, **X},
    )
    case = Case({"main": main, "child": thread({"at": at}), "handler": thread({"at": TASK})}, numbers=[0] * (size // 2))
    return case, case.event("other")


def _waiting_for_room(size: int) -> Case:
    """Threads wait for ANY of two children, and for room for the handler of the one that has failed. As many places are
    taken by interrupts of thread 0, whose handlers end one after the other once the first one has ended.
    """
    waiters, pending = min(3 * size, 300), min(size, 390)
    waiter = thread(
        {
            "failed": {"kind": "START_THREAD", "thread": "failing", "next": "other"},
            "other": {"kind": "START_THREAD", "thread": "other", "next": "ready"},
            "ready": waits_for("next", "any"),
            "any": waits_for_all(
                threads=[{"output": "failed"}, {"output": "other"}],
                strategy="ANY",
                on_child_failure=[{"handler": "handling"}],
            ),
        }
    )
    first = [{"to": "at", "when": {"eq": [{"var": "x"}, 0]}}, {"to": "end"}]
    handler = {
        "nodes": {
            "start": {"kind": "ENTRYPOINT", "next": first},
            "at": {**TASK, "next": {"to": "end", "set": SETS_X}},
            "end": END,
        }
    }
    interrupts = [{"event": "e", "handler": "handler", "policy": "serial", "halt": False}]
    nodes = {"many": starts("child", "rest"), "rest": waits_for("other")}
    main = thread(nodes, variables={**NUMBERS, **X}, interrupts=interrupts)
    more = {"failing": FAILING, "other": WAITING, "handling": thread({"at": TASK}), "handler": handler}
    case = Case(
        {"main": main, "child": waiter, **more}, Limits(live_threads=1 + 2 * waiters + pending), numbers=[0] * waiters
    )
    children = [it.number for it in case.run.threads.values() if it.thread_spec == "child"]
    case.take(*case.events("e", pending))
    case.take(*(case.event("next", number) for number in children))
    return case


def places_that_come_free(size: int) -> tuple[Case, Any]:
    case = _waiting_for_room(size)
    first = next(it.number for it in case.run.threads.values() if it.thread_spec == "handler")
    return case, case.report(first)


def a_place_that_comes_free(size: int) -> tuple[Case, Any]:
    case = _waiting_for_room(size)
    case.take(case.report(next(it.number for it in case.run.threads.values() if it.thread_spec == "handler")))
    handling = [it.number for it in case.run.threads.values() if it.thread_spec == "handling"]
    return case, case.report(handling[-1])


def _handled_at(wait: str, then: str, handler: str) -> Nodes:
    """Return nodes that start a child that fails, and wait for it and for its failure handler."""
    failed = {"kind": "START_THREAD", "thread": "failing", "next": wait}
    return {
        f"{wait}-failed": failed,
        wait: waits_for_all(then, [{"output": f"{wait}-failed"}], on_child_failure=[{"handler": handler}]),
    }


def _line_of(then: str, nodes: Nodes) -> dict[str, Any]:
    """Return the ThreadSpecs `line` and `other`: a thread starts the next one at `next`, and goes on with nodes.

    The last one starts none. No ThreadSpec starts itself: two take turns, as a Variable's name is one ThreadSpec's.
    """
    line = {
        "start": {
            "kind": "ENTRYPOINT",
            "next": [{"to": "next", "when": {"ge": [{"var": "DEPTH"}, 1]}}, {"to": "last"}],
        },
        "next": {
            "kind": "START_THREAD",
            "thread": "OTHER",
            "input": {"OTHER-DEPTH": {"subtract": [{"var": "DEPTH"}, 1]}},
            "next": then,
        },
        **nodes,
        "end": END,
    }
    threads = {}
    for name, other in (("line", "other"), ("other", "line")):
        text = json.dumps(line).replace("OTHER-DEPTH", f"depth-{other}").replace("DEPTH", f"depth-{name}")
        variables = {f"depth-{name}": {"type": "INT", "default": 0}}
        threads[name] = {"variables": variables, "nodes": json.loads(text.replace("OTHER", other))}
    return threads


def _starts_a_line(size: int, then: str) -> dict[str, Any]:
    return {"kind": "START_THREAD", "thread": "line", "input": {"depth-line": size}, "next": then}


def ends_beside_handlers_at_work(size: int) -> tuple[Case, Any]:
    """Many threads end, each with one below it that had failed. In a deep line, failure handlers of others work."""
    line = _line_of("last", {"last": {"kind": "NOP", "next": "at-failed"}, **_handled_at("at", "end", "working")})
    ends = {"kind": "WAIT_FOR_CONDITION", "condition": {"ge": [{"var": "x"}, 1]}, "next": "end"}
    main = thread(
        {
            "one": _starts_a_line(size // 4, "many"),
            "many": starts("ending", "wait"),
            "wait": {**waits_for("other"), "next": {"to": "rest", "set": [{"var": "x", "op": "ADD", "value": 1}]}},
            "rest": waits_for("next"),
        },
        variables={**NUMBERS, "x": {"type": "INT", "default": 0}},
    )
    threads = {
        "main": main,
        "failing": FAILING,
        "working": WAITING,
        "ended": ENDING,
        "ending": thread({**_handled_at("at", "rest", "ended"), "rest": ends}),
        **line,
    }
    case = Case(threads, numbers=[0] * (size // 3))
    return case, case.event("other")


def _line_that_is_waited_for(size: int, *, fails: bool = False, **wait: Any) -> Case:
    """A thread waits for all of a line. With `go` the last one of it ends or fails, and so do then all above."""
    last = {"last": waits_for("go", "bad"), "bad": {"kind": "EXIT", "fail": {"name": "no"}}}
    last = last if fails else {"last": waits_for("go")}
    line = _line_of("all", {**last, "all": waits_for_all(threads=[{"output": "next"}])})
    main = thread(
        {
            "one": _starts_a_line(size - 4, "wait"),
            "wait": waits_for("other", "each"),
            "each": waits_for_all("rest", {"var": "numbers"}, **wait),
            "rest": waits_for("next"),
        },
        variables=NUMBERS,
    )
    return Case({"main": main, **line}, numbers=[*range(1, size - 2)])


def a_wait_for_each_of_a_line(size: int) -> tuple[Case, Any]:
    case = _line_that_is_waited_for(size)
    return case, case.event("other")


def a_line_ends_that_is_waited_for(size: int) -> tuple[Case, Any]:
    case = _line_that_is_waited_for(size)
    case.take(case.event("other"))
    return case, case.event("go")


def a_line_fails_that_ANY_waits_for(size: int) -> tuple[Case, Any]:  # noqa: N802
    case = _line_that_is_waited_for(size, fails=True, strategy="ANY")
    case.take(case.event("other"))
    return case, case.event("go")


def an_event_of_many_remembered(size: int) -> tuple[Case, Any]:
    case = Case(_interrupted("parallel", ENDING, at=waits_for("other")))
    case.take(*case.events("e", 4 * size))
    return case, case.event("e")


def a_touch_after_a_crash(size: int) -> tuple[Case, Any]:
    case = Case(_interrupted("parallel", ENDING, at=waits_for("other")))
    case.take(*case.events("e", 20))
    case.rig.crash()
    return case, case.event("e")


def _fork_of(case: Case) -> tuple[Case, Any]:
    return case, ForkWfRun("fork", snapshot_of(case.run))


def a_fork_of_a_wide_tree(size: int) -> tuple[Case, Any]:
    return _fork_of(_wide(WAITING, size, then={"join": waits_for_all()}))


def a_fork_of_a_wide_tree_that_halts(size: int) -> tuple[Case, Any]:
    case, stop = stop_of_a_wide_tree_of_tasks(size)
    case.take(stop)
    return _fork_of(case)


def a_fork_of_a_deep_tree_that_is_halted(size: int) -> tuple[Case, Any]:
    return _fork_of(resume_of_a_deep_tree(size)[0])


def a_fork_of_handlers_of_handlers(size: int) -> tuple[Case, Any]:
    return _fork_of(the_last_handler_ends(size)[0])


def a_fork_with_interrupts_that_wait(size: int) -> tuple[Case, Any]:
    return _fork_of(_pending("serial", size))


def a_fork_with_events_that_nobody_takes(size: int) -> tuple[Case, Any]:
    case = Case({"main": thread({"at": waits_for("go")})})
    case.take(*case.events("other", 4 * size))
    return _fork_of(case)


def _migration_of(case: Case) -> tuple[Case, Any]:
    case.put_another_version()
    return case, MigrateWfRun(RUN_ID, 0)


def a_migration_of_a_wide_tree(size: int) -> tuple[Case, Any]:
    return _migration_of(_wide(WAITING, size, then={"join": waits_for_all()}))


def a_migration_of_handlers_of_handlers(size: int) -> tuple[Case, Any]:
    return _migration_of(the_last_handler_ends(size)[0])


def a_migration_with_interrupts_that_wait(size: int) -> tuple[Case, Any]:
    return _migration_of(_pending("serial", size))


def a_migration_with_events_that_nobody_takes(size: int) -> tuple[Case, Any]:
    return _migration_of(a_fork_with_events_that_nobody_takes(size)[0])


KINDS: tuple[Kind, ...] = (
    pending_parallel,
    pending_serial,
    one_more_pending,
    one_more_serial,
    latest_over_and_over,
    pending_of_a_failed_task,
    handlers_that_wait,
    one_of_many_handlers_ends,
    one_of_many_handlers_beside_ends,
    one_of_many_handlers_fails,
    one_serial_handler_ends,
    an_event_for_none_of_many,
    an_event_for_one_of_many,
    an_event_for_nobody,
    stop_of_a_wide_tree,
    resume_of_a_wide_tree,
    stop_of_a_wide_tree_of_tasks,
    a_report_below_a_halting_wide_tree,
    a_child_ends_below_EXIT,
    a_child_ends_below_a_wait,
    losers_of_first,
    losers_that_wait,
    one_child_fails_all,
    a_child_fails_at_ANY,
    children_that_end_at_once,
    children_that_fail_at_once,
    a_wait_for_the_finished,
    stop_of_a_deep_tree,
    resume_of_a_deep_tree,
    a_report_below_a_halting_deep_tree,
    a_failure_at_the_bottom,
    a_long_failure_at_the_bottom,
    a_rescue_at_the_bottom,
    an_interrupt_of_the_last_handler,
    the_last_handler_ends,
    stop_of_handlers_of_handlers,
    the_last_handler_fails,
    a_record_beside_siblings_that_wait,
    the_last_of_the_siblings_ends,
    a_record_beside_a_kept_thread,
    siblings_that_end_beside_a_kept_thread,
    a_delete,
    conditions_that_do_not_hold,
    starts_beside_events_for_others,
    one_start_takes_all,
    claims_one_after_the_other,
    many_interrupt_defs,
    failures_that_wait_for_their_handlers,
    claims_beside_failures_that_wait,
    failures_that_are_handled_at_once,
    places_that_come_free,
    a_place_that_comes_free,
    ends_beside_handlers_at_work,
    a_wait_for_each_of_a_line,
    a_line_ends_that_is_waited_for,
    a_line_fails_that_ANY_waits_for,
    an_event_of_many_remembered,
    a_touch_after_a_crash,
    a_fork_of_a_wide_tree,
    a_fork_of_a_wide_tree_that_halts,
    a_fork_of_a_deep_tree_that_is_halted,
    a_fork_of_handlers_of_handlers,
    a_fork_with_interrupts_that_wait,
    a_fork_with_events_that_nobody_takes,
)
MIGRATIONS: tuple[Kind, ...] = (
    a_migration_of_a_wide_tree,
    a_migration_of_handlers_of_handlers,
    a_migration_with_interrupts_that_wait,
    a_migration_with_events_that_nobody_takes,
)
"""Kinds that differ from others by their record alone: other records for such WfRuns are measured there."""


def name_of(kind: Kind) -> str:
    """What makes the kind expensive."""
    return kind.__name__.replace("_", " ")


@dataclass(frozen=True)
class Cost:
    """The cost of a record, and the numbers that it may depend on."""

    bytecodes: int
    """The cost in bytecodes; 0 if it was timed."""
    seconds: float
    """The processor time; 0 if it was counted."""
    events: int
    records: int
    written: int
    """The size of the outputs in bytes."""
    read: int
    """The size of the record itself in bytes."""
    steps: int
    """The steps of computing, as the limit counts them."""
    waiting: int
    """The threads that wait for an ExternalEvent of the ExternalEventDef, if the record is one."""
    waited_for: int
    """The threads that WAIT_FOR_THREADS nodes wait for: a thread that is woken looks at all that it still waits for."""
    begun: int
    """The threads that are waited for since this record."""
    migrated: int
    """The threads and ExternalEvents of a WfRun that goes over to another version: all of them are looked at."""

    @property
    def bound(self) -> int:
        """Return the bytecodes that it may cost: linear in all of these numbers."""
        return (
            30_000
            + 1_500 * self.events
            + 500 * self.records
            + 20 * self.written
            + 100 * self.read
            + 250 * self.steps
            + 200 * (self.waiting + self.waited_for)
            + 1_200 * self.begun
            + 6_000 * self.migrated
        )

    @property
    def units(self) -> float:
        """Return how many times 10,000 events or 1 MiB it wrote, at least 1: for each it may take 100 ms."""
        return max(1.0, self.events / 10_000, self.written / 2**20)


def _report(case: Case, number: int, status: TaskStatus) -> Any:
    out = [it.number for it in case.run.threads.values() if it.task_out]
    return case.report(out[number], status) if out else case.event("e0")


def _of_last_out(case: Case, command: Callable[..., Any]) -> Any:
    out = [it.number for it in case.run.threads.values() if it.task_out]
    if not out:
        return case.event("e0")
    report = case.report(out[-1])
    return command(RUN_ID, report.incarnation, report.thread, report.position, report.attempt)


OTHERS: dict[str, Callable[[Case], Any]] = {
    "a stop": lambda _: StopWfRun(RUN_ID, 0),
    "a resume": lambda _: ResumeWfRun(RUN_ID, 0),
    "a stop of the last": lambda case: StopWfRun(RUN_ID, max(case.run.threads, default=0)),
    "a delete": lambda _: DeleteWfRun(RUN_ID),
    "an interrupt": lambda case: case.event("e"),
    "a go": lambda case: case.event("go"),
    "a go for the last": lambda case: case.event("go", max(case.run.threads, default=0)),
    "an event that would start": lambda _: RunWfAndPost(RUN_ID, "w", "e", "e-and-start"),
    "another event": lambda case: case.event("other"),
    "the next event": lambda case: case.event("next"),
    "the first report": lambda case: _report(case, 0, TaskStatus.SUCCESS),
    "the last report": lambda case: _report(case, -1, TaskStatus.SUCCESS),
    "a failure": lambda case: _report(case, -1, TaskStatus.FAILED),
    "a start": lambda case: _of_last_out(case, StartTaskRun),
    "a progress": lambda case: _of_last_out(case, partial(ReportTaskProgress, content="x" * PROGRESS_BYTES_MAX)),
    "a rescue": lambda case: RescueThreadRun(RUN_ID, max(case.run.threads, default=0)),
}
"""The other records that may come to any WfRun."""


def cost_of(kind: Kind, size: int, *, timed: bool = False, other: str | None = None) -> Cost:
    """Fold the record of a kind, or another one, and return its cost."""
    case, command = kind(size)
    if other is not None:
        command = OTHERS[other](case)
    case.rig.now_ms += 1
    record = case.rig.command(command)
    # Each schema is looked at once in the life of a worker.
    case.rig.codec.prepare()
    case.rig.codec.decode(record.value or b"")
    shard, steps_max = case.rig.shard, Limits().steps_per_command
    waiting = 0
    if isinstance(command, RunWfAndPost) or (isinstance(command, ExternalEvent) and command.thread is None):
        waiting = len(case.run.index.parked.get((WakeOn.EXTERNAL_EVENT, command.external_event_def), ()))
    outputs: list[OutputRecord] = []

    def fold() -> None:
        shard.fold(shard.read(record))
        outputs.extend(shard.take_outputs())

    run = case.run
    waited_for = _waited_for(run)
    migrated = len(run.threads) + len(run.external_events) if isinstance(command, MigrateWfRun) else 0
    gc.collect()
    started = time.process_time()
    counted = 0 if timed else bytecodes(fold)
    if timed:
        fold()
    seconds = time.process_time() - started if timed else 0.0
    return Cost(
        counted,
        seconds,
        events=sum(output.topic == "wf-events" for output in outputs),
        records=len(outputs),
        written=sum(len(output.value or b"") for output in outputs),
        read=len(record.value or b""),
        steps=max(0, steps_max - run.index.steps_left),
        waiting=waiting,
        waited_for=waited_for,
        begun=max(0, _waited_for(run) - waited_for),
        migrated=migrated,
    )


def _waited_for(run: WfRun) -> int:
    return sum(len(it.node.waits or ()) for it in run.threads.values())
