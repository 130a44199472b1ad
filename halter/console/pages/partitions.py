"""Partitions: who folds them, which stand still, how far each is read, and what is in quarantine, with the way out."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from halter.console.pages.frame import page, reading
from halter.view import progress, wrong_now
from processors.core.records.errors import HalterError

QUARANTINED_MAX: Final = 20
"""WfRuns in quarantine that are shown; the list has all."""


def routes() -> list[Route]:
    """Return the route of the partitions."""
    return [Route("/partitions", partitions, methods=["GET"])]


def partitions(request: Request) -> Response:
    """Show the partitions."""
    with reading(request) as connection:
        rows = progress.partitions(connection)
        quarantined = wrong_now.quarantined(connection, QUARANTINED_MAX)
        quarantined_count = request.app.state.readings.view.counted.stats(connection).quarantined
    workers, problem = None, ""
    try:
        workers = request.app.state.readings.workers.workers()
        problem = "" if workers["is_known"] else "Kafka does not tell which workers there are."
    except HalterError as error:
        problem = str(error)
    try:
        folding, folding_problem = request.app.state.readings.workers.folding(), ""
    except HalterError as error:
        folding, folding_problem = None, str(error)
    names = sorted(workers["workers"]) if workers else []
    owners = {int(partition): name for partition, name in workers["owners"].items()} if workers else {}
    context = {
        "workers": names,
        "owners": owners,
        "shares": {name: sorted(it for it, owner in owners.items() if owner == name) for name in names},
        "workers_problem": problem,
        "folding": folding,
        "folding_problem": folding_problem,
        "behind": {int(partition): by for partition, by in folding["behind"].items()} if folding else {},
        "standing": {it["partition"] for it in folding["standing"]} if folding else set(),
        "rows": rows,
        "lag": sum(it.lag for it in rows),
        "quarantined": quarantined,
        "quarantined_count": quarantined_count,
    }
    return page(request, "partitions.html", context, here="/partitions")
