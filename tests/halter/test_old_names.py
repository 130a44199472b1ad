"""Names that 0.1.0 documented and 0.2.0 moved still work, and say where they went."""

import importlib
import subprocess
import sys

import pytest

from halter import client, task_worker


def test_halter_worker_is_the_task_worker_and_warns() -> None:
    sys.modules.pop("halter.worker", None)
    with pytest.warns(DeprecationWarning, match=r"halter\.task_worker"):
        old = importlib.import_module("halter.worker")
    assert all(getattr(old, name) is getattr(task_worker, name) for name in old.__all__)


@pytest.mark.parametrize(
    ("module", "name"),
    [("processors.settings", "Settings"), ("processors.errors", "HalterError"), ("processors.core.values", "Value")],
)
def test_what_the_readme_and_the_example_of_0_1_0_import_is_what_the_client_has(module: str, name: str) -> None:
    sys.modules.pop(module, None)
    with pytest.warns(DeprecationWarning, match=rf"{module} is now .* halter\.client has {name}") as warned:
        old = importlib.import_module(module)
    assert len(warned) == 1
    assert getattr(old, name) is getattr(client, name)
    assert all(hasattr(old, it) for it in old.__all__)


def test_processors_compatibility_is_a_command_and_warns() -> None:
    command = [sys.executable, "-m", "processors.compatibility", "check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("all that was released is read")
    assert "DeprecationWarning: processors.compatibility is now processors.codec.compatibility" in ran.stderr
