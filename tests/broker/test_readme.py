"""The README's blocks do what it says, as they stand there, one after the other."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.timeout(180)
def test_the_blocks_of_the_readme_run_as_they_stand(tmp_path: Path) -> None:
    port = str(free_port())
    python = "\n".join(blocks("python"))
    script = "\n".join(["set -e", *blocks("sh"), f"python - <<'PYTHON'\n{python}\nPYTHON", "echo all done"])
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_DATA_HOME": str(tmp_path),  # the broker's default data folder is below it
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
    }
    said = tmp_path / "said"
    with said.open("w") as output:
        # Not a pipe: broker and worker stay behind and hold it open.
        process = subprocess.Popen(
            ["bash", "-c", script.replace("9092", port)],
            cwd=README.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(timeout=120)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            text = said.read_text(encoding="utf-8")
            print(text)
    assert process.returncode == 0, text
    assert "refused: that id was posted before" in text, text
    for word in ("Halt", "ThreadHalted", "SpawnChild", "Resume", "12 Harbour Street", "external-events["):
        assert word in text, f"{word} is missing in:\n{text}"
