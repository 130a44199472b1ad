"""The versions of the rules: each decides something otherwise than the one before.

Each record of the log names the version that decided it. Deciding old inputs again with later rules gives other events
where a rule has changed since: `CHANGES` says which, so that tools can tell what is expected from what is not. No rule
looks at this.

Whoever changes what rules decide adds a change, which raises `RULES` (CONTRIBUTING.md has the recipe).
"""

from dataclasses import dataclass
from typing import Final

NOTHING: Final = ""
"""Stands for no event."""


@dataclass(frozen=True, slots=True)
class RuleChange:
    """What one version of the rules decides otherwise than all before it, by the first event that differs.

    An event is its name, and what its fields have where it matters: `Rejected code=ALREADY_EXISTS`, `Halt
    reason.reason=PendingInterrupt`.
    """

    since: int
    """The version."""
    rule: str
    """The rule of docs/rules that changed."""
    says: str
    """The change in a sentence."""
    before: str
    """The event as it was decided before; NOTHING if there was none."""
    after: str
    """The event as it is decided since; NOTHING if there is none."""
    fields: tuple[str, ...] = ()
    """If any are named (`failure.message`), the event differs in these only, and nothing else follows from it."""


CHANGES: Final[tuple[RuleChange, ...]] = (
    RuleChange(
        2,
        "preemptive-latest-takes-newest",
        "of the earlier events of a `latest` interrupt only the newest is accepted",
        "Halt reason.reason=PendingInterrupt",
        "Halt reason.reason=PendingInterrupt",
    ),
    RuleChange(
        2,
        "outcomes-per-thread",
        "the row of an ExternalEvent has its outcome in each thread",
        "ExternalEventPosted",
        "ExternalEventPosted",
        ("keeps_outcomes",),
    ),
    RuleChange(
        2,
        "masked-value-not-told",
        "a sentence about content of the wrong type names the type and not the value, which may be masked",
        "Rejected code=INVALID_ARGUMENT",
        "Rejected code=INVALID_ARGUMENT",
        ("message",),
    ),
    RuleChange(
        2,
        "masked-value-not-told",
        "a sentence about an output of the wrong type names the type and not the value, which may be masked",
        "NodeFailed",
        "NodeFailed",
        ("failure.message",),
    ),
    RuleChange(
        2,
        "masked-value-not-told",
        "a sentence about an output of the wrong type names the type and not the value, which may be masked",
        "ThreadFailed",
        "ThreadFailed",
        ("failure.message",),
    ),
)
"""All changes, by version. Version 1 has the rules of 0.1.0, version 2 those of 0.2.0."""

RULES: Final = max(change.since for change in CHANGES)
"""The version of the rules of this Halter."""
