"""Definition commands that are held back: their outcome is being worked out beside the turns (ADR 1).

Few of them are kept at hand. The others are fetched again later, so that memory does not grow with what others post.
"""

from typing import Final

from processors.fold.contract import DEFINITION_SHARD, ReadInput
from processors.runtime.group.membership import Membership
from processors.runtime.group.names import Place
from processors.runtime.turn.pauses import Pauses
from processors.runtime.turn.shards import OwnedShard, Shards
from processors.runtime.turn.turn import Reads

HELD_BACK_MAX: Final = 3
"""The number of records that are kept at hand."""


class HeldBack:
    """Keeps what cannot be folded yet out of the turns, so that all other records go on."""

    def __init__(self, membership: Membership, shards: Shards, pauses: Pauses, definition_commands: Place) -> None:
        self._membership, self._shards, self._pauses = membership, shards, pauses
        self._definition_commands = definition_commands
        self._held: Reads = {}
        self._fetched_later: dict[OwnedShard, int] = {}
        """The offset of `definition-commands` from which on a shard has to be fetched again."""

    def __bool__(self) -> bool:
        """Say whether records are held back."""
        return bool(self._held)

    def take(self) -> Reads:
        """Return the records that were held back, to be looked at again."""
        held, self._held = self._held, {}
        return held

    def hold_back(self, reads: Reads) -> Reads:
        """Return records without those that cannot be folded yet, which are held back.

        A paused shard is left alone: it is given records one by one, and must meet the one that broke.
        """
        for shard, of_shard in reads.items():
            if shard.number != DEFINITION_SHARD or shard.number in self._pauses:
                continue
            undecided = list(shard.fold.decide_ahead(of_shard))
            if undecided:
                later = {read.record[:3] for read in undecided}
                reads[shard] = [read for read in of_shard if read.record[:3] not in later]
                self._keep(shard, undecided)
        return {shard: of_shard for shard, of_shard in reads.items() if of_shard}

    def _keep(self, shard: OwnedShard, undecided: list[ReadInput]) -> None:
        self._held[shard] = undecided[:HELD_BACK_MAX]
        if len(undecided) > HELD_BACK_MAX:
            self._fetched_later[shard] = undecided[HELD_BACK_MAX].record.offset

    def fetch(self) -> None:
        """Stop fetching `definition-commands` while more are there than are kept, and then go on from there."""
        for shard, offset in list(self._fetched_later.items()):
            if not self._shards.has(shard):
                del self._fetched_later[shard]  # its next fold begins where it stands
            elif shard in self._held:
                self._membership.unassign([self._definition_commands])
            else:
                del self._fetched_later[shard]
                self._membership.assign({self._definition_commands: offset})
