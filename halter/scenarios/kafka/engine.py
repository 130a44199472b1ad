"""An engine for scenarios on a real Kafka with a real worker: it produces records and waits for their outcomes.

This module neither decides nor folds. Each record gets the time of the scenario. An outcome is found on the log by its
cause. The state is that of the rows, read up to where they ended when the outcome had been seen. The worker fires the
timers: this module finds the timer that is due next in the rows, sets the time, and lets the worker fire it.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from halter.client import Client
from halter.client.ids import new_id
from halter.scenarios.comparison import difference
from halter.scenarios.found import WfRunFound
from halter.scenarios.kafka.view import Attempt, RecordAddress, View
from halter.scenarios.kafka.workers import WorkerProcess
from halter.scenarios.memory import REPORT_IT, RestoredStateDiffers, firing_order, timers_of, too_many_timers
from halter.scenarios.runner import Turn
from processors.core.records.commands import (
    Command,
    CorrelatedEvent,
    DefinitionCommand,
    DeleteWfRun,
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    RunWf,
    RunWfAndPost,
    StopWfRun,
    TimerFired,
)
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    CorrelationDecided,
    DefinitionProblem,
    DefinitionRejected,
    LogEntry,
    WfRunDeleted,
)
from processors.core.records.model import TERMINAL, Correlation, WfRun, WfRunSnapshot
from processors.core.records.topic_names import CORRELATION_COMMANDS, EXTERNAL_EVENTS, WF_COMMANDS
from processors.core.rules.context import Context, DefinitionLookup, Limits
from processors.core.rules.correlating import due_ms
from processors.core.rules.engine import attach, new_run, replay
from processors.core.rules.snapshots import snapshot_of
from processors.fold.inputs import topic_of

SILENCE_SECONDS: Final = 60.0
"""How long an outcome may take. A worker that restarts is back within seconds, even on a busy machine."""

POLL_SECONDS: Final = 0.05
TIMERS_PER_STEP_MAX: Final = 10_000


class NoOutcome(HalterError):
    """A record has no outcome in time. The message has the end of the worker's log. Report both."""


class Buried(HalterError):
    """The worker put a record on dead-letters. The author of the scenario should act."""


class StateDisagrees(HalterError):
    """Two topics disagree: a bug of the engine. Report it with the scenario."""


class KafkaEngine:
    """An engine whose records a worker on Kafka folds, one after the other."""

    def __init__(
        self,
        client: Client,
        view: View,
        limits: Limits,
        start_ms: int,
        worker: WorkerProcess,
        restart: Callable[[], WorkerProcess],
        *,
        correlates: bool = False,
    ) -> None:
        """`restart` starts another worker in place of one that was killed. `correlates`: events come by key."""
        self.log: list[Turn] = []
        self.time_ms = start_ms
        self._client, self._view, self._worker, self._restart = client, view, worker, restart
        self._correlates = correlates
        self._posted: Counter[str] = Counter()
        self._context = Context(view.definitions, limits)

    @property
    def definitions(self) -> DefinitionLookup:
        """The accepted definitions."""
        return self._view.definitions

    def register(self, commands: Sequence[DefinitionCommand]) -> list[DefinitionProblem]:
        """Register definitions, and return all problems of those that are refused."""
        problems: list[DefinitionProblem] = []
        for topic, offset in self._post(commands):
            self._until(lambda at=offset: self._view.definition_outcomes.get(at), (topic, offset))  # type: ignore[misc]
            outcome = self._view.definition_outcomes[offset]
            if isinstance(outcome, DefinitionRejected):
                problems.extend(outcome.problems or [DefinitionProblem(outcome.code, outcome.message)])
        self._catch_up()
        return problems

    def put_all(self, commands: Sequence[Command]) -> None:
        """Append commands to their topics with the time of the clock, and wait until all are folded."""
        for batch in _batches(commands):
            addresses = self._post([self._knowing(command) for command in batch])
            for command, address in zip(batch, addresses, strict=True):
                self._note_outcome(command, address)
        self._follow_keys()

    def correlate(self, command: CorrelatedEvent) -> list[CorrelationDecided]:
        """Post an event by its key, wait until what it becomes is folded, and return what became of it."""
        position = self._view.definitions.position or None
        [address] = self._post([replace(command, definitions_position=position)])
        self._until(lambda: address in self._view.decided, address)
        self._follow_keys()
        return self._view.decided[address]

    def correlation(self, event_def: str, key: str) -> Correlation | None:
        """Return what is known of a correlation key by its row; None if nothing is."""
        self._catch_up()
        return self._view.correlations.get(Correlation(key, event_def).row_key.encode())

    def _follow_keys(self) -> None:
        """Wait until everything is folded that came by key, and add it to the log."""
        if not self._correlates:
            return
        view, is_new = self._view, True
        while is_new:
            self._read_to_the_ends()
            told = [*((CORRELATION_COMMANDS, it) for it in (*view.posted[CORRELATION_COMMANDS], *view.fired_of_keys))]
            for address in told:
                self._until(lambda at=address: at in view.decided, address)  # type: ignore[misc]
            self._read_to_the_ends()
            came = view.posted[EXTERNAL_EVENTS]
            is_new = len(came) > self._posted[EXTERNAL_EVENTS]
            if is_new:
                offset = came[self._posted[EXTERNAL_EVENTS]]
                self._posted[EXTERNAL_EVENTS] += 1
                self._note_outcome(view.events[offset], (EXTERNAL_EVENTS, offset))

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass. The worker fires the timers that are due, one after the other."""
        until_ms = self.time_ms + milliseconds
        for _ in range(TIMERS_PER_STEP_MAX):
            self._catch_up()
            armed = (timer for run in self._view.wf_runs() for timer in timers_of(run))
            due = min(armed, key=firing_order, default=None)
            next_ms, key_ms = math.inf if due is None else due.due_ms, self._key_due_ms()
            if min(next_ms, key_ms) > until_ms:
                self.time_ms = until_ms
                return
            self.time_ms = max(self.time_ms, int(min(next_ms, key_ms)))
            if due is not None and next_ms <= key_ms:
                self._fire(due)
            else:
                self._fire_key()
            self._follow_keys()
        raise too_many_timers(TIMERS_PER_STEP_MAX, milliseconds)

    def crash(self) -> None:
        """Kill the worker with kill -9, and start another one in its place. It has restored when this returns.

        Raises RestoredStateDiffers if the rows and the log behind them, which the new worker restores from, differ from
        a replay of the log.
        """
        self._worker.kill()
        self._read_to_the_ends()
        for wf_run_id in {command.wf_run_id: None for command, _ in self.log}:
            self._compare(wf_run_id)
        self._worker = self._restart()
        [address] = self._post([StopWfRun(new_id())])
        self._outcome(address)

    def find(self, wf_run_id: str) -> WfRunFound | None:
        """Return a WfRun as its rows show it; None if it does not exist. Raises StateDisagrees."""
        self._catch_up()
        run = self._view.wf_run(wf_run_id)
        if run is None or run.status is None:
            return None
        self._expect_requests(run)
        finished = self._view.finished(wf_run_id)
        return WfRunFound(run.status, run.threads, finished, run.external_events.values(), run.incarnation)

    def snapshot(self, wf_run_id: str) -> WfRunSnapshot | None:
        """Return the state of a WfRun at the time of the clock, as its rows show it; None if it does not exist."""
        self._catch_up()
        run = self._view.wf_run(wf_run_id)
        return None if run is None or not run.exists else snapshot_of(run, max(run.time_ms, self.time_ms))

    def _knowing(self, command: Command) -> Command:
        """Return a command with the position of the definitions that the worker must know before it decides."""
        position = self._view.definitions.position
        if position and isinstance(command, RunWf | RunWfAndPost | ForkWfRun | ExternalEvent | MigrateWfRun):
            return replace(command, definitions_position=position)
        return command

    def _post(self, commands: Sequence[Command | CorrelatedEvent | DefinitionCommand]) -> Iterator[RecordAddress]:
        """Post commands of one topic, and yield their addresses.

        The addresses come from reading the topic, because a delivery report may lack the offset. No other client posts
        to these topics.
        """
        if not commands:
            return
        topic = topic_of(commands[0])
        posted = self._view.posted[topic]
        first = self._posted[topic]
        self._posted[topic] += self._client.post_all(commands, self.time_ms)
        for number in range(first, self._posted[topic]):
            self._until(lambda at=number: len(posted) > at, f"the records of {topic}")  # type: ignore[misc]
            yield topic, posted[number]

    def _note_outcome(self, command: Command, address: RecordAddress) -> None:
        """Wait for the outcome of a record, and add it to the log."""
        entries = self._outcome(address)
        self.log.append((command, entries))
        if any(isinstance(entry.event, WfRunDeleted) for entry in entries):
            self._catch_up()
            self._view.forget_finished(command.wf_run_id)

    def _outcome(self, address: RecordAddress) -> list[LogEntry]:
        self._until(lambda: self._view.outcome(address), address)
        outcome = self._view.outcome(address)
        assert outcome is not None
        return outcome

    def _fire(self, due: TimerFired) -> None:
        fired = self._view.fired
        before = len(fired)
        self._worker.let_fire(self.time_ms)
        self._until(lambda: len(fired) > before, f"the timer {due}")
        offset, timer = fired[before]
        if timer != due:
            raise StateDisagrees(f"expected {due} to fire next, by the rows; the worker fired {timer}: {REPORT_IT}")
        self._note_outcome(timer, (WF_COMMANDS, offset))

    def _key_due_ms(self) -> float:
        rows = self._view.correlations.values() if self._correlates else ()
        found = (due_ms(row, self._context.limits) for row in rows)
        return min((it for it in found if it is not None), default=math.inf)

    def _fire_key(self) -> None:
        """Let the worker fire the timer of a key."""
        fired = self._view.fired_of_keys
        before = len(fired)
        self._worker.let_fire(self.time_ms)
        self._until(lambda: len(fired) > before, "the timer of a correlation key")
        address = CORRELATION_COMMANDS, fired[before]
        self._until(lambda: address in self._view.decided, address)

    def _catch_up(self) -> None:
        """Read all topics to where they end once the rows have followed the log."""
        self._until(self._view.rows_have_followed, "the rows")
        self._read_to_the_ends()

    def _read_to_the_ends(self) -> None:
        ends = self._view.ends()
        self._until(lambda: self._view.has_read(ends), "the ends of the topics")

    def _until(self, condition: Callable[[], object], what: RecordAddress | str) -> None:
        """Read records until a condition holds. `what` is waited for: a record's outcome, or words for a message."""
        deadline = time.monotonic() + SILENCE_SECONDS
        while not condition():
            self._view.poll(POLL_SECONDS)
            if what in self._view.dead_letters:
                raise Buried(self._view.dead_letters[what])
            self._worker.expect_running()
            if time.monotonic() > deadline:
                named = what if isinstance(what, str) else f"{what[0]}@{what[1]}"
                raise NoOutcome(
                    f"expected the outcome of {named}, found none within {SILENCE_SECONDS:.0f} s. The end of the "
                    "worker's log:\n" + self._worker.log_end()
                )

    def _compare(self, wf_run_id: str) -> None:
        """Compare the rows of a WfRun and the log behind them with a replay of its log. Raises RestoredStateDiffers."""
        entries = [entry for command, entries in self.log if command.wf_run_id == wf_run_id for entry in entries]
        replayed = attach(replay(entries, new_run(wf_run_id)), self._context)
        restored = attach(self._view.wf_run(wf_run_id) or new_run(wf_run_id), self._context)
        differs = difference(replayed, restored)
        if differs is not None:
            raise RestoredStateDiffers(
                f"expected the rows of WfRun {wf_run_id!r} to be what a replay of its log gives, found a difference "
                f"({differs}): {REPORT_IT}"
            )

    def _expect_requests(self, run: WfRun) -> None:
        """Expect a TaskRequest for every task that is out, on a topic that task workers read. Raises StateDisagrees."""
        for thread in run.threads.values():
            task = thread.node.task
            if task is None or not thread.task_out or thread.status in TERMINAL:
                continue
            attempt = Attempt(run.wf_run_id, run.incarnation, thread.number, thread.node.position, task.attempt)
            request = self._view.requests.get(attempt)
            # Compared as text: a NaN is not equal to itself.
            if request is None or repr((request.task_def, request.input)) != repr((task.task_def, task.input)):
                raise StateDisagrees(
                    f"expected a request for {attempt}, which is out by its row, found {request}: {REPORT_IT}"
                )


def _batches(commands: Iterable[Command]) -> Iterator[list[Command]]:
    """Yield batches of commands that may be posted without waiting in between: Kafka keeps the order within a topic.

    A deletion ends its batch. Until its outcome is known, a tombstone of a thread could mean that the thread finished.
    """
    batch: list[Command] = []
    for command in commands:
        if batch and (topic_of(command) != topic_of(batch[0]) or isinstance(batch[-1], DeleteWfRun)):
            yield batch
            batch = []
        batch.append(command)
    if batch:
        yield batch
