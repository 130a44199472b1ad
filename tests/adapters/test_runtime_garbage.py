"""Rules of the collector while shards are loaded."""

import gc

from processors.runtime.garbage import GARBAGE


def test_the_collector_is_off_while_any_load_is_on_its_way_and_never_sees_what_was_loaded() -> None:
    assert gc.isenabled()
    try:
        with GARBAGE.left_alone():
            with GARBAGE.left_alone():
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
        with GARBAGE.left_alone():
            Ring()
        gc.collect()
        assert Ring.left == 1
        with GARBAGE.left_alone():
            assert Ring.left == 0
    finally:
        gc.unfreeze()
