"""The posts, by seed: the same seed gives the same records in the same order, ids and contents included.

A script knows no Kafka. It keeps a crowd of WfRuns busy: it starts them, interrupts them, stops and resumes them, ends
them, deletes some and starts them again under the same id. Now and then a record is garbage, or a WfSpec gets a new
version. Each step names the way in which it is produced.
"""

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from halter.files.definition_files import read_definition_file
from processors.core.records.commands import (
    Command,
    DefinitionCommand,
    DeleteWfRun,
    ExternalEvent,
    PutWfSpec,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    StopWfRun,
)
from processors.fold.inputs import key_of, topic_of
from tests.chaos.avro import row
from tests.chaos.outcomes import VOID

WF_SPECS: Final = Path(__file__).with_name("wf_specs.yaml")
CROWD: Final = 120
"""The number of WfRuns that are kept busy at a time."""
ACTS_OF_A_RUN: Final = 12


class Way(StrEnum):
    """The way in which a step is produced."""

    ONCE = "once"
    """By an idempotent producer."""
    AGAIN = "again"
    """By a producer that takes its own time-out for a failure, and sends every record a second time."""
    TRANSACTION = "transaction"
    """In one transaction, committed or aborted."""


class Posting(NamedTuple):
    """A record to produce. The partitioner chooses the partition if it is -1."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int = -1


@dataclass(frozen=True, slots=True)
class Step:
    """Records that belong together."""

    way: Way
    postings: tuple[Posting, ...]
    commit: bool = True


@dataclass(slots=True)
class Busy:
    """A WfRun of the crowd."""

    wf_run_id: str
    wf_spec: str
    acts_left: int


@cache
def definition_commands() -> tuple[DefinitionCommand, ...]:
    """Return the definitions that are registered before the load begins."""
    return tuple(read_definition_file(WF_SPECS).commands)


def posting(command: Command | DefinitionCommand) -> Posting:
    """Return a command as a record, written by fastavro."""
    return Posting(topic_of(command), key_of(command).encode(), row(command))


class Script:
    """An endless iterator of steps."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"script {seed}")
        self._crowd: list[Busy] = []
        self._numbers = {"run": 0, "event": 0, "command": 0, "version": 0}

    def __iter__(self) -> Iterator[Step]:
        while True:
            yield self._step()

    def _step(self) -> Step:
        chance = self._random.random()
        if chance < 0.01:
            return Step(Way.ONCE, (self._garbage(),))
        if chance < 0.013:
            return Step(Way.ONCE, (posting(self._new_version()),))
        if chance < 0.30:
            return Step(Way.AGAIN, tuple(map(posting, self._act())))
        if chance < 0.55:
            commit = self._random.random() < 0.7
            acts = [act for _ in range(self._random.randint(1, 6)) for act in self._act(void=not commit)]
            return Step(Way.TRANSACTION, tuple(map(posting, acts)), commit)
        return Step(Way.ONCE, tuple(map(posting, self._act())))

    def _next(self, what: str, *, void: bool = False) -> str:
        """Return a new id. An id that must never become visible begins with a mark."""
        self._numbers[what] += 1
        return f"{VOID.decode() if void else ''}{what}-{self._numbers[what]}"

    def _act(self, *, void: bool = False) -> list[Command]:
        """Return the next step of one WfRun. Nothing is remembered of an aborted transaction."""
        if (len(self._crowd) < CROWD and self._random.random() < 0.25) or not self._crowd:
            return self._start(void=void)
        busy = self._random.choice(self._crowd)
        if void:
            return self._command(busy, void=True) if self._random.random() < 0.2 else [self._event(busy, void=True)]
        busy.acts_left -= 1
        if busy.acts_left <= 0:
            self._crowd.remove(busy)
            return [self._last_event(busy)]
        return self._command(busy) if self._random.random() < 0.08 else [self._event(busy)]

    def _start(self, *, void: bool) -> list[Command]:
        wf_spec = self._random.choice(("order", "device", "parcel", "reminder", "fragile"))
        busy = Busy(self._next("run", void=void), wf_spec, self._random.randint(3, ACTS_OF_A_RUN))
        acts: list[Command] = [self._run(busy, void=void)]
        if self._random.random() < 0.15:
            acts.insert(0, self._event(busy, void=void))
        if not void:
            self._crowd.append(busy)
        return acts

    def _run(self, busy: Busy, *, void: bool = False) -> RunWf:
        variables: dict[str, Any] = {"cents": self._random.randint(1, 10_000)} if busy.wf_spec == "order" else {}
        return RunWf(busy.wf_run_id, busy.wf_spec, variables, command_id=self._next("command", void=void))

    def _command(self, busy: Busy, *, void: bool = False) -> list[Command]:
        """Return a command of an operator."""

        def named() -> str:
            return self._next("command", void=void)

        run = busy.wf_run_id
        match self._random.randrange(5):
            case 0:
                return [StopWfRun(run, 0, named())]
            case 1 | 2:
                return [ResumeWfRun(run, 0, named())]
            case 3:
                return [RescueThreadRun(run, 0, self._random.random() < 0.5, named())]
            case _:
                return [DeleteWfRun(run, named()), self._run(busy, void=void)]

    def _event(self, busy: Busy, *, void: bool = False) -> ExternalEvent:
        """Return an event, most often an interrupt."""
        number = self._random.randint(0, 99)
        choices: dict[str, list[tuple[str, Any]]] = {
            "order": [("address-changed", f"{number} Kafka Street")],
            "device": [("heartbeat", number), ("heartbeat", number), ("configured", {"level": number, "on": [1, 2.5]})],
            "parcel": [("recalled", "scratched")],
            "reminder": [("asked", None), ("answered", None)],
            "fragile": [("poked", number)],
        }
        event, content = self._random.choice(choices[busy.wf_spec])
        return ExternalEvent(busy.wf_run_id, event, self._next("event", void=void), content)

    def _last_event(self, busy: Busy) -> ExternalEvent:
        event = {
            "order": "paid",
            "device": "unplugged",
            "parcel": "delivered",
            "reminder": "answered",
            "fragile": "released",
        }[busy.wf_spec]
        return ExternalEvent(busy.wf_run_id, event, self._next("event"))

    def _new_version(self) -> PutWfSpec:
        self._numbers["version"] += 1
        put = next(it for it in definition_commands() if isinstance(it, PutWfSpec) and it.name == "order")
        document = deepcopy(json.loads(put.document))
        document["threads"]["main"]["variables"]["address"]["default"] = f"address {self._numbers['version']}"
        return PutWfSpec("order", json.dumps(document), self._next("command"))

    def _garbage(self) -> Posting:
        """Return a record that becomes a dead letter."""
        good = posting(StopWfRun(self._next("run"), 0, self._next("command")))
        match self._random.randrange(5):
            case 0:
                return good._replace(value=None)
            case 1:
                return good._replace(value=self._random.randbytes(40))
            case 2:
                return good._replace(key=b"another-key")
            case 3:
                return good._replace(topic="task-reports")
            case _:
                return good._replace(value=(good.value or b"")[:-3])
