"""Pausing: when a rule breaks, its partition is paused, an operator is told, and the other partitions go on.

Acts on the bookkeeping of `pauses`: loads shards anew, fetches less or from another offset, and says what to do.
"""

from typing import Final

import structlog

from processors.codec.registry import RegistryUnavailable
from processors.core.records.topic_names import DEFINITION_COMMANDS, OPERATOR_COMMANDS
from processors.fold.contract import InputRecord
from processors.fold.inputs import CORRELATION_INPUTS, INPUT_TOPICS
from processors.runtime.group.errors import FoldFailed
from processors.runtime.group.membership import Membership
from processors.runtime.group.names import RecordAddress, ShardTopics
from processors.runtime.turn.figures import Figures
from processors.runtime.turn.patience import Patience
from processors.runtime.turn.pauses import Pause, Pauses
from processors.runtime.turn.shards import OwnedShard, Shards
from processors.runtime.turn.turn import Reads, ShardTurn

QUARANTINED: Final = INPUT_TOPICS.keys() - {DEFINITION_COMMANDS, OPERATOR_COMMANDS, *CORRELATION_INPUTS}
"""The inputs from which a quarantine keeps what is for a WfRun."""


class Pausing:
    """Pauses shards on which a rule broke, decides what they fold meanwhile, and lets them go on."""

    def __init__(
        self,
        shards: Shards,
        pauses: Pauses,
        membership: Membership,
        names: ShardTopics,
        patience: Patience,
        figures: Figures,
    ) -> None:
        self._shards, self._pauses, self._membership, self._names = shards, pauses, membership, names
        self._patience, self._figures = patience, figures
        self._log = structlog.get_logger("halter.runtime")

    def broke(self, shard: OwnedShard, failure: FoldFailed) -> None:
        """Pause a shard, say so once for each time it is tried, and load the shard anew. The worker goes on."""
        if not self._shards.has(shard):
            return  # taken, or loaded anew for another reason: it will break again
        if isinstance(failure.__cause__, RegistryUnavailable):
            self.put_off(shard, failure.__cause__)
            return
        pause = self._pauses.begin(shard.number)
        self._shards.reload([shard])
        record = pause.broke(failure.record, failure.records)
        self._figures.pauses += 1
        self._log.debug("broke_there", exc_info=failure)
        if record is None and failure.records:
            pause.sentence = f"{failure}; the worker looks for the record that breaks it"
            self._log.warning("rule_broke", partition=shard.number, reason=pause.sentence)
        elif record is None:
            pause.sentence = f"{failure}"
            self._log.error(
                "partition_paused",
                partition=shard.number,
                reason=pause.sentence,
                to_go_on="mend the rule and start the workers again",
            )
        else:
            self._say_where_it_stands(pause, record, failure.reason)
        self._shards.report()

    def put_off(self, shard: OwnedShard, unavailable: RegistryUnavailable) -> None:
        """Try a shard's records again later, from where it stands. Raises TurnCannotCommit when it has waited for long.

        Nothing is wrong with the records and no rule broke: neither a pause nor an operator helps.
        """
        self._log.warning("waiting_for_registry", partition=shard.number, reason=str(unavailable))
        self._shards.reload([shard])
        self._patience.lost(str(unavailable))

    def _say_where_it_stands(self, pause: Pause, record: InputRecord, reason: str) -> None:
        about, command = self._names.describe(record)
        address = str(RecordAddress(record))
        pause.sentence = f"{address}, {command or 'a record'} for {about or 'nobody'}: {reason}"
        skip = f"`halter skip {record.topic} {record.partition} {record.offset}` passes over this one record"
        keep = (
            f"`halter quarantine {about}` keeps what comes for {about} and lets the rest go on, "
            f"`halter release {about}` decides it once the rule is mended; "
        )
        self._log.error(
            "partition_paused",
            partition=record.partition,
            record=address,
            wf_run=about,
            command=command,
            reason=reason,
            to_go_on=(keep if about is not None and record.topic in QUARANTINED else "") + skip,
        )

    def admitted(self, reads: Reads) -> list[ShardTurn]:
        """Return each shard's part of the next turn: operator commands first, and what its pause admits."""
        for of_shard in reads.values():
            if any(read.record.topic == OPERATOR_COMMANDS for read in of_shard):
                of_shard.sort(key=lambda read: read.record.topic != OPERATOR_COMMANDS)
        for shard in self._paused:
            reads[shard] = self._pauses.of(shard.number).admit(reads.get(shard, []))
            self._fetch_less(shard)
        return [
            ShardTurn(shard, of_shard, self._pauses.of(shard.number).one_at_a_time)
            for shard, of_shard in reads.items()
            if of_shard
        ]

    def committed(self, part: ShardTurn) -> None:
        """Note what was committed: after an operator command a paused shard tries again."""
        if part.shard.number in self._pauses:
            self._pauses.of(part.shard.number).committed(part.records)

    def go_on(self) -> list[OwnedShard]:
        """End the pauses that are over, and have shards that try again fetch anew. Returns those that fetch anew."""
        over, anew = [], []
        for shard in self._paused:
            pause = self._pauses.of(shard.number)
            if pause.is_over(shard.fold.offsets):
                over.append(shard.number)
            if pause.to_be_fetched_anew:
                pause.to_be_fetched_anew = False
                self._fetch_anew(shard)
                anew.append(shard)
        if over:
            self._pauses.end(over)
            self._shards.report()
        for number in over:
            self._log.info("partition_goes_on", partition=number)
        return anew

    def _fetch_less(self, shard: OwnedShard) -> None:
        """Stop fetching the inputs that the shard's pause does not want."""
        fetches = self._pauses.of(shard.number).fetches
        self._membership.unassign(
            [it for it in self._names.inputs(shard.number) if not fetches(self._names.logical(it[0]))]
        )

    def _fetch_anew(self, shard: OwnedShard) -> None:
        """Fetch all inputs of a shard again, from where its fold stands."""
        places = self._names.inputs(shard.number)
        self._membership.unassign(places)
        self._membership.assign({it: shard.fold.offsets[self._names.logical(it[0])] for it in places})

    @property
    def _paused(self) -> list[OwnedShard]:
        return [shard for shard in self._shards.owned if shard.number in self._pauses]
