"""The census of a partition: counted as WfRuns move, it is what a look at all of them would find."""

from collections import Counter
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import pytest
from hypothesis import example, given, settings

from processors.core.records.commands import (
    DeleteWfRun,
    ExternalEvent,
    ResumeWfRun,
    RunWf,
    StopWfRun,
)
from processors.core.records.model import HALT_REASON_KINDS, HaltReason, Status
from processors.fold.census import Census, Standing, since_ms
from processors.fold.rows import has_rows
from processors.fold.tally import Tally
from tests.fold.test_rows_follow import CRASH, TURNS, Turn, play
from tests.fold.test_shard_fold import rocks, with_cart
from tests.support.shard_rig import START_MS, ShardRig

STOPPED_AND_DELETED: list[Turn] = [
    ([RunWf("c1", "cart"), StopWfRun("c1")], True, CRASH),
    ([DeleteWfRun("c1"), RunWf("c2", "cart")], True, CRASH),
]


def census_of(rig: ShardRig) -> Census:
    return rig.factory.censuses[0]


def looked_at(rig: ShardRig) -> tuple[Counter[Standing], Counter[str]]:
    """Return what a look at every WfRun finds: how they stand, and how many threads each kind of reason holds."""
    stand: Counter[Standing] = Counter()
    held: Counter[str] = Counter()
    for run in rig.shard.wf_runs.values():
        if has_rows(run) and run.wf_spec is not None:
            assert run.status is not None
            stand[run.wf_spec.name, run.status] += 1
            for thread in run.threads.values():
                held.update({HALT_REASON_KINDS[type(reason)] for reason in thread.halt_reasons})
    return stand, held


def check(rig: ShardRig) -> None:
    rig.turn()
    stand, held = looked_at(rig)
    census = census_of(rig)
    assert census.wf_runs() == stand
    assert {kind: count for kind, (count, _) in census.held().items()} == held
    runs = [run for run in rig.shard.wf_runs.values() if run.wf_spec is not None]
    for kind, (_, since) in census.held().items():
        reasons = [
            since_ms(run, reason)
            for run in runs
            for thread in run.threads.values()
            for reason in thread.halt_reasons
            if HALT_REASON_KINDS[type(reason)] == kind
        ]
        assert START_MS <= since <= min(reasons)


@settings(max_examples=60, deadline=None)
@given(TURNS)
@example(STOPPED_AND_DELETED)
def test_it_is_what_a_look_at_all_wf_runs_finds_whenever_rows_are_written_and_a_worker_crashes(
    turns: list[Turn],
) -> None:
    rig = play(ShardRig(tally=Tally()), turns, follow=True)
    check(rig)
    rig.crash()
    check(rig)


@settings(max_examples=8, deadline=None)
@given(TURNS)
@example(STOPPED_AND_DELETED)
def test_a_store_with_files_restores_it_from_its_notes(turns: list[Turn]) -> None:
    with TemporaryDirectory() as folder:
        rig = play(ShardRig(tally=Tally(), new_store=rocks(Path(folder))), turns, follow=True)
        check(rig)
        rig.crash()
        check(rig)
        assert rig.shard.files is not None
        rig.shard.files.close()


@pytest.fixture
def rig() -> ShardRig:
    rig = ShardRig(tally=Tally())
    with_cart(rig)
    return rig


def test_files_of_a_worker_that_kept_no_notes_are_looked_at_as_a_whole(tmp_path: Path) -> None:
    """So it is with metrics that were off for a while, and with an earlier release in between."""
    tally = Tally()
    rig = ShardRig(tally=tally, new_store=rocks(tmp_path))
    with_cart(rig)
    for number in range(5):
        rig.turn(RunWf(f"c{number}", "cart"))
    rig.factory._tally = None
    rig.crash()
    for number in range(3):
        rig.turn(StopWfRun(f"c{number}"))
    rig.turn(RunWf("c9", "cart"), RunWf("c8", "cart"))
    rig.factory._tally = tally
    rig.crash()
    check(rig)
    assert census_of(rig).wf_runs() == {("cart", Status.RUNNING): 4, ("cart", Status.HALTED): 3}


def test_a_held_thread_counts_from_the_stop_on_while_the_worker_has_it(rig: ShardRig) -> None:
    rig.turn(RunWf("c1", "cart"))
    rig.now_ms = stopped_ms = START_MS + 60_000
    rig.turn(StopWfRun("c1"))
    rig.now_ms += 60_000
    rig.turn(ExternalEvent("c1", "add", "e1", 1))
    assert census_of(rig).held()["MANUAL_HALT"] == (1, stopped_ms)
    rig.turn(ResumeWfRun("c1"))
    assert "MANUAL_HALT" not in census_of(rig).held()


def test_the_oldest_of_many_is_found_when_the_oldest_goes(rig: ShardRig) -> None:
    for number in range(200):
        rig.now_ms += 1_000
        rig.turn(RunWf(f"c{number}", "cart"), StopWfRun(f"c{number}"))
    for number in range(150):
        rig.turn(ResumeWfRun(f"c{number}"))
    count, since = census_of(rig).held()["MANUAL_HALT"]
    assert (count, since) == (50, START_MS + 151_000)


def test_what_was_refused_is_counted_by_command_and_code_once_it_is_committed(rig: ShardRig) -> None:
    tally = rig.factory._tally
    assert tally is not None
    rig.shard.fold(rig.read(rig.command(RunWf("c1", "no-such-spec"))))
    assert not tally.of("rejections")
    rig.turn(rig.record("external-events", b"c1", b"?"))
    assert tally.of("rejections") == {("RunWf", "NOT_FOUND"): 1}
    assert tally.of("dead_letters") == {("UNDECODABLE",): 1}


def test_names_beyond_a_number_of_them_count_as_other() -> None:
    tally = Tally()
    labels = {tally.task_defs.label(f"task-{number}") for number in range(250)}
    assert len(labels) == 101
    assert "other" in labels
    assert tally.task_defs.label("task-0") == "task-0"
    assert tally.task_defs.label("task-249") == "other"


def test_every_kind_of_halt_reason_has_a_name() -> None:
    assert set(HALT_REASON_KINDS) == set(get_args(HaltReason))
    for reason, kind in HALT_REASON_KINDS.items():
        assert str(reason(*range(len(fields(reason))))).partition("(")[0] == kind
