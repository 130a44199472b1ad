"""Questions of a worker to a cluster that is silent for a while, on a real Kafka."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from halter.broker import EmbeddedBroker


def test_a_question_to_a_coordinator_that_is_silent_fails_and_ends_no_process(tmp_path: Path) -> None:
    """librdkafka ended it when the coordinator was found at last (ADR 11)."""
    with EmbeddedBroker(tmp_path / "kafka") as kafka:
        asking = subprocess.Popen(
            [sys.executable, "-m", "tests.support.asking_worker", kafka.bootstrap],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        (broker,) = kafka.pids
        assert asking.stdin is not None
        assert asking.stdout is not None
        assert broker is not None
        said = [asking.stdout.readline()]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(broker, number)
            asking.stdin.write("go on\n")
            asking.stdin.flush()
            said.append(asking.stdout.readline())
        asking.stdin.close()
        assert said == ["connected\n", "in silence: [False, False]\n", "after it: [True, True]\n"]
        assert asking.wait(30) == 0
