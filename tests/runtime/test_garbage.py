"""Rules of the collector while shards are loaded."""

import gc

from bench.wf_specs import DEFINITIONS, INTERRUPT
from processors.core.records.commands import ExternalEvent, RunWf
from processors.runtime.loading.garbage import GARBAGE, SELDOM
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
        gc.unfreeze()


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
        gc.unfreeze()


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


def test_so_a_worker_has_the_collector_look_seldom() -> None:
    before = gc.get_threshold()
    try:
        GARBAGE.look_seldom()
        assert gc.get_threshold() == SELDOM
    finally:
        gc.set_threshold(*before)
