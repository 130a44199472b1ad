"""Names that 0.1.0 documented and 0.2.0 moved still work, and say where they went."""

import importlib
import sys

import pytest

from halter import task_worker


def test_halter_worker_is_the_task_worker_and_warns() -> None:
    sys.modules.pop("halter.worker", None)
    with pytest.warns(DeprecationWarning, match=r"halter\.task_worker"):
        old = importlib.import_module("halter.worker")
    assert all(getattr(old, name) is getattr(task_worker, name) for name in old.__all__)
