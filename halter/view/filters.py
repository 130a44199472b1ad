"""What lists are filtered by: which WfRuns somebody asks for, as options, as parameters of a URL, and in words.

Pure: knows names and values, and no table.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final

from halter.show.waiting_text import KINDS
from processors.core.records.errors import HalterError
from processors.core.records.model import HALT_REASON_KINDS, Status

STATUSES: Final = tuple(it.name for it in Status if it is not Status.HALTING)
"""The statuses that a WfRun may have."""
ANY: Final = "ANY"
HALT_KINDS: Final = tuple(HALT_REASON_KINDS.values())
WAITS: Final = tuple(it for it in KINDS.values() if it != "HALT_REASON")
"""What a thread may wait for. What holds it is a halt reason."""
UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION: Final = re.compile(r"(\d{1,9}) ?(ms|s|m|h|d|w)")
TEXT_MAX: Final = 256
VARIABLES_MAX: Final = 8


class BadFilter(HalterError):
    """A filter has a name or a value that there is not. Whoever wrote it corrects it."""


class SortBy(StrEnum):
    """The order of a list of WfRuns."""

    CHANGED = "changed"
    """What happened last comes first."""
    STARTED = "started"
    """What was started last comes first. WfRuns of which only a quarantine is there are left out."""
    ID = "id"
    """By id, ascending."""


@dataclass(frozen=True, slots=True)
class Sort:
    """An order, perhaps from its other end."""

    by: SortBy = SortBy.CHANGED
    reverse: bool = False

    @property
    def descends(self) -> bool:
        """True if the greatest value comes first."""
        return (self.by is not SortBy.ID) is not self.reverse

    @staticmethod
    def of(name: str, *, reverse: bool = False) -> "Sort":
        """Return the order of a name. Raises BadFilter."""
        return Sort(SortBy(one_of("sort", name.lower(), [it.value for it in SortBy])), reverse)


@dataclass(frozen=True, slots=True)
class WfRunFilter:
    """Which WfRuns are asked for: those for which all that is given holds."""

    status: tuple[str, ...] = ()
    """One of these."""
    wf_spec: str | None = None
    wf_spec_version: str | None = None
    """`major.revision`, or `major` for all of its revisions."""
    halted_for: str | None = None
    """A kind of halt reason that a live thread has; `ANY`: any."""
    failed_with: str | None = None
    """The name of the failure that it ended with; `ANY`: any."""
    waits_for: str | None = None
    """A kind of wait that a live thread has, perhaps with its ExternalEventDef or TaskDef: `EXTERNAL_EVENT:paid`."""
    older_than_ms: int | None = None
    """It was started at least so long ago."""
    unchanged_for_ms: int | None = None
    """Nothing has happened to it for at least so long."""
    started_before_ms: int | None = None
    """It was started before this time, in milliseconds since 1970."""
    quarantined: bool | None = None
    variables: tuple[tuple[str, str], ...] = ()
    """Variables of thread 0 with their values as text. A WfSpec has to mark them `searchable`."""
    text: str | None = None
    """A part of its id, of the name of its WfSpec, or of a value of a Variable, whatever the case."""

    @property
    def is_empty(self) -> bool:
        """True if all WfRuns are asked for."""
        return self == WfRunFilter()

    def pairs(self) -> list[tuple[str, str]]:
        """Return it as names and values: parameters of a URL, or of `--where`. `filter_of` makes it again."""
        told: list[tuple[str, str]] = [("status", it) for it in self.status]
        for name, value in (
            ("wf-spec", self.wf_spec),
            ("version", self.wf_spec_version),
            ("halted-for", self.halted_for),
            ("failed-with", self.failed_with),
            ("waits-for", self.waits_for),
            ("older-than", duration_text(self.older_than_ms)),
            ("unchanged-for", duration_text(self.unchanged_for_ms)),
            ("started-before", None if self.started_before_ms is None else str(self.started_before_ms)),
            ("quarantined", None if self.quarantined is None else ("yes" if self.quarantined else "no")),
        ):
            if value is not None:
                told.append((name, value))
        told += [("var", f"{name}={value}") for name, value in self.variables]
        return told + ([] if self.text is None else [("text", self.text)])

    def words(self) -> str:
        """Return it in words, as they stand behind `WfRuns`: `with status=RUNNING, wf-spec=cart`; empty for all."""
        return ", ".join(f"{name}={value}" for name, value in self.pairs())


NAMES: Final = (
    "status",
    "wf-spec",
    "version",
    "halted-for",
    "failed-with",
    "waits-for",
    "older-than",
    "unchanged-for",
    "started-before",
    "quarantined",
    "var",
    "text",
)
"""The names of filters in URLs and in `--where`."""


def filter_of(pairs: Iterable[tuple[str, str]], *, ignore: Iterable[str] = ()) -> WfRunFilter:
    """Return the filter of names and values; empty values count as not given. Raises BadFilter.

    `ignore`: names of other parameters that stand beside them.
    """
    found: dict[str, Any] = {"status": [], "variables": []}
    others = frozenset(ignore)
    for given, value in pairs:
        if given not in others and value:
            _add(found, one_of("filter", given.replace("_", "-"), NAMES), value)
    found |= {name: tuple(found[name]) for name in ("status", "variables")}
    return checked(WfRunFilter(**found))


def _add(found: dict[str, Any], name: str, value: str) -> None:
    """Add a filter to those that were found. Raises BadFilter."""
    if name == "status":
        found["status"] += [it.strip() for it in value.split(",") if it.strip()]
    elif name == "var":
        variable, equals, wanted = value.partition("=")
        if not equals or not variable.strip():
            raise BadFilter(f"var: expected NAME=VALUE, found '{short(value)}'")
        found["variables"].append((variable.strip(), wanted))
    elif _FIELDS[name] in found:
        raise BadFilter(f"{name}: expected one value, found a second one, '{short(value)}'")
    else:
        found[_FIELDS[name]] = _value(name, value)


def _value(name: str, value: str) -> str | int | bool:
    match name:
        case "older-than" | "unchanged-for":
            return duration_ms(name, value)
        case "started-before":
            if not value.isdecimal() or len(value) > 15:
                raise BadFilter(f"{name}: expected milliseconds since 1970, found '{short(value)}'")
            return int(value)
        case "quarantined":
            return one_of(name, value.lower(), ("yes", "no")) == "yes"
        case _:
            return value


_FIELDS: Final[Mapping[str, str]] = {
    "wf-spec": "wf_spec",
    "version": "wf_spec_version",
    "halted-for": "halted_for",
    "failed-with": "failed_with",
    "waits-for": "waits_for",
    "older-than": "older_than_ms",
    "unchanged-for": "unchanged_for_ms",
    "started-before": "started_before_ms",
    "quarantined": "quarantined",
    "text": "text",
}


def checked(given: WfRunFilter) -> WfRunFilter:
    """Return a filter with its names as the view has them. Raises BadFilter for a name that there is not."""
    for field in fields(given):
        for text in _texts(getattr(given, field.name)):
            if len(text) > TEXT_MAX or "\0" in text:
                raise BadFilter(f"{field.name}: expected at most {TEXT_MAX} characters, found '{short(text)}'")
    if len(given.variables) > VARIABLES_MAX:
        raise BadFilter(f"var: expected at most {VARIABLES_MAX} Variables, found {len(given.variables)}")
    if given.wf_spec_version is not None and not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", given.wf_spec_version):
        raise BadFilter(f"version: expected MAJOR or MAJOR.REVISION, found '{short(given.wf_spec_version)}'")
    made = replace(
        given,
        status=tuple(dict.fromkeys(one_of("status", it.upper(), STATUSES) for it in given.status)),
        failed_with=ANY if (given.failed_with or "").upper() == ANY else given.failed_with,
        text=(given.text or "").strip().lower() or None,
    )
    if given.halted_for is not None:
        made = replace(made, halted_for=one_of("halted-for", _kind(given.halted_for), (*HALT_KINDS, ANY)))
    if given.waits_for is not None:
        kind, colon, name = given.waits_for.partition(":")
        kind = one_of("waits-for", _kind(kind), WAITS)
        if colon and kind not in NAMED_WAITS:
            raise BadFilter(
                f"waits-for: expected a name only behind {', '.join(NAMED_WAITS)}, found '{short(given.waits_for)}'"
            )
        made = replace(made, waits_for=f"{kind}:{name}" if name else kind)
    return made


NAMED_WAITS: Final = ("EXTERNAL_EVENT", "TASK_REPORT", "TASK_RETRY")
"""The waits that may be asked for by the name of a definition."""


def _kind(text: str) -> str:
    return text.strip().upper().replace("-", "_").replace(" ", "_")


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for it in value for text in _texts(it)] if isinstance(value, tuple) else []


def one_of(name: str, found: str, known: Iterable[str]) -> str:
    """Return a value that is one of those that there are. Raises BadFilter, which says which one may be meant."""
    those = list(known)
    if found in those:
        return found
    raise BadFilter(f"{name}: '{short(found)}' is none{meant(found, those)}")


def meant(found: str, known: Iterable[str], most: int | None = None) -> str:
    """Return the end of a sentence about a name that is none: the near one, whatever the case, or those that there are.

    `most`: how many it lists; None: all.
    """
    by_folded = {it.casefold(): it for it in known}
    near = get_close_matches(found.casefold(), by_folded, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{by_folded[near[0]]}'?"
    some = list(by_folded.values())[:most]
    return f"; there are {', '.join(some)}{' and more' if len(by_folded) > len(some) else ''}" if some else ""


def duration_ms(name: str, text: str) -> int:
    """Return a duration in milliseconds: `90s`, `15m`, `2h`, `3d`, `1w`. Raises BadFilter."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise BadFilter(f"{name}: expected a duration such as 90s, 15m, 2h or 3d, found '{short(text)}'")
    return int(found[1]) * UNITS_MS[found[2]]


def duration_text(duration: int | None) -> str | None:
    """Return milliseconds as a duration, in the largest unit that has no rest."""
    if duration is None:
        return None
    unit = next(it for it in reversed(UNITS_MS) if duration % UNITS_MS[it] == 0)
    return f"{duration // UNITS_MS[unit]}{unit}" if duration else "0s"


def short(text: str) -> str:
    """Return a text as a sentence has it: its first 60 characters."""
    return text if len(text) <= 60 else text[:59] + "…"
