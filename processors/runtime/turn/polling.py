"""Polling: from the records that Kafka has to the turn that is folded next. Read it downwards.

Records are polled and placed with their shards (`arrivals`), decoded, and wait for the definitions that their producers
saw (`awaiting`). Due timers are taken. Records that earlier turns could not fold come first. Definition commands that
are not decided yet are held back (`held_back`), and paused shards get only what their pauses admit (`pausing`). Rows
that are due are written with the turn (`rows_due`).

All of it runs in the Kafka thread, while nothing is folded. The turn before may still be open.
"""

from collections.abc import Iterable
from typing import Final

from processors.codec.registry import RegistryUnavailable
from processors.core.records.topic_names import OPERATOR_COMMANDS
from processors.fold.contract import InputRecord, ReadInput
from processors.runtime.turn.arrivals import Arrivals
from processors.runtime.turn.awaiting import AwaitingDefinitions
from processors.runtime.turn.due_timers import DueTimers
from processors.runtime.turn.held_back import HeldBack
from processors.runtime.turn.listening import Listening
from processors.runtime.turn.pausing import Pausing
from processors.runtime.turn.rows_due import RowsDue
from processors.runtime.turn.shards import OwnedShard, Shards
from processors.runtime.turn.turn import Reads, ShardTurn, Turn
from processors.runtime.turn.turn_size import TurnSize

IDLE_SECONDS: Final = 0.25
LOADING_SECONDS: Final = 0.005
JOINING_SECONDS: Final = 0.02
"""A poll goes on after the group has given shards in it, and their loads wait for its end."""


class Polling:
    """Gathers the records of the next turn."""

    def __init__(
        self,
        *,
        arrivals: Arrivals,
        listening: Listening,
        awaiting: AwaitingDefinitions,
        timers: DueTimers,
        held_back: HeldBack,
        pausing: Pausing,
        rows_due: RowsDue,
        shards: Shards,
        size: TurnSize,
    ) -> None:
        self._arrivals, self._listening, self._awaiting, self._timers = arrivals, listening, awaiting, timers
        self._held_back, self._pausing, self._rows_due = held_back, pausing, rows_due
        self._shards, self._size = shards, size
        self._not_folded: Reads = {}
        """Records for which the last turn had no time."""

    def put_back(self, not_folded: Reads) -> None:
        """Take the records for which a turn had no time. They come first in the next one."""
        self._not_folded = not_folded

    def go_on(self) -> None:
        """Let paused shards go on or try again. Records of those that fetch anew come once more."""
        for shard in self._pausing.go_on():
            self._not_folded.pop(shard, None)

    def poll(self, *, may_wait: bool) -> Reads:
        """Return records that have what they need to be folded, by shard. Raises KafkaException, TurnCannotCommit.

        `may_wait`: no turn is open that would wait along.
        """
        self._held_back.fetch()
        waiting = sum(map(len, self._not_folded.values()))
        wait_seconds = self._wait_seconds() if may_wait and not waiting else 0.0
        polled = self._arrivals.poll(max(1, self._size.records - waiting), wait_seconds)
        self._listening.listen(heard=bool(polled), may_ask=may_wait and not self._shards.loading)
        return self._awaiting.ready(self._read(polled))

    def _wait_seconds(self) -> float:
        if self._shards.loading or self._held_back or self._awaiting:
            return LOADING_SECONDS
        if not self._shards.owned:
            return JOINING_SECONDS
        nexts = (self._timers.seconds_to_next(), self._rows_due.seconds_to_next())
        return min(IDLE_SECONDS if seconds is None else min(IDLE_SECONDS, seconds) for seconds in nexts)

    def _read(self, polled: dict[OwnedShard, list[InputRecord]]) -> Reads:
        """Decode records. A shard whose Schema Registry does not answer is put off."""
        reads: Reads = {}
        for shard, records in polled.items():
            try:
                reads[shard] = [read(shard, record) for record in records]
            except RegistryUnavailable as unavailable:
                self._pausing.put_off(shard, unavailable)
        return reads

    def turn_of(self, ready: Reads) -> Turn | None:
        """Return a turn with these records and all others that can be folded now; None if there is nothing to do."""
        timers = self._timers.take()
        not_folded, self._not_folded = self._not_folded, {}
        reads = self._joined((not_folded, self._held_back.take(), ready))
        parts = self._pausing.admitted(self._held_back.hold_back(reads))
        self._add_rows(parts, busy=bool(parts or timers))
        return Turn(parts, timers) if parts or timers else None

    def _add_rows(self, parts: list[ShardTurn], *, busy: bool) -> None:
        """Have the rows written that are due, with the shard's part of the turn or with one of their own."""
        due = self._rows_due.take(busy=busy)
        for part in parts:
            if part.shard in due:
                part.rows = True
                due.discard(part.shard)
        parts += [ShardTurn(shard, (), rows=True) for shard in due]

    def _joined(self, all_reads: Iterable[Reads]) -> Reads:
        """Put records of each shard together, in this order.

        Those of a shard that was taken or loaded anew since are dropped: its next fold gets them again.
        """
        joined: Reads = {}
        for reads in all_reads:
            for shard, of_shard in reads.items():
                if self._shards.has(shard):
                    joined.setdefault(shard, []).extend(of_shard)
        return joined


def read(shard: OwnedShard, record: InputRecord) -> ReadInput:
    """Return a record with what it holds. Raises RegistryUnavailable. What else breaks here breaks its fold as well."""
    try:
        found = shard.fold.read(record)
        if record.topic == OPERATOR_COMMANDS:
            shard.fold.see_coming(found)
    except RegistryUnavailable:
        raise
    except Exception:  # noqa: BLE001  the fold will say what is wrong
        return ReadInput(record)
    return found
