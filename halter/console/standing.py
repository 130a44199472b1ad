"""What waits to be folded, and which partitions stand still: asked of Kafka now and then, and kept in between.

A pause is known to the worker alone that has the partition. From outside it shows as a record that waits and a position
that does not move, for which one has to look twice. So whoever opens the page of the partitions waits for a look, and
all other pages have what the last one found. The look is the doctor's (`halter.doctor`).
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypedDict

import structlog

from halter.console.problems import OutOfReach
from halter.doctor.standing import Folding
from processors.core.records.errors import HalterError
from processors.core.records.names import is_name
from processors.fold.inputs import SHARD_INPUTS

FRESH_S: Final = 15.0
"""How long a look counts."""
PATIENCE_S: Final = 5.0
"""How long to wait for the first look, if somebody else makes it."""


class StandingLine(TypedDict):
    """A partition that stands still: the record that is folded next, and how long it has waited."""

    partition: int
    owner: str | None
    """The worker that has the partition; null if none has, or nobody tells."""
    topic: str
    offset: int
    key: str
    since_ms: int
    is_of_wf_run: bool
    """The key is a WfRun, whose quarantine lets the partition go on."""


class FoldingAnswer(TypedDict):
    """What waits to be folded."""

    looked_ms: int
    behind: dict[str, int]
    """Partition -> how many records wait, at most: marks of transactions count."""
    oldest_ms: int | None
    """Since when the oldest record waits."""
    is_unmanned: bool
    """Records have waited for some seconds, and no worker is running."""
    standing: list[StandingLine]


@dataclass(slots=True)
class _Look:
    """What a look has found: an answer, or the reason why there is none."""

    ended: float
    answer: FoldingAnswer | None
    problem: HalterError | None = None


class Standing:
    """Looks, and remembers. Any thread may ask."""

    def __init__(self, look: Callable[[], Folding]) -> None:
        """`look` blocks for some seconds, and raises HalterErrors."""
        self._look = look
        self._looking = threading.Lock()
        self._last: _Look | None = None

    def now(self) -> FoldingAnswer:
        """Return what waits, as of a moment ago; while somebody else looks, as of the look before.

        Raises what the look raises, and OutOfReach if the first look takes long.
        """
        has_one = self._last is not None
        if self._looking.acquire(blocking=not has_one, timeout=-1 if has_one else PATIENCE_S):
            try:
                if self._last is None or time.monotonic() - self._last.ended > FRESH_S:
                    self._last = self._looked()
            finally:
                self._looking.release()
        last = self._last
        if last is None:
            raise OutOfReach("somebody else looks already at what waits to be folded; try again soon")
        if last.answer is None:
            assert last.problem is not None
            raise last.problem
        return last.answer

    def last(self) -> FoldingAnswer | None:
        """Return at once what the last look has found; None if there is none. If it is old, another one begins."""
        last = self._last
        is_fresh = last is not None and time.monotonic() - last.ended < FRESH_S
        if not is_fresh and not self._looking.locked():
            threading.Thread(target=self._look_aside, name="standing", daemon=True).start()
        return None if last is None else last.answer

    def last_or_first(self) -> FoldingAnswer | None:
        """Return what the last look has found. If there was none yet, wait for the first; None if it found no answer.

        Raises OutOfReach if the first takes long.
        """
        if self._last is not None:
            return self.last()
        try:
            return self.now()
        except OutOfReach:
            if self._last is None:
                raise
        except HalterError:
            pass  # whoever opens the page of the partitions reads it
        return None

    def _look_aside(self) -> None:
        try:
            self.now()
        except HalterError:
            pass  # whoever opens the page of the partitions reads it
        except Exception:  # noqa: BLE001  nobody waits for this thread, so only the log can tell
            structlog.get_logger("halter.console").exception("folding_not_read")

    def _looked(self) -> _Look:
        try:
            answer = _answer(self._look())
        except HalterError as problem:
            return _Look(time.monotonic(), None, problem)
        return _Look(time.monotonic(), answer)


def _answer(found: Folding) -> FoldingAnswer:
    behind: dict[str, int] = {}
    for (_, partition), by in sorted(found.behind.items(), key=lambda it: it[0][1]):
        if by:
            behind[str(partition)] = behind.get(str(partition), 0) + by
    lines = []
    for partition, one in sorted(found.standing.items()):
        key = one.key.decode(errors="backslashreplace")
        lines.append(
            StandingLine(
                partition=partition,
                owner=found.owners.get(partition),
                topic=one.topic,
                offset=one.offset,
                key=key,
                since_ms=one.since_ms,
                is_of_wf_run=one.topic in SHARD_INPUTS and is_name(key),
            )
        )
    return FoldingAnswer(
        looked_ms=time.time_ns() // 1_000_000,
        behind=behind,
        oldest_ms=min((it.since_ms for it in found.waiting), default=None),
        is_unmanned=found.is_unmanned,
        standing=lines,
    )
