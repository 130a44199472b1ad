"""The first page: what is wrong now, and how much there is of everything.

A problem is something that somebody should look at: it has a number, a sentence, and the list that shows it. Nothing
here decides what an operator does; docs/operations.md does.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from halter.console.pages.formats import Formats
from halter.console.pages.frame import page, reading
from halter.console.standing import FoldingAnswer
from halter.view import wrong_now
from halter.view.paging import Count
from halter.view.place import ViewUnavailable
from halter.view.totals import Stats

RECENT_MS: Final = 3_600_000
"""Failures of the last hour are news; older ones are history."""
LONG_MS: Final = 600_000
"""A thread that is held for longer is worth a look, but for those that an operator holds."""
STATUSES: Final = ("RUNNING", "HALTED", "COMPLETED", "EXCEPTION", "ERROR")
WF_SPECS_MAX: Final = 12
CODES_MAX: Final = 12
FEW: Final = 20_000
"""Up to so many WfRuns, those of each WfSpec are counted by status."""
LEVELS: Final = ("bad", "warn", "note")
NONE: Final = Count(0, is_exact=True)
REASONS: Final = {
    "PENDING_INTERRUPT": ("waits", "wait", "until a handler may start"),
    "INTERRUPTED": ("is", "are", "held by a handler that runs"),
    "PENDING_FAILURE": ("waits", "wait", "until a failure handler may start"),
    "HANDLING_FAILURE": ("is", "are", "held by a failure handler that runs"),
    "MANUAL_HALT": ("was", "were", "stopped by somebody"),
}
"""What a halt reason says of one thread, and of several. Those that follow from a parent are left out."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to look at: how bad it is, how much, a sentence, since when, what to do, and where it is shown."""

    level: str
    count: Count
    what: str
    then: str
    since_ms: int | None
    href: str


def routes() -> list[Route]:
    """Return the route of the first page."""
    return [Route("/", overview, methods=["GET"])]


def overview(request: Request) -> Response:
    """Show the first page."""
    f = Formats()
    try:
        context = _told(request, f)
    except ViewUnavailable as error:
        # Whoever begins has no view yet: the first page says how to start one.
        return page(request, "no_view.html", {"f": f, "sentence": str(error)}, here="/")
    return page(request, "overview.html", context, here="/")


def _told(request: Request, f: Formats) -> dict[str, Any]:
    with reading(request) as connection:
        stats = request.app.state.readings.view.counted.stats(connection)
        folding = request.app.state.readings.workers.standing.last()
        found = [*_standing(folding), *_problems(connection, stats, f)]
        problems = sorted(found, key=lambda it: LEVELS.index(it.level))
        total = sum_of(stats.by_status.values())
        return {
            "f": f,
            "problems": problems,
            "grave": sum(it.level != "note" for it in problems),
            "statuses": counts_of(stats.by_status),
            "total": total,
            "specs": _specs(connection, stats, total.number),
            "has_parts": total.number <= FEW,
            "spec_count": len(stats.by_wf_spec),
            "failures": wrong_now.recent_failures(connection),
            "out": wrong_now.tasks_out(connection),
        }


def counts_of(found: Mapping[str, Count]) -> list[tuple[str, Count]]:
    """The number of WfRuns of each status, in the order in which they are shown."""
    return [(it, found.get(it, NONE)) for it in STATUSES]


def sum_of(counts: Iterable[Count]) -> Count:
    """The sum of counts; it is exact if all are."""
    found = list(counts)
    return Count(sum(it.number for it in found), is_exact=all(it.is_exact for it in found))


def _specs(connection: Connection, stats: Stats, total: int) -> list[tuple[str, Count, list[tuple[str, Count]] | None]]:
    """The WfSpecs with the most WfRuns; how many of each status, if there are few enough to count."""
    found = wrong_now.by_wf_spec(connection) if total <= FEW else None
    specs = sorted(stats.by_wf_spec.items(), key=lambda it: (-it[1].number, it[0]))[:WF_SPECS_MAX]
    return [
        (
            name,
            count,
            counts_of({it: Count(n, is_exact=True) for it, n in found.get(name, {}).items()})
            if found is not None
            else None,
        )
        for name, count in specs
    ]


def _standing(folding: FoldingAnswer | None) -> Iterator[Problem]:
    """What stands still as a whole: everything that its partitions have."""
    if folding is None:
        return
    if folding["is_unmanned"]:
        waiting = sum(folding["behind"].values())
        yield Problem(
            "bad",
            Count(waiting, is_exact=True),
            f"{'record waits' if waiting == 1 else 'records wait'}, and no worker is running",
            "Nothing is folded until one is.",
            folding["oldest_ms"],
            "/partitions",
        )
    if standing := folding["standing"]:
        yield Problem(
            "bad",
            Count(len(standing), is_exact=True),
            f"{'partition stands' if len(standing) == 1 else 'partitions stand'} still",
            f"{'Its' if len(standing) == 1 else 'Their'} WfRuns wait: a rule broke, or a worker restores.",
            min(it["since_ms"] for it in standing),
            "/partitions#standing",
        )


def _problems(connection: Connection, stats: Stats, f: Formats) -> Iterator[Problem]:
    if count := stats.quarantined.number:
        yield Problem(
            "bad",
            stats.quarantined,
            f"{'WfRun is' if count == 1 else 'WfRuns are'} in quarantine",
            "Inputs are kept, and nothing moves until a release.",
            wrong_now.quarantined(connection, 1)[0]["quarantined_ms"],
            "/partitions#quarantine",
        )
    for group in wrong_now.dead_letters_by_reason(connection):
        yield Problem(
            "bad",
            _counted(group.count),
            f"dead {'letter' if group.count == 1 else 'letters'} with {group.name}, not retried",
            "Nothing could be made of these records.",
            group.since_ms,
            "/dead-letters?" + urlencode({"reason": group.name}),
        )
    for code in list(stats.failures)[:CODES_MAX]:
        group = wrong_now.failed_since(connection, code, f.now_ms - RECENT_MS)
        if not group.count:
            continue
        yield Problem(
            "warn",
            _counted(group.count),
            f"{'WfRun' if group.count == 1 else 'WfRuns'} failed with {group.name} within the last hour",
            f.visible(group.more),
            group.since_ms,
            "/wf-runs?" + urlencode({"failed-with": group.name}),
        )
    if overdue := wrong_now.overdue_tasks(connection, f.now_ms):
        count = sum(it.count for it in overdue)
        yield Problem(
            "warn",
            _counted(count),
            f"task {'attempt' if count == 1 else 'attempts'} should have timed out",
            f"Workers are behind, or the view is: {', '.join(it.name for it in overdue)}.",
            min((it.since_ms for it in overdue if it.since_ms is not None), default=None),
            "/wf-runs?" + urlencode({"waits-for": "TASK_REPORT"}),
        )
    for reason, oldest in stats.halted_by_reason.items():
        is_long = oldest.since_ms is not None and f.now_ms - oldest.since_ms > LONG_MS
        if is_long and reason in REASONS:
            yield Problem(
                "note" if reason == "MANUAL_HALT" else "warn",
                oldest.count,
                f"{'thread' if oldest.count.number == 1 else 'threads'} {_held(reason, oldest.count.number)}",
                f"{reason}, for more than {f.lasting(LONG_MS)}.",
                oldest.since_ms,
                "/wf-runs?" + urlencode({"halted-for": reason}),
            )


def _counted(number: int) -> Count:
    return Count(min(number, wrong_now.COUNTED_MAX), is_exact=number <= wrong_now.COUNTED_MAX)


def _held(reason: str, count: int) -> str:
    one, many, words = REASONS[reason]
    return f"{one if count == 1 else many} {words}"
