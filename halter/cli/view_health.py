"""What `halter view` answers to probes: how it is doing, and its metrics for Prometheus."""

from halter.view.following import Figures, Following
from processors.worker.exposition import Exposition, Values
from processors.worker.metric_table import VIEW
from processors.worker.probes import Probes

COUNTED = ("records", "rows", "transactions", "rebuilds")


def metrics_of(figures: Figures) -> Exposition:
    """Return the metrics of a view that has these figures."""

    def fill(values: Values) -> None:
        values.set("halter_view_ready", int(figures.ready))
        for name in COUNTED:
            values.set(f"halter_view_{name}_total", getattr(figures, name))
        for partition, offsets in sorted(dict(figures.lag).items()):
            values.set("halter_view_lag_offsets", offsets, partition)

    return Exposition(VIEW, fill)


def probes_of(following: Following, host: str, port: int) -> Probes:
    """Return the endpoint that answers for a view."""
    return Probes(lambda: following.figures, metrics_of(following.figures).text, host, port)
