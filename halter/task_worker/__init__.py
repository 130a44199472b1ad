"""A task worker: takes task attempts from a queue, runs a handler for each, and reports the result.

`TaskWorker`, `Task` and `BusinessException` are importable from here.
"""

from halter.task_worker.worker import BadExceptionName, BusinessException, Task, TaskWorker, WorkerNotStarted

__all__ = ["BadExceptionName", "BusinessException", "Task", "TaskWorker", "WorkerNotStarted"]
