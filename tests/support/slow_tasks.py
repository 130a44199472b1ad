"""A task worker whose handlers take as long as the input says, and write down each run: each process in a file of its
own, in the folder that RUNS names.
"""

import asyncio
import os
import time
from pathlib import Path

from halter.task_worker import Task, TaskWorker

worker = TaskWorker()


def note(what: str, task: Task) -> None:
    """Append a line: what, WfRun, attempt, process."""
    with (Path(os.environ["RUNS"]) / str(os.getpid())).open("a", encoding="utf-8") as runs:
        runs.write(f"{what} {task.wf_run_id} {task.attempt} {os.getpid()}\n")


@worker.task("slow")
def slow(ms: int, task: Task) -> str:
    """Take so many milliseconds."""
    note("begin", task)
    time.sleep(ms / 1_000)
    note("end", task)
    return task.wf_run_id


@worker.task("slow-async")
async def slow_async(ms: int, task: Task) -> str:
    """As `slow`, on the event loop."""
    note("begin", task)
    await asyncio.sleep(ms / 1_000)
    note("end", task)
    return task.wf_run_id


@worker.task("leaves-a-thread")
async def leaves_a_thread(ms: int, task: Task) -> str:
    """Return at once, and leave behind a thread that takes so many milliseconds."""
    asyncio.get_running_loop().run_in_executor(None, time.sleep, ms / 1_000)
    note("end", task)
    return task.wf_run_id


class Runs:
    """What these handlers have written down in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def all(self, what: str) -> list[tuple[str, int]]:
        """Return WfRun and attempt of each line that begins so."""
        found = []
        for file in sorted(self.folder.iterdir()):
            # A process that is killed may leave half a line.
            lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
            found += [(line[1], int(line[2])) for line in lines if len(line) == 4 and line[0] == what]
        return found

    def lines(self, what: str) -> list[str]:
        """Return the WfRun of each line that begins so."""
        return [wf_run_id for wf_run_id, _ in self.all(what)]

    def forget(self) -> None:
        """Remove what was written down."""
        for file in self.folder.iterdir():
            file.unlink()
