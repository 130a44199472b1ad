"""The pages of the console: routes that render templates.

    frame               renders a page: what all of them have around their content
    formats             how times, values and numbers are written
    assets              scripts, styles and the mark, under addresses that say their content
    overview            what is wrong now
    wf_runs             the list of WfRuns, and where a search leads
    wf_run              one WfRun: its timeline, its threads, the way it went, its ExternalEvents, one event
    specs_of            reads a WfSpec from the view
    marks               what stands at the nodes of a diagram: threads and visits
    wf_specs            WfSpecs as diagrams, with how many WfRuns stand at each node
    external_events     ExternalEvents, and what became of them
    dead_letters        dead letters, one and many
    partitions          partitions, lag and quarantine, with the way out
    acting              forms for actions: they show the command that they send, and its outcome

`routes` has one for each page; `login_page` and `problem_page` are shown by others. A page reads without JavaScript;
with it, it updates by itself. Its scripts have no rule and make no HTML out of text.
"""

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route

from halter.console.pages import (
    acting,
    assets,
    dead_letters,
    external_events,
    overview,
    partitions,
    wf_run,
    wf_runs,
    wf_specs,
)
from halter.console.pages.frame import login_page, problem_page

__all__ = ["login_page", "problem_page", "routes"]


class Number(Convertor[int]):
    """A number in the path of a page. One that is too long for a row of the view names no page."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        """Return it as a number."""
        return int(value)

    def to_string(self, value: int) -> str:
        """Return it as it stands in a path."""
        return str(value)


register_url_convertor("number", Number())


def routes() -> list[Route]:
    """Return the routes of all pages."""
    rooms = (assets, overview, wf_runs, acting, wf_run, wf_specs, external_events, dead_letters, partitions)
    return [route for room in rooms for route in room.routes()]
