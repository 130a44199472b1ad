"""Prints the state of a WfRun: the present one for `halter show`, an earlier one for `halter state`."""

from typing import TYPE_CHECKING, Any, Final

import typer

from halter.cli.client import styled, terminal_width

if TYPE_CHECKING:
    from processors.core.records.model import WfRun
    from processors.core.rules.context import WfSpecLookup

COLOURS: Final = {"RUNNING": "green", "COMPLETED": "blue", "HALTED": "yellow", "ERROR": "red", "EXCEPTION": "red"}


def shown_state(wf_run: "WfRun", definitions: "WfSpecLookup", *, unmask: bool) -> "WfRun":
    """Return a WfRun without its masked values, and with its WfSpec, which says what its threads wait for."""
    from halter.show.redaction import Redactor
    from halter.show.wf_run_text import understood

    return understood(wf_run if unmask else Redactor(definitions).run(wf_run), definitions)


def print_state(shown: "WfRun", now_ms: int | None = None) -> None:
    """Print a WfRun as text. Spans of time end at `now_ms`, or now."""
    from halter.show.wf_run_text import text

    for line in text(shown, _status, now_ms=now_ms, width=terminal_width()):
        typer.echo(line)


def _status(word: str, **more: Any) -> str:
    return styled(word, fg=COLOURS.get(word.strip()), **more)
