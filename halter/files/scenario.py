"""The values that a scenario document stands for: its definitions, and its steps.

`scenario_document` reads them, and the runner of `halter.scenarios` takes the steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from halter.files.definitions_document import DefinitionSource
from processors.core.records.commands import (
    Command,
    CorrelatedEvent,
    DefinitionCommand,
    PutTaskDef,
)
from processors.core.records.model import TaskStatus
from processors.core.records.values import Value
from processors.core.rules.context import Limits
from processors.core.wf_spec.document_problems import Path

ABSENT = "ABSENT"
"""The status that a scenario expects of a WfRun that does not exist."""


@dataclass(frozen=True, slots=True)
class Post:
    """A record arrives."""

    command: Command


@dataclass(frozen=True, slots=True)
class Correlate:
    """An event arrives by a correlation key."""

    command: CorrelatedEvent


@dataclass(frozen=True, slots=True)
class Report:
    """A task worker reports the result of an attempt; by default of the attempt that is out."""

    wf_run_id: str
    thread: int
    status: TaskStatus
    attempt: int | None
    output: Value
    name: str | None
    message: str | None
    content: Value


@dataclass(frozen=True, slots=True)
class StartTask:
    """A task worker says that it has begun an attempt; by default the one that is out."""

    wf_run_id: str
    thread: int
    attempt: int | None


@dataclass(frozen=True, slots=True)
class ReportProgress:
    """A task worker says how far an attempt is; by default the one that is out."""

    wf_run_id: str
    thread: int
    attempt: int | None
    content: Value


@dataclass(frozen=True, slots=True)
class Fork:
    """A WfRun starts from the state that another one has now."""

    wf_run_id: str
    """The other one."""
    to: str
    """The new one."""
    wf_spec_major: int | None
    wf_spec_revision: int | None


@dataclass(frozen=True, slots=True)
class Clock:
    """Time passes."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class Define:
    """Definitions are registered, or put again."""

    commands: Sequence[DefinitionCommand]


@dataclass(frozen=True, slots=True)
class Crash:
    """The engine loses its memory."""


@dataclass(frozen=True, slots=True)
class Expect:
    """The expected state of a WfRun. Of a mapping, only what is written is compared."""

    wf_run_id: str
    expected: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExpectEvents:
    """The expected events since the step before: all of them in order, or these with others between."""

    expected: Sequence[tuple[str, Mapping[str, Any]]]
    others_between: bool


@dataclass(frozen=True, slots=True)
class ExpectRejected:
    """The record before is expected to be refused, with this code or with any."""

    code: str | None


@dataclass(frozen=True, slots=True)
class ExpectCorrelation:
    """What is expected of a correlation key."""

    external_event_def: str
    correlation_key: str
    wf_runs: Sequence[str] | None
    """The ids of the WfRuns that have it, in the order in which they registered it. None: whoever has it."""
    waiting: Sequence[str] | None
    """The ids of the events that wait for a WfRun, in order of arrival. None: whatever waits."""


Action: TypeAlias = Post | Correlate | Fork | StartTask | ReportProgress | Report | Clock | Define | Crash
Expectation: TypeAlias = Expect | ExpectEvents | ExpectRejected | ExpectCorrelation


@dataclass(frozen=True, slots=True)
class Step:
    """One step and its place in the document."""

    path: Path
    does: Action | Expectation
    round: int | None = None
    """The round of the innermost `repeat` around the step."""


@dataclass(frozen=True, slots=True)
class DefinitionsRejected:
    """The document expects its definitions to be refused, with this code or with any."""

    code: str | None
    path: Path = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A test of definitions."""

    name: str
    definitions: Sequence[DefinitionCommand]
    start_ms: int
    limits: Limits
    steps: Sequence[Step]
    definitions_rejected: DefinitionsRejected | None = None
    sources: Sequence[DefinitionSource] = ()
    """The place of each definition."""

    @property
    def correlates(self) -> bool:
        """Say whether events come by correlation key. If none does, no key makes a difference."""
        return any(isinstance(step.does, Correlate) for step in self.steps)

    @property
    def queues(self) -> list[str]:
        """The queues of its tasks, sorted."""
        defined = [*self.definitions]
        for step in self.steps:
            if isinstance(step.does, Define):
                defined += step.does.commands
        return sorted({it.queue for it in defined if isinstance(it, PutTaskDef) and it.queue})
