"""ExternalEventDefs that change under WfRuns (ADR 12): every type, put again with every other, for every use of it."""

from itertools import product
from typing import Any

import pytest

from halter.scenarios.definitions import DefinitionsInMemory
from processors.core.records.commands import ExternalEvent, PutExternalEventDef, RunWf
from processors.core.records.events import ExternalEventDropped, ExternalEventPosted, Rejected, RejectionCode
from processors.core.records.values import Timestamp, Value, VariableType, fits, stored
from processors.core.rules.context import Limits
from tests.support.scenario import RUN, RUN_ID, History, given

VALUES: dict[VariableType, Value] = {
    VariableType.BOOL: True,
    VariableType.INT: 7,
    VariableType.DOUBLE: 2.5,
    VariableType.STR: "text",
    VariableType.BYTES: b"\xff",
    VariableType.JSON_OBJ: {"a": 1},
    VariableType.JSON_ARR: [1],
    VariableType.TIMESTAMP: Timestamp(5),
}
CONTENTS: list[Value] = [None, *VALUES.values()]
TYPES: list[VariableType | None] = [None, *VariableType]
USES: dict[str, dict[str, Any]] = {
    "an interrupt": {},
    "an interrupt beside its thread": {"halt": False},
    "an early interrupt": {"preemptive": True},
    "the latest interrupt": {"preemptive": True, "policy": "latest"},
}


def interrupting(declared: VariableType | None, **interrupt: Any) -> History:
    """Return a WfSpec whose handler writes its INPUT to a Variable of the same type, if it has one."""
    event = "{}" if declared is None else f"{{type: {declared}}}"
    variable = f"variables: {{seen: {{type: {declared or 'INT'}}}}}"
    handler = "" if declared is None else f"variables: {{INPUT: {{type: {declared}}}}}"
    write = "" if declared is None else ", set: [{var: seen, op: ASSIGN, value: {var: INPUT}}]"
    more = "".join(f", {name}: {str(value).lower()}" for name, value in interrupt.items())
    return given(
        f"""
        external_events: {{e: {event}, a: {{}}}}
        wf_specs:
          - name: small
            entrypoint: main
            threads:
              main:
                {variable}
                interrupts: [{{event: e, handler: h{more}}}]
                nodes:
                  start: {{kind: ENTRYPOINT, next: wait}}
                  wait: {{kind: EXTERNAL_EVENT, event: a, next: done}}
                  done: {{kind: EXIT}}
              h:
                {handler}
                nodes:
                  start: {{kind: ENTRYPOINT, next: {{to: done{write}}}}}
                  done: {{kind: EXIT}}
        """
    )


def awaiting(declared: VariableType | None) -> History:
    """Return a WfSpec that waits for the event and returns its content."""
    event = "{}" if declared is None else f"{{type: {declared}}}"
    return given(
        f"""
        external_events: {{e: {event}}}
        wf_specs:
          - name: small
            entrypoint: main
            threads:
              main:
                nodes:
                  start: {{kind: ENTRYPOINT, next: wait}}
                  wait: {{kind: EXTERNAL_EVENT, event: e, next: done}}
                  done: {{kind: EXIT, return: {{output: wait}}}}
        """
    )


def put_again(history: History, declared: VariableType | None) -> None:
    definitions = history.engine.context.definitions
    assert isinstance(definitions, DefinitionsInMemory)
    assert definitions.register([PutExternalEventDef("e", declared)]) == []


def post(history: History, content: Value) -> None:
    history.when(ExternalEvent(RUN_ID, "e", f"e{len(history.engine.log)}", content))


# (rule wf-spec-binds-revisions)
@pytest.mark.parametrize(("bound", "now"), [pair for pair in product(TYPES, TYPES) if pair[0] is not pair[1]], ids=str)
@pytest.mark.parametrize("use", USES)
def test_a_live_wf_run_takes_what_its_wf_spec_binds_and_its_handlers_never_fail_for_a_type(
    bound: VariableType | None, now: VariableType | None, use: str
) -> None:
    history = interrupting(bound, **USES[use]).when(RUN)
    put_again(history, now)
    for content in CONTENTS:
        post(history, content)
        if fits(content, bound):
            assert isinstance(history.events[0], ExternalEventPosted)
            assert history.status() == "RUNNING"
            if bound is not None and content is not None:
                assert repr(history.thread().variables["seen"]) == repr(stored(content, bound))
        else:
            (rejected,) = history.then_rejected(RejectionCode.INVALID_ARGUMENT).events
            assert isinstance(rejected, Rejected)
            assert (
                f"expected {bound} as revision 0.0 of ExternalEventDef 'e', which small:0.0 binds" in rejected.message
            )


# (rule early-misfit-dropped)
@pytest.mark.parametrize(("bound", "now"), [pair for pair in product(TYPES, TYPES) if pair[0] is not pair[1]], ids=str)
@pytest.mark.parametrize("use", USES)
def test_what_comes_before_the_wf_run_is_checked_by_the_newest_and_dropped_where_it_is_not_what_is_bound(
    bound: VariableType | None, now: VariableType | None, use: str
) -> None:
    history = interrupting(bound, **USES[use])
    put_again(history, now)
    unfit = []
    for content in CONTENTS:
        post(history, content)
        assert isinstance(history.events[0], ExternalEventPosted if fits(content, now) else Rejected)
        if fits(content, now) and not fits(stored(content, now), bound):
            assert isinstance(history.events[0], ExternalEventPosted)
            unfit.append(history.events[0].external_event_id)
    history.when(RUN)
    dropped = [event for event in history.events if isinstance(event, ExternalEventDropped)]
    assert [event.external_event_id for event in dropped] == unfit
    assert history.status() == "RUNNING"
    of_the_run = {event.external_event_id: event for event in history.run.external_events.values()}
    assert [of_the_run[event_id].status for event_id in unfit] == ["DROPPED"] * len(unfit)
    assert [of_the_run[event_id].content for event_id in unfit] == [None] * len(unfit)


@pytest.mark.parametrize(("bound", "now"), [pair for pair in product(TYPES, TYPES) if pair[0] is not pair[1]], ids=str)
def test_a_node_gives_a_content_as_the_bound_type_keeps_it_whenever_it_came(
    bound: VariableType | None, now: VariableType | None
) -> None:
    for content in CONTENTS:
        early, late = awaiting(bound), awaiting(bound).when(RUN)
        for history in (early, late):
            put_again(history, now)
        post(late, content)
        assert (late.status() == "COMPLETED") == fits(content, bound)
        if fits(content, bound):
            assert repr(late.thread().output) == repr(stored(content, bound))
        if fits(content, now):
            post(early, content)
            kept = stored(content, now)
            early.when(RUN)
            assert (early.status() == "COMPLETED") == fits(kept, bound)
            if fits(kept, bound):
                assert repr(early.thread().output) == repr(stored(kept, bound))


def test_however_many_are_dropped_the_wf_run_lives_and_has_all_its_events_to_spend() -> None:
    spent = []
    for early in (0, 30, 200):
        history = awaiting(VariableType.INT)
        history.engine.context = type(history.engine.context)(
            history.engine.context.definitions, Limits(events_per_command=5)
        )
        put_again(history, VariableType.STR)
        for _ in range(early):
            post(history, "text")
        history.when(RunWf(RUN_ID, "small"))
        assert history.status() == "RUNNING"
        assert sum(isinstance(event, ExternalEventDropped) for event in history.events) == early
        spent.append(len(history.events) - early)
    assert len(set(spent)) == 1
