"""Runs workflows with their real task functions in memory, with a clock that a test sets.

    with WorkflowEnv("cart.yaml", tasks=worker) as env:
        env.run("cart", {"customer": "Ann", "card": "card-1"}, wf_run_id="w1")
        with env.held("charge-card"):
            env.post("w1", "checkout")
            env.post("w1", "address-changed", "12 Harbour Street")
            assert env.wf_run("w1").thread().status == "HALTING"
        assert env.wf_run("w1").status == "COMPLETED"

The engine is that of scenarios: the core and the fold of a worker. The task functions are called by the task worker's
own code. Whatever needs no time has happened when a call returns. Time passes only where the test says so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar, overload

from halter.client.arguments import Arguments, Given
from halter.client.asking import Asking, NewEvent, definition_names_of, id_of
from halter.client.errors import CommandRejected, CorrelatedEventRejected, InvalidArgument
from halter.client.outcomes import add_hint
from halter.files.programs import thing_in
from halter.scenarios.keys import codec
from halter.scenarios.memory import TIMERS_PER_STEP_MAX, MemoryEngine, too_many_timers
from halter.task_worker.handlers import Handler, typed
from halter.task_worker.task import WorkerNotStarted
from halter.task_worker.worker import TaskWorker
from halter.testing.known import register_in, registered
from halter.testing.relay import STUCK_SECONDS, Relay
from halter.testing.report import report
from halter.testing.task_running import Hold, TaskAttempt, TaskRunner
from halter.testing.views import WfRunView, view_of
from halter.workflow.named import source_named
from halter.workflow.workflow import Workflow
from processors.core.records.commands import (
    Command,
    DefinitionKind,
    DeleteWfRun,
    ForkWfRun,
    RescueThreadRun,
    ResumeWfRun,
    StopWfRun,
)
from processors.core.records.errors import HalterError
from processors.core.records.events import CorrelationDecided, CorrelationOutcome, Event, LogEntry, Rejected
from processors.core.records.model import Correlation
from processors.core.records.values import TIME_MS_MAX
from processors.core.rules.context import Context, Limits
from processors.core.wf_spec.near_names import NearNames

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST: Final = EPOCH + timedelta(milliseconds=TIME_MS_MAX)
"""The last moment that a record can have."""
WITHIN: Final = timedelta(days=3650)
"""Virtual time that a wait takes at most, if the test does not say."""
Source: TypeAlias = str | Path | Workflow
TaskSource: TypeAlias = TaskWorker | Mapping[str, Callable[..., Any]] | str
Tasks: TypeAlias = TaskSource | Sequence[TaskSource]
Kind = TypeVar("Kind", bound=Event)


class NeverSo(HalterError, AssertionError):
    """What a test waited for did not come about. Whoever wrote the test or the workflow looks at the log."""


class NoSuchWfRunHere(HalterError, LookupError):
    """There is no WfRun of an id. Whoever wrote the test corrects it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A command that a test or a task function has given, and what came of it."""

    command: Command
    entries: Sequence[LogEntry]

    @property
    def id(self) -> str:
        """The id of the ExternalEvent, of the WfRun to start, or of the command."""
        return id_of(self.command)

    @property
    def wf_run_id(self) -> str:
        """The WfRun that it was for."""
        return self.command.wf_run_id

    @property
    def events(self) -> list[Event]:
        """What happened at once."""
        return [entry.event for entry in self.entries]

    @property
    def refused(self) -> Rejected | None:
        """Why it was refused; None if it was not."""
        return next((it for it in self.events if isinstance(it, Rejected)), None)


class WorkflowEnv:
    """An engine in memory, task functions and a clock."""

    def __init__(
        self,
        *definitions: Source,
        tasks: Tasks = (),
        start: datetime = START,
        folder: Path | None = None,
        stuck_s: float = STUCK_SECONDS,
    ) -> None:
        """`definitions`: files, Workflows, or MODULE:NAME of Workflows. `tasks`: a TaskWorker, or MODULE:NAME of one.

        `tasks` may also be a mapping from TaskDefs to functions, or a list of all these, of which later ones count
        before earlier ones. The clock begins at `start`. Files are looked for in `folder`. A task function may run for
        `stuck_s` seconds of real time.

        Raises UnreadableFile, InvalidDefinitions, WorkerNotStarted.
        """
        self._folder = folder
        if not definitions:
            raise InvalidArgument("definitions: expected a file or a Workflow, found none")
        self._definitions = registered([self._source(it) for it in definitions])
        self._codec = codec()
        self._arguments = Arguments(self._codec)
        self._asking = Asking(self._arguments, _NothingRead())
        self._engine = MemoryEngine(Context(self._definitions, Limits()), _ms(start))
        self._names = {"run": count(1), "event": count(1), "command": count(1)}
        self._is_settling = self._is_closed = False
        self.outcomes: list[Outcome] = []
        """Every command that was given, in order, refused ones too."""
        self._relay = Relay(stuck_s)
        self._runner = TaskRunner(self._engine, self._handlers(tasks), self._codec, self._relay)

    # Definitions and task functions.

    def register(self, *definitions: Source) -> None:
        """Register definitions, or new versions of them. Raises UnreadableFile, InvalidDefinitions."""
        register_in(self._definitions, [self._source(it) for it in definitions])

    def _source(self, it: Source) -> Path | Workflow:
        if isinstance(it, Workflow):
            return it
        return source_named(str(it), self._folder)

    def _handlers(self, tasks: Tasks) -> dict[str, Handler]:
        """Return the handlers. Raises WorkerNotStarted with a sentence for each that cannot do its task."""
        found: dict[str, Handler] = {}
        problems: list[str] = []
        known = self._definitions.names(DefinitionKind.TASK_DEF)
        for one in tasks if isinstance(tasks, list | tuple) else [tasks]:
            handlers = self._handlers_of(one)
            for name, handler in handlers.items():
                newest = self._definitions.task_def(name)
                if newest is None:
                    if isinstance(one, Mapping):  # a task worker may also do tasks of workflows that are not here
                        hint = NearNames().meant_or_known(name, known)
                        problems.append(f"tasks[{name!r}]: expected a TaskDef of this name, found none{hint}")
                elif handler.mismatches is not None:
                    problems += handler.mismatches(newest)
                found[name] = handler
        if problems:
            raise WorkerNotStarted("\n".join(problems))
        return found

    def _handlers_of(self, one: object) -> Mapping[str, Handler]:
        if isinstance(one, str):
            module, _, name = one.rpartition(":")
            beside = Path() if self._folder is None else self._folder
            target = f"{beside / module}:{name}" if module.endswith(".py") else one
            one = thing_in(target, TaskWorker, "shop.tasks:worker")
        if isinstance(one, TaskWorker):
            return one.handlers
        if isinstance(one, Mapping):
            return {name: typed(name, function) for name, function in one.items()}
        raise WorkerNotStarted(
            "tasks: expected a TaskWorker, MODULE:NAME of one, or a mapping of a TaskDef's name to its function, "
            f"found {type(one).__name__}"
        )

    # Commands, as `halter.Client` has them.

    def run(
        self,
        wf_spec_name: str,
        variables: Mapping[str, Given] | None = None,
        *,
        wf_run_id: str | None = None,
        major: int | None = None,
        revision: int | None = None,
    ) -> Outcome:
        """Start a WfRun, and let happen what needs no time. Raises CommandRejected, InvalidArgument."""
        id_ = f"{wf_spec_name}-{next(self._names['run'])}" if wf_run_id is None else wf_run_id
        command = self._asking.run(wf_spec_name, variables, id_, major, revision, None)
        return self.send(replace(command, command_id=self._command_id()))

    def post(
        self,
        wf_run_id: str,
        name: str,
        content: Given = None,
        *,
        event_id: str | None = None,
        thread: int | None = None,
    ) -> Outcome:
        """Post an ExternalEvent, also before its WfRun starts. Raises CommandRejected, InvalidArgument."""
        id_ = f"{name}-{next(self._names['event'])}" if event_id is None else event_id
        return self.send(self._asking.event(NewEvent(wf_run_id, name, content, id_, thread)))

    def post_correlated(
        self, key: str | int, name: str, content: Given = None, *, event_id: str | None = None
    ) -> CorrelationDecided:
        """Post an ExternalEvent to every WfRun that has a correlation key for it, and return what became of it.

        `outcome` is POSTED, with `wf_runs`, or KEPT if none has the key: it waits for the first. What each WfRun makes
        of it is on the log of that. Raises CorrelatedEventRejected, InvalidArgument.
        """
        self._expect_open()
        id_ = f"{name}-{next(self._names['event'])}" if event_id is None else event_id
        command = self._asking.correlated(key, name, content, id_)
        copy: Any = self._codec.decode(self._arguments.encoded_made(command))
        decided = self._engine.correlate(copy)[0]
        self._settle()
        if decided.outcome is CorrelationOutcome.REJECTED:
            raise CorrelatedEventRejected(decided)
        return decided

    def correlation(self, key: str | int, name: str) -> Correlation | None:
        """What is known of a correlation key: `wf_runs` that have it, and the events that are `kept` for the first.

        None if nothing is.
        """
        wanted = self._asking.correlated(key, name, None, "any")
        self._arguments.check_names(wanted)
        return self._engine.correlation(name, wanted.correlation_key)

    def fork(self, wf_run_id: str, new_id: str, *, major: int | None = None, revision: int | None = None) -> Outcome:
        """Start a WfRun from the state that another one has now. It runs the same version, or the one that is given.

        Raises NoSuchWfRunHere, CommandRejected, InvalidArgument.
        """
        snapshot = self._engine.snapshot(wf_run_id)
        if snapshot is None:
            raise self._no_wf_run(wf_run_id)
        return self.send(ForkWfRun(new_id, snapshot, major, revision, command_id=self._command_id()))

    def stop(self, wf_run_id: str, thread: int = 0) -> Outcome:
        """Stop a thread with its children."""
        return self.send(self._made(StopWfRun, wf_run_id=wf_run_id, thread=thread))

    def resume(self, wf_run_id: str, thread: int = 0) -> Outcome:
        """Let a thread go on that was stopped."""
        return self.send(self._made(ResumeWfRun, wf_run_id=wf_run_id, thread=thread))

    def rescue(self, wf_run_id: str, thread: int = 0, *, skip_current_node: bool = False) -> Outcome:
        """Let a thread in ERROR go on at its node, or behind it."""
        return self.send(
            self._made(RescueThreadRun, wf_run_id=wf_run_id, thread=thread, skip_current_node=skip_current_node)
        )

    def migrate(self, wf_run_id: str, major: int, revision: int | None = None) -> Outcome:
        """Let a WfRun go on by another version of its WfSpec."""
        return self.send(self._asking.migration(wf_run_id, major, revision, self._command_id()))

    def delete(self, wf_run_id: str) -> Outcome:
        """Delete a WfRun."""
        return self.send(self._made(DeleteWfRun, wf_run_id=wf_run_id))

    def send(self, command: Command) -> Outcome:
        """Give a command to the engine, and let happen what needs no time.

        A task function may do so too; what comes of it happens when the function waits or has returned. Raises
        CommandRejected if the engine refuses it, InvalidArgument for what it could not read.
        """
        self._expect_open()
        given: object = command
        if not isinstance(given, Command):
            raise InvalidArgument(f"send: expected a command to a WfRun, found {type(given).__name__}")
        value = self._arguments.encoded(command)
        self._arguments.check_names(command)
        copy: Any = self._codec.decode(value)
        outcome = Outcome(copy, self._engine.put(copy))
        self.outcomes.append(outcome)
        refused = next((it for it in outcome.entries if isinstance(it.event, Rejected)), None)
        self._settle()
        if refused is not None and isinstance(refused.event, Rejected):
            rejected = CommandRejected(refused, refused.event)
            add_hint(rejected, *definition_names_of(command), lambda: self._definitions)
            raise rejected
        return outcome

    def _made(self, kind: type[Any], **fields: Any) -> Any:
        return self._asking.made(kind, self._command_id(), **fields)

    def _command_id(self) -> str:
        return f"command-{next(self._names['command'])}"

    def crash(self) -> None:
        """Let the engine lose its memory and restore it, as a worker does that starts again. Task functions go on."""
        self._expect_open()
        self._engine.crash()

    # Time.

    @property
    def now(self) -> datetime:
        """The time of the clock."""
        return EPOCH + timedelta(milliseconds=self._engine.time_ms)

    def pass_time(
        self,
        time: timedelta | None = None,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
    ) -> None:
        """Let time pass: `env.pass_time(hours=2)`. Whatever is due on the way happens at its time, in order.

        What is given is added up. Raises InvalidArgument, NoTaskFunction, Stuck; TooManyTimers for a loop of timers.
        """
        given = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        more_ms = 0 if time is None else _milliseconds(time)
        until_ms = self._engine.time_ms + _milliseconds(given) + more_ms
        if until_ms > TIME_MS_MAX:
            raise InvalidArgument(f"expected a time up to {LAST:%Y-%m-%d}, found one beyond it: it is {self.now}")
        self._step_until(lambda: False, until_ms)
        if self._engine.time_ms < until_ms:
            self._advance(until_ms)

    def run_until(self, condition: Callable[[], object], *, within: timedelta = WITHIN) -> None:
        """Let time pass until something is so: `env.run_until(lambda: env.wf_run("w1").thread().node == "pay")`.

        It stops at the first moment at which it is. While a WfRun that it asks for is not there, it is not so. Raises
        NeverSo, which is an AssertionError, if it is not within so much virtual time, or nothing is left that could
        happen.
        """
        limit_ms = self._limit_ms(within)
        missing: NoSuchWfRunHere | None = None

        def is_so() -> object:
            nonlocal missing
            missing = None
            try:
                return condition()
            except NoSuchWfRunHere as none:
                missing = none
                return False

        if not self._step_until(is_so, limit_ms):
            also = "" if missing is None else f" ({missing})"
            raise NeverSo(f"expected to see the condition come true{also}, found that {self._why_not(limit_ms)}")

    def run_until_ended(self, wf_run_id: str, *, within: timedelta = WITHIN) -> WfRunView:
        """Let time pass until a WfRun is COMPLETED, ERROR or EXCEPTION, and return it. Raises NeverSo."""
        limit_ms = self._limit_ms(within)

        def has_ended() -> bool:
            return self.exists(wf_run_id) and self.wf_run(wf_run_id).status.value in ENDS

        if not self._step_until(has_ended, limit_ms):
            found = f"it {self.wf_run(wf_run_id).status}" if self.exists(wf_run_id) else f"none{self._meant(wf_run_id)}"
            raise NeverSo(f"expected WfRun {wf_run_id!r} to end, found {found}, and {self._why_not(limit_ms)}")
        return self.wf_run(wf_run_id)

    def _limit_ms(self, within: timedelta) -> int:
        return min(self._engine.time_ms + _milliseconds(within), TIME_MS_MAX)

    def _step_until(self, condition: Callable[[], object], limit_ms: int) -> bool:
        """Let time pass to each moment at which something is due, until the condition holds. Return whether it does."""
        self._expect_open()
        self._expect_no_task_function()
        began_ms = self._engine.time_ms
        self._settle()
        for _ in range(TIMERS_PER_STEP_MAX):
            if condition():
                return True
            due_ms = min(self._engine.due_ms, self._runner.due_ms)
            if due_ms > limit_ms:
                return False
            self._advance(int(max(due_ms, self._engine.time_ms)))
        raise too_many_timers(TIMERS_PER_STEP_MAX, limit_ms - began_ms)

    def _advance(self, until_ms: int) -> None:
        self._engine.pass_time(until_ms - self._engine.time_ms)
        self._runner.time_has_passed()
        self._settle()

    def _why_not(self, limit_ms: int) -> str:
        if min(self._engine.due_ms, self._runner.due_ms) > limit_ms and self._engine.due_ms == float("inf"):
            out = [it for it in self.attempts if it.status is None and it.cancelled is None]
            waits = "".join(f"; task {it.task!r} of WfRun {it.wf_run_id!r} is out" for it in out[:3])
            return f"nothing is left that could happen by itself: no timer is set and no task function waits{waits}"
        return f"it is not so until {EPOCH + timedelta(milliseconds=limit_ms):%Y-%m-%d %H:%M:%S}"

    def _settle(self) -> None:
        if self._is_settling:
            return  # a task function has given a command: whoever let it run goes on afterwards
        self._is_settling = True
        try:
            self._runner.settle()
        finally:
            self._is_settling = False

    # Tasks.

    @contextmanager
    def held(self, task: str, *, started: bool = True) -> Iterator[Hold]:
        """Hold a task: while the block runs, its attempts are out, and its function is not called before the end.

        With `started=False` it is as if no task worker were there: the attempts stay in the queue, and nobody tells the
        engine that they have begun.
        """
        hold = self.hold(task, started=started)
        try:
            yield hold
        except BaseException:
            with suppress(HalterError):
                self._runner.release(hold)  # and nothing happens before the failure is reported
            raise
        self.release(hold)

    def hold(self, task: str, *, started: bool = True) -> Hold:
        """Hold a task until `release`."""
        known = self._definitions.names(DefinitionKind.TASK_DEF)
        if task not in known:
            raise InvalidArgument(f"held: expected a TaskDef, found {task!r}{NearNames().meant_or_known(task, known)}")
        return self._runner.hold(task, started=started)

    def release(self, hold: Hold) -> None:
        """Let the functions begin that were held, and let happen what needs no time. Raises NoTaskFunction."""
        self._runner.release(hold)
        self._settle()

    @property
    def attempts(self) -> list[TaskAttempt]:
        """All attempts at tasks so far, in the order in which they were requested."""
        return list(self._runner.attempts)

    def attempts_of(self, task: str) -> list[TaskAttempt]:
        """Return the attempts at one task."""
        return [it for it in self.attempts if it.task == task]

    # What there is to see.

    def wf_run(self, wf_run_id: str) -> WfRunView:
        """Return a WfRun as it is now. Raises NoSuchWfRunHere."""
        found = self._engine.find(wf_run_id)
        if found is None:
            raise self._no_wf_run(wf_run_id)
        return view_of(self._engine.rows[wf_run_id], found.status)

    def _no_wf_run(self, wf_run_id: str) -> NoSuchWfRunHere:
        return NoSuchWfRunHere(f"expected a WfRun {wf_run_id!r}, found none{self._meant(wf_run_id)}")

    def _meant(self, wf_run_id: str) -> str:
        return NearNames().meant_or_known(wf_run_id, [it for it in self._engine.rows if self.exists(it)])

    def exists(self, wf_run_id: str) -> bool:
        """Say whether there is a WfRun of an id: it was started, and is not deleted or forgotten."""
        return self._engine.find(wf_run_id) is not None

    @overload
    def events(self, wf_run_id: str) -> list[Event]: ...
    @overload
    def events(self, wf_run_id: str, kind: type[Kind]) -> list[Kind]: ...
    def events(self, wf_run_id: str, kind: type[Any] = object) -> list[Any]:
        """Return the events of a WfRun so far, all or those of a class of `halter.events`.

        Those of a WfRun that was deleted, too. Raises NoSuchWfRunHere for an id that no command was for.
        """
        given: object = kind
        if not isinstance(given, type):
            raise InvalidArgument(f"events: expected a class of halter.events, found {given!r}")
        return [it.event for it in self.entries(wf_run_id) if isinstance(it.event, kind)]

    def entries(self, wf_run_id: str) -> list[LogEntry]:
        """Return the log of a WfRun: its events with their times and causes. Raises NoSuchWfRunHere."""
        if wf_run_id not in self._engine.rows:
            raise self._no_wf_run(wf_run_id)
        return self._engine.log_of(wf_run_id)

    @property
    def wf_run_ids(self) -> list[str]:
        """The ids of all WfRuns that the log tells of."""
        return list(self._engine.rows)

    def report(self, *wf_run_ids: str, width: int = 100) -> str:
        """Return the histories of WfRuns as tables, and the task attempts that failed. Masked values are masked."""
        return report(self, self._definitions, wf_run_ids or self.wf_run_ids, width)

    # The end.

    def close(self) -> None:
        """End the task functions that still wait."""
        if not self._is_closed:
            self._is_closed = True
            self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _expect_open(self) -> None:
        if self._is_closed:
            raise InvalidArgument("expected an environment that is open, found one that is closed")

    def _expect_no_task_function(self) -> None:
        if self._is_settling:
            raise InvalidArgument(
                "a task function cannot let the time of its test pass: it waits by task.wait_cancelled or asyncio.sleep"
            )


ENDS: Final = frozenset({"COMPLETED", "ERROR", "EXCEPTION"})


class _NothingRead:
    """There is no topic of definitions, so commands name no position of it."""

    position = 0


def _ms(time: datetime) -> int:
    given: object = time
    if not isinstance(given, datetime):
        raise InvalidArgument(f"start: expected a datetime, found {type(given).__name__}")
    if time.tzinfo is None:
        raise InvalidArgument(f"start: expected a time with a zone, found {time}")
    return _milliseconds(time - EPOCH)


def _milliseconds(time: timedelta) -> int:
    given: object = time
    if not isinstance(given, timedelta):
        raise InvalidArgument(f"expected a timedelta, as timedelta(seconds=5), found {type(given).__name__}")
    milliseconds = time // timedelta(milliseconds=1)
    if milliseconds < 0:
        raise InvalidArgument(f"expected a time that is not negative, found {time}")
    return milliseconds
