"""Exposition: the metrics of one process as Prometheus reads them, made anew whenever somebody asks.

A process says which metrics it has, of the table, and gives a function that fills in their values:

    def fill(values: Values) -> None:
        values.set("halter_task_worker_running", 3)
        values.set("halter_records_total", 17, "wf-commands")

    Exposition(TASK_WORKER, fill).text()

The function runs in the thread that answers the probes. It reads what other threads write, and never waits for them.
Values under a name that is not in the table, or with other labels, are a mistake: an AssertionError.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from processors.measuring import Histogram
from processors.worker.metric_table import COUNTER, GAUGE, Metric

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""The format of the text, which every release of Prometheus reads."""
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class Values:
    """The values of one moment."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._families: dict[str, tuple[Metric, Family]] = {it.name: (it, _family(it)) for it in metrics}

    def set(self, name: str, value: float, *labels: object) -> None:
        """Give a gauge or a counter its value, with the values of its labels in their order."""
        metric, family = self._families[name]
        assert len(labels) == len(metric.labels), f"{name}: expected values for {metric.labels}, found {labels}"
        assert not isinstance(family, HistogramMetricFamily), f"{name} is a histogram"
        family.add_metric([str(label) for label in labels], value)

    def observed(self, name: str, histogram: Histogram, *labels: object) -> None:
        """Give a histogram its buckets."""
        metric, family = self._families[name]
        assert len(labels) == len(metric.labels), f"{name}: expected values for {metric.labels}, found {labels}"
        assert isinstance(family, HistogramMetricFamily), f"{name} is no histogram"
        family.add_metric([str(label) for label in labels], list(histogram.buckets()), histogram.sum)

    def families(self) -> Iterator[Family]:
        """Yield all metrics in the order of the table, those without a value too."""
        for _, family in self._families.values():
            yield family


def _family(metric: Metric) -> Family:
    if metric.kind == GAUGE:
        return GaugeMetricFamily(metric.name, metric.says, labels=metric.labels)
    if metric.kind == COUNTER:
        return CounterMetricFamily(metric.name, metric.says, labels=metric.labels)
    return HistogramMetricFamily(metric.name, metric.says, labels=metric.labels)


class _Filled(Collector):
    def __init__(self, metrics: Sequence[Metric], fill: Callable[[Values], None]) -> None:
        self._metrics, self._fill = metrics, fill

    def describe(self) -> Iterator[Family]:
        """Yield the metrics without values: the registry asks for their names only."""
        return Values(self._metrics).families()

    def collect(self) -> Iterator[Family]:
        """Yield the metrics of this moment."""
        values = Values(self._metrics)
        self._fill(values)
        return values.families()


class Exposition:
    """All metrics of a process: its own, and what the library says of any process (memory, processor time, files)."""

    def __init__(self, metrics: Sequence[Metric], fill: Callable[[Values], None]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Filled(metrics, fill))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return them in the format of CONTENT_TYPE."""
        return generate_latest(self._registry)
