"""A task worker whose handlers take as long as the input says, and write down each run. RUNS names the file."""

import asyncio
import os
import time
from pathlib import Path

from halter.task_worker import Task, TaskWorker

worker = TaskWorker()


def note(what: str, task: Task) -> None:
    """Append a line: what, WfRun, attempt, process."""
    with Path(os.environ["RUNS"]).open("a", encoding="utf-8") as runs:
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
