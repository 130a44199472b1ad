"""Waits for conditions, not for times."""

import time
from collections.abc import Callable


def wait_until(what: str, condition: Callable[[], object], seconds: float = 60.0, every_s: float = 0.02) -> None:
    """Wait until a condition holds. `what` names it in the failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(every_s)
