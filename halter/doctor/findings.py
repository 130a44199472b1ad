"""What a check found: a verdict, a sentence, the way to mend it. Knows no check and no Kafka."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Skip(Exception):
    """A check does not apply, or this principal may not look. The sentence says why. Nothing is known to be wrong."""


class Verdict(StrEnum):
    """How a finding is to be taken. The order is from harmless to bad."""

    FINE = "fine"
    SKIPPED = "skipped"
    """It was not looked at: it is not used here, or this principal may not see it. Nothing is known to be wrong."""
    UNKNOWN = "unknown"
    """It could not be found out, for instance because no answer came in time."""
    WARNING = "warning"
    """It works now, and will not for long, or not as it should."""
    WRONG = "wrong"


ORDER: Final = tuple(Verdict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check. `found` is a sentence, `mend` says what to do, `data` has the same for programs."""

    verdict: Verdict
    found: str
    mend: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Examined:
    """The findings of one check, in the order in which it made them."""

    check: str
    findings: tuple[Finding, ...]


def worst(examined: Iterable[Examined]) -> Verdict:
    """Return the worst verdict; FINE if there is none."""
    verdicts = [finding.verdict for one in examined for finding in one.findings]
    return max(verdicts, key=ORDER.index, default=Verdict.FINE)


def listed(names: Iterable[str], most: int = 4) -> str:
    """Return names as a sentence has them: the first few, and how many more there are."""
    found = list(names)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")
