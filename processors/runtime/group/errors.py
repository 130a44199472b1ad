"""The errors of the runtime. Each message is one line that says what was expected, what was found, and where."""

import traceback
from collections.abc import Sequence

from processors.core.records.errors import HalterError
from processors.fold.inputs import InputRecord


class FoldFailed(HalterError):
    """A rule broke: a bug. Its partition waits. An operator gets it going, developers act on the record named.

    `record`: the one that was being folded, None if the fold broke after or between records. `records`: those that may
    be to blame, none if the fold's timers broke.
    """

    def __init__(
        self, message: str, record: InputRecord | None = None, records: Sequence[InputRecord] = (), reason: str = ""
    ) -> None:
        super().__init__(message)
        self.record, self.records, self.reason = record, records, reason


class AgentEnded(HalterError):
    """An agent ended without outputs: the worker is being stopped, or it is a bug of ours. Nothing is lost."""


class PositionLost(HalterError):
    """The records from a shard's folded offset on are not there: deleted unread, or the topic was made anew.

    An operator decides: restore the topic, or accept the loss by setting the shard's position.
    """


class StateLost(HalterError):
    """The group has committed offsets for a shard whose state is empty or behind: it was lost, whole or in part.

    Folding would repeat history. An operator restores the state topics, or starts under another prefix.
    """


class Fenced(HalterError):
    """Another process took this worker's identity or its shards. Nothing of the turn was committed.

    If it happens again and again, two workers run with one slot: whoever deploys them gives each its own.
    """


class NotSettled(HalterError):
    """A transaction stays open on a shard, long after its time-out: the coordinator's marks of its end were lost.

    Whoever runs Kafka ends it by hand. The message names the partition and the command. Kafka's tools can only abort
    it; if it was committed elsewhere, part of the state goes with it, and the next load ends with StateLost.
    """


class TurnCannotCommit(HalterError):
    """The same work was aborted again and again. The message has the last reason; whoever runs Kafka acts on it."""


class KafkaFailed(HalterError):
    """A Kafka client reported an error that cannot pass by itself. Whoever runs Kafka or set the client up acts."""


class OutOfOrder(HalterError):
    """A record came that was folded before, or a fold lost count: a bug of ours. Developers act."""


def in_short(error: BaseException) -> str:
    """Describe an exception of a rule in one line: what it was and where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}" if str(error) else f"{type(error).__name__}{where}"
