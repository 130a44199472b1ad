"""Readiness: what a worker is doing, for people and programs that wait for it, route to it or restart it.

The Kafka thread and the event loop write it. Any thread may read it, because every change makes a new Snapshot.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """The stages of a worker's life."""

    STARTING = "starting"
    JOINING = "joining"
    RESTORING = "restoring"
    FOLDING = "folding"
    WAITING_FOR_KAFKA = "waiting for Kafka"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a worker at one moment.

    `restoring`: shard -> share of its state that has been read, 0 to 1. `paused`: shard -> what broke on it.
    `quarantined`: shard -> WfRuns in quarantine, where there are any.
    """

    state: State = State.STARTING
    shards: tuple[int, ...] = ()
    restoring: tuple[tuple[int, float], ...] = ()
    paused: tuple[tuple[int, str], ...] = ()
    quarantined: tuple[tuple[int, int], ...] = ()
    reason: str = ""

    @property
    def ready(self) -> bool:
        """Say whether the worker folds all its shards. A worker without shards is ready to get some."""
        return self.state is State.FOLDING

    @property
    def live(self) -> bool:
        """Say whether the worker still works. When its work is over the process ends, or should."""
        return self.state is not State.STOPPED

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        mappings = {name: dict(getattr(self, name)) for name in ("restoring", "paused", "quarantined")}
        return {**asdict(self), "ready": self.ready, "live": self.live, **mappings}


class Readiness:
    """Puts together what the parts of a worker report, and calls `on_change` when the sum changes."""

    def __init__(self, on_change: Callable[[Snapshot], None] = lambda _: None) -> None:
        self.snapshot = Snapshot()
        self.on_change = on_change
        self._life = State.STARTING
        self._waiting = False

    @property
    def ready(self) -> bool:
        """Say whether the worker folds all its shards."""
        return self.snapshot.ready

    def lives(self, state: State, reason: str = "") -> None:
        """Report a stage of life: starting, joining, folding (it has joined), stopping or stopped."""
        self._life = state
        self._tell(reason=reason)

    def owns(self, shards: tuple[int, ...], restoring: dict[int, float]) -> None:
        """Report which shards fold, and how much of the others is restored."""
        self._tell(shards=shards, restoring=tuple(sorted(restoring.items())))

    def waits_for_kafka(self, waits: bool) -> None:
        """Report that Kafka does not answer, or does again."""
        self._waiting = waits
        self._tell()

    def pauses(self, paused: Mapping[int, str]) -> None:
        """Report which shards are paused, and what broke on each."""
        self._tell(paused=tuple(sorted(paused.items())))

    def note_quarantined(self, quarantined: Mapping[int, int]) -> None:
        """Report the number of WfRuns in quarantine, by shard."""
        found = tuple(sorted(quarantined.items()))
        if found != self.snapshot.quarantined:
            self._tell(quarantined=found)

    def _tell(self, **changes: Any) -> None:
        snapshot = replace(self.snapshot, **changes)
        state = self._life
        if self._waiting and state in {State.STARTING, State.FOLDING}:
            state = State.WAITING_FOR_KAFKA
        elif state is State.FOLDING:
            if snapshot.paused:
                state = State.DEGRADED
            elif snapshot.restoring:
                state = State.RESTORING
        snapshot = replace(snapshot, state=state)
        if snapshot != self.snapshot:
            self.snapshot = snapshot
            self.on_change(snapshot)
