"""docs/tutorial.md: its files and commands do what it says, one after the other, on a real Kafka."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.halter_processes import ROOT, Halter

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
TOPIC = "shop.orders"
PACKS = "    task.wait_cancelled(8)  # somebody packs\n"
PACKS_UNTIL_TOLD = """\
    while not task.wait_cancelled(0.1) and not __import__("os").path.exists(f"{task.wf_run_id}.packed"):
        pass
"""
"""Eight seconds are enough for a person. A test does not count on it: it packs until the order is HALTING."""


def blocks(*languages: str) -> list[str]:
    found = re.finditer(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return [block[2] for block in found if block[1] in languages]


def file_of(code: str, prefix: str) -> tuple[str, str]:
    name = re.match(r"# (\S+)\n", code)
    assert name is not None, code
    return name[1], code.replace(PACKS, PACKS_UNTIL_TOLD).replace(TOPIC, prefix + TOPIC)


def script() -> str:
    """The commands of the page. The broker is that of the tests, and following ends with the WfRun."""

    def followed(command: re.Match[str]) -> str:
        return (
            f"until halter history {command[1]} --event Halt | grep -q PENDING_INTERRUPT; do sleep 0.5; done\n"
            f"touch {command[1]}.packed\n"
            f"until halter show {command[1]} | grep -q COMPLETED; do sleep 0.5; done\n"
            f"halter history {command[1]}"
        )

    commands = "".join(it for it in blocks("sh") if "pip install" not in it)
    without_broker = commands.replace("halter broker &\n", "")
    assert without_broker != commands
    in_memory = without_broker.replace("pytest -q\n", "touch order-1.packed\npytest -q\nrm order-1.packed\n")
    assert in_memory != without_broker
    return re.sub(r"^halter history (\S+) --follow$", followed, in_memory, flags=re.MULTILINE)


@pytest.mark.timeout(450)
def test_the_files_and_commands_of_the_tutorial_do_what_it_says(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    halter = Halter(bootstrap, prefix, tmp_path, makes_topics=False)
    shop = tmp_path / "shop"
    shop.mkdir()
    assert PACKS in PAGE
    for name, code in (file_of(code, prefix) for code in blocks("python", "yaml")):
        (shop / name).write_text(code)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said = tmp_path / "said"
    with said.open("w") as output:
        # Not a pipe: workers stay behind and hold it open.
        process = subprocess.Popen(
            ["bash", "-c", f"set -e\n{script()}\necho all done"],
            cwd=shop,
            env=halter.environment | {"PATH": path, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(timeout=400)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            text = said.read_text(encoding="utf-8")
            print(text)
    assert process.returncode == 0, text
    assert "1 passed" in text, text
    assert "#0 main is HALTING" in text, text
    for parcel in ("parcel order-1 to 12 Harbour Street", "parcel order-2 to 9 Elm Street"):
        assert f'ThreadCompleted      #0  returns "{parcel}"' in text, text
