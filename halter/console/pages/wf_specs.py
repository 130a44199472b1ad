"""WfSpecs: the list, and one as diagrams with how many threads stand at each node now."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from halter.console.pages.formats import Formats
from halter.console.pages.frame import page, reading
from halter.console.pages.marks import marks_of
from halter.console.pages.overview import NONE, counts_of
from halter.console.pages.specs_of import spec_of
from halter.console.problems import NotThere
from halter.show.drawing import drawings
from halter.view import definition_lists, looking, node_counts
from halter.view.names import unknown_wf_spec
from halter.view.paging import Count


def routes() -> list[Route]:
    """Return the routes of WfSpecs."""
    return [
        Route("/wf-specs", wf_specs, methods=["GET"]),
        Route("/wf-specs/{name}", wf_spec, methods=["GET"]),
    ]


def wf_specs(request: Request) -> Response:
    """Show all WfSpecs."""
    with reading(request) as connection:
        counts = request.app.state.readings.view.counted.stats(connection).by_wf_spec
        names = definition_lists.wf_spec_names(connection)
    rows = [(it, counts.get(it, NONE)) for it in dict.fromkeys([*names, *counts])]
    return page(request, "wf_specs.html", {"rows": rows}, here="/wf-specs")


def wf_spec(request: Request) -> Response:
    """Show one WfSpec: its versions, its diagrams, and how many threads stand at each node."""
    name, version = request.path_params["name"], request.query_params.get("version")
    with reading(request) as connection:
        versions = definition_lists.wf_spec_versions(connection, name)
        if not versions:
            raise NotThere(unknown_wf_spec(connection, name) or f"the view has no document of WfSpec '{name}'")
        spec, why_not = spec_of(connection, name, version)
        nodes = node_counts.nodes_of(connection, name, version)
        newest = node_counts.newest_of(connection, name, version)
    statuses = counts_of({it: Count(number, is_exact=True) for it, number in newest.by_status.items()})
    drawn = drawings(spec) if spec is not None else []
    counts = {(it.thread_spec, it.node): it.by_status for it in nodes}
    failed = sum(it.get("ERROR", 0) for it in counts.values())
    context: dict[str, Any] = {
        "f": Formats(),
        "name": name,
        "version": version,
        "versions": versions,
        "drawings": drawn,
        "marks": {it.name: marks_of(it, _of_spec(counts, it.name), {}, {}) for it in drawn},
        "why_not": why_not,
        "counts": counts,
        "went": {},
        "standing": sum(it.count.number for it in nodes) - failed,
        "failed": failed,
        "is_exact": all(it.count.is_exact for it in nodes),
        "statuses": statuses,
        "total": sum(newest.by_status.values()),
        "looked_at": None if newest.is_all else looking.LOOKED_AT,
        "document": versions[0]["document"] if version is None else None,
    }
    return page(request, "wf_spec.html", context, here="/wf-specs")


def _of_spec(counts: Mapping[tuple[str, str], Mapping[str, int]], thread_spec: str) -> dict[str, Mapping[str, int]]:
    return {node: by_status for (of, node), by_status in counts.items() if of == thread_spec}
