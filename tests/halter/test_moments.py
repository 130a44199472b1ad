"""The state of a WfRun at any event is what a replay up to there gives, and what differs is exactly what is said."""

from datetime import UTC, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halter.client.errors import BeginningMissing
from halter.history import moments
from halter.history.difference import ABSENT, Change, applied, apply, differences, facts, path_text, value_changes
from halter.history.logged import Logged
from halter.history.moments import Moments, NoSuchMoment, entries_of
from halter.scenarios.comparison import difference
from halter.scenarios.memory import MemoryEngine
from halter.show.wf_run_text import understood
from processors.core.records.commands import DeleteWfRun, RunWf
from processors.core.records.model import Changes, WfRun
from processors.core.rules.context import Context
from processors.core.rules.evolve import new_run, replay
from tests.support import recorded
from tests.support.random_commands import RUN_ID

COMPARED = 12
"""States of a long log that are compared; all of a short one."""
few = settings(max_examples=40, deadline=None)


def replayed(moments_: Moments, index: int) -> WfRun:
    run = replay(entries_of(moments_.log[: index + 1]), new_run(moments_.wf_run_id))
    run.changes = Changes()
    return run


def of_document(name: str) -> list[Moments]:
    return [Moments.of(wf_run_id, log) for wf_run_id, log in recorded.logs_of(recorded.engine_of(name)) if log]


def last_life(engine: MemoryEngine) -> Moments:
    return Moments.of(RUN_ID, [Logged(None, entry) for entry in engine.log_of(RUN_ID)])


@pytest.mark.parametrize("name", recorded.documents())
def test_every_step_changes_what_it_says_and_nothing_else(name: str) -> None:
    for log in of_document(name):
        told = facts(new_run(log.wf_run_id))
        often = len(log) // COMPARED + 1
        for step in log.steps():
            apply(told, step.changes)
            if step.index % often == 0 or step.index == log.last:
                assert told == facts(step.run)
        assert difference(log.state(log.last), replayed(log, log.last)) is None


@pytest.mark.parametrize("name", recorded.documents()[::4])
def test_the_difference_of_two_moments_leads_from_one_to_the_other(name: str) -> None:
    specs = recorded.engine_of(name).context.definitions
    for log in of_document(name):
        for first, second in ((-1, log.last), (log.last // 2, log.last), (log.last, log.last // 3)):
            before, after = (understood(log.state(index), specs) for index in (first, second))
            changes = differences(before, after, waits=True)
            assert applied(facts(before, waits=True), changes) == facts(after, waits=True)
            assert differences(before, before, waits=True) == []
            assert applied(facts(before, times=False), differences(before, after, times=False)) == facts(
                after, times=False
            )


@few
@given(recorded.names, recorded.numbers, st.integers(1, 7), st.data())
def test_the_state_at_any_moment_is_that_of_a_replay_in_whatever_order_they_are_asked_for(
    spec: str, numbers: list[int], distance: int, data: st.DataObject
) -> None:
    log = last_life(recorded.random_engine(spec, numbers))
    log._distance = distance
    for index in data.draw(st.lists(st.integers(-1, log.last), min_size=1, max_size=12)):
        assert difference(log.state(index), replayed(log, index)) is None


def test_a_state_is_the_callers_own() -> None:
    log = of_document("01-update-contact-info")[0]
    log.state(log.last).threads.clear()
    assert difference(log.state(log.last), replayed(log, log.last)) is None


def test_snapshots_are_few_however_long_the_log_is() -> None:
    log = of_document("01-update-contact-info")[0]
    longer = Moments(log.wf_run_id, log.log * 100_000)
    assert len(longer) / longer._distance <= moments.SNAPSHOTS_MAX


def test_a_moment_is_named_by_seq_by_time_or_from_the_end() -> None:
    log = of_document("05-heartbeats-latest")[0]
    for index, logged in enumerate(log.log):
        assert log.at(str(logged.entry.seq)) == index
        assert log.at(f"-{log.last - index}") == index
        latest = max(n for n, it in enumerate(log.log) if it.entry.time_ms == logged.entry.time_ms)
        assert log.by_time(logged.entry.time_ms) == latest
        assert log.at(moments.iso(logged.entry.time_ms)) == latest
    assert log.at("0") == -1


def test_a_time_is_read_in_the_zone_that_is_given_and_stands_for_all_of_its_last_digit() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert moments.time_of("2026-01-01T09:00:00", tokyo) == moments.time_of("2026-01-01T00:00:00Z", tokyo)
    assert moments.time_of("2026-01-01T00:00:00.000", UTC) == recorded.START_MS
    for text, covers in (("00:00:00.5", 599), ("00:00:01", 1_999), ("00:01", 119_999)):
        assert moments.time_of(f"2026-01-01T{text}", UTC) == recorded.START_MS + covers
    assert moments.time_of("2026-01-01", UTC) == recorded.START_MS + 86_399_999


@pytest.mark.parametrize("when", ["99999", "-99999", "yesterday", "1999-01-01", "", "--3", "1.5"])
def test_a_moment_that_there_is_not_gets_a_sentence(when: str) -> None:
    with pytest.raises(NoSuchMoment, match=r"expected|has no"):
        of_document("05-heartbeats-latest")[0].at(when)


def test_each_wf_run_of_an_id_has_moments_of_its_own() -> None:
    engine = recorded.engine_of("01-update-contact-info")
    again = MemoryEngine(Context(engine.context.definitions), recorded.START_MS)
    first = next(command for command, _ in engine.log if isinstance(command, RunWf))
    for command in (first, DeleteWfRun(first.wf_run_id), first):
        again.put(command)
    log = [Logged(None, entry) for entry in again.log_of(first.wf_run_id)]
    starts = [it.entry.incarnation for it in log if it.entry.seq == 1]
    assert len(starts) == 2
    for incarnation in starts:
        own = Moments.of(first.wf_run_id, log, incarnation)
        assert {it.entry.incarnation for it in own.log} == {incarnation}
    assert Moments.of(first.wf_run_id, log).log == Moments.of(first.wf_run_id, log, starts[-1]).log
    with pytest.raises(BeginningMissing):
        Moments.of(first.wf_run_id, log[1:], starts[0])
    with pytest.raises(NoSuchMoment):
        Moments.of(first.wf_run_id, log, 4711)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["k", "l", "odd key"]), inner),
    max_leaves=12,
)


def typed(value: Any) -> Any:
    """Return a value in a form that tells 1, 1.0 and True apart."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    return [typed(item) for item in value] if isinstance(value, list) else (type(value), value)


@given(values, values)
def test_what_differs_between_two_values_leads_from_one_to_the_other(before: Any, after: Any) -> None:
    changes = list(value_changes(("v",), before, after))
    assert typed(applied({"v": before}, changes)) == typed({"v": after})
    assert (changes == []) == (typed(before) == typed(after))


def test_an_item_that_is_put_into_a_list_is_one_change_wherever_it_is() -> None:
    items = [{"sku": name} for name in "abc"]
    assert list(value_changes(("items",), items, [*items[:1], {"sku": "x"}, *items[1:]])) == [
        Change(("items", 1), ABSENT, {"sku": "x"})
    ]
    assert path_text(("items", 1, "odd key", "sku")) == 'items[1]["odd key"].sku'
