"""Reads scenario documents into scenarios, and collects every problem with its place.

It reads plain data, as YAML gives it, and knows nothing of engines. It writes out the rounds of `repeat`, so a runner
sees one step after the other.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from typing import Any, TypeAlias

from halter.files.definition_files import Written
from halter.files.definitions_document import (
    DEFINITION_FIELDS,
    DefinitionSource,
    DefinitionsReader,
    LoadWfSpec,
    shown,
)
from halter.files.scenario import (
    ABSENT,
    Action,
    Clock,
    Correlate,
    Crash,
    Define,
    DefinitionsRejected,
    Expect,
    Expectation,
    ExpectCorrelation,
    ExpectEvents,
    ExpectRejected,
    Fork,
    Post,
    Report,
    ReportProgress,
    Scenario,
    StartTask,
    Step,
)
from processors.core.records.commands import (
    CorrelatedEvent,
    DefinitionCommand,
    DeleteWfRun,
    ExternalEvent,
    MigrateWfRun,
    PutWfSpec,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    RunWfAndPost,
    StopWfRun,
)
from processors.core.records.errors import HalterError
from processors.core.records.events import Event, RejectionCode
from processors.core.records.model import Status, TaskStatus, ThreadType
from processors.core.records.value_checks import OversizedValue, TooDeepValue, UnfitValue, check_value
from processors.core.records.values import VALUE_DEPTH_MAX, Value, ValueProblem, timestamp_of
from processors.core.rules.context import Limits
from processors.core.wf_spec.document_problems import DocumentProblem, Path
from processors.core.wf_spec.document_reader import Fields
from processors.core.wf_spec.reader import MILLISECONDS_MAX
from processors.core.wf_spec.validate import CODES

START = "2026-01-01T00:00:00Z"
STEPS_MAX = 1_000_000
"""The most rounds of `repeat`, inner ones included, and steps. A `repeat` beyond it is a mistake."""
BYTES_MAX = 256 * 1024 * 1024
"""The most bytes of text in all rounds of `repeat`."""

DURATION = re.compile(r"\+(\d{1,12})(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
HALT_REASON = re.compile(
    r"PENDING_INTERRUPT\(.+\)|(INTERRUPTED|PARENT_HALTED|HANDLING_FAILURE|HALTED_BY_PARENT)\(\d+\)"
    r"|PENDING_FAILURE|MANUAL_HALT",
    re.DOTALL,  # an id may have any character
)
EVENT_FIELDS = {event.__name__: frozenset(item.name for item in fields(event)) for event in Event.__args__}
DEFINITION_CODES = sorted({*CODES, *RejectionCode})
ROUND = "{n}"

DEFINITIONS = "definitions"
"""The field that names files or programs of definitions."""
SCENARIO_FIELDS = (
    "name", DEFINITIONS, "external_events", "tasks", "workflow_events", "start", "limits", "wf_specs", "steps"
)  # fmt: skip
_START_FIELDS = ("spec", "version", "variables")
_THREAD_FIELDS = (
    "status",
    "type",
    "parent",
    "spec",
    "node",
    "node_status",
    "halt_reasons",
    "children",
    "failure",
    "output",
)
_EXPECT_FIELDS = (
    "wf",
    "status",
    "threads",
    "variables",
    "unclaimed",
    "dropped",
    "superseded",
    "outcomes",
    "tasks_out",
    "thread_count",
)


LoadDefinitions: TypeAlias = Callable[[str], Sequence[Written]]
"""Loads the definitions of a file beside the document, or of MODULE:NAME. Raises HalterError."""


class NoDefinitionFiles(HalterError):
    """A document that is in no folder names files. Its author writes the definitions into it."""


def no_definitions(_: str) -> Sequence[Written]:
    """Refuse to load definitions: there is no folder. Raises NoDefinitionFiles."""
    raise NoDefinitionFiles("files cannot be named here")


def read_scenario(
    document: object, load_wf_spec: LoadWfSpec, load_definitions: LoadDefinitions = no_definitions
) -> tuple[Scenario | None, list[DocumentProblem]]:
    """Return the scenario of a document, or None and everything that is wrong with it."""
    reader = _ScenarioReader(load_wf_spec, load_definitions)
    scenario = reader.scenario(document)
    return (None if reader.problems else scenario), reader.problems


class _ScenarioReader(DefinitionsReader):
    """One pass over a scenario document."""

    def __init__(self, load_wf_spec: LoadWfSpec, load_definitions: LoadDefinitions) -> None:
        super().__init__(load_wf_spec)
        self._load_definitions = load_definitions
        self._rejected: list[DefinitionsRejected] = []
        self._written_out = 0
        self._bytes_written_out = 0

    # The document.

    def scenario(self, document: object) -> Scenario:
        top = self.fields(document, (), "a scenario", SCENARIO_FIELDS)
        top.require("steps")
        steps = list(self.steps(self.items(top, "steps"), ("steps",), None))
        for rejected in self._rejected[0 if steps else 1 :]:
            message = "expected no other step beside expect_definition_rejected, which is in place of them"
            self.problem("STEP_FORM", rejected.path, message)
        return Scenario(
            name=top.text("name"),
            definitions=self.all_definitions(top),
            start_ms=self.start(top),
            limits=self.limits(top),
            steps=steps,
            definitions_rejected=self._rejected[0] if self._rejected else None,
            sources=self.sources,
        )

    def all_definitions(self, top: Fields) -> list[DefinitionCommand]:
        """Return the definitions of what `definitions` names and of the document itself, WfSpecs after all others."""
        before = len(self.sources)
        commands = [*self.definitions_named(top), *self.definitions(top)]
        # Stable: what is named comes first. A WfSpec that is named may refer to what only the document defines.
        order = sorted(range(len(commands)), key=lambda it: isinstance(commands[it], PutWfSpec))
        here = self.sources[before:]
        self.sources[before:] = [here[it] for it in order]
        return [commands[it] for it in order]

    def definitions_named(self, top: Fields) -> Iterator[DefinitionCommand]:
        value: Any = top.data.get(DEFINITIONS)
        path = top.path_of(DEFINITIONS)
        named = [((*path, index), it) for index, it in enumerate(value)] if isinstance(value, list) else [(path, value)]
        for here, name in named if value is not None else ():
            if not isinstance(name, str):
                self.wrong(here, "the name of a file of definitions, or MODULE:NAME of a Workflow", name)
                continue
            try:
                loaded = self._load_definitions(name)
            except HalterError as error:
                self.problem("FIELD_VALUE", here, str(error))
                continue
            for one in loaded:
                self.sources.append(DefinitionSource(None, one.path, one.file))
                yield one.command

    def start(self, top: Fields) -> int:
        text = top.data.get("start", START)
        try:
            # A loader of YAML 1.1 may have made a date of it. The text of that date is the same time.
            start_ms = timestamp_of(str(text)).epoch_ms
        except ValueProblem as problem:
            self.problem("FIELD_VALUE", ("start",), str(problem))
            return 0
        if start_ms < 0:
            self.problem("FIELD_VALUE", ("start",), f"expected a time from 1970 on, found {text}")
        return start_ms

    def limits(self, top: Fields) -> Limits:
        known = tuple(item.name for item in fields(Limits) if not item.name.startswith("bytes_"))
        given = self.fields_or_null(top.data.get("limits"), ("limits",), "limits", known)
        numbers = {name: self.whole_number(given, name, None) for name in known}
        return Limits(**{name: number for name, number in numbers.items() if number is not None})

    # Values.

    def whole_number(self, given: Fields, name: str, default: int | None) -> int | None:
        """Return a whole number from 0, which may be written as text: that is what `{n}` leaves."""
        if not given.has(name):
            return default
        number = _whole_number(given.data[name])
        if number is None:
            self.wrong(given.path_of(name), "a whole number from 0", given.data[name])
            return default
        return number

    def thread(self, given: Fields) -> int:
        """Return the number of the thread that a step is about, by default 0."""
        return self.whole_number(given, "thread", 0) or 0

    def items(self, given: Fields, name: str) -> list[Any]:
        """Return the items of a list as they are."""
        return list(given.items(name, lambda item, _path: item))

    def value(self, value: object, path: Path) -> Value:
        """Return a value for a Variable or a payload, with keys that are text; null with a problem.

        A value that no record can hold is a problem here. Otherwise only a run on Kafka would find it.
        """
        texts: Value = self.with_texts_for_keys(value, path)
        try:
            check_value(texts, "value")
        except UnfitValue as unfit:
            where = [step for step in unfit.path if isinstance(step, str | int)]
            code = "LIMIT" if isinstance(unfit, OversizedValue | TooDeepValue) else "FIELD_TYPE"
            self.problem(code, (*path, *where), unfit.reason)
            return None
        return texts

    def with_texts_for_keys(self, value: Any, path: Path, depth: int = 0) -> Any:
        match value:
            case list() | Mapping() if depth > VALUE_DEPTH_MAX:
                return value  # too deep, so its keys do not matter
            case list():
                return [self.with_texts_for_keys(it, (*path, index), depth + 1) for index, it in enumerate(value)]
            case Mapping():
                data = self.mapping(value, path)
                return {name: self.with_texts_for_keys(it, (*path, name), depth + 1) for name, it in data.items()}
            case _:
                return value

    # Steps.

    def steps(self, items: Sequence[object], path: Path, number: int | None) -> Iterator[Step]:
        for index, item in enumerate(items):
            here = (*path, index)
            data = self.mapping(item, here)
            if len(data) != 1:
                if isinstance(item, Mapping):
                    found = ", ".join(data) or "none"
                    self.problem("STEP_FORM", here, f"expected a step with one key, found {found}")
                continue
            [(kind, value)] = data.items()
            if kind == "repeat":
                yield from self.repeat(value, (*here, kind))
            elif kind in _STEPS:
                self._written_out += 1
                does = _STEPS[kind](self, value, (*here, kind))
                if does is not None:
                    yield Step((*here, kind), does, number)
            else:
                self.not_one_of(here, ("repeat", *_STEPS), kind)

    def repeat(self, value: object, path: Path) -> Iterator[Step]:
        repeated = self.fields(value, path, "repeat", ("times", "steps"))
        times = self.whole_number(repeated, "times", 1) or 0
        items = self.items(repeated, "steps")
        if times < 1:
            self.wrong((*path, "times"), "at least 1, or nothing of the steps would be looked at", times)
        self._bytes_written_out += times * _bytes_in(items)
        if self._bytes_written_out > BYTES_MAX:
            message = f"expected at most {BYTES_MAX} bytes of text with all rounds written out, found more"
            self.problem("LIMIT", (*path, "times"), message)
            return
        for number in range(1, times + 1):
            problems = len(self.problems)
            self._written_out += 1
            if self._written_out + (times - number) * max(1, len(items)) > STEPS_MAX:
                self.problem("LIMIT", (*path, "times"), f"expected at most {STEPS_MAX} steps in all, found more")
                return
            yield from self.steps(_in_round(items, number), (*path, "steps"), number)
            if len(self.problems) > problems:
                return  # the other rounds have the same problems

    def run(self, value: object, path: Path) -> Post:
        given = self.fields(value, path, "run", ("id", *_START_FIELDS))
        return Post(RunWf(given.text("id"), *self.start_of(given, path)))

    def start_of(self, given: Fields, path: Path) -> tuple[str, dict[str, Value], int | None, int | None]:
        """Return what a WfRun is started with: its WfSpec, Variables and version."""
        major, revision = self.version(given)
        variables = {
            name: self.value(item, (*path, "variables", name))
            for name, item in self.entries(given, "variables").items()
        }
        return given.text("spec"), variables, major, revision

    def fork(self, value: object, path: Path) -> Fork:
        given = self.fields(value, path, "fork", ("wf", "as", "version"))
        return Fork(given.text("wf"), given.text("as"), *self.version(given))

    def version(self, given: Fields) -> tuple[int | None, int | None]:
        value = given.data.get("version")
        if value is None:
            return None, None
        if isinstance(value, float):
            message = f'a version as text, such as "1.2": without quotes 1.10 is the number {1.10}'
            self.wrong(given.path_of("version"), message, value)
            return None, None
        match = re.fullmatch(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?", str(value))
        if match is None:
            self.wrong(given.path_of("version"), 'a version such as 1 or "1.2"', value)
            return None, None
        return int(match[1]), None if match[2] is None else int(match[2])

    def event(self, value: object, path: Path) -> Post:
        given = self.fields(value, path, "event", ("wf", "name", "id", "content", "thread", "start"))
        wf_run_id, name, event_id = given.text("wf"), given.text("name"), given.text("id")
        content = self.value(given.data.get("content"), (*path, "content"))
        thread = self.whole_number(given, "thread", None)
        if not given.has("start"):
            return Post(ExternalEvent(wf_run_id, name, event_id, content, thread))
        if thread is not None:
            message = "expected no thread beside start, since any thread may take the event"
            self.problem("STEP_FORM", (*path, "thread"), message)
        here = (*path, "start")
        spec, variables, major, revision = self.start_of(
            self.fields(given.data["start"], here, "start", _START_FIELDS), here
        )
        return Post(RunWfAndPost(wf_run_id, spec, name, event_id, variables, content, major, revision))

    def correlate(self, value: object, path: Path) -> Correlate:
        given = self.fields(value, path, "correlate", ("name", "key", "id", "content"))
        content = self.value(given.data.get("content"), (*path, "content"))
        return Correlate(CorrelatedEvent(self.key(given), given.text("name"), given.text("id"), content))

    def key(self, given: Fields) -> str:
        """Return a correlation key. A whole number is the text of its digits."""
        key = given.data.get("key")
        return str(key) if type(key) is int else given.text("key")

    def report(self, value: object, path: Path) -> Report:
        known = ("wf", "thread", "status", "output", "name", "message", "content", "attempt")
        given = self.fields(value, path, "report", known)
        status = given.one_of("status", _ReportStatus, None)
        given.require("status")
        return Report(
            wf_run_id=given.text("wf"),
            thread=self.thread(given),
            status=TaskStatus(status or TaskStatus.SUCCESS),
            attempt=self.whole_number(given, "attempt", None),
            output=self.value(given.data.get("output"), (*path, "output")),
            name=given.optional_text("name"),
            message=given.optional_text("message"),
            content=self.value(given.data.get("content"), (*path, "content")),
        )

    def start_task(self, value: object, path: Path) -> StartTask:
        given = self.fields(value, path, "start_task", ("wf", "thread", "attempt"))
        return StartTask(given.text("wf"), self.thread(given), self.whole_number(given, "attempt", None))

    def report_progress(self, value: object, path: Path) -> ReportProgress:
        given = self.fields(value, path, "report_progress", ("wf", "thread", "attempt", "content"))
        return ReportProgress(
            given.text("wf"),
            self.thread(given),
            self.whole_number(given, "attempt", None),
            self.value(given.data.get("content"), (*path, "content")),
        )

    def stop(self, value: object, path: Path) -> Post:
        given = self.fields(value, path, "stop", ("wf", "thread"))
        return Post(StopWfRun(given.text("wf"), self.thread(given)))

    def resume(self, value: object, path: Path) -> Post:
        given = self.fields(value, path, "resume", ("wf", "thread"))
        return Post(ResumeWfRun(given.text("wf"), self.thread(given)))

    def rescue(self, value: object, path: Path) -> Post:
        given = self.fields(value, path, "rescue", ("wf", "thread", "skip_current_node"))
        skip = given.flag("skip_current_node", False)
        return Post(RescueThreadRun(given.text("wf"), self.thread(given), skip))

    def migrate(self, value: object, path: Path) -> Post:
        given = self.fields(value, path, "migrate", ("wf", "version"))
        given.require("version")
        major, revision = self.version(given)
        return Post(MigrateWfRun(given.text("wf"), major or 0, revision))

    def delete(self, value: object, path: Path) -> Post:
        return Post(DeleteWfRun(self.fields(value, path, "delete", ("wf",)).text("wf")))

    def clock(self, value: object, path: Path) -> Clock | None:
        match = DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            self.wrong(path, "a duration such as +5s, +200ms, +2m, +1h or +7d", value)
            return None
        milliseconds = int(match[1]) * _UNIT_MS[match[2]]
        if milliseconds > MILLISECONDS_MAX:
            self.problem("LIMIT", path, f"expected at most a hundred years, found {value}")
            return None
        return Clock(milliseconds)

    def define(self, value: object, path: Path) -> Define:
        before = len(self.sources)
        commands = self.all_definitions(self.fields(value, path, "define", (DEFINITIONS, *DEFINITION_FIELDS)))
        del self.sources[before:]  # the scenario lists only the sources of its own definitions
        return Define(commands)

    def crash(self, value: object, path: Path) -> Crash:
        self.fields_or_null(value, path, "crash", ())
        return Crash()

    # Expectations.

    def expect(self, value: object, path: Path) -> Expect:
        given = self.fields(value, path, "expect", _EXPECT_FIELDS)
        if given.data.get("status") != ABSENT:
            given.one_of("status", Status, None)
        elif len(given.data) > 2:
            more = ", ".join(name for name in given.data if name not in ("wf", "status"))
            self.problem("STEP_FORM", path, f"expected nothing else of a WfRun that is ABSENT, found {more}")
        expected = dict(given.data)
        expected.pop("wf", None)
        for name in ("unclaimed", "dropped", "superseded"):
            self.items(given, name)
        self.whole_number(given, "thread_count", None)
        if "outcomes" in expected:
            expected["outcomes"] = self.entries(given, "outcomes")
        if "threads" in expected:
            expected["threads"] = self.by_number(given, "threads", self.expected_thread)
        if "variables" in expected:
            expected["variables"] = self.by_number(given, "variables", self.mapping)
        known = ("thread", "task", "attempt", "input", "started", "progress")
        given.items("tasks_out", lambda item, here: self.fields(item, here, "a task", known))
        return Expect(given.text("wf"), expected)

    def by_number(self, given: Fields, name: str, read: Callable[[Any, Path], Any]) -> dict[str, Any]:
        if given.data[name] is None:
            self.wrong(given.path_of(name), "thread numbers, each with what is expected of it", None)
        for number in self.entries(given, name):
            if _whole_number(number) is None:
                self.wrong(given.path_of(name), "thread numbers", number)
        return {number: read(item, (*given.path, name, number)) for number, item in self.entries(given, name).items()}

    def expected_thread(self, value: object, path: Path) -> object:
        if value == "absent":
            return value
        given = self.fields(value, path, "a thread", _THREAD_FIELDS)
        given.one_of("status", Status, None)
        given.one_of("node_status", Status, None)
        given.one_of("type", ThreadType, None)
        self.items(given, "children")
        given.items("halt_reasons", self.expected_halt_reason)
        if given.data.get("failure") is not None:
            self.expected_failure(given.data["failure"], (*path, "failure"), ())
        return given.data

    def expected_halt_reason(self, value: object, path: Path) -> None:
        if not isinstance(value, str) or not HALT_REASON.fullmatch(value):
            self.wrong(path, "a halt reason such as INTERRUPTED(1) or MANUAL_HALT", value)

    def expected_failure(self, value: object, path: Path, more: tuple[str, ...]) -> None:
        known = (*more, "name", "message", "class", "content", "cause")
        given = self.fields(value, path, "a failure", known)
        if given.data.get("cause") is not None:
            self.expected_failure(given.data["cause"], (*path, "cause"), ("thread",))

    def expect_events(self, value: object, path: Path) -> ExpectEvents:
        if isinstance(value, list):
            return ExpectEvents(self.expected_events(value, path), others_between=False)
        given = self.fields(value, path, "expect_events", ("contains",))
        if not given.has("contains"):
            self.problem("FIELD_MISSING", path, "expected a list of events, or the field contains; found neither")
        items = self.items(given, "contains")
        return ExpectEvents(self.expected_events(items, (*path, "contains")), others_between=True)

    def expected_events(self, items: Sequence[object], path: Path) -> list[tuple[str, Mapping[str, Any]]]:
        expected: list[tuple[str, Mapping[str, Any]]] = []
        for index, item in enumerate(items):
            here = (*path, index)
            data: Mapping[str, Any] = {item: None} if isinstance(item, str) else self.mapping(item, here)
            if len(data) != 1:
                self.problem("STEP_FORM", here, f"expected the name of an event, found {', '.join(data) or 'none'}")
                continue
            [(name, wanted)] = data.items()
            known = EVENT_FIELDS.get(name)
            if known is None:
                self.not_one_of(here, sorted(EVENT_FIELDS), name)
                continue
            given = self.fields_or_null(wanted, (*here, name), name, sorted(known))
            expected.append((name, given.data))
        return expected

    def expect_rejected(self, value: object, path: Path) -> ExpectRejected:
        given = self.fields_or_null(value, path, "expect_rejected", ("code",))
        return ExpectRejected(given.one_of("code", RejectionCode, None))

    def expect_correlation(self, value: object, path: Path) -> ExpectCorrelation:
        given = self.fields(value, path, "expect_correlation", ("name", "key", "wf_runs", "waiting"))
        if not given.has("wf_runs") and not given.has("waiting"):
            self.problem("FIELD_MISSING", path, "expected wf_runs, waiting or both, found neither")
        ids = {name: given.items(name, self.id_of) if given.has(name) else None for name in ("wf_runs", "waiting")}
        return ExpectCorrelation(given.text("name"), self.key(given), ids["wf_runs"], ids["waiting"])

    def id_of(self, value: object, path: Path) -> str:
        if not isinstance(value, str):
            self.wrong(path, "an id, as text", value)
        return str(value)

    def expect_definition_rejected(self, value: object, path: Path) -> None:
        given = self.fields_or_null(value, path, "expect_definition_rejected", ("code",))
        code = given.optional_text("code")
        if code is not None and code not in DEFINITION_CODES:
            meant = self.near.meant(code, DEFINITION_CODES)
            message = f"expected a code that definitions are refused with, found {shown(code)}{meant}"
            self.problem("FIELD_VALUE", (*path, "code"), message)
        self._rejected.append(DefinitionsRejected(code, path))


class _ReportStatus(StrEnum):
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    EXCEPTION = "EXCEPTION"


_STEPS: dict[str, Callable[[_ScenarioReader, Any, Path], Action | Expectation | None]] = {
    "run": _ScenarioReader.run,
    "fork": _ScenarioReader.fork,
    "event": _ScenarioReader.event,
    "correlate": _ScenarioReader.correlate,
    "start_task": _ScenarioReader.start_task,
    "report_progress": _ScenarioReader.report_progress,
    "report": _ScenarioReader.report,
    "stop": _ScenarioReader.stop,
    "resume": _ScenarioReader.resume,
    "rescue": _ScenarioReader.rescue,
    "migrate": _ScenarioReader.migrate,
    "delete": _ScenarioReader.delete,
    "clock": _ScenarioReader.clock,
    "define": _ScenarioReader.define,
    "crash": _ScenarioReader.crash,
    "expect": _ScenarioReader.expect,
    "expect_events": _ScenarioReader.expect_events,
    "expect_rejected": _ScenarioReader.expect_rejected,
    "expect_correlation": _ScenarioReader.expect_correlation,
    "expect_definition_rejected": _ScenarioReader.expect_definition_rejected,
}


def _bytes_in(value: Any) -> int:
    match value:
        case str():
            return len(value)
        case list():
            return sum(map(_bytes_in, value))
        case Mapping():
            return sum(_bytes_in(key) + _bytes_in(item) for key, item in value.items())
        case _:
            return 0


def _in_round(value: Any, number: int) -> Any:
    """Return a value whose texts have the number of the round for `{n}`. An inner `repeat` has its own rounds."""
    match value:
        case str():
            return value.replace(ROUND, str(number))
        case list():
            return [_in_round(item, number) for item in value]
        case Mapping():
            if set(value) == {"repeat"}:
                return value
            return {_in_round(key, number): _in_round(item, number) for key, item in value.items()}
        case _:
            return value


def _whole_number(value: object) -> int | None:
    """Return a number from 0, also one that is written as text; None for anything else."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if type(value) is int and value >= 0 else None
