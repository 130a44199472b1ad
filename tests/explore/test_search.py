"""The search merges states and shares rows: it finds what a search finds that does neither."""

from collections.abc import Iterator
from itertools import count

import pytest

from halter.explore.inputs import Bounds, take
from halter.explore.search import START_MS, Search
from halter.explore.states import Keys, State, restored, sees_numbers
from halter.explore.subject import WF_RUN_ID
from processors.core.rules.engine import attach, new_run
from tests.support.explored import search_of, subject_in, wf_spec
from tests.support.small_specs import NAMES
from tests.support.small_specs import document_of as small
from tests.support.states import same

DEPTH = 3
"""So deep every path is looked at by itself: each input more makes five to ten times as many."""


class _MergesNothing(Keys):
    """Keys by which no two states are the same."""

    def __init__(self, keys: Keys) -> None:
        self._keys, self._next = keys, count(1)

    def of_thread(self, thread):  # type: ignore[no-untyped-def]
        return self._keys.of_thread(thread)

    def of(self, *_: object) -> int:
        return next(self._next)


def _explored(name: str, *, merges: bool, depth: int) -> Search:
    search = search_of(subject_in(small(name)), Bounds(2, 1, 1))
    if not merges:
        search._keys = _MergesNothing(search._keys)
    search.explore(1_000_000, depth)
    return search


@pytest.mark.parametrize("name", NAMES)
def test_merging_states_loses_no_finding(name: str) -> None:
    merging, other = (_explored(name, merges=merges, depth=DEPTH) for merges in (True, False))
    assert merging.coverage == other.coverage
    ways = [{key: len(finding.path or ()) for key, finding in search._findings.items()} for search in (merging, other)]
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
    while search._frontier and search.covered.states < states:
        state = search._frontier.popleft()
        yield state
        search.expand(state)


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
    assert all(len(finding.path or ()) <= 5 for finding in search._findings.values())
    depths = [len(search.path(key)) for key in search._came]
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
