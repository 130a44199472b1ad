"""What an AsyncClient returns for records that Kafka has: as `halter.client.outcomes`, but who waits blocks no loop."""

from collections.abc import Awaitable, Callable
from typing import Any

from halter.client.outcomes import OUTCOME_SECONDS, Posted, PostedCorrelated
from halter.client.waiting import Wait
from processors.core.records.events import CorrelationDecided, LogEntry
from processors.core.records.model import WfRun


class AsyncPostedCorrelated:
    """A CorrelatedEvent that Kafka has, as `PostedCorrelated`."""

    __slots__ = ("_in_thread", "_posted")

    def __init__(self, posted: PostedCorrelated, in_thread: Callable[..., Awaitable[Any]]) -> None:
        self._posted, self._in_thread = posted, in_thread

    @property
    def id(self) -> str:
        """As `PostedCorrelated.id`."""
        return self._posted.id

    @property
    def correlation_key(self) -> str:
        """The key, as text."""
        return self._posted.correlation_key

    async def outcome(self, timeout_s: float = OUTCOME_SECONDS) -> CorrelationDecided:
        """Wait for what became of it, as `PostedCorrelated.outcome` does."""
        decided: CorrelationDecided = await self._in_thread(self._posted.outcome, timeout_s)
        return decided

    def __str__(self) -> str:
        return str(self._posted)


class AsyncPosted:
    """A record that Kafka has, as `Posted`."""

    __slots__ = ("_posted", "_waited_for")

    def __init__(self, posted: Posted, waited_for: Callable[[Wait[Any], float], Awaitable[Any]]) -> None:
        self._posted, self._waited_for = posted, waited_for

    @property
    def wf_run_id(self) -> str:
        """The WfRun that it is for."""
        return self._posted.wf_run_id

    @property
    def id(self) -> str:
        """As `Posted.id`."""
        return self._posted.id

    @property
    def topic(self) -> str:
        """The topic, without the prefix."""
        return self._posted.topic

    @property
    def partition(self) -> int:
        """The partition that it is in."""
        return self._posted.partition

    @property
    def offset(self) -> int:
        """Where it is there."""
        return self._posted.offset

    @property
    def entries(self) -> list[LogEntry]:
        """Its outcome, once somebody has waited for it."""
        return self._posted.entries

    async def outcome(self, timeout_s: float = OUTCOME_SECONDS) -> list[LogEntry]:
        """Wait for what became of it, as `Posted.outcome` does."""
        entries: list[LogEntry] = await self._waited_for(self._posted._outcome_wait(), timeout_s)
        self._posted._entries = entries
        return entries

    async def until_ended(self, timeout_s: float = OUTCOME_SECONDS) -> WfRun:
        """Wait until its WfRun has ended, as `Posted.until_ended` does."""
        run: WfRun = await self._waited_for(self._posted._end_wait(), timeout_s)
        return run

    def is_cause_of(self, entry: LogEntry) -> bool:
        """As `Posted.is_cause_of`."""
        return self._posted.is_cause_of(entry)

    def __str__(self) -> str:
        return str(self._posted)
