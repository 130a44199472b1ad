"""Looks at the view: whether it is there, of this installation, filled, and how far behind.

It needs the extra `view`, so `beside` asks for that before it imports this module.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from halter.doctor.findings import Finding, Skip, Verdict
from halter.show.counting import counted
from halter.show.times import span
from halter.view.place import READY, ViewUnavailable, default_url, open_view
from halter.view.status import status_of

SILENT_S: Final = 30
"""A view that is kept current hears from Kafka every second or so."""
BEHIND: Final = 10_000
START: Final = "`halter view` keeps it current"


def look(url: str | None, prefix: str) -> Iterator[Finding]:
    """Say how far a view is. None: the usual file, if it is there. `prefix`: of the installation that is examined."""
    if url is None:
        url = default_url()
        if not Path(url).is_file():
            raise Skip(f"HALTER_VIEW names none, and there is no file {url}")
    try:
        view = open_view(url)
    except ViewUnavailable as unavailable:
        yield Finding(Verdict.WRONG, str(unavailable), START)
        return
    try:
        status = status_of(view)
    except ViewUnavailable as unavailable:
        yield Finding(Verdict.WRONG, str(unavailable), START)
        return
    finally:
        view.close()
    now_ms = time.time_ns() // 1_000_000
    data = status.as_dict()
    silent_s = status.age_s(now_ms)
    said = f"{status.where}: {status.wf_runs.of('WfRun')}, {counted(status.lag, 'offset')} behind"
    if status.prefix != prefix:
        other = f"{status.where} is of the installation with the prefix '{status.prefix}', not '{prefix}'"
        yield Finding(Verdict.WRONG, other, "name this installation's own (HALTER_VIEW)", data)
    elif silent_s > SILENT_S:
        ago = span(round(silent_s * 1_000))
        yield Finding(Verdict.WARNING, f"{said}, and nobody has kept it current for {ago}", START, data)
    elif status.state != READY:
        yield Finding(
            Verdict.WARNING, f"{said}: it is being filled for the first time", "wait until it is filled", data
        )
    elif status.lag > BEHIND:
        yield Finding(
            Verdict.WARNING, said, "wait; if it grows, look at the log of `halter view` and its database", data
        )
    else:
        yield Finding(Verdict.FINE, said, data=data)
