"""The search merges states and shares rows: it finds what a search finds that does neither.

HALTER_EXPLORE_DEPTH=4 looks at longer paths, for minutes.
"""

import os
from collections.abc import Iterator
from dataclasses import fields
from itertools import count
from pathlib import Path

import pytest
import yaml

from halter.explore import workers
from halter.explore.findings import Kind
from halter.explore.inputs import Bounds, take
from halter.explore.search import START_MS, RuleBroke, Search
from halter.explore.states import Keys, State, restored, sees_numbers
from halter.explore.subject import WF_RUN_ID
from halter.explore.workers import can_fork
from processors.core.records.commands import StartTaskRun
from processors.core.records.model import NodeRun, ThreadRun, ThreadWait, WfRun, WfRunExternalEvent
from processors.core.rules import decide
from processors.core.rules.engine import attach, new_run
from tests.support.compiled_core import fills_records_with_anything, replaces_a_rule
from tests.support.explored import search_of, subject_in, wf_spec
from tests.support.small_specs import NAMES
from tests.support.small_specs import document_of as small
from tests.support.states import same

DEPTH = int(os.environ.get("HALTER_EXPLORE_DEPTH", "3"))
"""So deep every path is looked at by itself: each input more makes five to ten times as many."""


def _merging_nothing(keys: Keys) -> Keys:
    """Return keys by which no two states are the same."""

    class MergesNothing(Keys):  # only here, because a compiled class has no such subclasses
        def __init__(self) -> None:
            self._next = count(1)

        def of_thread(self, thread):  # type: ignore[no-untyped-def]
            return keys.of_thread(thread)

        def of(self, *_: object) -> int:
            return next(self._next)

    return MergesNothing()


def _explored(name: str, *, merges: bool, depth: int) -> Search:
    search = search_of(subject_in(small(name)), Bounds(2, 1, 1))
    if not merges:
        search._keys = _merging_nothing(search._keys)
    search.explore(1_000_000, depth)
    return search


@replaces_a_rule
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", NAMES)
def test_merging_states_loses_no_finding(name: str) -> None:
    merging, other = (_explored(name, merges=merges, depth=DEPTH) for merges in (True, False))
    assert merging.coverage == other.coverage
    ways = [{key: len(finding.path or ()) for key, finding in search.findings.items()} for search in (merging, other)]
    assert ways[0] == ways[1]
    assert merging.covered.states <= other.covered.states


LOOPS = """
main:
  nodes:
    start: {kind: ENTRYPOINT, next: spawn}
    spawn: {kind: START_THREAD, thread: kid, next: join}
    join: {kind: WAIT_FOR_THREADS, threads: [{output: spawn}], next: again}
    again: {kind: TASK, task: t, next: [{to: spawn, when: {output: again}}, end]}
    end: {kind: EXIT}
kid:
  nodes:
    start: {kind: ENTRYPOINT, next: nap}
    nap: {kind: SLEEP, seconds: 10, next: end}
    end: {kind: EXIT}
"""


def test_a_loop_that_starts_threads_comes_back_to_the_same_states() -> None:
    subject = wf_spec(LOOPS, tasks={"t": {"output": "BOOL"}})
    assert not sees_numbers(subject.spec)
    report = search_of(subject, Bounds()).explore(1_000)
    assert report.covered.cut_by is None


def test_numbers_count_where_the_wf_spec_can_see_them() -> None:
    seen = LOOPS.replace("task: t, ", "task: t, input: {n: {output: spawn}}, ")
    subject = wf_spec(seen, tasks={"t": {"output": "BOOL"}})
    assert sees_numbers(subject.spec)
    report = search_of(subject, Bounds()).explore(1_000)
    assert report.covered.cut_by == "states"


def _states(search: Search, states: int) -> Iterator[State]:
    while search.frontier and search.covered.states < states:
        state = search.frontier.popleft()
        yield state
        search.frontier.extend(search.expand(state))


WORKS = """
main:
  nodes:
    start: {kind: ENTRYPOINT, next: work}
    work: {kind: TASK, task: t, BOUNDSnext: end}
    end: {kind: EXIT}
"""


@pytest.mark.parametrize(("bounds", "starts"), [("", 0), ("timeout_s: 5, ", 0), ("run_timeout_s: 5, ", 1)])
def test_an_attempt_is_started_where_that_moves_its_time_out(bounds: str, starts: int) -> None:
    search = search_of(wf_spec(WORKS.replace("BOUNDS", bounds), tasks={"t": {}}), Bounds())
    came = [taken.command for state in _states(search, 100) for taken in search._inputs.of(state)]
    assert sum(isinstance(command, StartTaskRun) for command in came) == starts


@pytest.mark.parametrize("name", NAMES)
def test_a_state_is_what_its_path_leads_to(name: str) -> None:
    # Rows are shared and lent: an input that changed one it did not own would show here.
    subject = subject_in(small(name))
    search = search_of(subject, Bounds(2, 1, 1))
    for state in list(_states(search, 100)):
        run, now_ms = attach(new_run(WF_RUN_ID), subject.context), START_MS
        for offset, taken in enumerate(search.path(state.key)):
            _, now_ms = take(run, taken, offset, now_ms, subject.context)
        assert now_ms == state.now_ms
        assert same(run, state.run)


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_of_a_key_that_are_kept_are_those_that_would_be_made_anew(name: str) -> None:
    search = search_of(subject_in(small(name)), Bounds(2, 1, 1))
    for state in _states(search, 100):
        copy = restored(state.run)
        assert state.keys == {number: search._keys.of_thread(thread) for number, thread in copy.threads.items()}


def test_what_is_found_first_is_nearest() -> None:
    search = _explored("task-and-child", merges=True, depth=5)
    assert all(len(finding.path or ()) <= 5 for finding in search.findings.values())
    depths = [len(search.path(key)) for key in search.came]
    assert depths == sorted(depths)


def test_the_same_wf_spec_gives_the_same_findings() -> None:
    one, other = (search_of(subject_in(small("beside")), Bounds(1, 1, 1)).explore(500) for _ in range(2))
    assert one == other


def test_a_search_that_is_cut_says_so() -> None:
    subject = subject_in(small("beside"))
    by_states = search_of(subject, Bounds()).explore(50).covered
    assert (by_states.cut_by, by_states.waiting > 0) == ("states", True)
    by_depth = search_of(subject, Bounds()).explore(100_000, 3).covered
    assert (by_depth.cut_by, by_depth.depth) == ("depth", 3)


@pytest.mark.skipif(not can_fork(), reason="this system cannot fork")
@pytest.mark.parametrize("name", ["task-and-child", "timers", "failure-handler-and-interrupt"])
def test_workers_find_what_one_process_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SEEDS", 10)
    monkeypatch.setattr(workers, "AT_ONCE", 7)
    bounds = Bounds(1, 1, 0)
    alone = search_of(subject_in(small(name)), bounds)
    together = search_of(subject_in(small(name)), bounds)
    expected, found = alone.explore(2_000), workers.explore(together, 3, 2_000)
    assert expected.covered.cut_by is None
    assert found.covered == expected.covered
    assert together.coverage == alone.coverage
    assert [(it.kind, it.where, len(it.path or ())) for it in found.findings] == [
        (it.kind, it.where, len(it.path or ())) for it in expected.findings
    ]


@pytest.mark.skipif(not can_fork(), reason="this system cannot fork")
@pytest.mark.parametrize("seeds", [1, 4])
def test_a_stuck_thread_is_found_by_whoever_has_it(monkeypatch: pytest.MonkeyPatch, seeds: int) -> None:
    # With few seeds a worker has the state in which the thread is stuck, with more the parent.
    monkeypatch.setattr(workers, "SEEDS", seeds)
    file = Path(__file__).with_name("approval.yaml")
    subject = subject_in(yaml.safe_load(file.read_text(encoding="utf-8")))
    expected = search_of(subject, Bounds(3, 1)).explore(1_000)
    assert Kind.STUCK in {finding.kind for finding in expected.findings}
    assert workers.explore(search_of(subject, Bounds(3, 1)), 2, 1_000) == expected


@pytest.mark.skipif(not can_fork(), reason="this system cannot fork")
def test_workers_keep_to_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SEEDS", 10)
    subject = subject_in(small("beside"))
    by_states = workers.explore(search_of(subject, Bounds(2)), 2, 1_000).covered
    assert by_states.cut_by == "states"
    assert by_states.states >= 1_000
    by_depth = workers.explore(search_of(subject, Bounds(2)), 2, 100_000, 5).covered
    assert by_depth == search_of(subject, Bounds(2)).explore(100_000, 5).covered
    assert (by_depth.cut_by, by_depth.depth) == ("depth", 5)


@replaces_a_rule
def test_a_rule_that_raises_is_told_with_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise LookupError("broken")

    monkeypatch.setattr(decide, "reported", broken)
    with pytest.raises(RuleBroke, match=r"raised LookupError: broken; report it with RunWf, ReportTaskRun 0 SUCCESS"):
        search_of(subject_in(small("task-and-child")), Bounds()).explore(1_000)


OVERTAKES = """
main:
  variables: {came: {type: BOOL, default: false}, done: {type: BOOL, default: false}}
  interrupts: [{event: i, handler: h, halt: false}]
  nodes:
    start: {kind: ENTRYPOINT, next: nap}
    nap: {kind: SLEEP, seconds: 10, next: [{to: late, when: {and: [{var: came}, {not: {var: done}}]}}, end]}
    late: {kind: NOP, next: end}
    end: {kind: EXIT}
h:
  nodes:
    start: {kind: ENTRYPOINT, next: {to: nap, set: [{var: came, op: ASSIGN, value: true}]}}
    nap: {kind: SLEEP, seconds: 6, next: {to: end, set: [{var: done, op: ASSIGN, value: true}]}}
    end: {kind: EXIT}
"""


@pytest.mark.parametrize("between", [False, True])
def test_inputs_just_before_a_timer_let_newer_timers_come_after_it(between: bool) -> None:
    subject = wf_spec(OVERTAKES, external_events={"i": {}})
    report = search_of(subject, Bounds(between=between)).explore(1_000)
    assert [it.where for it in report.findings if it.kind is Kind.NOT_REACHED] == [("main", "late")] * (not between)


@fills_records_with_anything
def test_a_copy_has_every_field_and_shares_no_list() -> None:
    waits = [ThreadWait(1, 2, True)]
    node = NodeRun(**{item.name: [item.name] for item in fields(NodeRun)} | {"waits": waits})
    thread = ThreadRun(**{item.name: [item.name] for item in fields(ThreadRun)} | {"node": node})
    event = WfRunExternalEvent(**{item.name: [item.name] for item in fields(WfRunExternalEvent)})
    own = {item.name: [item.name] for item in fields(WfRun) if item.name not in {"changes", "index", "spec"}}
    run = WfRun(**own | {"threads": {0: thread}, "external_events": {("a", "1"): event}})
    copy = restored(run)
    assert same(copy, run)
    for one, other in ((run, copy), (thread, copy.threads[0]), (event, copy.external_events["a", "1"])):
        for item in fields(one):
            if item.default_factory in (list, dict) or item.name == "outcomes":
                assert getattr(one, item.name) is not getattr(other, item.name), item.name
    assert copy.threads[0].node is not node
    assert copy.threads[0].node.waits is not waits
    assert copy.threads[0].node.waits[0] is not waits[0]
