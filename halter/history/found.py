"""What verifying finds: differences between the recorded log and the one decided again, and what cannot be verified."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from processors.core.records.events import Cause, CorrelationDecided
from processors.core.rules.versions import RuleChange


class Kind(StrEnum):
    """The kind of a difference."""

    OTHER_EVENT = "another event"
    OTHER_VALUE = "another value in the event"
    OTHER_BYTES = "other bytes for the same event"
    """No release writes it so."""
    MORE = "an event that was not recorded"
    FEWER = "an event that was recorded is not decided"
    RAISED = "a rule raises"
    NOT_RECORDED = "an input without outcome"
    """It is no dead letter, and has nothing on the log though later inputs have."""
    NO_INPUT = "an event of an input that was never there"
    UNREADABLE = "a record of the log that cannot be read"
    OUT_OF_ORDER = "an event behind those of later inputs"
    EARLIER_DEFINITIONS = "an event decided at earlier definitions than those before it"


DECIDED_OTHERWISE: Final = frozenset({Kind.OTHER_EVENT, Kind.OTHER_VALUE, Kind.MORE, Kind.FEWER})
"""Differences that a change of the rules may explain."""


class Reason(StrEnum):
    """Why a WfRun was not verified, or not to its end."""

    BEGINNING_GONE = "its first events are gone from the log"
    MAYBE_OLDER = "it differs, but began so soon behind the cut of the log that something of it may be older"
    INPUT_GONE = "one of its inputs is gone"
    DEFINITION_GONE = "a definition that it needs is gone"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first event of a WfRun that differs."""

    wf_run_id: str
    kind: Kind
    partition: int
    offset: int | None
    """The offset of the recorded event on the log; None if there is none."""
    cause: Cause | None
    recorded: bytes | None
    decided: bytes | None
    before: int
    """The number of entries of the same input before it, which are the same."""
    message: str | None = None
    """The error that a rule raised."""
    rules: int | None = None
    """The version of the rules by which it was recorded; None if the log does not say it."""
    change: RuleChange | None = None
    """The change of the rules because of which it is expected."""


@dataclass(frozen=True, slots=True)
class KeyDifference:
    """The first decision about a correlation key that differs."""

    kind: Kind
    partition: int
    offset: int | None
    """The offset of the recorded decision on `correlation-events`; None if there is none."""
    cause: Cause | None
    recorded: CorrelationDecided | None
    decided: CorrelationDecided | None
    message: str | None = None
    """The error that a rule raised."""


@dataclass(slots=True)
class KeyReport:
    """What was found of correlation keys. A key is named as its row: ExternalEventDef/key."""

    decisions: int = 0
    """The number of decisions that are the same."""
    taken_over: int = 0
    """The number of decisions that were taken as they are, because inputs are gone."""
    differences: dict[str, KeyDifference] = field(default_factory=dict)
    unverified: dict[str, Reason] = field(default_factory=dict)
    are_unknown: bool = False
    """True: the rules that decided again know no keys."""

    def add(self, other: "KeyReport") -> None:
        """Add what was found in another partition."""
        self.decisions += other.decisions
        self.taken_over += other.taken_over
        self.differences |= other.differences
        self.unverified |= other.unverified
        self.are_unknown |= other.are_unknown


@dataclass(slots=True)
class Report:
    """What was found. Reports of several partitions add up."""

    inputs: int = 0
    events: int = 0
    """The number of events that are the same."""
    wf_runs: int = 0
    """The number of WfRuns that were started in what was verified."""
    dead_letters: int = 0
    by_older_schemas: int = 0
    """The number of events that another release wrote: the same when they are decoded."""
    taken_over: int = 0
    """The number of events that were taken as they are, because inputs are gone."""
    assumed: int = 0
    """The number of definitions that were deleted since, so that nothing says when they were registered."""
    differences: dict[str, Difference] = field(default_factory=dict)
    """WfRun id -> its first difference, if no change of the rules explains it."""
    expected: dict[str, Difference] = field(default_factory=dict)
    """WfRun id -> its first difference, if a change of the rules explains it."""
    filled_otherwise: Counter[RuleChange] = field(default_factory=Counter)
    """The number of events that are the same but for fields which rules fill otherwise since."""
    newer_rules: int | None = None
    """The newest version of the rules that decided events and is newer than all that are known here; None: none is."""
    unverified: dict[str, Reason] = field(default_factory=dict)
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How the WfRuns end that differ: as recorded, and as decided again."""
    keys: KeyReport = field(default_factory=KeyReport)

    def add(self, other: "Report") -> None:
        """Add what was found in another partition."""
        self.inputs += other.inputs
        self.events += other.events
        self.wf_runs += other.wf_runs
        self.dead_letters += other.dead_letters
        self.by_older_schemas += other.by_older_schemas
        self.taken_over += other.taken_over
        self.assumed = max(self.assumed, other.assumed)
        self.differences |= other.differences
        self.expected |= other.expected
        self.filled_otherwise += other.filled_otherwise
        self.newer_rules = max(filter(None, (self.newer_rules, other.newer_rules)), default=None)
        self.unverified |= other.unverified
        self.ends += other.ends
        self.keys.add(other.keys)

    @property
    def kinds(self) -> Counter[Kind]:
        """The number of WfRuns by the kind of their first difference, if it is not expected."""
        return Counter(difference.kind for difference in self.differences.values())

    @property
    def changes(self) -> Counter[RuleChange]:
        """The number of WfRuns that differ because of a change of the rules, by the change."""
        return Counter(it.change for it in self.expected.values() if it.change is not None)
