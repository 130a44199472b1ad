"""MigrateWfRun: a WfRun goes over to another version of its WfSpec, or everything that is in the way is told."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import event as noted
from hypothesis import given
from hypothesis import strategies as st

from halter.files.scenario_document import read_scenario
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from processors.core.records.commands import (
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    PutExternalEventDef,
    PutWfSpec,
)
from processors.core.records.events import (
    ExternalEventDropped,
    MigratedThread,
    Rejected,
    RejectionCode,
    WfRunMigrated,
)
from processors.core.records.model import Status, WfSpecId
from processors.core.records.values import VariableType
from processors.core.rules.context import Context, Limits
from processors.core.rules.engine import new_run
from processors.core.rules.snapshots import snapshot_of
from tests.core.test_fork import told
from tests.core.test_properties import FEW_THREADS, START_MS, STEPS_MS, numbers, small, thorough
from tests.core.test_properties import History as RandomHistory
from tests.support import random_specs
from tests.support.checked_engine import CheckedEngine
from tests.support.random_commands import RUN_ID, Producers
from tests.support.scenario import RUN, History, event, failed, like, report, rescue
from tests.support.scenario import given as given_
from tests.support.search import Bounds, Search
from tests.support.small_specs import document_of

EVENTS: dict[str, Any] = {"i": {}, "j": {}, "go": {}, "done": {}}
TASKS: dict[str, Any] = {"t": {}, "u": {}}
END = {"kind": "EXIT"}


def thread(nodes: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A ThreadSpec whose nodes lie in a row."""
    names = [*(nodes or {}), "end"]
    made: dict[str, Any] = {"start": {"kind": "ENTRYPOINT", "next": names[0]}}
    for name, following in pairwise(names):
        made[name] = {**(nodes or {})[name], "next": following}
    return {"nodes": {**made, "end": END}, **more}


def waits(name: str = "go", **more: Any) -> dict[str, Any]:
    return {"kind": "EXTERNAL_EVENT", "event": name, **more}


TASK = {"kind": "TASK", "task": "t"}
SLEEP = {"kind": "SLEEP", "seconds": 10}
SPAWN = {"kind": "START_THREAD", "thread": "kid"}
JOIN = {"kind": "WAIT_FOR_THREADS", "threads": [{"output": "spawn"}]}


def versions(first: dict[str, Any], second: dict[str, Any], *commands: Any) -> History:
    """A WfRun of the first version, 0.0, with commands; then the second version is there: the newest."""
    spec = {"name": "small", "entrypoint": "main", "threads": first}
    history = given_(json.dumps({"external_events": EVENTS, "tasks": TASKS, "wf_specs": [spec]}), RUN, *commands)
    put(history, second)
    return history


def put(history: History, threads: dict[str, Any], entrypoint: str = "main", **more: Any) -> None:
    """Register one more version."""
    document = {"name": "small", "entrypoint": entrypoint, "threads": threads, **more}
    refused = history.engine.register([PutWfSpec("small", json.dumps(document))])
    assert not refused, refused


def newest(history: History) -> WfSpecId:
    found = history.engine.context.definitions.latest_wf_spec("small")
    assert found is not None
    return found


def over(history: History) -> History:
    """Migrate to the newest version."""
    to = newest(history)
    return history.when(MigrateWfRun(RUN_ID, to.major, to.revision))


def refusal(history: History) -> str:
    """The sentence for which the newest version is refused."""
    over(history).then_rejected(RejectionCode.FAILED_PRECONDITION)
    [rejected] = history.events
    assert isinstance(rejected, Rejected)
    return rejected.message


# What is in the way.

CHILD = {"main": thread({"spawn": SPAWN, "join": JOIN}), "kid": thread({"wait": waits()})}
INTERRUPTED = {"main": thread({"work": TASK}, interrupts=[{"event": "i", "handler": "h"}]), "h": thread({"w": waits()})}
FAILING = {
    "main": thread({"work": {**TASK, "on_failure": [{"handler": "f"}]}}),
    "f": thread({"wait": waits()}),
}
FAILING_BESIDE = {
    "main": thread({"spawn": SPAWN, "work": {**TASK, "on_failure": [{"handler": "f"}]}}),
    "kid": thread({"work": TASK}),
    "f": thread({"wait": waits()}),
}
"""The handler waits until the child is still, whose task is out."""
CHILD_FAILS = {
    "main": thread({"spawn": SPAWN, "join": {**JOIN, "on_child_failure": [{"handler": "f"}]}}),
    "kid": thread({"work": TASK}),
    "f": thread({"wait": waits()}),
}


def with_interrupt(**changed: Any) -> dict[str, Any]:
    return INTERRUPTED | {"main": thread({"work": TASK}, interrupts=[{"event": "i", "handler": "h", **changed}])}


def main(nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"main": thread(nodes, **more)}


IN_THE_WAY: dict[str, tuple[dict[str, Any], list[Any], dict[str, Any], str]] = {
    "the ThreadSpec is gone": (
        CHILD,
        [],
        main({"spawn": waits(), "join": waits()}),
        "thread 1: there is no ThreadSpec 'kid'",
    ),
    "the node is gone": (
        main({"wait": waits()}),
        [],
        main({"pause": waits()}),
        "ThreadSpec 'main' has no node 'wait', where it stands",
    ),
    "the node is of another kind": (main({"a": waits()}), [], main({"a": SLEEP}), "is SLEEP, it was EXTERNAL_EVENT"),
    "the TaskDef is another": (
        main({"work": TASK}),
        [],
        main({"work": {**TASK, "task": "u"}}),
        "is a TASK of 'u', and an attempt is out of 't'",
    ),
    "the ExternalEventDef is another": (
        main({"a": waits()}),
        [],
        main({"a": waits("done")}),
        "waits for 'done', it has waited for 'go'",
    ),
    "the attempt has to be started": (
        main({"work": {**TASK, "queue_timeout_s": 5, "run_timeout_s": 5}}),
        [],
        main({"work": {**TASK, "timeout_s": 5}}),
        "has no run_timeout_s, and its attempt has a time until which it has to be started",
    ),
    "the time-out is gone": (
        main({"a": waits(timeout_s=5)}),
        [],
        main({"a": waits()}),
        "has no time-out, and the one that it had counts",
    ),
    "a Variable has another type": (
        main({"a": waits()}, variables={"n": {"type": "INT", "default": 1}}),
        [],
        main({"a": waits()}, variables={"n": {"type": "STR"}}),
        "Variable 'n' of ThreadSpec 'main' is STR, its value is INT",
    ),
    "a Variable is new and required": (
        main({"a": waits()}),
        [],
        main({"a": waits()}, variables={"n": {"type": "INT", "required": True}}),
        "Variable 'n' of ThreadSpec 'main' is new and required",
    ),
    "a Variable is masked no longer": (
        main({"a": waits()}, variables={"n": {"type": "INT", "masked": True}}),
        [],
        main({"a": waits()}, variables={"n": {"type": "INT"}}),
        "is masked until now, and would be shown",
    ),
    "nothing starts the child": (
        CHILD,
        [],
        CHILD | {"main": thread({"spawn": waits(), "join": {**JOIN, "threads": [1]}})},
        "thread 1: no node of ThreadSpec 'main' starts ThreadSpec 'kid'",
    ),
    "the interrupt of a handler is gone": (
        INTERRUPTED,
        [event("i"), report()],
        {"main": thread({"work": TASK}), "h": thread({"w": waits()})},
        "thread 1: ThreadSpec 'main' has no interrupt by 'i' with the handler 'h'",
    ),
    "the interrupt of a handler does not halt": (
        INTERRUPTED,
        [event("i"), report()],
        with_interrupt(halt=False),
        "says halt: false, the one at work does not",
    ),
    "an accepted interrupt is gone": (
        INTERRUPTED,
        [event("i")],
        {"main": thread({"work": TASK}), "h": thread({"w": waits()})},
        "ThreadSpec 'main' has no interrupt by 'i', which accepted 'i1'",
    ),
    "an accepted interrupt does not halt": (
        INTERRUPTED,
        [event("i")],
        with_interrupt(halt=False),
        "thread 0: the interrupt by 'i' of ThreadSpec 'main' says halt",
    ),
    "only the latest may wait": (
        INTERRUPTED,
        [event("i"), event("i")],
        with_interrupt(policy="latest"),
        "only the latest may wait for its handler",
    ),
    "the failure handler at work is gone": (
        FAILING,
        [failed()],
        FAILING | {"main": thread({"work": TASK})},
        "thread 1: node 'work' of ThreadSpec 'main' has no failure handler 'f'",
    ),
    "the failure handler that is to start is gone": (
        FAILING_BESIDE,
        [failed()],
        FAILING_BESIDE | {"main": thread({"spawn": SPAWN, "work": TASK})},
        "thread 0: node 'work' of ThreadSpec 'main' has no failure handler 'f', which is to start",
    ),
    "the handler of a failed child is gone": (
        CHILD_FAILS,
        [failed(1)],
        CHILD_FAILS | {"main": thread({"spawn": SPAWN, "join": JOIN})},
        "thread 2: no WAIT_FOR_THREADS of ThreadSpec 'main' has the handler 'f' for failed children",
    ),
}


# (rules migration-keeps-nodes, migration-keeps-variables, migration-keeps-handlers, migration-uncovers-nothing)
@pytest.mark.parametrize("case", IN_THE_WAY)
def test_what_is_in_the_way_is_told_and_nothing_changes(case: str) -> None:
    first, commands, second, sentence = IN_THE_WAY[case]
    history = versions(first, second, *commands)
    before = history.engine.replayed(RUN_ID)
    message = refusal(history)
    assert message.startswith(f"MigrateWfRun for WfRun 'w1': its state does not fit {newest(history)}: thread ")
    assert sentence in message
    assert history.run.wf_spec == before.wf_spec
    assert history.run.seq == before.seq + 1


def test_the_entrypoint_stays_that_of_thread_0() -> None:
    history = given_(json.dumps({"external_events": EVENTS, "wf_specs": [
        {"name": "small", "entrypoint": "main", "threads": main({"a": waits()})}]}), RUN)  # fmt: skip
    other = {"main": thread({"a": waits()}), "other": thread({"spawn": {"kind": "START_THREAD", "thread": "main"}})}
    put(history, other, "other")
    assert "the entrypoint is ThreadSpec 'other', it runs 'main'" in refusal(history)


# (rule migrate-to-what-fits)
def test_all_that_is_in_the_way_is_told_once_for_all_threads() -> None:
    many = {"kind": "START_MULTIPLE_THREADS", "thread": "kid", "over": list(range(12))}
    first = {
        "main": thread({"spawn": many, "a": waits()}, variables={"n": {"type": "INT", "masked": True}}),
        "kid": thread({"wait": waits()}),
    }
    second = {"main": thread({"spawn": many, "b": waits()}, variables={"n": {"type": "INT"}}), "kid": thread()}
    message = refusal(versions(first, second))
    assert "is masked until now" in message
    assert "has no node 'a'" in message
    assert message.endswith("threads 1, 2, 3, 4, 5 and 7 more: ThreadSpec 'kid' has no node 'wait', where it stands")


def test_a_refusal_is_bounded() -> None:
    variables = {f"n{number}": {"type": "INT", "default": 1} for number in range(100)}
    other = {name: {"type": "STR"} for name in variables}
    message = refusal(versions(main({"a": waits()}, variables=variables), main({"a": waits()}, variables=other)))
    assert message.count("its value is INT") == 20
    assert message.endswith("; and 80 more")


def test_a_version_that_is_not_there_is_not_found() -> None:
    history = versions(main({"a": waits()}), main({"a": waits(), "b": waits()}))
    for version in (MigrateWfRun(RUN_ID, 0, 7), MigrateWfRun(RUN_ID, 3), MigrateWfRun(RUN_ID, -1)):
        history.when(version).then_rejected(RejectionCode.NOT_FOUND)


def test_workers_beside_an_earlier_release_do_not_migrate() -> None:
    history = versions(main({"a": waits()}), main({"a": waits(), "b": waits()}))
    history.engine.context = replace(history.engine.context, migrations=False)
    over(history).then_rejected(RejectionCode.FAILED_PRECONDITION)


def test_more_names_and_values_than_an_event_may_have_are_refused() -> None:
    variables = {"n": {"type": "STR", "default": "x" * 1_000}}
    history = versions(main({"a": waits()}), main({"a": waits()}, variables=variables))
    history.engine.context = replace(history.engine.context, limits=Limits(bytes_per_event=1_000))
    over(history).then_rejected(RejectionCode.RESOURCE_EXHAUSTED)


# (rule migration-drops-misfits)
def test_an_accepted_event_that_its_handler_could_not_be_given_is_in_the_way() -> None:
    first = with_interrupt()
    history = versions(first, first | {"h": thread({"w": waits(), "v": waits()})}, event("i", 1))
    assert not history.engine.register([PutExternalEventDef("i", VariableType.STR)])
    put(history, first | {"h": thread({"w": waits()}, variables={"INPUT": {"type": "STR"}})})
    assert "ExternalEvent 'i1' waits for its handler with INT" in refusal(history)


# What goes on.


# (rule migrate-before-the-end)
def test_a_failed_thread_forgets_its_visit_of_another_node_and_is_rescued_there() -> None:
    history = versions(main({"a": TASK}), main({"a": waits()}), failed())
    over(history).then(like(WfRunMigrated, threads=[MigratedThread(0, forgets_visit=True)]))
    assert history.status() == Status.ERROR
    assert history.thread().node.task is None
    history.when(rescue()).then("ThreadRescued")
    history.when(event("go"))
    assert history.run.status is Status.COMPLETED


def test_a_wf_run_that_ended_in_error_ends_when_it_would_have() -> None:
    history = versions(main({"a": TASK}), main({"a": TASK, "b": waits()}), failed())
    timer = history.run.timer
    assert timer is not None
    over(history).then("WfRunMigrated")
    assert history.run.timer == timer


# (rule migration-goes-on)
def test_a_time_out_that_is_new_counts_from_the_arrival() -> None:
    history = versions(main({"a": waits()}), main({"a": waits(timeout_s=10)})).after(4_000)
    over(history).then("WfRunMigrated", "TimerArmed")
    history.after(5_999)
    assert history.run.status is Status.RUNNING
    history.after(1)
    assert history.run.status is Status.ERROR


# (rule migration-goes-on)
@pytest.mark.parametrize(("retries", "status"), [(0, Status.ERROR), (1, Status.ERROR), (2, Status.RUNNING)])
def test_the_retries_of_the_new_version_decide_about_the_next_attempt(retries: int, status: Status) -> None:
    history = versions(main({"a": {**TASK, "retries": 5}}), main({"a": {**TASK, "retries": retries}}), failed())
    over(history).then("WfRunMigrated")
    history.when(failed())
    assert history.run.status is status


# (rule migration-goes-on)
def test_a_condition_of_the_new_version_is_looked_at_at_once() -> None:
    condition = {"kind": "WAIT_FOR_CONDITION", "condition": {"eq": [{"var": "n"}, 2]}}
    variables = {"n": {"type": "INT", "default": 1}}
    first = main({"a": condition}, variables=variables)
    second = main({"a": {**condition, "condition": {"eq": [{"var": "n"}, 1]}}}, variables=variables)
    over(versions(first, second)).then_among_others("WfRunMigrated", "NodeCompleted", "WfRunEnded")


# (rule migration-keeps-variables)
def test_variables_come_with_their_defaults_and_an_int_becomes_a_double() -> None:
    first = main({"a": waits()}, variables={"n": {"type": "INT", "default": 1}, "old": {"type": "STR"}})
    new = {"n": {"type": "DOUBLE"}, "new": {"type": "DOUBLE", "default": 2}, "none": {"type": "STR"}}
    history = over(versions(first, main({"a": waits()}, variables=new)))
    history.then(like(WfRunMigrated, threads=[MigratedThread(0, {"n": 1.0, "new": 2.0, "none": None}, ["old"])]))
    assert [type(it) for it in history.thread().variables.values()] == [float, float, type(None)]


# (rule migration-keeps-variables)
def test_outputs_of_nodes_that_are_gone_are_forgotten() -> None:
    variables = {"n": {"type": "INT"}}
    uses = {"kind": "NOP", "next": {"to": "end", "set": [{"var": "n", "op": "ASSIGN", "value": {"output": "work"}}]}}
    first = main({"work": TASK, "a": waits()}, variables=variables)
    first["main"]["nodes"]["a"]["next"] = "use"
    first["main"]["nodes"]["use"] = uses
    history = versions(first, main({"a": waits()}, variables=variables), report(output=3))
    assert history.thread().outputs == {"work": 3}
    over(history).then(like(WfRunMigrated, threads=[MigratedThread(0, outputs_gone=["work"])]))
    assert history.thread().outputs == {}


# (rule migration-leaves-unclaimed-events)
def test_a_new_interrupt_takes_what_comes_from_then_on() -> None:
    second = {"main": thread({"a": waits()}, interrupts=[{"event": "i", "handler": "h"}]), "h": thread()}
    history = versions(main({"a": waits()}), second, event("i"))
    over(history).then("WfRunMigrated")
    assert [it.status for it in history.run.external_events.values()] == ["UNCLAIMED"]
    history.when(event("i")).then_among_others("Halt", "SpawnChild", "Resume")


# (rule migration-leaves-unclaimed-events)
def test_who_stands_at_its_entrypoint_takes_what_its_preemptive_interrupts_name() -> None:
    interrupts = [{"event": "i", "handler": "h", "preemptive": True}]
    first = {"main": thread({"spawn": SPAWN, "join": JOIN}), "kid": thread({"wait": waits()}), "h": thread()}
    second = first | {"kid": thread({"wait": waits()}, interrupts=interrupts)}
    held = first | {"main": thread({"hold": waits("done"), "spawn": SPAWN, "join": JOIN})}
    history = versions(held, second | {"main": held["main"]}, event("i"))
    over(history).then("WfRunMigrated")
    history.when(event("done")).then_among_others("SpawnChild", "Halt", "SpawnChild")


# (rule migration-drops-misfits)
def test_an_unclaimed_event_that_the_new_version_cannot_read_is_dropped_and_an_int_is_read_as_double() -> None:
    variables = {"n": {"type": "DOUBLE"}}
    takes = {
        "kind": "EXTERNAL_EVENT",
        "event": "done",
        "next": {"to": "c", "set": [{"var": "n", "op": "ASSIGN", "value": {"output": "b"}}]},
    }
    first = main({"a": waits(), "b": waits("done"), "c": waits("i")}, variables=variables)
    history = versions(first, first | {"more": thread()}, event("done", "text"), event("done", 7), event("i", 7))
    history.engine.register([PutExternalEventDef("done", VariableType.DOUBLE)])
    second = main({"a": waits(), "b": waits("done"), "c": waits("i")}, variables=variables)
    second["main"]["nodes"]["b"] = takes
    put(history, second)
    over(history).then("WfRunMigrated", like(ExternalEventDropped, external_event_id="done1"))
    history.when(event("go"))
    assert history.thread().variables == {"n": 7.0}
    assert type(history.thread().variables["n"]) is float


def test_a_migrated_wf_run_is_forked_from_before_and_from_after() -> None:
    history = versions(main({"a": {**TASK, "retries": 5}}), main({"a": {**TASK, "retries": 0}}), failed())
    before = snapshot_of(history.run)
    over(history)
    for number, snapshot in enumerate((before, snapshot_of(history.run))):
        entries = history.engine.put(ForkWfRun(f"fork{number}", snapshot))
        assert [type(it.event).__name__ for it in entries[:2]] == ["WfRunStarted", "WfRunForked"], entries
        assert history.engine.runs[f"fork{number}"].wf_spec == snapshot.wf_spec


def test_a_migrated_wf_run_takes_events_as_its_version_binds_them() -> None:
    history = versions(main({"a": waits()}), main({"a": waits(), "b": waits()}))
    history.engine.register([PutExternalEventDef("go", VariableType.INT)])
    put(history, main({"a": waits(), "c": waits()}))
    over(history)
    entries = history.engine.put(ExternalEvent(RUN_ID, "go", "g", "text"))
    assert isinstance(entries[0].event, Rejected)


# Any WfSpec, any commands.


def _registered(document: dict[str, Any], *more: dict[str, Any], limits: Limits = FEW_THREADS) -> Context | None:
    """The definitions of a document, with more versions of its WfSpec; None if one is refused."""
    scenario, problems = read_scenario({**document, "steps": []}, lambda name: name)
    assert scenario is not None, problems
    definitions, refused = register(scenario.definitions)
    for version in more:
        refused += definitions.register([PutWfSpec("small", json.dumps(version))])
    return None if refused else Context(definitions, limits)


# (rule migration-goes-on)
@thorough
@given(document=small | random_specs.documents(), numbers=numbers, data=st.data())
def test_the_same_document_under_another_version_changes_nothing_of_what_follows(
    document: dict[str, Any], numbers: list[int], data: st.DataObject
) -> None:
    """A document that equals the newest registers nothing, so another one comes between: 0.0 and 0.2 are the same."""
    [spec] = document["wf_specs"]
    history = RandomHistory(document, numbers, FEW_THREADS)
    context = _registered(document, {**spec, "retention_s": 77}, spec)
    assert context is not None
    cut = data.draw(st.integers(0, len(history.taken) - 1))
    plain, migrated = MemoryEngine(context, START_MS), CheckedEngine(context, START_MS)
    has_migrated = False
    for index, taken in enumerate(history.taken):
        plain.time_ms = migrated.time_ms = taken.time_ms
        command = taken.command
        if isinstance(command, ForkWfRun):
            break
        if isinstance(command, MigrateWfRun):
            continue
        if index == cut and RUN_ID in migrated.runs and migrated.runs[RUN_ID].exists:
            run = migrated.runs[RUN_ID]
            assert run.wf_spec is not None
            other = 0 if run.wf_spec.revision == 2 else 2
            has_ended = run.final_status is not None or run.status is Status.EXCEPTION
            from_, to = run.wf_spec, WfSpecId("small", 0, other)
            found = [it.event for it in migrated.put(MigrateWfRun(RUN_ID, 0, other))]
            if has_ended:
                assert isinstance(found[0], Rejected)
            else:
                assert found == [WfRunMigrated(to, from_)]
                has_migrated = True
            migrated.crash()
        one, other_ = plain.put(command), migrated.put(command)
        assert told(one) == told(other_)
        if not plain.runs[RUN_ID].exists:
            break
    noted("migrated" if has_migrated else "not migrated")


Edit = Callable[[st.DataObject, dict[str, Any]], None]


def _any_thread(data: st.DataObject, spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec["threads"][data.draw(st.sampled_from(sorted(spec["threads"])))]
    return found


def _any_node(data: st.DataObject, spec: dict[str, Any]) -> dict[str, Any]:
    nodes = _any_thread(data, spec)["nodes"]
    found: dict[str, Any] = nodes[data.draw(st.sampled_from(sorted(nodes)))]
    return found


def _drop_a_thread(data: st.DataObject, spec: dict[str, Any]) -> None:
    del spec["threads"][data.draw(st.sampled_from(sorted(spec["threads"])))]


def _change_a_variable(data: st.DataObject, spec: dict[str, Any]) -> None:
    variables = _any_thread(data, spec).setdefault("variables", {})
    name = data.draw(st.sampled_from([*sorted(variables), "fresh"]))
    made = data.draw(
        st.sampled_from(
            [None, {"type": "INT", "default": 7}, {"type": "STR"}, {"type": "DOUBLE"}, {"type": "JSON_OBJ"}]
        )
    )
    variables.pop(name, None)
    if made is not None:
        variables[name] = made


def _change_a_field(data: st.DataObject, spec: dict[str, Any]) -> None:
    node = _any_node(data, spec)
    name, value = data.draw(
        st.sampled_from(
            [("timeout_s", 5), ("timeout_s", None), ("queue_timeout_s", 5), ("retries", 0), ("retries", 3),
             ("seconds", 1), ("event", "go"), ("strategy", "ANY"), ("strategy", "FIRST"), ("strategy", "ALL"),
             ("on_failure", None), ("on_child_failure", None)]
        )
    )  # fmt: skip
    if value is None:
        node.pop(name, None)
    elif name in node or (name == "retries" and node["kind"] == "TASK"):
        node[name] = value
    elif name in ("timeout_s", "queue_timeout_s") and node["kind"] in ("TASK", "EXTERNAL_EVENT"):
        for other in ("timeout_s", "queue_timeout_s", "run_timeout_s"):
            node.pop(other, None)
        node[name] = value


def _change_a_kind(data: st.DataObject, spec: dict[str, Any]) -> None:
    node = _any_node(data, spec)
    if "next" in node and node["kind"] != "ENTRYPOINT":
        kept = {"next": node["next"]}
        node.clear()
        kinds = [SLEEP, {"kind": "NOP"}, waits("go"), {"kind": "SLEEP", "seconds": 0}]
        node.update(data.draw(st.sampled_from(kinds)), **kept)


def _change_an_interrupt(data: st.DataObject, spec: dict[str, Any]) -> None:
    found = [(it, interrupt) for it in spec["threads"].values() for interrupt in it.get("interrupts", ())]
    if found:
        its, interrupt = data.draw(st.sampled_from(found))
        change = data.draw(st.sampled_from([None, ("policy", "serial"), ("policy", "latest"), ("policy", "parallel"),
                                            ("halt", False), ("halt", True), ("preemptive", True)]))  # fmt: skip
        if change is None:
            its["interrupts"].remove(interrupt)
        else:
            interrupt[change[0]] = change[1]


def _put_a_node_between(data: st.DataObject, spec: dict[str, Any]) -> None:
    nodes = _any_thread(data, spec)["nodes"]
    name = data.draw(st.sampled_from(sorted(nodes)))
    if isinstance(nodes[name].get("next"), str):
        nodes["between"] = {"kind": "NOP", "next": nodes[name]["next"]}
        nodes[name]["next"] = "between"


EDITS: tuple[Edit, ...] = (
    _drop_a_thread,
    _change_a_variable,
    _change_a_field,
    _change_a_kind,
    _change_an_interrupt,
    _put_a_node_between,
)


def edited(data: st.DataObject, spec: dict[str, Any]) -> dict[str, Any]:
    """Another version: the same with a few edits."""
    changed: dict[str, Any] = copy.deepcopy(spec)
    for edit in data.draw(st.lists(st.sampled_from(EDITS), min_size=1, max_size=3)):
        if changed["threads"]:
            edit(data, changed)
    return changed


# (rule migrate-to-what-fits)
@thorough
@given(document=small | random_specs.documents(), numbers=numbers, data=st.data())
def test_no_migration_breaks_a_rule(document: dict[str, Any], numbers: list[int], data: st.DataObject) -> None:
    [spec] = document["wf_specs"]
    context = _registered(document)
    if context is None:
        return
    versions_ = [(0, 0)]
    for _ in range(2):
        made = edited(data, spec)
        refused = context.definitions.register([PutWfSpec("small", json.dumps(made))])  # type: ignore[attr-defined]
        latest = context.definitions.latest_wf_spec("small")
        assert latest is not None
        if not refused and (latest.major, latest.revision) not in versions_:
            versions_.append((latest.major, latest.revision))
    noted(f"{len(versions_)} versions")
    engine = CheckedEngine(context, START_MS)
    producers = Producers(list(document["external_events"]), versions=tuple(versions_))
    for number in numbers:
        run = engine.runs.get(RUN_ID) or new_run(RUN_ID)
        command = producers.choose(run, number // len(STEPS_MS))
        engine.time_ms += STEPS_MS[number % len(STEPS_MS)]
        entries = engine.put(command)
        if isinstance(command, MigrateWfRun):
            noted(f"migrated: {type(entries[0].event).__name__}")
            engine.crash()


SEARCHED = ("task-and-child", "failure-handler-and-interrupt", "nested-handlers")


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", SEARCHED)
def test_no_order_of_inputs_and_migrations_breaks_a_rule(name: str) -> None:
    document = document_of(name)
    [spec] = document["wf_specs"]
    other = copy.deepcopy(spec)
    for its in other["threads"].values():
        for node in its["nodes"].values():
            node.pop("on_failure", None)
            if node["kind"] == "TASK":
                node["retries"] = 1
        for interrupt in its.get("interrupts", ()):
            interrupt["policy"] = "latest"
    bounds = Bounds(dict.fromkeys(document["external_events"], 1), before=1, rescues=1, versions=((0, 0), (0, 1)))
    found = Search(document, bounds, later=[other]).explore(3_000)
    print(f"{name}: {found}")
    assert found.exhausted or found.states >= 3_000
