"""Given / when / then for the core: a history of commands, one more command, and exactly these events.

    given("wait", RUN).when(event("i")).then(
        "ExternalEventPosted",
        Halt(0, PendingInterrupt("i", "i1")),
        ThreadHalted(0),
        like(SpawnChild, thread=1, parent=0, spec="h"),
        like(NodeCompleted, thread=1),
    )

`given` takes a WfSpec of `small_specs` by its name, or definitions as a scenario document writes them, and commands. It
never takes state made by hand. After every command the WfRun is restored from its rows and from its log, and compared.
"""

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import parse_yaml
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.show.log_text import event_line
from processors.core.records.commands import (
    Command,
    ExternalEvent,
    MigrateWfRun,
    ReportTaskProgress,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    RunWfAndPost,
    StartTaskRun,
    StopWfRun,
)
from processors.core.records.events import Event, Ignored, LogEntry, Rejected, RejectionCode
from processors.core.records.model import TaskStatus, ThreadRun, WfRun
from processors.core.records.values import Value
from processors.core.rules.context import Context, Limits
from tests.support.small_specs import NAMES, document_of

RUN_ID = "w1"
RUN = RunWf(RUN_ID, "small")
START_MS = 1_767_225_600_000

Asked: TypeAlias = "Command | Callable[[History], Command]"
"""A command, or a function that makes one when its turn has come."""


@dataclass(frozen=True, slots=True)
class Like:
    """An event of which only some fields matter."""

    name: str
    fields: dict[str, Any]

    def matches(self, event: Event) -> bool:
        return type(event).__name__ == self.name and all(
            getattr(event, name) == value for name, value in self.fields.items()
        )


def like(event_type: type, **fields: Any) -> Like:
    """Return an event with these values in these fields."""
    return Like(event_type.__name__, fields)


Wanted: TypeAlias = Event | Like | str
"""An event in full, some of its fields, or its name."""


def event(name: str, content: Value = None, *, id: str | None = None, thread: int | None = None) -> Asked:  # noqa: A002
    """Return an ExternalEvent. Its default id is its name and a number, from 1."""

    def asked(history: "History") -> Command:
        posted = sum(isinstance(command, ExternalEvent | RunWfAndPost) for command, _ in history.engine.log)
        return ExternalEvent(RUN_ID, name, id or f"{name}{posted + 1}", content, thread)

    return asked


def run_and_post(name: str, content: Value = None, *, id: str | None = None, spec: str = "small") -> Asked:  # noqa: A002
    """Return a RunWfAndPost. The id of its event is chosen as that of `event`."""

    def asked(history: "History") -> Command:
        posted = event(name, content, id=id)
        assert callable(posted)
        it = posted(history)
        assert isinstance(it, ExternalEvent)
        return RunWfAndPost(RUN_ID, spec, it.external_event_def, it.external_event_id, content=it.content)

    return asked


def report(thread: int = 0, output: Value = None) -> Asked:
    """Report SUCCESS for the attempt that is out."""
    return _reported(thread, TaskStatus.SUCCESS, output=output)


def failed(thread: int = 0) -> Asked:
    """Report a technical failure of the attempt that is out."""
    return _reported(thread, TaskStatus.FAILED, message="broken")


def exception(thread: int = 0, name: str = "oops", content: Value = None) -> Asked:
    """Report a business exception of the attempt that is out."""
    return _reported(thread, TaskStatus.EXCEPTION, failure_name=name, message="no", content=content)


def started(thread: int = 0) -> Asked:
    """Say that the attempt that is out was started."""
    return lambda history: StartTaskRun(RUN_ID, *_attempt(history, thread))


def progress(content: Value, thread: int = 0) -> Asked:
    """Say how far the attempt that is out is."""
    return lambda history: ReportTaskProgress(RUN_ID, *_attempt(history, thread), content)


def _reported(thread: int, status: TaskStatus, **more: Any) -> Asked:
    return lambda history: ReportTaskRun(RUN_ID, *_attempt(history, thread), status, **more)


def _attempt(history: "History", thread: int) -> tuple[int, int, int, int]:
    run, row = history.run, history.run.threads[thread]
    assert row.node.task is not None, f"no task is out in thread {thread}"
    return run.incarnation, thread, row.node.position, row.node.task.attempt


def stop(thread: int = 0) -> Command:
    """Return a StopWfRun."""
    return StopWfRun(RUN_ID, thread)


def resume(thread: int = 0) -> Command:
    """Return a ResumeWfRun."""
    return ResumeWfRun(RUN_ID, thread)


def rescue(thread: int = 0, *, skip_current_node: bool = False) -> Command:
    """Return a RescueThreadRun."""
    return RescueThreadRun(RUN_ID, thread, skip_current_node)


def migrate(revision: int | None = None, major: int = 0) -> Command:
    """Return a MigrateWfRun."""
    return MigrateWfRun(RUN_ID, major, revision)


def given(definitions: str, *commands: Asked, limits: Limits | None = None) -> "History":
    """Begin a history with these definitions and commands."""
    if definitions in NAMES:
        document: Any = document_of(definitions)
    else:
        document = parse_yaml(textwrap.dedent(definitions), "definitions").data
    scenario, problems = read_scenario({"name": "test", **document, "steps": []}, lambda name: name)
    assert scenario is not None, problems
    lookup, refused = register(scenario.definitions)
    assert not refused, refused
    history = History(MemoryEngine(Context(lookup, limits or Limits()), START_MS))
    for command in commands:
        history.when(command)
    return history


class History:
    """The history of one WfRun. `when` adds to it."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        self._entries: list[LogEntry] = []
        self._told = 0

    def when(self, asked: Asked) -> "History":
        """Fold one more command, and compare what is restored with what is live."""
        self._told = len(self.engine.cancellations)
        self._entries = self.engine.put(self.command(asked))
        self.engine.crash()
        return self

    def command(self, asked: Asked) -> Command:
        """Return the command for the present state."""
        return asked(self) if callable(asked) else asked

    def after(self, milliseconds: int) -> "History":
        """Let time pass, so that timers fire."""
        self._told = len(self.engine.cancellations)
        self._entries = self.engine.pass_time(milliseconds)
        self.engine.crash()
        return self

    def then(self, *wanted: Wanted) -> "History":
        """Expect exactly these events of the last command, in order."""
        assert self._is(wanted), self._shown(wanted)
        return self

    def then_among_others(self, *wanted: Wanted) -> "History":
        """Expect these among the events of the last command, in this order."""
        left = iter(self.events)
        assert all(any(_matches(one, event) for event in left) for one in wanted), self._shown(wanted)
        return self

    def then_not(self, *unwanted: Wanted) -> "History":
        """Expect that none of these is among the events of the last command."""
        is_there = any(_matches(one, event) for one in unwanted for event in self.events)
        assert not is_there, self._shown(unwanted, "expected none of")
        return self

    def then_nothing(self) -> "History":
        """Expect that the last command had nothing to do, and says so."""
        assert [type(event) for event in self.events] == [Ignored], self._shown(["Ignored"])
        return self

    def then_rejected(self, code: RejectionCode) -> "History":
        """Expect that the last command was refused."""
        wanted = Like(Rejected.__name__, {"code": code})
        assert self._is((wanted,)), self._shown([wanted])
        return self

    def then_cancelled(self, *wanted: tuple[int, str]) -> "History":
        """Expect that the last command cancelled the attempts of exactly these threads, each for a reason, in order."""
        found = [(it.thread, it.reason.value) for it in self.engine.cancellations[self._told :]]
        assert found == [*wanted]
        return self

    @property
    def events(self) -> list[Event]:
        """The events of the last command."""
        return [entry.event for entry in self._entries]

    @property
    def run(self) -> WfRun:
        """The WfRun as it is now."""
        return self.engine.runs[RUN_ID]

    def thread(self, number: int = 0) -> ThreadRun:
        """Return a ThreadRun as it is now, or as it was when it left."""
        return self.run.threads.get(number) or self.engine.rows[RUN_ID].finished[number]

    def reasons(self, number: int = 0) -> list[str]:
        """Return the halt reasons of a thread, as documents write them."""
        return [str(reason) for reason in self.thread(number).halt_reasons]

    def status(self, number: int = 0) -> str:
        """Return the status of a thread."""
        return self.thread(number).status.value

    def _is(self, wanted: tuple[Wanted, ...]) -> bool:
        events = self.events
        return len(wanted) == len(events) and all(map(_matches, wanted, events))

    def _shown(self, wanted: Iterable[Wanted], expected: str = "expected") -> str:
        """Return what was expected and what was found, both as the log is shown."""
        lines = [expected, *(f"  {_wanted_line(it)}" for it in wanted)]
        lines += ["found", *(f"  {event_line(it)}" for it in self.events)]
        return "\n".join(lines)


def _wanted_line(wanted: Wanted) -> str:
    if isinstance(wanted, str):
        return f"E  {wanted}"
    if isinstance(wanted, Like):
        return f"E  {wanted.name:<20} {', '.join(f'{name}={value}' for name, value in wanted.fields.items())}"
    return event_line(wanted)


def _matches(wanted: Wanted, event: Event) -> bool:
    match wanted:
        case str():
            return type(event).__name__ == wanted
        case Like():
            return wanted.matches(event)
        case _:
            return wanted == event
