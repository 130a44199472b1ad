"""Rules of the collector while shards are loaded."""

import gc
from collections.abc import Iterator

import pytest

from bench.wf_specs import DEFINITIONS, INTERRUPT
from processors.core.records.commands import ExternalEvent, RunWf
from processors.runtime.loading.garbage import GARBAGE, SELDOM, Garbage
from tests.support.collector import hide_what_is_there
from tests.support.shard_rig import ShardRig


def test_the_collector_is_off_while_any_load_is_on_its_way_and_never_sees_what_was_loaded() -> None:
    assert gc.isenabled()
    try:
        with GARBAGE.paused():
            with GARBAGE.paused():
                assert not gc.isenabled()
            assert not gc.isenabled()
            rows = [[row] for row in range(1_000)]
        assert gc.isenabled()
        assert not any(it is rows for it in gc.get_objects())
    finally:
        hide_what_is_there()


class Ring:
    """A cycle, which only the collector frees. Counts those that are left."""

    left = 0

    def __init__(self) -> None:
        self.me = self
        Ring.left += 1

    def __del__(self) -> None:
        Ring.left -= 1


def test_what_a_former_load_left_is_collected_by_the_next() -> None:
    try:
        with GARBAGE.paused():
            Ring()
        gc.collect()
        assert Ring.left == 1
        with GARBAGE.paused():
            assert Ring.left == 0
    finally:
        hide_what_is_there()


def test_an_interrupt_leaves_nothing_that_only_the_collector_frees() -> None:
    rig = ShardRig()
    rig.turn(*DEFINITIONS)
    rig.turn(RunWf("w1", INTERRUPT.name))
    rig.turn(ExternalEvent("w1", "add", "first", 1))
    gc.collect()
    gc.disable()
    try:
        for number in range(100):
            rig.turn(ExternalEvent("w1", "add", f"{number}", 1))
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    """That of a worker's process."""
    before = gc.get_threshold()
    garbage = Garbage()
    try:
        yield garbage
    finally:
        gc.set_threshold(*before)
        hide_what_is_there()


def test_so_a_worker_has_the_collector_look_seldom(garbage: Garbage) -> None:
    garbage.is_of_a_worker()
    assert gc.get_threshold() == SELDOM


def test_after_a_turn_the_collector_never_sees_again_what_the_turn_left(garbage: Garbage) -> None:
    garbage.is_of_a_worker()
    rig = ShardRig()
    rig.turn(*DEFINITIONS)
    garbage.look_after_a_turn()
    seen = len(gc.get_objects())
    for number in range(100):
        rig.turn(RunWf(f"w{number}", INTERRUPT.name))
        rig.turn(ExternalEvent(f"w{number}", "add", f"{number}", 1))
        garbage.look_after_a_turn()
    assert len(gc.get_objects()) <= seen


def test_what_a_turn_leaves_in_a_cycle_is_collected_after_it(garbage: Garbage) -> None:
    garbage.is_of_a_worker()
    Ring()
    assert Ring.left == 1
    garbage.look_after_a_turn()
    assert Ring.left == 0


def test_a_turn_leaves_the_collector_alone_while_a_load_is_on_its_way(garbage: Garbage) -> None:
    garbage.is_of_a_worker()
    with garbage.paused():
        rows = [[row] for row in range(1_000)]
        garbage.look_after_a_turn()
        assert any(it is rows for it in gc.get_objects())
    assert not any(it is rows for it in gc.get_objects())


def test_a_turn_leaves_the_collector_of_any_other_process_alone(garbage: Garbage) -> None:
    rows = [[row] for row in range(1_000)]
    garbage.look_after_a_turn()
    assert any(it is rows for it in gc.get_objects())
