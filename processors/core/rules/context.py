"""Context of a command: the definitions and the limits, which the rules may look at besides the WfRun."""

from dataclasses import dataclass
from typing import Protocol

from processors.core.records.events import Definition
from processors.core.records.model import WfSpecId
from processors.core.records.spec import WfSpec


class WfSpecLookup(Protocol):
    """The WfSpecs that are registered."""

    def wf_spec(self, wf_spec_id: WfSpecId) -> WfSpec:
        """Return a registered version, deleted or not; raises a HalterError if there never was one."""


class DefinitionLookup(WfSpecLookup, Protocol):
    """The definitions at one position of `definitions`."""

    @property
    def position(self) -> int:
        """The offset up to which `definitions` has been read: that of the next record."""

    def latest_wf_spec(self, name: str, major: int | None = None, revision: int | None = None) -> WfSpecId | None:
        """Return the newest version, of a major version or exactly; None if there is none that is not deleted."""

    def task_def(self, name: str, bound_by: WfSpecId | None = None) -> Definition | None:
        """Return the TaskDef of this name, deleted or not.

        It is the revision that a WfSpec binds, if one is given that names it, else the newest.
        """

    def external_event_def(self, name: str, bound_by: WfSpecId | None = None) -> Definition | None:
        """Return the ExternalEventDef of this name, deleted or not: as `task_def`."""

    def workflow_event_def(self, name: str) -> Definition | None:
        """Return the WorkflowEventDef of this name, deleted or not."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that no WfSpec and no producer can pass."""

    events_per_command: int = 10_000
    """Events of a command. They are counted anew at each ExternalEvent that is taken: claimed by a node; accepted,
    superseded or dropped for an interrupt; handed to its handler. Beyond this the WfRun fails with INTERNAL_ERROR.
    """
    bytes_per_event: int = 2 * 1024 * 1024
    """Payload of one event. Beyond this the WfRun fails likewise, and the event does not happen."""
    bytes_per_command: int = 8 * 1024 * 1024
    """Payload of all events of a command, counted anew like these. Beyond this the WfRun fails likewise."""
    events_in_all: int = 100_000
    """Events of a command, however many ExternalEvents it takes. Beyond this the WfRun fails likewise."""
    bytes_in_all: int = 64 * 1024 * 1024
    """Payload of a command, however many ExternalEvents it takes. Beyond this the WfRun fails likewise."""
    steps_per_command: int = 1_000_000
    """Steps of computing in all expressions of a command: some tenths of a second. An operand is one step, and so
    are an item that is compared or copied, and every 64 characters. Beyond this the WfRun fails likewise.
    """
    live_threads: int = 1_000
    """Live threads of a WfRun: thread 0 and handlers included, failed threads not."""
    unclaimed_events: int = 10_000
    """Unclaimed ExternalEvents of a WfRun, or of an id under which none was started yet. A further one is rejected
    (RESOURCE_EXHAUSTED).
    """
    unclaimed_bytes: int = 16 * 1024 * 1024
    """Size of their contents in all. A further one is rejected likewise."""
    unstarted_ms: int = 7 * 24 * 60 * 60 * 1000
    """Time for which ExternalEvents of an id under which nothing was started are kept after the latest of them came."""
    remembered_events: int = 10_000
    """ExternalEvents of a WfRun, unclaimed ones included: no id is forgotten until there are more."""
    remembered_ms: int = 24 * 60 * 60 * 1000
    """Time after its posting for which the id of an ExternalEvent is remembered at least."""
    kept_inputs: int = 1_000
    """Kept inputs of a WfRun in quarantine: what comes beyond them goes to `dead-letters`."""
    kept_bytes: int = 16 * 1024 * 1024
    """Size of those inputs in all."""
    kept_input_bytes: int = 1024 * 1024
    """Size of one of those inputs, key and headers included: every topic takes records of this size."""
    output_bytes: int = 4 * 1024 * 1024 - 64 * 1024
    """Size of a record that is written: what its topic takes, with room for key, headers and framing. The bounds above
    keep records below this. One that is larger all the same is a bug, and its partition waits.
    """
    correlated_wf_runs: int = 1_000
    """WfRuns that have one correlation key for one ExternalEventDef. A further one is refused the key."""
    kept_correlated_events: int = 100
    """CorrelatedEvents that wait for a WfRun under one key. A further one is rejected (RESOURCE_EXHAUSTED)."""
    kept_correlated_bytes: int = 2 * 1024 * 1024
    """Size of these in all, headers included. A further one is rejected likewise."""
    kept_correlated_ms: int = 7 * 24 * 60 * 60 * 1000
    """Time for which a CorrelatedEvent waits for a WfRun, as long as an ExternalEvent does for its own."""
    remembered_correlated_events: int = 100
    """Ids of CorrelatedEvents that are remembered under one key at most, each for `remembered_ms` at most."""
    skips: int = 100
    """Records of a partition that are to be skipped and have not come."""


@dataclass(frozen=True, slots=True)
class Context:
    """Definitions and limits, the same for all rules of one command."""

    definitions: DefinitionLookup
    limits: Limits = Limits()
    append_times: bool = True
    """True if the log can say when an ExternalEvent was appended: the schemas of 0.1.0 cannot (docs/upgrades.md)."""
    binds_event_defs: bool = True
    """True if a WfRun reads ExternalEvents that came before it as its WfSpec binds them: 0.1.0 did not."""
    arrival_failures: bool = True
    """True if the log can say that a halted thread came to a node whose time cannot be computed: 0.1.0 could not."""
    forks: bool = True
    """True if the log can say that a WfRun goes on from the state of another: 0.1.0 and 0.2.0 do not read that."""
    migrations: bool = True
    """True if the log can say that a WfRun goes by another version: 0.1.0 and 0.2.0 do not read that."""
    run_and_post: bool = True
    """True if a RunWfAndPost may post: 0.1.0 and 0.2.0 order ExternalEvents by offsets, which those of two topics have
    not in common.
    """
    keeps_outcomes: bool = True
    """True if the row of an ExternalEvent can say what became of it in each thread: that of 0.1.0 cannot."""
    attempt_starts: bool = True
    """True if the log and the rows can say that a task attempt was started, and how far it is: 0.2.0 cannot."""
    correlations: bool = True
    """True if the log can say by which key a WfRun is found: 0.2.0 does not read that."""
