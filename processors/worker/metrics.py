"""The metrics of a worker, for Prometheus: gauges over its Snapshot, by partition where that helps."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from processors.runtime.group.readiness import Snapshot

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""The format of `Metrics.text`, which every release of Prometheus reads."""
PARTITION: Final = "partition"


class SnapshotCollector(Collector):
    """Makes the gauges anew from the Snapshot of the moment whenever somebody asks."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges of a worker that has just started: the registry asks for their names only."""
        return self._gauges(Snapshot())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges of this moment."""
        return self._gauges(self._snapshot())

    @staticmethod
    def _gauges(snapshot: Snapshot) -> Iterator[GaugeMetricFamily]:
        restoring, paused, quarantined = dict(snapshot.restoring), dict(snapshot.paused), dict(snapshot.quarantined)
        partitions = sorted({*snapshot.shards, *restoring, *paused})
        yield GaugeMetricFamily(
            "halter_ready", "Whether the worker folds everything that is its to fold.", int(snapshot.ready)
        )
        yield by_partition(
            "halter_partition_restoring",
            "Whether the state of a partition of this worker is still being read.",
            {number: number in restoring for number in partitions},
        )
        yield by_partition(
            "halter_partition_paused",
            "Whether a partition of this worker waits because a rule broke or its state cannot be read.",
            {number: number in paused for number in partitions},
        )
        yield by_partition(
            "halter_quarantined_wf_runs",
            "WfRuns in quarantine, by partition.",
            {number: quarantined.get(number, 0) for number in snapshot.shards},
        )


def by_partition(name: str, documentation: str, values: dict[int, int]) -> GaugeMetricFamily:
    """Return a gauge with one value for each partition."""
    gauge = GaugeMetricFamily(name, documentation, labels=[PARTITION])
    for number, value in values.items():
        gauge.add_metric([str(number)], int(value))
    return gauge


class Metrics:
    """The registry of one worker. It has nothing of prometheus_client's own about the process or the interpreter."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(SnapshotCollector(snapshot))

    def text(self) -> bytes:
        """Return all metrics in the text format, whose content type is CONTENT_TYPE."""
        return generate_latest(self._registry)
