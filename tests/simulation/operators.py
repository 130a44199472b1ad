"""A bug in a rule, and the operator. One WfRun meets the bug in every worker until they run mended code; the operator
sees partitions paused, and does something about it or nothing.
"""

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from processors.codec import Codec
from processors.core.records.commands import OperatorCommand, QuarantineWfRun, ReleaseWfRun, SkipRecord
from processors.core.records.topic_names import OPERATOR_COMMANDS
from processors.fold.inputs import key_of
from processors.kafka.partitioner import partition_of
from tests.simulation.kernel import BASE_MS

BUG: Final = "this WfRun breaks it"
"""The message of the broken rule. Other rules may raise for other reasons, which pass by themselves."""
NAMED: Final = re.compile(r"^(?P<topic>\S+)\[(?P<partition>\d+)\]@(?P<offset>\d+), \w+ for (?P<about>\S+): ")
"""The form in which a pause names its record."""


class Where(StrEnum):
    """The moments at which the rule breaks."""

    FIRST = "first"
    """Before anything has happened."""
    MIDDLE = "middle"
    """When events have happened that are not written yet."""
    ROWS = "rows"
    """When a turn's outputs are written: at first no record can be blamed."""


class Reaction(StrEnum):
    """The reactions of the operator."""

    QUARANTINE = "quarantine"
    SKIP = "skip"
    WAIT = "wait"
    """Wait for the mended workers."""


@dataclass(frozen=True, slots=True)
class Poison:
    """The bug. It strikes at the records of a WfRun that are posted from `at` on, in workers that began before
    `mended_at`.
    """

    wf_run_id: str
    at: float
    mended_at: float
    where: Where
    reaction: Reaction
    hurry: bool = False
    """The operator releases the WfRun before anything is mended, so the rule breaks again at that command."""

    def strikes(self, key: bytes | None, timestamp_ms: int) -> bool:
        """Return True if a rule breaks at a record."""
        return key == self.wf_run_id.encode() and timestamp_ms >= BASE_MS + self.at * 1_000

    def __str__(self) -> str:
        until, hurry = f"{self.at:.1f} to {self.mended_at:.1f}", ", in a hurry" if self.hurry else ""
        return f"rules break ({self.where}) at {self.wf_run_id} from {until}; the operator: {self.reaction}{hurry}"


def poison_of(draw: random.Random, keys: Iterable[tuple[float, bytes]], seconds: float) -> Poison | None:
    """Return a bug for one of the WfRuns that get these inputs (time, key)."""
    times: dict[bytes, list[float]] = {}
    for at, key in keys:
        times.setdefault(key, []).append(at)
    often = sorted((key, at[len(at) // 3]) for key, at in times.items() if len(at) >= 3 and key.isascii())
    if not often:
        return None
    key, at = draw.choice(often)
    mended_at = min(seconds, at + draw.uniform(2.0, 20.0))
    where, reaction = draw.choice(list(Where)), draw.choice((Reaction.QUARANTINE, *Reaction))
    return Poison(key.decode(), at, mended_at, where, reaction, draw.random() < 0.25)


class Operator:
    """Looks at pauses, and posts commands."""

    def __init__(
        self,
        poison: Poison,
        partitions: int,
        codec: Codec,
        post: Callable[[tuple[str, int], bytes, bytes], None],
        time_ms_of: Callable[[str, int, int], int],
    ) -> None:
        """`time_ms_of` returns the time of the record of a topic, partition and offset."""
        self._poison, self._partitions, self._codec, self._post = poison, partitions, codec, post
        self._time_ms_of = time_ms_of
        self.skipped: set[tuple[str, int, int]] = set()
        self.pauses_seen = 0
        self._is_quarantined = False
        self._commands = 0

    @property
    def is_done(self) -> bool:
        """Return True if everything that was begun has been ended."""
        return not self._is_quarantined

    def look(self, sentences: Iterable[tuple[int, str]], *, mended: bool) -> list[str]:
        """Look at what is paused (partition, reason), and act. `mended` is true when no worker has the bug any more.

        Returns everything that is wrong with what the pauses say.
        """
        wrong = []
        for partition, sentence in sentences:
            named = NAMED.match(sentence)
            if named is None or BUG not in sentence or named["topic"] == OPERATOR_COMMANDS:
                continue  # being searched for, or not ours, or a hasty act of this operator
            self.pauses_seen += 1
            if named["about"] != self._poison.wf_run_id or int(named["partition"]) != partition:
                wrong.append(f"a pause of partition {partition} names something else: {sentence}")
            self._act(partition, named["topic"], int(named["offset"]))
        if self._is_quarantined and (mended or self._poison.hurry):
            self._is_quarantined = False
            self._send(ReleaseWfRun(self._poison.wf_run_id, self._name()))
        return wrong

    def _act(self, partition: int, topic: str, offset: int) -> None:
        match self._poison.reaction:
            case Reaction.QUARANTINE if not self._is_quarantined:
                self._is_quarantined = True
                self._send(QuarantineWfRun(self._poison.wf_run_id, "it breaks", self._name()))
            case Reaction.SKIP:
                # Again while it waits: a skip that came before the partition stood at the record has lapsed.
                self.skipped.add((topic, partition, offset))
                time_ms = self._time_ms_of(topic, partition, offset)
                self._send(SkipRecord(topic, partition, offset, time_ms, "it breaks", self._name()))

    def _name(self) -> str:
        self._commands += 1
        return f"operator-{self._commands}"

    def _send(self, command: OperatorCommand) -> None:
        key = key_of(command).encode()
        by_key = partition_of(key, self._partitions)
        partition = command.partition if isinstance(command, SkipRecord) else by_key
        self._post((OPERATOR_COMMANDS, partition), key, self._codec.encode(command))
