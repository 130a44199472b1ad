"""What a test prints when it fails: the histories of its WfRuns as tables, and what became of their tasks.

Masked values are masked, as everywhere.
"""

import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from halter.client.history import History
from halter.show.log_text import event_line
from halter.show.redaction import Redactor
from halter.show.times import iso
from processors.core.records.events import LogEntry
from processors.core.rules.context import WfSpecLookup

if TYPE_CHECKING:
    from halter.testing.env import WorkflowEnv

WF_RUNS_MAX: Final = 5
EVENTS_MAX: Final = 300
"""Largest numbers of WfRuns, and of newest events of each, that are shown."""


def report(env: "WorkflowEnv", wf_specs: WfSpecLookup, wf_run_ids: Iterable[str], width: int) -> str:
    """Return the report of an environment."""
    ids = list(wf_run_ids)
    parts = [f"virtual time: {env.now:%Y-%m-%d %H:%M:%S} UTC"]
    redactor = Redactor(wf_specs)
    for wf_run_id in ids[-WF_RUNS_MAX:]:
        entries = redactor.entries(env.entries(wf_run_id))
        parts.append("\n".join(_history(wf_run_id, entries, width)))
    if len(ids) > WF_RUNS_MAX:
        parts.append(f"{len(ids) - WF_RUNS_MAX} more WfRuns: env.report(WF_RUN_ID) shows one")
    attempts = "\n".join(_attempts(env))
    return "\n\n".join([*parts, attempts] if attempts else parts)


def _history(wf_run_id: str, entries: list[LogEntry], width: int) -> Iterator[str]:
    left_out = len(entries) - EVENTS_MAX
    if left_out > 0:
        yield f"({left_out} events before these are left out)"
    yield table(History.of(wf_run_id, entries[-EVENTS_MAX:]), width)


def table(history: History, width: int) -> str:
    """Return a history as the command `halter history` prints it; as plain lines without the extra `cli`."""
    try:
        from rich.console import Console

        from halter.show.history_table import print_table
    except ImportError:
        return "\n".join(f"{iso(it.time_ms)} {it.seq:>4}  {event_line(it.event)}" for it in history.entries)
    printed = io.StringIO()
    print_table(history, Console(file=printed, width=width, no_color=True, force_terminal=False))
    return "\n".join(line.rstrip() for line in printed.getvalue().rstrip().splitlines())


def _attempts(env: "WorkflowEnv") -> Iterator[str]:
    for it in env.attempts:
        of = f"task {it.task}, attempt {it.attempt}, thread {it.thread} of {it.wf_run_id}"
        if it.status is None:
            why = (
                f"cancelled: {it.cancelled}"
                if it.cancelled is not None
                else f"out since {iso(it.request.requested_ms)}"
            )
            yield f"{of}: {why}"
        elif it.traceback is not None:
            yield f"{of}: {it.status}\n{it.traceback}"
