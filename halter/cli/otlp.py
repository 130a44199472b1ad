"""`halter export --otlp`: gives histories to tools that speak OpenTelemetry. `halter.otlp` makes and sends traces."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from halter.cli.given import expect_writable
from halter.cli.printing import note
from halter.cli.source import no_such
from halter.cli.timeline import redacted
from halter.cli.usage import UsageMistake
from halter.show.counting import counted
from processors.extras import needing

if TYPE_CHECKING:
    from halter.history.source import Source


def check_target(target: str) -> None:
    """Raise UsageMistake and CannotWrite for what is no URL of a receiver and no file to write; ExtraMissing."""
    scheme, mark, rest = target.partition("://")
    is_url = scheme.lower() in {"http", "https"}
    if mark and not (is_url and rest.strip("/")):
        raise UsageMistake(f"--otlp: expected http://HOST:PORT, https://HOST:PORT or a file, found {scheme}://…")
    if not mark:
        expect_writable(Path(target))
    with needing("otlp", "--otlp"):
        import halter.otlp.sending  # noqa: F401


def export_traces(found: "Source", wf_run_ids: Iterable[str], target: str, *, previous: bool) -> None:
    """Send the traces of WfRuns to a URL, or write them to a file. Says on stderr what was done."""
    from halter.history.moments import has_beginning
    from halter.otlp.trace import UNFINISHED, traces

    with needing("otlp", "--otlp"):
        from halter.otlp.sending import spans, taking, told
    definitions = found.definitions()
    number, sent, unfinished = 0, 0, 0
    with taking(target) as take:
        for wf_run_id in dict.fromkeys(wf_run_ids):
            logged = list(found.events(wf_run_id, previous=previous or not has_beginning(found, wf_run_id)))
            if not logged:
                raise no_such(found, wf_run_id)
            for made in traces(wf_run_id, redacted(logged, definitions), previous=previous):
                take(spans(made, found))
                number, sent = number + 1, sent + len(made.spans)
                unfinished += sum(UNFINISHED in it.attributes for it in made.spans)
    note(f"wrote {counted(number, 'trace')} with {counted(sent, 'span')} to {told(target)}")
    if unfinished:
        note(f"{counted(unfinished, 'span')} not ended yet: each stands there as if it ended with the newest event")
