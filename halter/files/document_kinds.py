"""Which of our documents a file is, by its fields. Whoever gives it to another's command reads which one takes it.

Knows what tells the kinds apart, and nothing else of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from halter.files.definitions_document import DEFINITION_FIELDS


@dataclass(frozen=True)
class DocumentKind:
    """A kind of document."""

    what: str
    expected: str
    """How a sentence calls it that finds another."""
    command: str
    """What checks it."""
    fields: frozenset[str]
    """A document with one of them is of this kind."""
    never: frozenset[str] = frozenset()
    """A document with one of these is not."""


SCENARIO: Final = DocumentKind("a scenario", "a scenario, which has steps", "halter scenario run", frozenset({"steps"}))
BINDINGS: Final = DocumentKind("bindings", "bindings", "halter bind check", frozenset({"bindings"}))
DEFINITIONS: Final = DocumentKind(
    "definitions",
    "a WfSpec or definitions",
    "halter spec check",
    frozenset(DEFINITION_FIELDS),
    frozenset({"name", "definitions"}),
)
WF_SPEC: Final = DocumentKind(
    "a WfSpec", "a WfSpec or definitions", "halter spec check", frozenset({"threads", "entrypoint"})
)
SINK: Final = DocumentKind(
    "a sink", "a sink", "halter sink check", frozenset({"topic"}), frozenset({"event", "events", "wf_run_id"})
)
KINDS: Final = (SCENARIO, BINDINGS, DEFINITIONS, WF_SPEC, SINK)
"""In this order: a scenario may have definitions of its own."""


def another_kind(data: object, file: object, *expected: DocumentKind) -> str | None:
    """Return the sentence about a document that is of another kind; None if it is not, or of none that we know."""
    if not isinstance(data, Mapping):
        return None
    found = next((it for it in KINDS if data.keys() & it.fields and not data.keys() & it.never), None)
    if found is None or found in expected:
        return None
    return f"expected {expected[0].expected}, found {found.what}: `{found.command} {file}` checks it"
