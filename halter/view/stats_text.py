"""How many of what there are, in lines and as plain data."""

from collections.abc import Iterator, Mapping
from typing import Any

from halter.show.times import iso, span
from halter.show.wrapping import printable
from halter.view.paging import Count
from halter.view.totals import Oldest, Stats


def stats_lines(told: Stats, now_ms: int) -> Iterator[str]:
    """Yield a heading and indented lines for each subject that there is something of."""
    if not told.by_status:
        yield "There is no WfRun in the view."
    yield from _counted("WfRuns by status", told.by_status)
    yield from _counted("WfRuns by WfSpec", told.by_wf_spec)
    yield from _aged("Threads halted for", told.halted_by_reason, now_ms)
    yield from _aged("Threads that wait for", told.waiting, now_ms)
    yield from _counted("WfRuns that failed with", told.failures)
    yield from _counted("WfRuns that failed because of a thread that failed with", told.causes)
    yield from _counted("Dead letters", told.dead_letters)
    yield from _counted("Dead letters by who wrote them", told.dead_letters_from)
    others = (
        (told.quarantined, "WfRun", "in quarantine"),
        (told.tasks_out, "task attempt", "out"),
        (told.unclaimed_events, "ExternalEvent", "unclaimed"),
    )
    yield from _counted("Also", {f"{it.noun(what)} {how}": it for it, what, how in others if it.number})


def _counted(title: str, counts: Mapping[str, Count]) -> Iterator[str]:
    yield from _section(title, {name: (str(count), "") for name, count in counts.items()})


def _aged(title: str, found: Mapping[str, Oldest], now_ms: int) -> Iterator[str]:
    def oldest(of: Oldest) -> str:
        return "" if of.since_ms is None else f"  the oldest for {span(max(now_ms - of.since_ms, 0))}"

    yield from _section(title, {name: (str(it.count), oldest(it)) for name, it in found.items()})


def _section(title: str, rows: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    if not rows:
        return
    width = max(len(number) for number, _ in rows.values())
    names = max(len(printable(name)) for name in rows)
    yield title
    for name, (number, more) in rows.items():
        yield f"  {number:>{width}}  {printable(name):<{names if more else 0}}{more}"


def stats_data(told: Stats) -> dict[str, Any]:
    """Return them as plain JSON data: a number, and whether there are just so many."""
    return {
        "by_status": _counts(told.by_status),
        "by_wf_spec": _counts(told.by_wf_spec),
        "halted_by_reason": _oldest(told.halted_by_reason),
        "waiting": _oldest(told.waiting),
        "failures": _counts(told.failures),
        "causes": _counts(told.causes),
        "quarantined": _count(told.quarantined),
        "dead_letters": _counts(told.dead_letters),
        "dead_letters_from": _counts(told.dead_letters_from),
        "tasks_out": _count(told.tasks_out),
        "unclaimed_events": _count(told.unclaimed_events),
        "view": {"records_behind": told.lag.records, "seen": _time(told.lag.seen_ms)},
    }


def _count(count: Count) -> dict[str, Any]:
    return {"count": count.number, "is_exact": count.is_exact}


def _counts(counts: Mapping[str, Count]) -> dict[str, Any]:
    return {name: _count(count) for name, count in counts.items()}


def _oldest(found: Mapping[str, Oldest]) -> dict[str, Any]:
    return {name: {**_count(it.count), "since": _time(it.since_ms)} for name, it in found.items()}


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else iso(time_ms)
