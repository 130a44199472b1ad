"""Events by correlation key in memory: `env.post_correlated`, and that many WfRuns and keys agree with what a key is.

(rules correlated-event-goes-to-all, kept-events-go-to-the-first, keys-end-with-the-wf-run)
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halter import CorrelatedEventRejected, InvalidArgument
from halter.events import ExternalEventPosted
from halter.files.definitions_document import read_definitions
from halter.files.yaml_files import parse_yaml
from halter.scenarios.definitions import DefinitionsInMemory
from halter.scenarios.memory import MemoryEngine
from halter.testing import NoSuchWfRunHere, WorkflowEnv
from processors.core.records.commands import CorrelatedEvent, DeleteWfRun, ExternalEvent, RunWf
from processors.core.rules.context import Context, Limits
from tests.support.checked_engine import CheckedEngine

ORDERS = """
external_events: {paid: {type: INT}, renamed: {type: STR}, closed: {}}
tasks: {receive: {input: {sum: INT}}}
wf_specs:
  - name: order
    entrypoint: main
    correlated_events: {paid: {var: order}}
    threads:
      main:
        variables: {order: {type: STR}, sum: {type: INT, default: 0}}
        interrupts:
          - {event: renamed, handler: on-renamed, policy: serial}
          - {event: paid, handler: on-paid, policy: serial}
        nodes:
          start: {kind: ENTRYPOINT, next: wait}
          wait: {kind: EXTERNAL_EVENT, event: closed, next: done}
          done: {kind: EXIT}
      on-renamed:
        variables: {INPUT: {type: STR}}
        nodes:
          start: {kind: ENTRYPOINT, next: {to: done, set: [order = INPUT]}}
          done: {kind: EXIT}
      on-paid:
        variables: {INPUT: {type: INT}}
        nodes:
          start: {kind: ENTRYPOINT, next: {to: receive, set: [sum += INPUT]}}
          receive: {kind: TASK, task: receive, input: {sum: {var: sum}}, next: done}
          done: {kind: EXIT}
"""
DAY_MS = 86_400_000


def receive(sum: int) -> None:  # noqa: A002  the input's name
    assert sum >= 0


@pytest.fixture
def env(tmp_path: Path) -> Iterator[WorkflowEnv]:
    (tmp_path / "orders.yaml").write_text(ORDERS)
    with WorkflowEnv(tmp_path / "orders.yaml", tasks={"receive": receive}) as env:
        yield env


def test_an_event_by_key_reaches_the_task_functions_of_every_wf_run_that_has_the_key(env: WorkflowEnv) -> None:
    for wf_run_id in ("b", "a"):
        env.run("order", {"order": "A7"}, wf_run_id=wf_run_id)
    decided = env.post_correlated("A7", "paid", 5)
    assert (decided.outcome, [it.wf_run_id for it in decided.wf_runs]) == ("POSTED", ["b", "a"])
    assert [(it.wf_run_id, it.input["sum"]) for it in env.attempts_of("receive")] == [("b", 5), ("a", 5)]
    assert env.correlation("A8", "paid") is None


def test_an_event_waits_for_the_first_wf_run_and_expires_by_the_clock(env: WorkflowEnv) -> None:
    env.run("order", wf_run_id="a")
    assert env.post_correlated(17, "paid", 5).outcome == "KEPT"
    env.crash()
    env.post("a", "renamed", "17")
    assert env.wf_run("a").variables["sum"] == 5
    assert env.post_correlated("B8", "paid", 5, event_id="p1").outcome == "KEPT"
    with pytest.raises(CorrelatedEventRejected, match="ALREADY_EXISTS"):
        env.post_correlated("B8", "paid", 5, event_id="p1")
    env.pass_time(days=7)
    assert env.correlation("B8", "paid") is None
    env.run("order", {"order": "B8"}, wf_run_id="b")
    assert env.wf_run("b").variables["sum"] == 0


def test_a_fork_has_the_key_of_its_source_as_well(env: WorkflowEnv) -> None:
    env.run("order", {"order": "A7"}, wf_run_id="a")
    env.fork("a", "twin")
    env.post_correlated("A7", "paid", 5)
    assert [env.wf_run(it).variables["sum"] for it in ("a", "twin")] == [5, 5]
    with pytest.raises(NoSuchWfRunHere, match="did you mean twin"):
        env.fork("twinn", "b")


def test_what_can_be_no_key_or_event_is_told_at_once(env: WorkflowEnv) -> None:
    with pytest.raises(CorrelatedEventRejected, match="no ExternalEventDef 'payed'"):
        env.post_correlated("A7", "payed")
    with pytest.raises(InvalidArgument):
        env.post_correlated("", "paid")
    with pytest.raises(InvalidArgument):
        env.post_correlated(True, "paid")


KEYS, IDS = st.sampled_from(["A7", "B8", ""]), st.sampled_from(["a", "b", "c"])
ACTS: st.SearchStrategy[Any] = st.one_of(
    st.builds(lambda id_, key: RunWf(id_, "order", {"order": key}), IDS, KEYS),
    KEYS.map(lambda key: CorrelatedEvent(key or "A7", "paid", "", 1)),
    st.builds(lambda id_, key: ExternalEvent(id_, "renamed", "", key), IDS, KEYS),
    st.builds(lambda id_: ExternalEvent(id_, "closed", "end"), IDS),
    st.builds(DeleteWfRun, IDS),
    st.sampled_from([DAY_MS, 6 * DAY_MS]),
    st.just("crash"),
)


@given(st.lists(ACTS, max_size=25))
def test_each_event_by_key_is_once_on_the_log_of_whoever_had_the_key_or_came_first(acts: list[Any]) -> None:
    engine = CheckedEngine(Context(definitions(), Limits()), 1_767_225_600_000)
    wanted: Counter[tuple[str, str]] = Counter()
    waiting: dict[str, dict[str, int]] = {"A7": {}, "B8": {}}
    for number, act in enumerate(acts):
        had = who_has(engine)
        if act == "crash":
            engine.crash()
        elif isinstance(act, int):
            engine.pass_time(act)
            for key, ids in waiting.items():
                waiting[key] = {it: until_ms for it, until_ms in ids.items() if until_ms > engine.time_ms}
        elif isinstance(act, CorrelatedEvent):
            key, event_id = act.correlation_key, f"p{number}"
            engine.correlate(replace(act, external_event_id=event_id))
            wanted.update((it, event_id) for it in had.get(key, ()))
            if not had.get(key):
                waiting[key][event_id] = engine.time_ms + 7 * DAY_MS
        elif isinstance(act, ExternalEvent):
            engine.put(replace(act, external_event_id=act.external_event_id or f"r{number}"))
        else:
            engine.put(act)
        for key, wf_run_ids in who_has(engine).items():
            for first in wf_run_ids - had.get(key, set()):
                wanted.update((first, it) for it in waiting[key])
                waiting[key] = {}
        for key, ids in waiting.items():
            known = engine.correlation("paid", key)
            assert {it.wf_run_id for it in (known.wf_runs if known else ())} == who_has(engine).get(key, set())
            assert [it.external_event_id for it in (known.kept if known else ())] == [*ids]
    log = [(entry.wf_run_id, entry.event) for _, entries in engine.log for entry in entries]
    assert wanted == Counter(
        (wf_run_id, it.external_event_id)
        for wf_run_id, it in log
        if isinstance(it, ExternalEventPosted) and it.external_event_def == "paid"
    )


def who_has(engine: MemoryEngine) -> dict[str, set[str]]:
    """Key -> the WfRuns whose Variable says so."""
    found: dict[str, set[str]] = {}
    for wf_run_id, run in engine.runs.items():
        key = run.correlation_keys.get("paid")
        if key is not None and key.key is not None:
            found.setdefault(key.key, set()).add(wf_run_id)
    return found


@cache
def definitions() -> DefinitionsInMemory:
    registered_here = DefinitionsInMemory()
    written = read_definitions(parse_yaml(ORDERS, "orders.yaml").data, lambda name: name)
    assert not registered_here.register(written[0]), ORDERS
    return registered_here
