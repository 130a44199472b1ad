"""Rows follow the log: whenever they are written, and wherever a worker crashes in between, nothing else differs."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processors.core.records.commands import (
    DeleteWfRun,
    ExternalEvent,
    QuarantineWfRun,
    ReleaseWfRun,
    RunWf,
    SkipRecord,
    StopWfRun,
)
from processors.core.records.model import NO_INCARNATION
from processors.core.records.topic_names import FOLD_POSITIONS, SHARD_STATE
from processors.fold.rows import has_rows
from processors.fold.stores import BrokenState
from processors.fold.stores.wf_runs import ROWS_HELD
from processors.fold.timers import ArmedTimer
from tests.fold.test_quarantine import OPERATED, state
from tests.fold.test_shard_fold import COMMANDS, armed, rocks, with_cart
from tests.support.shard_rig import START_MS, ShardRig

CRASH = -1
Turn = tuple[list[Any], bool, int]
TURNS = st.lists(
    st.tuples(st.lists(COMMANDS | OPERATED, max_size=5), st.booleans(), st.sampled_from([0, 0, 1, 2, CRASH])),
    max_size=10,
)
"""What comes in a turn, whether rows are written with it, and how many generations of WfRuns are dropped after it, or
that the worker crashes.
"""

QUARANTINED_UNSTARTED: list[Turn] = [([ExternalEvent("c2", "add", "a", 1), QuarantineWfRun("c2")], False, CRASH)]
"""An ExternalEvent waits for its WfRun in quarantine, where no time passes."""


def records_of(rig: ShardRig, items: list[Any]) -> list[Any]:
    """Return the records of a turn. A number lets time pass."""
    records: list[Any] = []
    for item in items:
        if isinstance(item, int):
            rig.now_ms += item
        else:
            records.append(rig.record("external-events", b"c1", item) if isinstance(item, bytes) else rig.command(item))
    return records


def play(rig: ShardRig, turns: list[Turn], *, follow: bool) -> ShardRig:
    """Fold turns. If rows follow, they are written where the turns say so, otherwise with each turn."""
    with_cart(rig)
    for items, rows, rests in turns:
        rig.turn(*records_of(rig, items), rows=rows or not follow)
        due = rig.shard.due_timers(rig.now_ms, 100)
        timers = [rig.record(it.topic, it.key, it.value) for it in due]
        rig.turn(*timers, rows=rows or not follow)
        if rests == CRASH:
            rig.crash()
        for _ in range(rests):
            rig.shard.wf_runs.drop_the_older(rig.shard._unwritten)
    return rig


def timers_of(rig: ShardRig) -> list[ArmedTimer]:
    """Return the armed timers.

    An id under which nothing was started learns when it is due how far it was put off. What a fold holds of a WfRun in
    quarantine is not armed until its release (rule quarantine-stops-time).
    """
    runs = rig.shard.wf_runs
    held = [it for it in armed(rig) if runs[it.wf_run_id].quarantined_ms is None]
    return sorted(it._replace(due_ms=0) if it.incarnation == NO_INCARNATION else it for it in held)


def nothing_but_rows_differs(late: ShardRig, at_once: ShardRig) -> None:
    assert late.inputs == at_once.inputs
    logs = [[it for it in rig.outputs if it.topic not in SHARD_STATE] for rig in (late, at_once)]
    assert logs[0] == logs[1]
    assert timers_of(late) == timers_of(at_once)
    there = {wf_run_id for wf_run_id, run in late.shard.wf_runs.items() if has_rows(run)}
    assert {wf_run_id: run for wf_run_id, run in state(late).items() if wf_run_id in there} == state(at_once)
    late.turn()
    for topic in set(SHARD_STATE) - {FOLD_POSITIONS}:
        assert late.tables[topic] == at_once.tables[topic]
    assert late.position() == at_once.position()


# (rule same-records-same-bytes)
@settings(max_examples=300, deadline=None)
@given(TURNS)
def test_whenever_rows_are_written_and_whenever_a_worker_crashes_nothing_else_differs(
    turns: list[Turn],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processors.fold.stores.wf_runs.MANY_EXTERNAL_EVENTS", 1)
        late = play(ShardRig(), turns, follow=True)
    nothing_but_rows_differs(late, play(ShardRig(), turns, follow=False))


@settings(max_examples=15, deadline=None)
@given(TURNS)
@example(QUARANTINED_UNSTARTED)
def test_a_store_with_files_changes_nothing_of_it(turns: list[Turn]) -> None:
    with TemporaryDirectory() as folder:
        late = play(ShardRig(new_store=rocks(Path(folder))), turns, follow=True)
        nothing_but_rows_differs(late, play(ShardRig(), turns, follow=False))
        assert late.shard.files is not None
        late.shard.files.close()


@pytest.fixture
def rig() -> ShardRig:
    return with_cart(ShardRig())


def state_topics_of(rig: ShardRig, *records: Any) -> set[str]:
    """Fold records in a turn whose rows may follow later; return the state topics that it writes."""
    before = len(rig.outputs)
    rig.turn(*records, rows=False)
    return {it.topic for it in rig.outputs[before:]} & {*SHARD_STATE}


def test_a_turn_of_ordinary_commands_writes_the_log_alone(rig: ShardRig) -> None:
    assert state_topics_of(rig, RunWf("c1", "cart"), ExternalEvent("c1", "add", "e1", 1)) == set()
    assert rig.shard.unwritten == 1


@pytest.mark.parametrize(
    "command",
    [
        QuarantineWfRun("c1"),
        ReleaseWfRun("c1"),
        SkipRecord("wf-commands", 0, 99, START_MS),
        b"nothing that can be decoded",
    ],
)
def test_what_the_log_alone_does_not_tell_comes_with_all_rows(rig: ShardRig, command: Any) -> None:
    rig.turn(RunWf("c1", "cart"), RunWf("c2", "cart"), rows=False)
    written = state_topics_of(rig, *records_of(rig, [command]))
    assert written >= {"wf-runs", "thread-runs", FOLD_POSITIONS}
    assert rig.tables["wf-runs"].keys() == {b"c1", b"c2"}
    assert rig.shard.unwritten == 0


def test_a_shard_writes_its_position_before_anything_may_follow() -> None:
    rig = ShardRig()
    assert state_topics_of(rig, StopWfRun("c1", 0)) == {FOLD_POSITIONS}


def test_rows_are_written_at_once_where_an_earlier_release_may_read_them() -> None:
    rig = with_cart(ShardRig(release="0.2.0"))
    assert state_topics_of(rig, RunWf("c1", "cart")) >= {"wf-runs", FOLD_POSITIONS}
    assert rig.restored().log_position is None


def test_a_wf_run_that_is_deleted_before_its_rows_are_written_leaves_nothing(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"))
    rig.turn(StopWfRun("c1", 0), rows=False)
    rig.turn(DeleteWfRun("c1"), rows=False)
    rig.crash()
    rig.turn()
    assert not rig.tables["wf-runs"]
    assert not rig.tables["thread-runs"]


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (lambda log: log[:-2] + log[-1:], "the entry with seq"),
        (lambda log: log[-1:], "an entry with which something begins"),
    ],
    ids=["within a WfRun", "its beginning"],
)
def test_a_log_that_does_not_fit_its_rows_is_told(rig: ShardRig, lost: Any, expected: str) -> None:
    rig.turn(RunWf("c0", "cart"))
    before = len(rig.log_records)
    rig.turn(RunWf("c1", "cart"), rows=False)
    rig.turn(StopWfRun("c1", 0), rows=False)
    rest = rig.log_records[before:]
    rig.log_records = [*rig.log_records[:before], *lost(rest)]
    with pytest.raises(BrokenState, match=f"expected {expected}"):
        rig.crash()


def test_what_is_held_is_bounded_though_some_rows_are_always_behind(rig: ShardRig) -> None:
    """As where turns overlap: one is folded already when the one before is committed."""
    shard = rig.shard
    for turn in range(40):
        for number in range(200):
            shard.fold(rig.read(rig.command(RunWf(f"w{turn}-{number}", "cart"))))
        shard.take_outputs(rows=True)
        shard.fold(rig.read(rig.command(RunWf(f"w{turn}", "cart"))))
        shard.take_outputs(rows=False)
        shard.committed()
        assert shard.unwritten == 1
    held = len(shard._runs._young) + len(shard._runs._old)
    assert held < ROWS_HELD
    assert len(shard.wf_runs) == 40 * 201
