"""What a task worker answers to probes: how it is doing, and its metrics for Prometheus."""

from typing import Any

from halter.task_worker import TaskWorker
from processors.worker.exposition import Exposition, Values
from processors.worker.metric_table import TASK_WORKER
from processors.worker.probes import Probes


class TaskWorkerCondition:
    """How a task worker is doing. It is ready while its group has given it partitions to take tasks from, or none."""

    live = True
    """The process answers, so it works, or waits for the handlers that it has."""

    def __init__(self, worker: TaskWorker) -> None:
        self.ready, self._counts = worker.is_ready, worker.counts.as_dict()

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"ready": self.ready, "live": self.live, **self._counts}


def metrics_of(worker: TaskWorker) -> Exposition:
    """Return the metrics of a task worker."""

    def fill(values: Values) -> None:
        counts, figures = worker.counts.as_dict(), worker.figures
        values.set("halter_task_worker_ready", int(worker.is_ready))
        values.set("halter_task_worker_running", counts.pop("running"))
        for what, count in counts.items():
            values.set("halter_task_worker_attempts_total", count, what)
        if figures is not None:
            values.set("halter_task_worker_concurrency", figures.concurrency)
            values.set("halter_task_worker_waiting", figures.waiting)
            for task_def, seconds in dict(figures.times.handled).items():
                values.observed("halter_task_worker_handler_seconds", seconds, task_def)
            for task_def, seconds in dict(figures.times.queued).items():
                values.observed("halter_task_worker_queue_seconds", seconds, task_def)

    return Exposition(TASK_WORKER, fill)


def probes_of(worker: TaskWorker, host: str, port: int) -> Probes:
    """Return the endpoint that answers for a task worker."""
    return Probes(lambda: TaskWorkerCondition(worker), metrics_of(worker).text, host, port)
