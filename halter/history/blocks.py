"""Divides the log of a partition into blocks: the entries of one input each, in the order of deciding."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from halter.history.recording import Recorded
from processors.codec import Codec, DecodeError
from processors.core.records.events import Cause, WfRunReleased
from processors.fold.inputs import INPUT_TOPICS

CAUSE: Final = ("cause",)


class NotAnEvent(DecodeError):
    """A record of the log is no event. Only the engine writes there, so find out who else did."""


class Block(NamedTuple):
    """The entries of one input, and of the kept inputs that it released."""

    cause: Cause | None
    """None if no entry can be read."""
    entries: list[Recorded]
    is_in_order: bool = True
    """False if it stands behind the block of a later input of the same topic, so that it is out of place."""


def blocks(
    log: Iterable[Recorded], codec: Codec, following: dict[str, int], *, has_all: bool = True
) -> Iterator[Block]:
    """Divide a log. `following` is kept up to date: the next offset of each input topic behind the blocks so far.

    An entry begins a block if its input comes after all inputs of its topic before. Of earlier inputs are only those
    that were kept in quarantine, which stand behind the release of the same id. An entry that cannot be read belongs
    to the block before it.

    `has_all=False`: the log has some WfRuns only, each without those that had its id before. One of them may have been
    deleted, and this one started, in one release. Then the log lacks the release, and has the entries of the kept
    inputs behind it: each input begins a block.
    """
    block: Block | None = None
    may_have_older = False
    for recorded in log:
        try:
            name = codec.record_name(recorded.value)
            (cause,) = codec.peek(recorded.value, name, CAUSE)
            if cause.topic not in INPUT_TOPICS or cause.offset < 0:
                raise NotAnEvent(f"expected an input as the cause, found '{cause.topic}' at {cause.offset}")
        except DecodeError:
            name, cause = "", None if block is None else block.cause
        if cause is None:
            yield Block(None, [recorded])
        elif block is None or cause.offset >= following.get(cause.topic, 0):
            if block is not None:
                yield block
            following[cause.topic] = cause.offset + 1
            block, may_have_older = Block(cause, [recorded]), name == WfRunReleased.__name__
        elif cause == block.cause or (may_have_older and recorded.key == block.entries[0].key):
            block.entries.append(recorded)
        elif not has_all:
            yield block
            block, may_have_older = Block(cause, [recorded]), False
        else:
            yield Block(cause, [recorded], is_in_order=False)
    if block is not None:
        yield block
