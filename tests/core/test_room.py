"""Threads that wait for room for a handler get it in the same order as if all of them looked at every place
(rule room-is-waited-for).
"""

import random
from typing import Any

import pytest

from processors.core.records.commands import (
    RescueThreadRun,
    ResumeWfRun,
    StopWfRun,
)
from processors.core.records.events import Event
from processors.core.records.model import TaskStatus
from processors.core.rules.context import Limits
from tests.support.compiled_core import replaces_a_rule
from tests.support.dear_wf_runs import (
    ENDING,
    FAILING,
    HANDLED,
    NUMBERS,
    RUN_ID,
    SETS_X,
    TASK,
    WAITING,
    Case,
    X,
    starts,
    thread,
    waits_for,
    waits_for_all,
)
from tests.support.looking_everywhere import looking_everywhere

COMMANDS = 40
END = {"kind": "EXIT"}
IDLE = waits_for("e5")


def start(spec: str, then: str) -> dict[str, Any]:
    """A node."""
    return {"kind": "START_THREAD", "thread": spec, "next": then}


def crowded(seed: random.Random) -> Case:
    """Threads that wait for ANY of three children, of which two fail; and four threads that leave at once."""
    threads = seed.randint(2, 7)
    failed = waits_for_all(
        threads=[{"output": "first"}, {"output": "second"}, {"output": "third"}],
        strategy=seed.choice(["ANY", "ANY", "ANY", "ALL", "FIRST"]),
        on_child_failure=[{"handler": "handling"}],
    )
    child = thread(
        {
            "first": start("failing", "second"),
            "second": start(seed.choice(["failing", "late", "failing"]), "third"),
            "third": start("waiting", "ready"),
            "ready": waits_for("next", "any"),
            "any": failed | (HANDLED if seed.random() < 0.5 else {}),
        },
        interrupts=[{"event": "e1", "handler": "ending", "policy": seed.choice(["parallel", "latest"])}],
    )
    of_two = waits_for_all(threads=[{"output": "branch"}, {"output": "quick"}], strategy="FIRST")
    first = [{"to": "at", "when": {"eq": [{"var": "x"}, 0]}}, {"to": "end"}]
    handler = {
        "start": {"kind": "ENTRYPOINT", "next": first},
        "at": {**TASK, "next": {"to": "end", "set": SETS_X}},
        "end": END,
    }
    interrupt = {
        "event": "e",
        "handler": "handler",
        "policy": seed.choice(["serial", "parallel", "latest"]),
        "halt": seed.random() < 0.3,
    }
    main = thread(
        {"bunch": start("bunch", "many"), "many": starts("child", "rest"), "rest": waits_for("other")},
        variables={**NUMBERS, **X},
        interrupts=[interrupt],
    )
    specs = {
        "main": main,
        "child": child,
        "bunch": thread({"branch": start("branch", "quick"), "quick": start("waiting", "all"), "all": of_two}),
        "branch": thread({"a": start("idle", "b"), "b": start("idle", "c"), "c": start("idle", "d"), "d": IDLE}),
        "idle": thread({"at": IDLE}),
        "failing": FAILING,
        "late": thread({"at": TASK}),
        "waiting": WAITING,
        "handling": thread({"at": TASK}) if seed.random() < 0.7 else ENDING,
        "ending": ENDING,
        "handler": {"nodes": handler},
    }
    return Case(specs, Limits(live_threads=7 + 2 * threads + seed.randint(0, 5)), numbers=[0] * threads)


def a_command(seed: random.Random, case: Case) -> list[Any]:
    """What comes next."""
    threads = list(case.run.threads.values())
    any_of_them = seed.choice(threads).number
    children = [it.number for it in threads if it.thread_spec == "child"] or [0]
    out = [it.number for it in threads if it.task_out]
    chance = seed.random()
    if chance < 0.25:
        return case.events("e", seed.randint(1, 8))
    if chance < 0.5:
        return [case.event("next", seed.choice(children)) for _ in range(4)]
    if chance < 0.75:
        status = seed.choice([TaskStatus.SUCCESS, TaskStatus.SUCCESS, TaskStatus.FAILED])
        return [case.report(seed.choice(out), status)] if out else []
    if chance < 0.8:
        return [StopWfRun(RUN_ID, any_of_them)]
    if chance < 0.85:
        return [ResumeWfRun(RUN_ID, it.number) for it in threads[:3]]
    if chance < 0.88:
        return [RescueThreadRun(RUN_ID, any_of_them)]
    if chance < 0.93:
        return [case.event("e1")]
    quick = [it.number for it in threads if it.thread_spec == "waiting"] or [0]
    return [case.event("go", seed.choice(quick[:2]))]


def history(number: int) -> list[Event]:
    """What comes of commands that a seed draws."""
    seed = random.Random(number)
    case = crowded(seed)
    events: list[Event] = []
    for _ in range(COMMANDS):
        if not case.run.threads:
            break
        events += [entry.event for command in a_command(seed, case) for entry in case.take(command)]
    return events


@replaces_a_rule
@pytest.mark.parametrize("seeds", range(0, 160, 20))
def test_room_goes_to_the_same_threads_as_if_all_that_wait_for_it_were_woken(seeds: int):
    for number in range(seeds, seeds + 20):
        found = history(number)
        with looking_everywhere():
            assert found == history(number), number
