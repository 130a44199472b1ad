"""The requests that a task worker has taken: which wait, which run, and what may be committed. Safe for threads.

A request is taken when Kafka gives it, waits until there is room among the attempts that run, and is finished when
Kafka has its report. Partitions take turns, so a long queue in one of them holds up no other.

Knows no Kafka client: whoever polls asks `flow` what to pause.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from halter.task_worker.offsets import Offsets, finished_by
from halter.task_worker.running import Running
from processors.core.records.events import TaskCancellation, TaskRequest
from processors.kafka.trace_context import NO_CONTEXT, Context
from processors.measuring import LONG_SECONDS, Histogram

PartitionId: TypeAlias = tuple[str, int]
"""Topic and partition."""
WAITING_MAX: Final = 256
"""Requests of one partition that wait here. More wait in Kafka."""
BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of all requests that wait here."""


@dataclass(slots=True)
class Counts:
    """What became of attempts since the task worker started."""

    started: int = 0
    succeeded: int = 0
    exceptions: int = 0
    """Ended with a BusinessException."""
    failed: int = 0
    cancelled: int = 0
    """Not started, because they were cancelled; or coroutines that their cancelling ended."""
    expired: int = 0
    """Not started, because their time was up."""
    running: int = 0
    """Handlers that run now."""

    def as_dict(self) -> dict[str, int]:
        """Return them for a line of the log."""
        return {it.name: getattr(self, it.name) for it in fields(self)}


class Times:
    """How long attempts waited and handlers took, by TaskDef. There are as many as this task worker has handlers."""

    def __init__(self) -> None:
        self.queued: dict[str, Histogram] = {}
        """Seconds from the request of an attempt until its handler began, by the clocks of two machines."""
        self.handled: dict[str, Histogram] = {}
        """Seconds from there to its end."""

    def began(self, attempt: "Attempt", now_ms: int) -> None:
        """Note that a handler begins."""
        request, attempt.began_ms = attempt.request, now_ms
        _observe(self.queued, request.task_def, now_ms - request.requested_ms)

    def ended(self, attempt: "Attempt", now_ms: int) -> None:
        """Note that a handler has ended."""
        if attempt.began_ms is not None:
            _observe(self.handled, attempt.request.task_def, now_ms - attempt.began_ms)


class WorkFigures(NamedTuple):
    """What metrics tell beside the counts."""

    concurrency: int
    waiting: int
    """Attempts that were taken and have not started."""
    times: Times


def _observe(histograms: dict[str, Histogram], task_def: str, milliseconds: int) -> None:
    if task_def not in histograms:
        histograms[task_def] = Histogram(LONG_SECONDS)
    histograms[task_def].observe(max(0, milliseconds) / 1_000)


@dataclass(eq=False, slots=True)
class Attempt:
    """A request that was taken. The report of it is on its way from the end of the handler until it is finished."""

    partition: "Partition"
    offset: int
    size: int
    request: TaskRequest
    running: Running
    context: Context = NO_CONTEXT
    """The trace context that the request came with, if tracing is on."""
    began_ms: int | None = None
    """When its handler began, in ms since 1970; None if it did not."""


@dataclass(eq=False, slots=True)
class Partition:
    """What was taken from one partition of the queue. It stays when the group gives the partition to somebody else:
    its attempts go on, and it may come back.
    """

    id: PartitionId
    offsets: Offsets = field(default_factory=Offsets)
    waiting: deque[Attempt] = field(default_factory=deque)
    unfinished: set[int] = field(default_factory=set)
    """Offsets of attempts that have started."""
    is_ours: bool = True
    is_paused: bool = False
    committed: tuple[int, str] | None = None


class Work:
    """All requests that were taken."""

    def __init__(self, concurrency: int, running: Callable[[], Running] = Running) -> None:
        """`running` makes what connects an attempt with its handler."""
        self._concurrency, self._running = concurrency, running
        self._here: dict[str, list[Attempt]] = {}
        """WfRun -> its attempts that wait here or are not finished."""
        self._partitions: dict[PartitionId, Partition] = {}
        self._turn: deque[Partition] = deque()
        """Partitions whose requests wait, in the order of their turns."""
        self._bytes = 0
        self._finished = 0
        """Requests that were finished since the last commit."""
        self._is_over = False
        self._changed = threading.Condition()
        self.counts, self.times = Counts(), Times()

    def assigned(self, starts: Mapping[PartitionId, tuple[int | None, str | None]]) -> None:
        """Take over partitions, each with its committed offset and the metadata of that."""
        with self._changed:
            for id_, (start, metadata) in starts.items():
                it = self._partitions.setdefault(id_, Partition(id_))
                finished = () if start is None else finished_by(start, metadata)
                it.offsets.assigned(start, finished, it.unfinished)
                it.is_ours, it.committed = True, None

    def drop_waiting(self, ids: Iterable[PartitionId]) -> None:
        """Forget the requests of partitions that have not started. They stay uncommitted: others will run them."""
        with self._changed:
            for it in self._known(ids):
                self._drop(it)

    def wait_finished(self, ids: Iterable[PartitionId], seconds: float) -> bool:
        """Wait until no attempt of partitions is out. Return False if some still are."""
        with self._changed:
            known = self._known(ids)
            return self._changed.wait_for(lambda: not any(it.unfinished for it in known), seconds)

    def given_up(self, ids: Iterable[PartitionId]) -> list[PartitionId]:
        """Note that partitions are not ours any more. Their attempts go on.

        Returns those to resume, before they go: the client would remember a pause, and fetch nothing if the partition
        ever came back. It is not resumed then, because librdkafka may lose the start of a partition that is resumed
        just after it was assigned.
        """
        with self._changed:
            paused = []
            for it in self._known(ids):
                self._drop(it)
                if it.is_paused:
                    paused.append(it.id)
                it.is_ours = it.is_paused = False
            return paused

    def take(
        self, id_: PartitionId, offset: int, request: TaskRequest | None, size: int, context: Context = NO_CONTEXT
    ) -> None:
        """Take a request; None stands for one that is nothing to us, and is finished at once."""
        with self._changed:
            it = self._partitions.setdefault(id_, Partition(id_))
            if not it.is_ours or self._is_over or not it.offsets.take(offset):
                return
            if request is None:
                it.offsets.finish(offset)
                self._finished += 1
                return
            attempt = Attempt(it, offset, size, request, self._running(), context)
            it.waiting.append(attempt)
            self._here.setdefault(request.wf_run_id, []).append(attempt)
            self._bytes += size
            if len(it.waiting) == 1:
                self._turn.append(it)

    def next(self) -> Attempt | None:
        """Start the next attempt; None if none waits, or as many run as may."""
        with self._changed:
            if self._is_over or not self._turn or self.counts.running >= self._concurrency:
                return None
            it = self._turn.popleft()
            attempt = it.waiting.popleft()
            if it.waiting:
                self._turn.append(it)
            self._bytes -= attempt.size
            it.unfinished.add(attempt.offset)
            self.counts.running += 1
            self._changed.notify_all()
            return attempt

    @property
    def waiting(self) -> int:
        """The number of attempts that were taken and have not started."""
        return sum(len(it.waiting) for it in tuple(self._partitions.values()))

    def ended(self, attempt: Attempt, count: str, now_ms: int) -> None:
        """Note that a handler has ended, and how: the name of a count. Its report need not have arrived."""
        with self._changed:
            self.times.ended(attempt, now_ms)
            self.counts.running -= 1
            setattr(self.counts, count, getattr(self.counts, count) + 1)

    def began(self, attempt: Attempt, now_ms: int) -> None:
        """Note that a handler begins."""
        with self._changed:
            self.times.began(attempt, now_ms)
            self.counts.started += 1

    def finish(self, attempt: Attempt) -> None:
        """Note that nothing is left to do for an attempt that was started."""
        with self._changed:
            it = attempt.partition
            it.unfinished.discard(attempt.offset)
            it.offsets.finish(attempt.offset)
            self._leaves(attempt)
            self._finished += 1
            self._changed.notify_all()

    def concerns(self, wf_run_id: str) -> bool:
        """Say whether an attempt of a WfRun waits here or is not finished."""
        return wf_run_id in self._here

    def cancel(self, it: TaskCancellation) -> None:
        """Cancel an attempt, if it waits here or is not finished."""
        with self._changed:
            found = [one for one in self._here.get(it.wf_run_id, ()) if is_of(it, one.request)]
        for one in found:  # outside: it may wake a handler
            one.running.cancel(it.reason)

    def over(self) -> None:
        """Start nothing from now on."""
        with self._changed:
            self._is_over = True
            for it in self._partitions.values():
                self._drop(it)

    def unfinished(self) -> list[PartitionId]:
        """Return the partition of each attempt that was started and is not finished."""
        with self._changed:
            return [it.id for it in self._partitions.values() for _ in it.unfinished]

    def unfinished_records(self, most: int) -> list[str]:
        """Return the requests of such attempts, the oldest of each partition first, as `topic[partition]@offset`."""
        with self._changed:
            places = ((it.id, offset) for it in self._partitions.values() for offset in sorted(it.unfinished))
            return [f"{topic}[{partition}]@{offset}" for (topic, partition), offset in islice(places, most)]

    @property
    def finished(self) -> int:
        """The number of requests that were finished since the last commit."""
        return self._finished

    def to_commit(self) -> dict[PartitionId, tuple[int, str]]:
        """Return offset and metadata to commit for each partition of ours where they have changed."""
        with self._changed:
            self._finished = 0
            found = {}
            for it in self._partitions.values():
                committable = it.offsets.committable() if it.is_ours else None
                if committable is not None and committable != it.committed:
                    found[it.id] = it.committed = committable
            return found

    def not_committed(self, ids: Iterable[PartitionId]) -> None:
        """Note that a commit failed: it is due again."""
        with self._changed:
            for it in self._known(ids):
                it.committed = None

    def wait_for_room(self, seconds: float) -> bool:
        """Wait while a partition is full that is not paused. Return False if there still is one."""
        with self._changed:
            return self._changed.wait_for(lambda: all(it.is_paused for it in self._full()), seconds)

    def _full(self) -> list[Partition]:
        """The partitions of which no more should be taken now."""
        if self._bytes >= BYTES_MAX:
            return [it for it in self._partitions.values() if it.is_ours]
        return [
            it
            for it in self._partitions.values()
            if it.is_ours and (len(it.waiting) >= WAITING_MAX or it.offsets.is_far_ahead)
        ]

    def flow(self) -> tuple[list[PartitionId], list[PartitionId]]:
        """Return the partitions to pause, and those to resume. They count as paused and resumed from now on."""
        with self._changed:
            ours = [it for it in self._partitions.values() if it.is_ours]
            full = set(ours) if self._is_over else set(self._full())
            pause = [it for it in ours if it in full and not it.is_paused]
            resume = [it for it in ours if it.is_paused and it not in full and self._may_go_on(it)]
            for it in pause:
                it.is_paused = True
            for it in resume:
                it.is_paused = False
            return [it.id for it in pause], [it.id for it in resume]

    def _may_go_on(self, it: Partition) -> bool:
        # What librdkafka has fetched ahead is thrown away by a pause. So it is not paused and resumed all the time.
        return len(it.waiting) <= WAITING_MAX // 2 and self._bytes <= BYTES_MAX // 2

    def _drop(self, it: Partition) -> None:
        for attempt in it.waiting:
            self._bytes -= attempt.size
            self._leaves(attempt)
        it.waiting.clear()
        if it in self._turn:
            self._turn.remove(it)

    def _leaves(self, attempt: Attempt) -> None:
        """Forget an attempt. One that is finished a second time is gone already."""
        here = self._here.get(attempt.request.wf_run_id, [])
        if attempt in here:
            here.remove(attempt)
        if not here:
            self._here.pop(attempt.request.wf_run_id, None)

    def _known(self, ids: Iterable[PartitionId]) -> list[Partition]:
        return [self._partitions[it] for it in ids if it in self._partitions]


def is_of(it: TaskCancellation, request: TaskRequest) -> bool:
    """Say whether a cancellation is about the attempt of a request."""
    return (it.wf_run_id, it.incarnation, it.thread, it.position, it.attempt) == (
        request.wf_run_id, request.incarnation, request.thread, request.position, request.attempt
    )  # fmt: skip
