"""Keeps Python's cycle collector from what stays until the last test: modules, and 17,000 tests."""

import gc


def hide_what_is_there() -> None:
    """Collect what is garbage, and hide the rest from the collector.

    Each of the many tests that call `gc.collect` would look through all of it, which takes 0.4 s.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
