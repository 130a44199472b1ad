"""Moved to `halter.task_worker` in 0.2.0. This name works until 0.3.0 and warns."""

import warnings

from halter.task_worker import BadExceptionName, BusinessException, Task, TaskWorker, WorkerNotStarted

__all__ = ["BadExceptionName", "BusinessException", "Task", "TaskWorker", "WorkerNotStarted"]

warnings.warn("halter.worker is now halter.task_worker; the old name goes in 0.3.0", DeprecationWarning, stacklevel=2)
