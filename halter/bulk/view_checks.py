"""Whether a bulk job may choose its WfRuns by a view: somebody keeps it current. Knows no Kafka."""

from sqlalchemy import Connection

from halter.show.times import span
from halter.view.progress import lag
from processors.core.records.errors import HalterError


class StaleView(HalterError):
    """Nobody keeps a view current, so that it chooses WfRuns by what was. Whoever asked starts `halter view`."""


def expect_current(connection: Connection, where: str, now_ms: int) -> None:
    """Raise StaleView if nobody keeps a view current."""
    found = lag(connection)
    if found.is_stale(now_ms):
        since = "never" if found.seen_ms is None else f"{span(now_ms - found.seen_ms)} ago"
        raise StaleView(
            f"the view {where} was last brought up to date {since}, and a bulk job would choose WfRuns by what was "
            "then: start `halter view`, or add --stale-view to choose so all the same"
        )
