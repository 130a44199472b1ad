"""Ten thousand ExternalEvents that came before their WfRun: a preemptive interrupt takes them, and it lives
(rules bounds-count-anew, preemptive-takes-earlier-events).

With the real limits. What is taken counts for nothing; what its handlers do counts as always.
"""

from typing import Any

import pytest

from halter.scenarios.definitions import register
from processors.core.records.commands import Command, ExternalEvent, PutExternalEventDef, PutWfSpec, RunWf
from processors.core.records.events import (
    Cause,
    InterruptAccepted,
    InterruptDropped,
    InterruptSuperseded,
    LogEntry,
    SpawnChild,
    ThreadFailed,
)
from processors.core.records.model import ExternalEventStatus, PendingInterrupt, Status, WfRun
from processors.core.records.values import to_json
from processors.core.rules import advance
from processors.core.rules.context import Context, Limits
from processors.core.rules.engine import handle, new_run
from tests.support.compiled_core import replaces_a_rule
from tests.support.scenario import RUN, event, given, like

EARLY = Limits().unclaimed_events
ROOM = Limits().live_threads - 1
"""For handlers, beside thread 0."""
COUNTS = {"start": {"kind": "ENTRYPOINT", "next": {"to": "done", "set": [{"var": "n", "op": "ADD", "value": 1}]}}}
STAYS: dict[str, Any] = {
    "start": {"kind": "ENTRYPOINT", "next": "wait"},
    "wait": {"kind": "EXTERNAL_EVENT", "event": "x", "next": "done"},
}
END = {"done": {"kind": "EXIT"}}


def started(interrupts: list[dict[str, Any]], handler: dict[str, Any]) -> tuple[WfRun, list[LogEntry]]:
    """A WfRun after as many early events as there may be, of each interrupt's ExternalEventDef in turn."""
    names = [it["event"] for it in interrupts]
    main = {
        "variables": {"n": {"type": "INT", "default": 0}},
        "interrupts": [{"handler": "h", "preemptive": True, **it} for it in interrupts],
        "nodes": STAYS | END,
    }
    spec = {"name": "s", "entrypoint": "main", "threads": {"main": main, "h": {"nodes": handler | END}}}
    definitions, refused = register([*map(PutExternalEventDef, [*names, "x"]), PutWfSpec("s", to_json(spec))])
    assert not refused
    context = Context(definitions)
    run = new_run("w")
    commands: list[Command] = [ExternalEvent("w", names[n % len(names)], f"e{n}", n) for n in range(EARLY)]
    for offset, command in enumerate(commands):
        handle(run, command, Cause("external-events", 0, offset, None, 0), 0, context)
    return run, handle(run, RunWf("w", "s"), Cause("wf-commands", 0, 0, None, 0), 0, context)


def ids(log: list[LogEntry], kind: type) -> list[str]:
    return [entry.event.external_event_id for entry in log if type(entry.event) is kind]  # type: ignore[union-attr]


def handled(log: list[LogEntry]) -> list[str | None]:
    return [entry.event.external_event_id for entry in log if type(entry.event) is SpawnChild]


def in_order(numbers: range) -> list[str]:
    return [f"e{n}" for n in numbers]


@pytest.mark.parametrize(("policy", "halt"), [("parallel", True), ("serial", True), ("serial", False)])
def test_early_events_are_handled_in_order_of_arrival_and_dropped_beyond_the_cap(policy: str, halt: bool) -> None:
    run, log = started([{"event": "beat", "policy": policy, "halt": halt}], COUNTS)
    assert run.status is Status.RUNNING
    assert handled(log) == in_order(range(ROOM))
    assert ids(log, InterruptDropped) == in_order(range(ROOM, EARLY))
    assert run.threads[0].variables == {"n": ROOM}


@replaces_a_rule
def test_what_is_dropped_without_having_been_accepted_is_not_looked_for_among_what_holds_its_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = 0

    def counted(one: PendingInterrupt, other: object) -> bool:
        nonlocal compared
        compared += 1
        return isinstance(other, PendingInterrupt) and one.external_event_id == other.external_event_id

    monkeypatch.setattr(PendingInterrupt, "__eq__", counted)
    run, _ = started([{"event": "beat", "policy": "serial"}], COUNTS)
    assert run.threads[0].variables == {"n": ROOM}
    assert compared <= 2 * ROOM


@pytest.mark.parametrize("halt", [True, False])
def test_of_early_heartbeats_only_the_newest_is_accepted_at_all(halt: bool) -> None:
    run, log = started([{"event": "beat", "policy": "latest", "halt": halt}], COUNTS)
    assert run.status is Status.RUNNING
    assert handled(log) == [f"e{EARLY - 1}"]
    assert ids(log, InterruptSuperseded) == in_order(range(EARLY - 1))
    assert not ids(log, InterruptDropped)
    assert run.threads[0].variables == {"n": 1}
    statuses = [event.status for event in run.external_events.values()]
    assert statuses == [ExternalEventStatus.SUPERSEDED] * (EARLY - 1) + [ExternalEventStatus.CLAIMED]
    assert all(event.content is None for event in run.external_events.values())
    assert run.index.unclaimed_bytes == 0


def test_early_events_of_several_interrupts_are_taken_in_one_order() -> None:
    policies = ["parallel", "serial", "latest", "latest"]
    interrupts = [{"event": f"e{n}", "policy": policy, "halt": n != 3} for n, policy in enumerate(policies)]
    run, log = started(interrupts, COUNTS)
    assert run.status is Status.RUNNING
    accepted = handled(log)
    dropped, superseded = ids(log, InterruptDropped), ids(log, InterruptSuperseded)
    assert sorted([*accepted, *dropped, *superseded], key=str) == sorted(in_order(range(EARLY)))
    assert run.threads[0].variables == {"n": len(accepted)}
    assert not run.accepted_interrupts


def test_as_many_handlers_as_there_is_room_for_stay_and_the_rest_is_dropped() -> None:
    run, log = started([{"event": "beat", "halt": False}], STAYS)
    assert run.status is Status.RUNNING
    assert ids(log, InterruptAccepted) == in_order(range(ROOM))
    assert len(run.threads) == ROOM + 1
    assert len(ids(log, InterruptDropped)) == EARLY - ROOM


def test_what_is_beyond_the_bound_in_all_still_ends_the_wf_run() -> None:
    """Each of nine hundred handlers takes a hundred and some steps: no single one is too much, all together are."""
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "n0"},
        **{f"n{n}": {"kind": "NOP", "next": f"n{n + 1}" if n < 119 else "done"} for n in range(120)},
    }
    run, log = started([{"event": "beat", "policy": "serial"}], nodes)
    assert run.status is Status.ERROR
    (failed,) = (entry.event for entry in log if isinstance(entry.event, ThreadFailed) and entry.event.thread == 0)
    assert "events" in failed.failure.message


@replaces_a_rule
def test_an_early_heartbeat_that_0_1_0_let_a_later_one_overtake_does_not_take_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The child was halted at its ENTRYPOINT: by the old rules it took the early one only when it went on."""
    document = """
        external_events: {beat: {}, go: {}}
        wf_specs:
          - name: small
            entrypoint: main
            threads:
              main:
                variables: {n: {type: INT, default: 1}}
                nodes:
                  start: {kind: ENTRYPOINT, next: kid}
                  kid:
                    kind: START_THREAD
                    thread: kid
                    next: {to: end, set: [{var: n, op: DIVIDE, value: 0}]}
                    on_failure: [{handler: fix}]
                  end: {kind: EXIT}
              kid:
                interrupts: [{event: beat, handler: h, preemptive: true, policy: latest}]
                nodes: {start: {kind: ENTRYPOINT, next: end}, end: {kind: EXIT}}
              fix:
                nodes:
                  start: {kind: ENTRYPOINT, next: wait}
                  wait: {kind: EXTERNAL_EVENT, event: go, next: end}
                  end: {kind: EXIT}
              h: {nodes: {start: {kind: ENTRYPOINT, next: end}, end: {kind: EXIT}}}
        """
    with monkeypatch.context() as old_rules:
        old_rules.setattr(advance, "arrive_halted", lambda *_: iter(()))
        history = given(document, event("beat", id="early"), RUN, event("beat", id="late"))
    history.when(event("go")).then_among_others(
        like(InterruptSuperseded, thread=1, external_event_id="early", by_external_event_id="late"),
        like(SpawnChild, parent=1, external_event_id="late"),
    )
