"""The READMEs of the examples do what they say, on a real Kafka."""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.halter_processes import ROOT, Halter

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def halter(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    installation = Halter(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", tmp_path_factory.mktemp("halter"))
    with installation.worker():
        yield installation


def readme(example: str, language: str) -> str:
    text = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


def run_the_readme(halter: Halter, example: str, folder: Path) -> str:
    """Run the README's commands one after the other, in the folder of the example. Return what they said."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said = folder / "said"
    with said.open("w") as output:
        # Not a pipe: the task worker stays behind and holds it open.
        process = subprocess.Popen(
            ["bash", "-c", f"set -e\n{readme(example, 'sh')}\necho all done"],
            cwd=EXAMPLES / example,
            env=halter.environment | {"PATH": path, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(timeout=90)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
    text = said.read_text(encoding="utf-8")
    assert process.returncode == 0, text
    return text


def test_a_killed_order_gives_back_what_it_holds_and_fails(halter: Halter, tmp_path: Path) -> None:
    said = run_the_readme(halter, "kill-and-clean-up", tmp_path)
    for line in readme("kill-and-clean-up", "text").splitlines():
        assert line in said, said
    # The stock was released, and what had been charged was refunded.
    assert re.search(r"TaskAttemptEnded +#1 +attempt 1 SUCCESS 2\b", said), said
    assert re.search(r"TaskAttemptEnded +#1 +attempt 1 SUCCESS 2900\b", said), said
    assert "ship-parcel" not in said.partition("The log of WfRun order-2")[2], said


def test_a_token_is_revoked_a_while_after_the_last_heartbeat(halter: Halter, tmp_path: Path) -> None:
    said = run_the_readme(halter, "heartbeats", tmp_path)
    lasted = {user: float(seconds) for user, seconds in re.findall(r"(\w+) had a token for ([\d.]+) s", said)}
    assert lasted["Ann"] > 4.5, said
    assert 2.0 <= lasted["Bob"] < lasted["Ann"], said
