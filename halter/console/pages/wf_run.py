"""The pages of one WfRun. Its rows come from the view, its history from the log.

If Kafka is away, what the view has is shown, and what it cannot know says so.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from halter.console.pages.formats import Formats
from halter.console.pages.frame import may_act, page, reading
from halter.console.pages.marks import Marks, marks_of
from halter.console.pages.specs_of import spec_of
from halter.console.problems import NotFolded, OutOfReach, problem_of
from halter.console.readings_view import not_in_view
from halter.history.source import NoSuchWfRun
from halter.show.counting import counted
from halter.show.drawing import Drawing, drawings
from halter.show.times import iso
from halter.view import external_event_lists, one_wf_run, progress
from halter.view.paging import Count
from processors.core.records.errors import HalterError
from processors.kafka.partitioner import partition_of

EVENTS_MAX: Final = 100
"""Events on a page that is read without JavaScript."""
TABS: Final = (
    ("timeline", "Timeline"),
    ("threads", "Threads"),
    ("diagram", "Diagram"),
    ("inputs", "ExternalEvents and tasks"),
)
_WHO: Final = re.compile(r"(#\d+\s\S+)\s(.*)", re.DOTALL)
"""A sentence about a thread begins with its name."""
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d{3}Z")
STAGES: Final = {"NOT_STARTED": "Not started yet.", "DELETED": "Deleted.", "QUARANTINED": "In quarantine."}
"""What is said of a WfRun as a whole, above what is said of its threads."""
LIVE: Final = ("RUNNING", "HALTING", "HALTED")


@dataclass(frozen=True, slots=True)
class Went:
    """The way that the threads of one ThreadSpec went: how often each node was visited, and each edge taken."""

    visits: Mapping[str, int]
    steps: Mapping[tuple[str, str], int]
    now: Mapping[str, Sequence[int]]
    threads: Sequence[int]


def routes() -> list[Route]:
    """Return the routes of the pages of a WfRun."""
    base = "/wf-runs/{wf_run_id}"
    return [
        Route(base, timeline, methods=["GET"]),
        Route(f"{base}/timeline.json", timeline_data, methods=["GET"]),
        Route(f"{base}/events", events, methods=["GET"]),
        Route(f"{base}/events/{{seq:number}}", event, methods=["GET"]),
        Route(f"{base}/threads", threads, methods=["GET"]),
        Route(f"{base}/diagram", diagram, methods=["GET"]),
        Route(f"{base}/inputs", inputs, methods=["GET"]),
    ]


def timeline(request: Request) -> Response:
    """Show the timeline, and why its threads do not move."""
    f = Formats()
    why = _why(request, f)
    return _page(request, "timeline", {"f": f, "why": why}, not_logged=why["not_logged"])


def timeline_data(request: Request) -> Response:
    """Answer with the data of the timeline, for its scripts."""
    wf_run_id = request.path_params["wf_run_id"]
    try:
        data = request.app.state.readings.log.timeline(wf_run_id)
    except HalterError as error:
        return problem_of(error).as_json()
    return Response(orjson.dumps(data), media_type="application/json", headers={"Cache-Control": "no-store"})


def events(request: Request) -> Response:
    """Show the events as a list, and the state after one of them: what the timeline shows, without JavaScript."""
    wf_run_id = request.path_params["wf_run_id"]
    after, at = _number(request, "after", 0), _number(request, "at", 0)
    readings = request.app.state.readings
    told = readings.log.history(wf_run_id, after=after, limit=EVENTS_MAX)
    state = readings.log.state(wf_run_id, str(at)) if at else None
    last = told["events"][-1]["seq"] if told["events"] else after
    context = {
        "events": told["events"],
        "is_whole": told["is_whole"],
        "at": at,
        "state": state,
        "page": {"first": f"/wf-runs/{wf_run_id}/events" if after else None,
                 "next": f"/wf-runs/{wf_run_id}/events?after={last}" if told["has_more"] else None},
    }  # fmt: skip
    return _page(request, "events", context)


def event(request: Request) -> Response:
    """Show one event: the record that caused it, decoded and raw, and all that this record caused."""
    wf_run_id, seq = request.path_params["wf_run_id"], request.path_params["seq"]
    told = request.app.state.readings.log.cause(wf_run_id, seq)
    return _page(request, "event", {"seq": seq, "told": told})


def threads(request: Request) -> Response:
    """Show the threads as a tree, with what holds each, what it waits for and its Variables."""
    f, base = Formats(), f"/wf-runs/{request.path_params['wf_run_id']}/threads"
    from_thread = _number(request, "from", 0) if "from" in request.query_params else None
    context = {"f": f, "why": _why(request, f), "base": base, "from_thread": from_thread}
    return _page(request, "threads", context, from_thread=from_thread)


def diagram(request: Request) -> Response:
    """Show the WfSpec as diagrams, with the way that the WfRun went."""
    data, problem = None, None
    try:
        data = request.app.state.readings.log.timeline(request.path_params["wf_run_id"])
    except HalterError as error:
        problem = str(error)
    f = Formats()
    with reading(request) as connection:
        seen = one_wf_run.wf_run(connection, request.path_params["wf_run_id"])
        name, version = (seen.row["wf_spec_name"], seen.row["wf_spec_version"]) if seen else (None, None)
        spec, why_not = spec_of(connection, name, version) if name else (None, "It has no WfSpec.")
    went = way_of(data) if data is not None else {}
    drawn = drawings(spec) if spec is not None else []
    drawn.sort(key=lambda it: it.name not in went and bool(went))
    context = {
        "f": f,
        "drawings": drawn,
        "marks": {it.name: _marks(it, went.get(it.name)) for it in drawn},
        "went": went,
        "problem": problem,
        "why_not": why_not,
        "counts": {},
        "version": version,
    }
    return _page(request, "diagram", context)


def inputs(request: Request) -> Response:
    """Show its ExternalEvents and what became of them, and its task attempts."""
    wf_run_id = request.path_params["wf_run_id"]
    with reading(request) as connection:
        context = {
            "external_events": one_wf_run.external_events_of(connection, wf_run_id),
            "statuses": external_event_lists.statuses_of(connection, [wf_run_id]),
            "tasks": one_wf_run.tasks_of(connection, wf_run_id),
            "most": one_wf_run.ROWS_MAX,
        }
    return _page(request, "inputs", context)


def way_of(data: Mapping[str, Any]) -> dict[str, Went]:
    """The way that a recorded WfRun went, by ThreadSpec: the visits of nodes, and the steps from one to the next."""
    visits: dict[str, dict[str, int]] = {}
    steps: dict[str, dict[tuple[str, str], int]] = {}
    spec_of_thread = {it["number"]: it["spec"] for it in data["threads"]}
    node: dict[int, str] = {}
    over: set[int] = set()
    for it in data["events"]:
        changed = it[7]
        for number in {int(name[1 : name.index(".")]) for name in changed if name[0] == "t"}:
            spec = spec_of_thread.get(number)
            if spec is None:
                continue
            status = changed.get(f"t{number}.status")
            if changed.get(f"t{number}.gone") or status in ("COMPLETED", "ERROR", "EXCEPTION"):
                over.add(number)
            elif status is not None:
                over.discard(number)
            here = changed.get(f"t{number}.node", node.get(number))
            if here is None or (f"t{number}.node" not in changed and f"t{number}.position" not in changed):
                continue
            of_spec = visits.setdefault(spec, {})
            of_spec[here] = of_spec.get(here, 0) + 1
            if number in node:
                taken = steps.setdefault(spec, {})
                taken[node[number], here] = taken.get((node[number], here), 0) + 1
            node[number] = here
    found = {}
    for spec, of_spec in visits.items():
        numbers = [number for number in node if spec_of_thread[number] == spec]
        now: dict[str, list[int]] = {}
        for number in numbers:
            if number not in over:
                now.setdefault(node[number], []).append(number)
        found[spec] = Went(of_spec, steps.get(spec, {}), now, numbers)
    return found


def _marks(drawing: Drawing, way: Went | None) -> Marks:
    return marks_of(drawing, {}, way.now if way else {}, way.visits if way else {})


def _page(
    request: Request,
    tab: str,
    context: Mapping[str, Any],
    *,
    from_thread: int | None = None,
    not_logged: NoSuchWfRun | None = None,
) -> Response:
    wf_run_id = request.path_params["wf_run_id"]
    with reading(request) as connection:
        seen = one_wf_run.wf_run(connection, wf_run_id, from_thread=from_thread)
        inputs_count = one_wf_run.external_events_count(connection, wf_run_id)
        tasks_count = one_wf_run.tasks_count(connection, wf_run_id)
        partitions = progress.partition_count(connection)
        read = progress.partition_of_id(connection, wf_run_id) if seen is None else None
    if seen is None and not_logged is not None:
        raise _not_folded(request, wf_run_id, partitions) or not_logged
    # ExternalEvents may wait for a WfRun that nobody has started.
    if seen is None and tab not in ("timeline", "events", "event") and not (tab == "inputs" and inputs_count.number):
        raise not_in_view(wf_run_id, read)
    shared = {
        "f": Formats(),
        "wf_run_id": wf_run_id,
        "run": seen.row if seen else None,
        "seen": seen,
        "tab": tab,
        "tabs": [it for it in TABS if seen is not None or it[0] in ("timeline", "inputs")],
        "counts_of_tabs": {
            "threads": Count(seen.thread_count if seen else 0, is_exact=True),
            "inputs": Count(
                inputs_count.number + tasks_count.number, is_exact=inputs_count.is_exact and tasks_count.is_exact
            ),
        },
        "can_post": may_act(request) and (seen is not None or inputs_count.number > 0),
        "live_statuses": LIVE,
        "live": f"/live?{urlencode({'wf_run': wf_run_id})}",
    }
    return page(request, f"wf_run_{tab}.html", {**shared, **context}, here="/wf-runs")


def _not_folded(request: Request, wf_run_id: str, partitions: int) -> NotFolded | None:
    """The error of a WfRun of which nothing is folded, if what came for it may wait; None if nothing waits there."""
    nothing_yet = f"nothing is folded of a WfRun '{wf_run_id}' so far"
    try:
        folding = request.app.state.readings.workers.standing.last_or_first()
    except OutOfReach as unknown:
        return NotFolded(f"{nothing_yet}, and it is not known whether something waits for it: {unknown}")
    if folding is None or not partitions:
        return None
    number = partition_of(wf_run_id.encode(), partitions)
    by = folding["behind"].get(str(number), 0)
    if folding["is_unmanned"] and by:
        waits = f"{counted(by, 'record', 'wait')} on its partition {number}"
        return NotFolded(f"{nothing_yet}, and {waits}: no worker is running; `halter worker` starts one")
    for it in folding["standing"]:
        if it["partition"] == number:
            place, since = f"{it['topic']}[{number}]@{it['offset']}", iso(it["since_ms"])
            whose = "for it" if it["is_of_wf_run"] and it["key"] == wf_run_id else "there, and what came for it may too"
            return NotFolded(
                f"{nothing_yet}: its partition {number} stands still, because a rule broke or a worker restores; the "
                f"record {place} waits {whose} since {since}"
            )
    if by:
        return NotFolded(
            f"{nothing_yet}, and at most {counted(by, 'record', 'wait')} on its partition {number}: what came for it "
            "may be one of them"
        )
    return None


def _why(request: Request, f: Formats) -> Mapping[str, Any]:
    """Why its threads do not move; the sentence of an error if the log cannot be read."""
    try:
        told: dict[str, Any] = request.app.state.readings.log.why(request.path_params["wf_run_id"])
    except HalterError as error:
        not_logged = error if isinstance(error, NoSuchWfRun) else None
        return {"stage": None, "stage_title": None, "sentences": [], "problem": str(error), "not_logged": not_logged}
    for it in told["sentences"]:
        found = _WHO.match(it["sentence"])
        it["who"], because = (found[1], found[2]) if found else (f"#{it['thread']}", it["sentence"])
        it["because"] = _short_times(because, f.now_ms)
    stage = _short_times(told["stage"], f.now_ms)
    return told | {"stage": stage, "stage_title": STAGES.get(told["why"]["stage"]), "problem": None, "not_logged": None}


def _short_times(sentence: str, now_ms: int) -> str:
    """A sentence with its times to the second, and without the date if that is today's."""
    today = iso(now_ms)[:10]
    return _TIME.sub(lambda it: f"{it[2]}Z" if it[1] == today else f"{it[1]} {it[2]}Z", sentence)


def _number(request: Request, name: str, otherwise: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else otherwise
