"""Rules of the supervisor, with small programs in place of the workers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from halter.processes.restarting import RestartPolicy, Steadiness
from halter.processes.supervisor import LastWords

SUPERVISE = """
import sys
from pathlib import Path
from halter.processes.restarting import RestartPolicy
from halter.processes.supervisor import CrashLoop, Supervisor
from processors.worker.logs import configure_logging

folder, code, stop = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
configure_logging()
try:
    Supervisor(
        ["a", "b"],
        lambda slot: [sys.executable, "-c", code, slot, str(folder)],
        RestartPolicy(first_wait=0.02, wait_max=0.1, steady=0.5, deaths_max=5, stop=stop),
        ready_file=folder / "ready",
        ready_files={slot: folder / f"ready.{slot}" for slot in ("a", "b")},
    ).run()
except CrashLoop as error:
    sys.exit(f"halter: {error}")
"""

# A well-behaved worker: it says that it is ready, and ends when it is told to.
OBEDIENT = """
import os, signal, sys
from pathlib import Path
slot, folder = sys.argv[1], Path(sys.argv[2])
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
with (folder / f"{slot}.pids").open("a") as pids:
    print(os.getpid(), file=pids, flush=True)
(folder / f"{slot}.ready").write_text("{}")
os.replace(folder / f"{slot}.ready", folder / f"ready.{slot}")
signal.sigwait({signal.SIGTERM})
(folder / f"{slot}.stopped").touch()
"""
DEAF = OBEDIENT.replace("signal.sigwait({signal.SIGTERM})", "signal.pause()")
DYING = "import sys; print('halter: the cause of it all', file=sys.stderr); sys.exit(3)"
WRONG_OPTION_WHEN_TOLD = """
import os, sys, time
from pathlib import Path
slot, folder = sys.argv[1], Path(sys.argv[2])
with (folder / f"{slot}.pids").open("a") as pids:
    print(os.getpid(), file=pids, flush=True)
while not (folder / "go").exists():
    time.sleep(0.01)
print("halter: no such option", file=sys.stderr)
sys.exit(2)
"""
BOXED = """
import sys
for line in ("╭─ Error ──────╮", "│ no such port │", "╰──────────────╯"):
    sys.stderr.buffer.write(line.encode() + b"\\n")
sys.exit(2)
"""
WRONG_OPTION = "import sys; print('halter: no such option', file=sys.stderr); sys.exit(2)"


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def last_words(stderr: str) -> str:
    """Return the last line that is not empty. Two processes write there, and one may end a line of the other."""
    return [line for line in stderr.splitlines() if line.strip()][-1]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):  # the second: it was reaped between open and read
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


class Supervised:
    """A supervisor in a process of its own."""

    def __init__(self, folder: Path, code: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            # A process that ignores the signal is not waited for long.
            [sys.executable, "-c", SUPERVISE, str(folder), code, "1" if code is DEAF else "20"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def pids(self, slot: str) -> list[int]:
        path = self.folder / f"{slot}.pids"
        return [int(line) for line in path.read_text(encoding="utf-8").split()] if path.exists() else []

    def wait_started(self, slot: str, times: int = 1) -> int:
        """Return the process id of a slot once it has started so many times."""
        wait_until(lambda: len(self.pids(slot)) >= times)
        return self.pids(slot)[times - 1]

    def end(self) -> tuple[int, str]:
        """Wait for the end, and return exit code and stderr."""
        _, stderr = self.process.communicate(timeout=60)
        return self.process.returncode, stderr


@pytest.fixture
def supervise(tmp_path: Path) -> Callable[[str], Supervised]:
    return lambda code: Supervised(tmp_path, code)


def test_a_worker_that_ends_is_started_again_and_the_others_are_left_alone(
    supervise: Callable[[str], Supervised],
) -> None:
    supervised = supervise(OBEDIENT)
    first, other = supervised.wait_started("a"), supervised.wait_started("b")
    os.kill(first, signal.SIGKILL)
    assert supervised.wait_started("a", times=2) != first
    assert supervised.pids("b") == [other]
    supervised.process.terminate()
    exit_code, stderr = supervised.end()
    assert exit_code == 0
    assert "was killed by SIGKILL" in stderr


def test_sigterm_stops_all_workers_and_then_the_supervisor(supervise: Callable[[str], Supervised]) -> None:
    supervised = supervise(OBEDIENT)
    pids = [supervised.wait_started(slot) for slot in "ab"]
    supervised.process.terminate()
    assert supervised.end()[0] == 0
    assert [(supervised.folder / f"{slot}.stopped").exists() for slot in "ab"] == [True, True]
    assert not any(map(is_alive, pids))


def test_a_worker_that_does_not_stop_in_time_is_killed(supervise: Callable[[str], Supervised]) -> None:
    supervised = supervise(DEAF)
    pids = [supervised.wait_started(slot) for slot in "ab"]
    supervised.process.terminate()
    assert supervised.end()[0] == 0
    assert not any(map(is_alive, pids))


def test_a_crash_loop_is_given_up_with_the_exit_code_and_the_last_words(
    supervise: Callable[[str], Supervised],
) -> None:
    exit_code, stderr = supervise(DYING).end()
    assert exit_code == 1
    assert last_words(stderr).endswith("ended with exit code 3, 5 times in a row: the cause of it all")


LOG = """
import json, sys, structlog
from processors.worker.logs import configure_logging
configure_logging(sys.argv[1], "debug")
log = structlog.get_logger("test")
for line in json.loads(sys.argv[2]):
    level, _, text = line.partition(" ")
    print(text, file=sys.stderr) if level == "raw" else getattr(log, level)(text, reason="so it is", n=1)
"""
FAILURE = "failed n=1 reason='so it is'"


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize(
    ("lines", "exit_code", "reason"),
    [
        (["error failed", "info stopped"], 1, FAILURE),
        (["error failed", "warning slow", "debug there", "info stopped"], 1, FAILURE),
        (["critical failed"], 70, FAILURE),
        (["error first", "error failed", "info stopped"], 75, FAILURE),
        (["error failed", "info stopped", "raw halter: the sentence"], 1, "the sentence"),
        (["info folding", "raw python: c.c:7: assertion failed"], -signal.SIGABRT, "python: c.c:7: assertion failed"),
        (["raw Fatal Python error: x", "raw Thread 0x7 (...):", "raw   File x"], 1, "Fatal Python error: x"),
        (["raw Traceback (most recent call last):", "raw   File x, line 1", "raw ValueError: x"], 1, "ValueError: x"),
        (["raw │ no such port │", "raw ╰───╯"], 2, "no such port"),
        (["info started", "info joined"], 3, "ended with exit code 3"),
        (["info joined"], -signal.SIGSEGV, "was killed by SIGSEGV"),
        (["error failed", "info joined"], -signal.SIGKILL, "was killed by SIGKILL"),
        (["error failed", "info stopped"], 0, "ended with exit code 0"),
        ([], 1, "ended with exit code 1"),
    ],
)
def test_the_reason_of_an_end_is_the_last_failure_that_was_told_or_how_it_ended(
    log_format: str, lines: list[str], exit_code: int, reason: str
) -> None:
    said = subprocess.run(
        [sys.executable, "-c", LOG, log_format, json.dumps(lines)], capture_output=True, encoding="utf-8", check=True
    )
    words = LastWords()
    for line in said.stderr.splitlines(keepends=True):
        words.hear(line)
    assert words.reason(exit_code) == reason


def test_a_harmless_line_at_the_end_is_no_reason(supervise: Callable[[str], Supervised]) -> None:
    code = LOG.replace("sys.argv[1]", "'console'").replace("sys.argv[2]", '\'["error failed", "info stopped"]\'')
    _, stderr = supervise(f"{code}\nsys.exit(3)").end()
    assert last_words(stderr).endswith(f"ended with exit code 3, 5 times in a row: {FAILURE}")


def test_a_wrong_option_is_not_tried_again(supervise: Callable[[str], Supervised]) -> None:
    exit_code, stderr = supervise(WRONG_OPTION).end()
    assert exit_code == 1
    assert last_words(stderr).endswith("ended with exit code 2: no such option")
    assert "again_in_s" not in stderr


def test_the_border_of_a_box_is_no_reason(supervise: Callable[[str], Supervised]) -> None:
    _, stderr = supervise(BOXED).end()
    assert last_words(stderr).endswith("ended with exit code 2: no such port")


def test_workers_that_are_given_up_at_the_same_time_give_one_reason(
    supervise: Callable[[str], Supervised],
) -> None:
    supervised = supervise(WRONG_OPTION_WHEN_TOLD)
    pids = [supervised.wait_started(slot) for slot in "ab"]
    # The supervisor is stopped while both end, so it learns of both at once.
    supervised.process.send_signal(signal.SIGSTOP)
    (supervised.folder / "go").touch()
    wait_until(lambda: not any(map(is_alive, pids)))
    supervised.process.send_signal(signal.SIGCONT)
    exit_code, stderr = supervised.end()
    assert exit_code == 1
    assert last_words(stderr).endswith("ended with exit code 2: no such option")
    assert "Traceback" not in stderr


def test_a_crash_loop_is_given_up_however_long_each_try_takes(supervise: Callable[[str], Supervised]) -> None:
    """The process lives longer than a spell of readiness that would excuse it, but it is never ready."""
    slow = "import threading; threading.Event().wait(0.7)\n" + DYING
    exit_code, stderr = supervise(slow).end()
    assert exit_code == 1
    assert last_words(stderr).endswith("ended with exit code 3, 5 times in a row: the cause of it all")


def test_a_spell_of_readiness_without_a_break_shows_that_a_process_has_worked() -> None:
    steadiness = Steadiness(steady=10.0)
    for now, ready in ((0.0, True), (9.0, True), (9.5, False), (10.0, True), (19.0, True)):
        steadiness.seen(ready, now)
    assert not steadiness.proved
    steadiness.seen(ready=True, now=20.0)
    steadiness.seen(ready=False, now=21.0)
    assert steadiness.proved


def test_each_death_in_a_row_doubles_the_wait_up_to_a_bound() -> None:
    policy = RestartPolicy(first_wait=0.2, wait_max=1.0)
    assert [policy.wait(deaths) for deaths in range(6)] == [0.2, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_workers_do_not_outlive_a_supervisor_that_is_killed(supervise: Callable[[str], Supervised]) -> None:
    supervised = supervise(OBEDIENT)
    pids = [supervised.wait_started(slot) for slot in "ab"]
    supervised.process.kill()
    wait_until(lambda: not any(map(is_alive, pids)))
    supervised.end()


def test_the_ready_file_is_there_while_every_worker_is_ready(supervise: Callable[[str], Supervised]) -> None:
    supervised = supervise(OBEDIENT)
    ready = supervised.folder / "ready"
    wait_until(ready.exists)
    os.kill(supervised.wait_started("a"), signal.SIGSTOP)
    (supervised.folder / "ready.a").unlink()
    wait_until(lambda: not ready.exists())
    os.kill(supervised.wait_started("a"), signal.SIGKILL)
    wait_until(ready.exists)
    supervised.process.terminate()
    assert supervised.end()[0] == 0
    assert not ready.exists()
