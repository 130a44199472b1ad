"""What a task worker answers to probes: how it is doing, and its counts for Prometheus."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from halter.task_worker import TaskWorker
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


class CountsCollector(Collector):
    """Makes the metrics anew from the counts of the moment whenever somebody asks."""

    def __init__(self, worker: TaskWorker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        """Return the metrics of this moment."""
        counts = self._worker.counts.as_dict()
        ready, running = int(self._worker.is_ready), counts.pop("running")
        yield GaugeMetricFamily("halter_task_worker_ready", "Whether its group has given it its partitions.", ready)
        yield GaugeMetricFamily("halter_task_worker_running", "Handlers that run.", running)
        attempts = CounterMetricFamily(
            "halter_task_worker_attempts", "Attempts, by what became of them.", labels=["what"]
        )
        for what, count in counts.items():
            attempts.add_metric([what], count)
        yield attempts


def probes_of(worker: TaskWorker, host: str, port: int) -> Probes:
    """Return the endpoint that answers for a task worker."""
    registry = CollectorRegistry()
    registry.register(CountsCollector(worker))
    return Probes(lambda: TaskWorkerCondition(worker), lambda: generate_latest(registry), host, port)
