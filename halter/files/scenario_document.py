"""What a scenario document says, and everything that is wrong with one.

Reads plain data (what YAML gives) into steps; knows nothing of engines. Rounds of `repeat` are written out here, so a
runner sees one step after the other. Problems are collected, all of them, each with the place where it is.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, TypeAlias

from processors.core.records.commands import (
    Command,
    DefinitionCommand,
    DeleteWfRun,
    ExternalEvent,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    PutWorkflowEventDef,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    StopWfRun,
    TaskStatus,
)
from processors.core.records.errors import HalterError
from processors.core.records.events import Event, RejectionCode
from processors.core.records.model import Status, ThreadType
from processors.core.records.values import (
    VALUE_DEPTH_MAX,
    OversizedValue,
    TooDeepValue,
    UnfitValue,
    Value,
    ValueProblem,
    VariableType,
    check_value,
    timestamp_of,
)
from processors.core.rules.context import Limits
from processors.core.wf_spec.document_problems import DocumentProblem, Path
from processors.core.wf_spec.near_names import NearNames
from processors.core.wf_spec.reader import MILLISECONDS_MAX
from processors.core.wf_spec.validate import CODES

START = "2026-01-01T00:00:00Z"
ABSENT = "ABSENT"
STEPS_MAX = 1_000_000
"""Rounds of `repeat`, the inner ones too, and steps: beyond it a `repeat` is a mistake."""
BYTES_MAX = 256 * 1024 * 1024
"""Of the texts of all rounds of `repeat`."""

DURATION = re.compile(r"\+(\d{1,12})(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
HALT_REASON = re.compile(
    r"PENDING_INTERRUPT\(.+\)|(INTERRUPTED|PARENT_HALTED|HANDLING_FAILURE|HALTED_BY_PARENT)\(\d+\)"
    r"|PENDING_FAILURE|MANUAL_HALT",
    re.DOTALL,  # an id may be anything
)
EVENT_FIELDS = {event.__name__: frozenset(item.name for item in fields(event)) for event in Event.__args__}
DEFINITION_CODES = sorted({*CODES, *RejectionCode})
ROUND = "{n}"


@dataclass(frozen=True, slots=True)
class Put:
    """A record arrives."""

    command: Command


@dataclass(frozen=True, slots=True)
class Report:
    """A task worker answers for an attempt of a thread; by default for the one that is out."""

    wf_run_id: str
    thread: int
    status: TaskStatus
    attempt: int | None
    output: Value
    name: str | None
    message: str | None
    content: Value


@dataclass(frozen=True, slots=True)
class Clock:
    """Time passes."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class Define:
    """Definitions are registered, or put again."""

    commands: Sequence[DefinitionCommand]


@dataclass(frozen=True, slots=True)
class Crash:
    """The engine loses its memory."""


@dataclass(frozen=True, slots=True)
class Expect:
    """What is so now; of a mapping only what is written is compared."""

    wf_run_id: str
    expected: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExpectEvents:
    """The events since the step before: all of them in order, or these with others between."""

    expected: Sequence[tuple[str, Mapping[str, Any]]]
    others_between: bool


@dataclass(frozen=True, slots=True)
class ExpectRejected:
    """The record before was refused."""

    code: str | None


Action: TypeAlias = Put | Report | Clock | Define | Crash
Expectation: TypeAlias = Expect | ExpectEvents | ExpectRejected


@dataclass(frozen=True, slots=True)
class Step:
    """One step and where it is written."""

    path: Path
    does: Action | Expectation
    round: int | None = None
    """Of the innermost `repeat` around it."""


@dataclass(frozen=True, slots=True)
class DefinitionsRejected:
    """The document expects its definitions to be refused, with this code or with any."""

    code: str | None
    path: Path = ()


@dataclass(frozen=True, slots=True)
class DefinitionPlace:
    """Where a definition is written: in a file that the document names, or, without one, in the document itself."""

    file: str | None
    path: Path


@dataclass(frozen=True, slots=True)
class Scenario:
    """A test of definitions."""

    name: str
    definitions: Sequence[DefinitionCommand]
    start_ms: int
    limits: Limits
    steps: Sequence[Step]
    definitions_rejected: DefinitionsRejected | None = None
    places: Sequence[DefinitionPlace] = ()
    """Of the definitions, one for each."""

    @property
    def queues(self) -> list[str]:
        """The queues of its tasks."""
        defined = [*self.definitions]
        for step in self.steps:
            if isinstance(step.does, Define):
                defined += step.does.commands
        return sorted({it.queue for it in defined if isinstance(it, PutTaskDef) and it.queue})


LoadWfSpec: TypeAlias = Callable[[str], object]
"""The WfSpec document in a file beside the scenario; raises HalterError."""


def read_scenario(document: object, load_wf_spec: LoadWfSpec) -> tuple[Scenario | None, list[DocumentProblem]]:
    """The scenario, or all that is wrong with its document."""
    reader = _Reader(load_wf_spec)
    scenario = reader.scenario(document)
    return (None if reader.problems else scenario), reader.problems


def read_definitions(
    document: object, load_wf_spec: LoadWfSpec
) -> tuple[list[DefinitionCommand], list[DefinitionPlace], list[DocumentProblem]]:
    """What a document of definitions alone (the head of a scenario) registers, each with where it stands, and all that
    is wrong with its form.
    """
    reader = _Reader(load_wf_spec)
    commands = list(reader.definitions(reader.fields(document, (), "a document of definitions", DEFINITION_FIELDS)))
    return commands, reader.places, reader.problems


DEFINITION_FIELDS = ("external_events", "workflow_events", "tasks", "wf_specs")
_SCENARIO_FIELDS = ("name", "external_events", "tasks", "workflow_events", "start", "limits", "wf_specs", "steps")
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
_MISSING = object()


class _Fields:
    """A mapping of the document with fields of its own; reports what is missing or of the wrong type."""

    def __init__(self, reader: "_Reader", data: Mapping[str, Any], path: Path) -> None:
        self.reader, self.data, self.path = reader, data, path

    def has(self, name: str) -> bool:
        return name in self.data

    def text(self, name: str) -> str:
        value = self.data.get(name, _MISSING)
        if value is _MISSING:
            self.reader.problem("FIELD_MISSING", self.path, f"expected the field {name}, found none")
            return ""
        if not isinstance(value, str):
            self.reader.wrong((*self.path, name), "text", value)
            return ""
        return value

    def optional_text(self, name: str) -> str | None:
        return self.text(name) if self.has(name) else None

    def number(self, name: str, default: int | None) -> int | None:
        if name not in self.data:
            return default
        number = _whole_number(self.data[name])
        if number is None:
            self.reader.wrong((*self.path, name), "a whole number from 0", self.data[name])
            return default
        return number

    def flag(self, name: str) -> bool:
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            self.reader.wrong((*self.path, name), "true or false", value)
            return False
        return value

    def one_of(self, name: str, choices: type[StrEnum]) -> str | None:
        if name not in self.data:
            return None
        value = self.data[name]
        if isinstance(value, str) and value in list(choices):
            return value
        self.reader.not_one_of((*self.path, name), choices, value)
        return None

    def items(self, name: str) -> list[Any]:
        value = self.data.get(name, [])
        if not isinstance(value, list):
            self.reader.wrong((*self.path, name), "a list", value)
            return []
        return value

    def entries(self, name: str) -> dict[str, Any]:
        value = self.data.get(name)
        return {} if value is None else self.reader.mapping(value, (*self.path, name))


def wf_spec_command(document: object) -> PutWfSpec:
    """What registers a WfSpec document that YAML gave, whatever it is: it is for the engine to refuse it."""
    name = document.get("name") if isinstance(document, Mapping) else None
    return PutWfSpec(name if isinstance(name, str) else "", json.dumps(document, ensure_ascii=False))


class _Reader:
    """One pass over a document; collects its problems."""

    def __init__(self, load_wf_spec: LoadWfSpec) -> None:
        self.problems: list[DocumentProblem] = []
        self._load_wf_spec = load_wf_spec
        self.places: list[DefinitionPlace] = []
        self._rejected: list[DefinitionsRejected] = []
        self._written_out = 0
        self._bytes_written_out = 0
        self._named: set[str] = set()
        self.near = NearNames()

    def problem(self, code: str, path: Path, message: str) -> None:
        self.problems.append(DocumentProblem(code, path, message))

    def wrong(self, path: Path, expected: str, found: object) -> None:
        self.problem("FIELD_TYPE", path, f"expected {expected}, found {_shown(found)}")

    def not_one_of(self, path: Path, choices: Iterable[str], found: object) -> None:
        names = [str(choice) for choice in choices]
        meant = self.near.meant(found, names)
        self.problem("FIELD_VALUE", path, f"expected one of {', '.join(names)}, found {_shown(found)}{meant}")

    def mapping(self, value: object, path: Path) -> dict[str, Any]:
        """A mapping whose keys are text, or numbers, which become text."""
        if not isinstance(value, Mapping):
            self.wrong(path, "a mapping", value)
            return {}
        texts = {str(key): item for key, item in value.items()}
        if len(texts) < len(value):
            self.wrong(path, "each key once", "one as a number and as text")
        return texts

    def value(self, value: Any, path: Path) -> Value:
        """What a Variable or a payload may hold: as it stands, with keys that are text. Null with a problem otherwise.

        Checked here, because no record could hold anything else: it would be the runner's problem, on Kafka only.
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
                return value  # too deep, whatever its keys are
            case list():
                return [self.with_texts_for_keys(it, (*path, index), depth + 1) for index, it in enumerate(value)]
            case Mapping():
                data = self.mapping(value, path)
                return {name: self.with_texts_for_keys(it, (*path, name), depth + 1) for name, it in data.items()}
            case _:
                return value

    def fields(self, value: object, path: Path, what: str, known: Sequence[str]) -> _Fields:
        data = self.mapping(value, path)
        for name in data:
            if name not in known:
                meant = self.near.meant(name, known)
                has = ", ".join(known) or "none"
                self.problem("FIELD_UNKNOWN", (*path, name), f"{what} has no field {name}{meant}; it has {has}")
        return _Fields(self, data, path)

    # The document.

    def scenario(self, document: object) -> Scenario:
        top = self.fields(document, (), "a scenario", _SCENARIO_FIELDS)
        if not top.has("steps"):
            self.problem("FIELD_MISSING", (), "expected the field steps, found none")
        steps = list(self.steps(top.items("steps"), ("steps",), None))
        for rejected in self._rejected[0 if steps else 1 :]:
            message = "expected no other step beside expect_definition_rejected, which is in place of them"
            self.problem("STEP_FORM", rejected.path, message)
        return Scenario(
            name=top.text("name"),
            definitions=list(self.definitions(top)),
            start_ms=self.start(top),
            limits=self.limits(top),
            steps=steps,
            definitions_rejected=self._rejected[0] if self._rejected else None,
            places=self.places,
        )

    def start(self, top: _Fields) -> int:
        text = top.data.get("start", START)
        try:
            # A loader of YAML 1.1 has made a date of it already; its text is the same date.
            start_ms = timestamp_of(str(text)).epoch_ms
        except ValueProblem as problem:
            self.problem("FIELD_VALUE", ("start",), str(problem))
            return 0
        if start_ms < 0:
            self.problem("FIELD_VALUE", ("start",), f"expected a time from 1970 on, found {text}")
        return start_ms

    def limits(self, top: _Fields) -> Limits:
        known = tuple(item.name for item in fields(Limits) if not item.name.startswith("bytes_"))
        given = self.fields(top.data.get("limits") or {}, ("limits",), "limits", known)
        numbers = {name: given.number(name, None) for name in known}
        return Limits(**{name: number for name, number in numbers.items() if number is not None})

    def definitions(self, top: _Fields) -> Iterator[DefinitionCommand]:
        for name, value in top.entries("external_events").items():
            path: Path = (*top.path, "external_events", name)
            self.places.append(DefinitionPlace(None, path))
            content = self.fields({} if value is None else value, path, "an ExternalEventDef", ("type",))
            yield PutExternalEventDef(name, self.type_of(content, "type"))
        for name, value in top.entries("workflow_events").items():
            path = (*top.path, "workflow_events", name)
            self.places.append(DefinitionPlace(None, path))
            content = self.fields({} if value is None else value, path, "a WorkflowEventDef", ("type",))
            yield PutWorkflowEventDef(name, self.type_of(content, "type"))
        for name, value in top.entries("tasks").items():
            path = (*top.path, "tasks", name)
            self.places.append(DefinitionPlace(None, path))
            yield self.task_def(name, {} if value is None else value, path)
        for index, value in enumerate(top.items("wf_specs")):
            yield from self.wf_spec(value, (*top.path, "wf_specs", index))

    def type_of(self, definition: _Fields, name: str) -> VariableType | None:
        chosen = definition.one_of(name, VariableType)
        return None if chosen is None else VariableType(chosen)

    def task_def(self, name: str, value: object, path: Path) -> PutTaskDef:
        task = self.fields(value, path, "a TaskDef", ("queue", "input", "output"))
        declared = None
        if task.has("input"):
            given = self.fields(task.data["input"], (*path, "input"), "", tuple(task.entries("input")))
            types = {key: self.type_of(given, key) for key in given.data}
            declared = {key: declared_type for key, declared_type in types.items() if declared_type is not None}
        return PutTaskDef(name, declared, self.type_of(task, "output"), task.optional_text("queue"))

    def wf_spec(self, value: object, path: Path) -> Iterator[PutWfSpec]:
        if not isinstance(value, str):
            self.places.append(DefinitionPlace(None, path))
            yield wf_spec_command(value)
            return
        if value in self._named:
            self.problem("FIELD_VALUE", path, f"expected each WfSpec document once, found {_shown(value)} again")
            return
        self._named.add(value)
        try:
            document = self._load_wf_spec(value)
        except HalterError as error:
            self.problem("FIELD_VALUE", path, f"expected the name of a WfSpec document, found that {error}")
            return
        self.places.append(DefinitionPlace(value, ()))
        yield wf_spec_command(document)

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
        times = repeated.number("times", 1) or 0
        items = repeated.items("steps")
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

    def run(self, value: object, path: Path) -> Put:
        given = self.fields(value, path, "run", ("id", "spec", "version", "variables"))
        major, revision = self.version(given)
        variables = {
            name: self.value(item, (*path, "variables", name)) for name, item in given.entries("variables").items()
        }
        return Put(RunWf(given.text("id"), given.text("spec"), variables, major, revision))

    def version(self, given: _Fields) -> tuple[int | None, int | None]:
        value = given.data.get("version")
        if value is None:
            return None, None
        if isinstance(value, float):
            message = f'a version as text, such as "1.2": without quotes 1.10 is the number {1.10}'
            self.wrong((*given.path, "version"), message, value)
            return None, None
        match = re.fullmatch(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?", str(value))
        if match is None:
            self.wrong((*given.path, "version"), 'a version such as 1 or "1.2"', value)
            return None, None
        return int(match[1]), None if match[2] is None else int(match[2])

    def event(self, value: object, path: Path) -> Put:
        given = self.fields(value, path, "event", ("wf", "name", "id", "content", "thread"))
        return Put(
            ExternalEvent(
                given.text("wf"),
                given.text("name"),
                given.text("id"),
                self.value(given.data.get("content"), (*path, "content")),
                given.number("thread", None),
            )
        )

    def report(self, value: object, path: Path) -> Report:
        known = ("wf", "thread", "status", "output", "name", "message", "content", "attempt")
        given = self.fields(value, path, "report", known)
        status = given.one_of("status", _ReportStatus)
        if not given.has("status"):
            self.problem("FIELD_MISSING", path, "expected the field status, found none")
        return Report(
            wf_run_id=given.text("wf"),
            thread=given.number("thread", 0) or 0,
            status=TaskStatus(status or TaskStatus.SUCCESS),
            attempt=given.number("attempt", None),
            output=self.value(given.data.get("output"), (*path, "output")),
            name=given.optional_text("name"),
            message=given.optional_text("message"),
            content=self.value(given.data.get("content"), (*path, "content")),
        )

    def stop(self, value: object, path: Path) -> Put:
        given = self.fields(value, path, "stop", ("wf", "thread"))
        return Put(StopWfRun(given.text("wf"), given.number("thread", 0) or 0))

    def resume(self, value: object, path: Path) -> Put:
        given = self.fields(value, path, "resume", ("wf", "thread"))
        return Put(ResumeWfRun(given.text("wf"), given.number("thread", 0) or 0))

    def rescue(self, value: object, path: Path) -> Put:
        given = self.fields(value, path, "rescue", ("wf", "thread", "skip_current_node"))
        skip = given.flag("skip_current_node")
        return Put(RescueThreadRun(given.text("wf"), given.number("thread", 0) or 0, skip))

    def delete(self, value: object, path: Path) -> Put:
        return Put(DeleteWfRun(self.fields(value, path, "delete", ("wf",)).text("wf")))

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
        places = len(self.places)
        commands = list(self.definitions(self.fields(value, path, "define", DEFINITION_FIELDS)))
        del self.places[places:]  # they are those of the step
        return Define(commands)

    def crash(self, value: object, path: Path) -> Crash:
        self.fields({} if value is None else value, path, "crash", ())
        return Crash()

    # Expectations.

    def expect(self, value: object, path: Path) -> Expect:
        given = self.fields(value, path, "expect", _EXPECT_FIELDS)
        if given.data.get("status") != ABSENT:
            given.one_of("status", Status)
        elif len(given.data) > 2:
            more = ", ".join(name for name in given.data if name not in ("wf", "status"))
            self.problem("STEP_FORM", path, f"expected nothing else of a WfRun that is ABSENT, found {more}")
        expected = dict(given.data)
        expected.pop("wf", None)
        for name in ("unclaimed", "dropped", "superseded"):
            given.items(name)
        given.number("thread_count", None)
        if "outcomes" in expected:
            expected["outcomes"] = given.entries("outcomes")
        if "threads" in expected:
            expected["threads"] = self.by_number(given, "threads", self.expected_thread)
        if "variables" in expected:
            expected["variables"] = self.by_number(given, "variables", self.mapping)
        for index, item in enumerate(given.items("tasks_out")):
            self.fields(item, (*path, "tasks_out", index), "a task", ("thread", "task", "attempt", "input"))
        return Expect(given.text("wf"), expected)

    def by_number(self, given: _Fields, name: str, read: Callable[[Any, Path], Any]) -> dict[str, Any]:
        if given.data[name] is None:
            self.wrong((*given.path, name), "thread numbers, each with what is expected of it", None)
        for number in given.entries(name):
            if _whole_number(number) is None:
                self.wrong((*given.path, name), "thread numbers", number)
        return {number: read(item, (*given.path, name, number)) for number, item in given.entries(name).items()}

    def expected_thread(self, value: object, path: Path) -> object:
        if value == "absent":
            return value
        given = self.fields(value, path, "a thread", _THREAD_FIELDS)
        given.one_of("status", Status)
        given.one_of("node_status", Status)
        given.one_of("type", ThreadType)
        given.items("children")
        for index, reason in enumerate(given.items("halt_reasons")):
            if not isinstance(reason, str) or not HALT_REASON.fullmatch(reason):
                self.wrong(
                    (*path, "halt_reasons", index), "a halt reason such as INTERRUPTED(1) or MANUAL_HALT", reason
                )
        if given.data.get("failure") is not None:
            self.expected_failure(given.data["failure"], (*path, "failure"), ())
        return given.data

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
        return ExpectEvents(self.expected_events(given.items("contains"), (*path, "contains")), others_between=True)

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
            given = self.fields({} if wanted is None else wanted, (*here, name), name, sorted(known))
            expected.append((name, given.data))
        return expected

    def expect_rejected(self, value: object, path: Path) -> ExpectRejected:
        given = self.fields({} if value is None else value, path, "expect_rejected", ("code",))
        return ExpectRejected(given.one_of("code", RejectionCode))

    def expect_definition_rejected(self, value: object, path: Path) -> None:
        given = self.fields({} if value is None else value, path, "expect_definition_rejected", ("code",))
        code = given.optional_text("code")
        if code is not None and code not in DEFINITION_CODES:
            meant = self.near.meant(code, DEFINITION_CODES)
            message = f"expected a code that definitions are refused with, found {_shown(code)}{meant}"
            self.problem("FIELD_VALUE", (*path, "code"), message)
        self._rejected.append(DefinitionsRejected(code, path))


class _ReportStatus(StrEnum):
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    EXCEPTION = "EXCEPTION"


_STEPS: dict[str, Callable[[_Reader, Any, Path], Action | Expectation | None]] = {
    "run": _Reader.run,
    "event": _Reader.event,
    "report": _Reader.report,
    "stop": _Reader.stop,
    "resume": _Reader.resume,
    "rescue": _Reader.rescue,
    "delete": _Reader.delete,
    "clock": _Reader.clock,
    "define": _Reader.define,
    "crash": _Reader.crash,
    "expect": _Reader.expect,
    "expect_events": _Reader.expect_events,
    "expect_rejected": _Reader.expect_rejected,
    "expect_definition_rejected": _Reader.expect_definition_rejected,
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
    """The same with `{n}` in its texts replaced by the number of the round; an inner `repeat` has its own rounds."""
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
    """A number from 0, also as text: what `{n}` leaves."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return "true" if value else "false"
        case _:
            text = repr(value)
            return text if len(text) <= 60 else text[:57] + "..."
