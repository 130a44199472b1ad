"""A task worker: takes task attempts from a queue, runs a handler for each, and reports the result.

`TaskWorker`, `Task` and `BusinessException` are importable from here.

    task              what handlers meet: the attempt, and exceptions that mean something
    worker            the task worker, as programs see it
    handlers, shapes  functions with typed parameters, filled from inputs and compared with TaskDefs
    task_defs         whether handlers fit the TaskDefs that are registered
    attempts          from what a handler does to a report
    conduct           what becomes of an attempt that was taken: begun, run, reported
    running           what a handler and its task worker tell each other while it runs
    members           whether the others in the group have the same handlers
    session           one run: polls, sends, commits, leaves
    work, offsets     what was taken, waits, runs and is finished
    runners           threads and the event loop of handlers
    progress          when the progress of an attempt is sent
    reports           sends starts, progress and reports, and waits until Kafka has them
    cancellations     hears which attempts are of no use any more
    tracing           a span for each attempt
    daemon_threads    what coroutines begin in threads keeps no process alive
    refused_reports   logs the reports that had no effect
    side_thread       a thread that reads a topic beside the work
"""

from halter.task_worker.task import BadExceptionName, BusinessException, Task, WorkerNotStarted
from halter.task_worker.worker import TaskWorker

__all__ = ["BadExceptionName", "BusinessException", "Task", "TaskWorker", "WorkerNotStarted"]
