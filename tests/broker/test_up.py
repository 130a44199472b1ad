"""`halter up` on a Kafka of its own: one process tree, which goes on where it was and leaves no process behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from halter.broker.cluster import choose_ports
from tests.broker.test_demo import processes_naming
from tests.support.command_line import halter
from tests.support.waiting import wait_until

pytestmark = pytest.mark.broker


@contextmanager
def up(folder: Path, *options: str, shows: str, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run it until it shows something."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "HALTER_P"))}
    log = folder / "said"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "halter", "up", "--data", str(folder), *options],
            env={**environment, **variables},
            stdout=said,
            stderr=said,
        )
    try:

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            return shows in log.read_text()

        wait_until("the parts", is_ready, 90)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(200)
def test_a_tree_that_is_killed_leaves_no_process_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port, other = choose_ports(2)
    variables = {"KAFKA_SECURITY_PROTOCOL": "SSL", "HALTER_PARTITIONS": "1"}
    with up(
        tmp_path, "--port", str(port), "--console-port", str(other), shows="Ctrl-C ends everything", **variables
    ) as tree:
        said = (tmp_path / "said").read_text()
        assert f"export KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:{port} HALTER_PARTITIONS=1 HALTER_VIEW=" in said, (
            "set here too"
        )
        for options, sentence in {
            ("--data", str(tmp_path)): f"found `halter up` (process {tree.pid}, Kafka at 127.0.0.1:{port}, the",
            (
                "--data",
                str(tmp_path / "other"),
                "--port",
                str(port),
            ): f"listens at 127.0.0.1:{port}: choose another --port",
        }.items():
            code, _, err = halter(capsys, "up", *options)
            assert (code, sentence in " ".join(err.split())) == (1, True)
        assert len(processes_naming(str(tmp_path))) > 3
        tree.kill()
        wait_until("the end of all", lambda: processes_naming(str(tmp_path)) == [], 10)


def test_a_worker_that_ends_is_started_again_and_a_signal_ends_all(tmp_path: Path, bootstrap: str, prefix: str) -> None:
    where = (
        "--bootstrap",
        bootstrap,
        "--prefix",
        prefix,
        "--partitions",
        "2",
        "--without",
        "view",
        "--without",
        "console",
    )
    with up(tmp_path, *where, shows="Ctrl-C ends everything") as tree:
        said = tmp_path / "said"
        (worker,) = processes_naming(str(tmp_path / "logs" / "worker.ready"))
        os.kill(worker, signal.SIGKILL)
        wait_until("another worker", lambda: "worker ok, 2" in said.read_text().partition("starts again")[2], 30)
        assert "halter: the worker was killed by SIGKILL, and starts again in 1 s" in said.read_text()
        tree.send_signal(signal.SIGTERM)
        assert tree.wait(30) == 0
        assert processes_naming(str(tmp_path)) == []
        assert "halter: ending worker" in said.read_text()
