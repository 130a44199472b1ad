"""Names that 0.1.0 documented and 0.2.0 moved still work, and say where they went."""

import importlib
import subprocess
import sys

import pytest

from halter import task_worker
from processors.kafka import settings


def test_halter_worker_is_the_task_worker_and_warns() -> None:
    sys.modules.pop("halter.worker", None)
    with pytest.warns(DeprecationWarning, match=r"halter\.task_worker"):
        old = importlib.import_module("halter.worker")
    assert all(getattr(old, name) is getattr(task_worker, name) for name in old.__all__)


def test_processors_settings_has_the_settings_and_warns() -> None:
    sys.modules.pop("processors.settings", None)
    with pytest.warns(DeprecationWarning, match=r"processors\.kafka\.settings"):
        old = importlib.import_module("processors.settings")
    assert old.Settings is settings.Settings


def test_processors_compatibility_is_a_command_and_warns() -> None:
    command = [sys.executable, "-m", "processors.compatibility", "check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("all that was released is read")
    assert "DeprecationWarning: processors.compatibility is now processors.codec.compatibility" in ran.stderr
