"""What a process that runs bindings or a sink answers to probes: how it is doing, and its metrics for Prometheus."""

from halter.transform.figures import Figures
from halter.transform.loop import Loop
from processors.worker.exposition import Exposition, Values
from processors.worker.metric_table import TRANSFORM
from processors.worker.probes import Probes

COUNTED = ("records", "outputs", "dead_letters", "transactions", "aborted")


def metrics_of(figures: Figures) -> Exposition:
    """Return the metrics of a loop that has these figures."""

    def fill(values: Values) -> None:
        values.set("halter_transform_ready", int(figures.ready))
        values.set("halter_transform_waiting", int(figures.waiting))
        for name in COUNTED:
            values.set(f"halter_transform_{name}_total", getattr(figures, name))
        values.observed("halter_transform_transaction_seconds", figures.transaction_seconds)
        for partition, offsets in dict(figures.lag).items():
            values.set("halter_transform_lag_offsets", offsets, partition)

    return Exposition(TRANSFORM, fill)


def probes_of(loop: Loop, host: str, port: int) -> Probes:
    """Return the endpoint that answers for a loop."""
    return Probes(lambda: loop.figures, metrics_of(loop.figures).text, host, port)
