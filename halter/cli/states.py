"""Prints the state of a WfRun: the present one for `halter show`, an earlier one for `halter state`."""

from typing import TYPE_CHECKING, Any, Final

import typer

from halter.cli.printing import note, styled, terminal_width

if TYPE_CHECKING:
    from processors.core.records.model import WfRun, WfRunSnapshot, WfSpecId
    from processors.core.rules.context import WfSpecLookup
    from processors.core.wf_spec.definitions import Definitions

COLOURS: Final = {"RUNNING": "green", "COMPLETED": "blue", "HALTED": "yellow", "ERROR": "red", "EXCEPTION": "red"}
NAMED_MAX: Final = 3
"""The most Variables and ExternalEvents that a note names."""


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


def note_if_masks_less(
    wf_run_id: str, version: "WfSpecId", snapshot: "WfRunSnapshot", there: "Definitions", here: "Definitions"
) -> None:
    """Say what commands show of a WfRun by another version of its WfSpec, and do not by that of a state.

    `there` has the definitions of the state, `here` those of the other version.
    """
    from halter.history.forking import shown_by

    names = shown_by(version, snapshot, there, here)
    if names:
        more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
        named = ", ".join(names[:NAMED_MAX]) + more
        note(f"{version} masks less than {snapshot.wf_spec}: what {wf_run_id} has in {named} is shown")


def _status(word: str, **more: Any) -> str:
    return styled(word, fg=COLOURS.get(word.strip()), **more)
