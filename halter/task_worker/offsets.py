"""Which requests of one partition are finished, and so which offset of it may be committed.

Attempts finish in any order: when Kafka has their report, or when there is nothing to report. The offset that is
committed never passes a request that is not finished. What is finished behind such a request goes into the metadata of
the commit, so that whoever gets the partition next does not run it again.

Knows numbers only: no Kafka, no requests, no threads.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Final

AHEAD_MAX: Final = 10_000
"""How far a partition is read past its first unfinished request. The metadata then stay below 1,700 bytes, and brokers
take 4,096, unless told otherwise.
"""
FORM: Final = "1"
"""Begins metadata of this form. There may be others one day, and other programs write what they like."""


class Offsets:
    """The offsets of one partition that were taken, and which of them are finished."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        """Taken and not finished."""
        self._finished: set[int] = set()
        """Settled, and not known to be behind the committed offset."""
        self._next: int | None = None
        """The offset after the last one that was taken since the partition was assigned; None before the first one, if
        its group has committed nothing.
        """
        self._committable = 0

    def assigned(self, start: int | None, finished: Iterable[int], running: Iterable[int]) -> None:
        """Begin to read at the committed offset `start`; None if there is none.

        `finished` are those that its metadata name. Attempts that are still `running` here are not run again.
        """
        first = 0 if start is None else start
        self._open = {offset for offset in running if offset >= first}
        self._finished = {offset for offset in (*self._finished, *finished) if offset >= first and start is not None}
        self._next = start
        self._committable = first

    def take(self, offset: int) -> bool:
        """Take the next request. Return False if it is finished, or runs here since before the last rebalance."""
        if self._next is None:
            self._committable = offset
        self._next = offset + 1
        if offset in self._open or offset in self._finished:
            return False
        self._open.add(offset)
        return True

    def finish(self, offset: int) -> None:
        """Note that nothing is left to do for a request. A second time changes nothing."""
        self._open.discard(offset)
        if offset >= self._committable:
            self._finished.add(offset)

    def committable(self) -> tuple[int, str] | None:
        """Return the offset that may be committed, and its metadata; None before anything was taken."""
        if self._next is None:
            return None
        self._committable = min(self._open | {self._next})
        self._finished = {offset for offset in self._finished if offset >= self._committable}
        return self._committable, metadata_of(self._committable, self._finished)

    @property
    def is_far_ahead(self) -> bool:
        """Say whether no more should be taken until the oldest attempts are finished."""
        if self._next is None or self._next - self._committable < AHEAD_MAX:
            return False
        if self._committable in self._open:
            return True  # as soon as it is known: this is asked for each request that is taken
        self.committable()
        return self._next - self._committable >= AHEAD_MAX


def metadata_of(committed: int, finished: Iterable[int]) -> str:
    """Return the metadata that name the finished offsets after the committed one; empty if there are none.

    They say for which offset they are: tools that copy a group to another cluster commit other offsets there, and keep
    the metadata.
    """
    bits = 0
    for offset in finished:
        if 0 <= offset - committed < AHEAD_MAX:
            bits |= 1 << (offset - committed)
    if not bits:
        return ""
    named = base64.b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, "little")).decode()
    return f"{FORM}:{committed}:{named}"


def finished_by(committed: int, metadata: str | None) -> set[int]:
    """Return the offsets that metadata name. Nothing for metadata of another form, or for another offset: the requests
    are then run again.
    """
    beginning = f"{FORM}:{committed}:"
    if metadata is None or not metadata.startswith(beginning):
        return set()
    try:
        bits = int.from_bytes(base64.b64decode(metadata.removeprefix(beginning), validate=True), "little")
    except (binascii.Error, ValueError):
        return set()
    return {committed + place for place in range(min(bits.bit_length(), AHEAD_MAX)) if bits >> place & 1}
