"""Reads a document of bindings, and collects every problem with its place. Opens no file that the document names.

A binding with one event has the event's fields itself. With a list `events`, what the binding says holds for each of
them that does not say it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from halter.bindings.model import (
    Binding,
    Bindings,
    BoundEvent,
    Format,
    FormatKind,
    Framing,
    OfTombstone,
    Start,
    Tombstone,
)
from halter.transform.templates import Names, Template, TemplateReader, uses
from processors.core.records.spec import Expression, Literal, VariableRef
from processors.core.records.values import VariableType
from processors.core.wf_spec.document_problems import DocumentProblem, EnoughProblems, Path, report_to
from processors.core.wf_spec.document_reader import Fields, shown
from processors.core.wf_spec.static_types import Type

VALUE: Final = "value"
KEY: Final = "key"
HEADERS: Final = "headers"
TOPIC: Final = "topic"
PARTITION: Final = "partition"
OFFSET: Final = "offset"
TIMESTAMP: Final = "timestamp"
ITEM: Final = "item"
INDEX: Final = "index"

ABOUT_RECORDS: Final[Names] = {
    HEADERS: VariableType.JSON_OBJ,
    TOPIC: VariableType.STR,
    PARTITION: VariableType.INT,
    OFFSET: VariableType.INT,
    TIMESTAMP: VariableType.TIMESTAMP,
}
"""The names that templates may use for what every record has, beside its key and value."""
BINDING_FIELDS: Final = ("name", "topic", "format", "key_format", "when", "each", "events", "tombstone")
EVENT_FIELDS: Final = ("event", "wf_run_id", "correlate", "event_id", "content", "start")
START_FIELDS: Final = ("wf_spec", "version", "inputs")
FORMAT_FIELDS: Final = ("type", "framing", "schema", "descriptor", "message")
BINDINGS_MAX: Final = 1_000
EVENTS_MAX: Final = 100
"""The most events of a binding. `each` makes as many of each as there are items."""
FORMAT_TYPES: Final[Mapping[FormatKind, Type]] = {
    FormatKind.STRING: VariableType.STR,
    FormatKind.BYTES: VariableType.BYTES,
    FormatKind.INTEGER: VariableType.INT,
    FormatKind.LONG: VariableType.INT,
    FormatKind.PROTOBUF: VariableType.JSON_OBJ,
}
"""The types of what a format reads, where the record does not tell."""
FRAMINGS: Final[Mapping[FormatKind, tuple[Framing, ...]]] = {
    FormatKind.JSON: (Framing.BARE, Framing.CONFLUENT),
    FormatKind.AVRO: (Framing.CONFLUENT, Framing.SINGLE_OBJECT, Framing.BARE),
    FormatKind.PROTOBUF: (Framing.BARE, Framing.CONFLUENT),
}
"""Format -> the framings that it may have. Other formats have none."""


def read_bindings(document: object) -> tuple[Bindings, list[DocumentProblem]]:
    """Return the bindings of a document, and all that is wrong with it. With problems, use the bindings for nothing."""
    reader = _Reader()
    try:
        bindings = reader.bindings(document)
    except EnoughProblems:
        bindings = Bindings("", ())
    # What events share is read for each of them.
    return bindings, list(dict.fromkeys(reader.problems))


class _Reader(TemplateReader):
    """One pass over a document."""

    def problem(self, code: str, path: Path, message: str) -> None:
        """Note a problem; raises EnoughProblems if there are as many as anybody looks for."""
        report_to(self.problems, DocumentProblem(code, path, message))

    def bindings(self, document: object) -> Bindings:
        """Read the document."""
        top = self.fields(document, (), "a document of bindings", ("name", "bindings"))
        if top is None:
            return Bindings("", ())
        name = top.required("name", self.name, "")
        read = top.items("bindings", self._binding) if top.require("bindings") else ()
        if top.has("bindings") and not read and not self.problems:
            self.problem("FIELD_VALUE", ("bindings",), "expected at least one binding, found none")
        if len(read) > BINDINGS_MAX:
            self.problem("LIMIT", ("bindings",), f"expected at most {BINDINGS_MAX} bindings, found {len(read)}")
        names = set[str]()
        for index, it in enumerate(read):
            if it.name and it.name in names:
                message = f"expected each name once, found {shown(it.name)} again"
                self.problem("NAME_INVALID", ("bindings", index, "name"), message)
            names.add(it.name)
        return Bindings(name, tuple(numbered(read)))

    def _binding(self, value: object, path: Path) -> Binding:
        fields = self.fields(value, path, "a binding", (*BINDING_FIELDS, *EVENT_FIELDS))
        if fields is None:
            return Binding("", "", Format(), Format(), None, None, ())
        name, topic = fields.required("name", self.name, ""), fields.required("topic", self.topic, "")
        of_value = self._format(fields, "format", Format())
        of_key = self._format(fields, "key_format", Format(FormatKind.STRING))
        without_value: Names = {KEY: FORMAT_TYPES.get(of_key.kind), **ABOUT_RECORDS}
        of_record: Names = {VALUE: FORMAT_TYPES.get(of_value.kind), **without_value}
        when = self._condition(fields, of_record)
        each, of_item = self._each(fields, of_record)
        events = self._events(fields, of_item)
        tombstone = self._tombstone(fields, without_value)
        return Binding(name, topic, of_value, of_key, when, each, events, tombstone, path)

    # The formats.

    def _format(self, fields: Fields, name: str, default: Format) -> Format:
        if not fields.has(name):
            return default
        value, path = fields.data[name], fields.path_of(name)
        if isinstance(value, str):
            kind = self.one_of(value, path, FormatKind, FormatKind.JSON)
            format_ = Format(kind, self._usual_framing(kind), path=path)
            if kind is FormatKind.PROTOBUF:
                self.missing(path, "descriptor")
            return format_
        given = self.fields(value, path, "a format", FORMAT_FIELDS)
        if given is None:
            return Format()
        kind = given.required("type", lambda it, at: self.one_of(it, at, FormatKind, FormatKind.JSON), FormatKind.JSON)
        framing = self._framing(given, kind)
        wanted = {FormatKind.AVRO: ("schema",), FormatKind.PROTOBUF: ("descriptor", "message")}.get(kind, ())
        for other in ("schema", "descriptor", "message"):
            if given.has(other) and other not in wanted and given.has("type"):
                has = " and ".join(("type", "framing", *wanted) if kind in FRAMINGS else ("type",))
                message = f"the format {kind} has no field {other}; it has {has}"
                self.problem("FIELD_UNKNOWN", given.path_of(other), message)
        if kind is FormatKind.PROTOBUF:
            given.require("descriptor")
        if kind is FormatKind.AVRO and not given.has("schema") and framing is not Framing.CONFLUENT:
            message = f"expected a schema beside the framing {framing}, found none: only with {Framing.CONFLUENT} do "
            self.problem("FIELD_MISSING", given.path_of("framing"), f"{message}records say which schema of a registry")
        texts = {it: given.optional_text(it) for it in ("schema", "descriptor", "message")}
        return Format(kind, framing, **texts, path=path)

    @staticmethod
    def _usual_framing(kind: FormatKind) -> Framing:
        return FRAMINGS.get(kind, (Framing.BARE,))[0]

    def _framing(self, given: Fields, kind: FormatKind) -> Framing:
        usual = self._usual_framing(kind)
        if not given.has("framing"):
            return usual
        path = given.path_of("framing")
        framing = self.one_of(given.data["framing"], path, Framing, usual)
        allowed = FRAMINGS.get(kind, (Framing.BARE,))
        if framing not in allowed:
            self.problem("FIELD_VALUE", path, f"the format {kind} may be {' or '.join(allowed)}, found {framing}")
        return framing

    # The events.

    def _condition(self, fields: Fields, names: Names) -> Expression | None:
        if not fields.has("when"):
            return None
        path = fields.path_of("when")
        expression, found = self.checked(fields.data["when"], path, names)
        if found not in (None, VariableType.BOOL):
            self.problem("CONDITION_TYPE", path, f"expected a BOOL, found {found}")
        return expression

    def _each(self, fields: Fields, names: Names) -> tuple[Expression | None, Names]:
        if not fields.has("each"):
            return None, names
        path = fields.path_of("each")
        expression, found = self.checked(fields.data["each"], path, names)
        if found not in (None, VariableType.JSON_ARR):
            self.problem("EXPRESSION_TYPE", path, f"expected a JSON_ARR, found {found}")
        return expression, {ITEM: None, INDEX: VariableType.INT, **names}

    def _events(self, binding: Fields, names: Names) -> tuple[BoundEvent, ...]:
        if not binding.has("events"):
            return (self._event(binding, {}, names, binding.path),)
        path = binding.path_of("events")
        shared = {it: binding.path for it in EVENT_FIELDS if binding.has(it)}
        used = set[str]()

        def event(value: object, at: Path) -> BoundEvent | None:
            own = self.fields(value, at, "an event", ("when", *EVENT_FIELDS))
            if own is None:
                return None
            ways = {"wf_run_id", "correlate"}
            inherited = {
                it: where
                for it, where in shared.items()
                if it not in own.data and not (it in ways and ways & own.data.keys())
            }
            used.update(inherited)
            fields = Fields(self, {**own.data, **{it: binding.data[it] for it in inherited}}, at)
            when = self._condition(own, names)
            return replace(self._event(fields, inherited, names, at), when=when)

        events = tuple(it for it in binding.items("events", event) if it is not None)
        if isinstance(binding.data["events"], list) and not binding.data["events"]:
            self.problem("FIELD_VALUE", path, "expected at least one event, found none")
        for name in shared if events else ():
            if name not in used:
                message = "expected an event that takes this from the binding, found that each has its own"
                self.problem("FIELD_UNUSED", binding.path_of(name), message)
        if len(events) > EVENTS_MAX:
            self.problem("LIMIT", path, f"expected at most {EVENTS_MAX} events, found {len(events)}")
        return events

    def _event(self, fields: Fields, inherited: Mapping[str, Path], names: Names, path: Path) -> BoundEvent:
        """Read an event. `inherited`: field -> where it stands, if not here."""

        def place(name: str) -> Path:
            return (*inherited.get(name, path), name)

        def expression(name: str) -> Expression | None:
            if not fields.has(name):
                return None
            found = self.checked(fields.data[name], place(name), names)
            self._expect_id(name, *found, place(name))
            return found[0]

        event = fields.required("event", lambda it, _: self.name(it, place("event")), "")
        wf_run_id, correlate, event_id = expression("wf_run_id"), expression("correlate"), expression("event_id")
        if wf_run_id is None and correlate is None:
            self.missing(path, "wf_run_id")
        if wf_run_id is not None and correlate is not None:
            message = "expected a wf_run_id or a key to correlate by, found both: which WfRuns should get the event?"
            self.problem("FIELD_VALUE", place("correlate"), message)
        way = wf_run_id if correlate is None else correlate
        if event_id is not None and ITEM in names and not any(uses(it, ITEM, INDEX) for it in (event_id, way) if it):
            message = "expected an id that differs from item to item, found one for all: only the first would count"
            self.problem("EXPRESSION_TYPE", place("event_id"), f"{message}; add index to it, or leave it out")
        content, content_type = self._content(fields, names, place("content"))
        start = None
        if fields.has("start"):
            start = self._start(fields.data["start"], place("start"), names)
            if correlate is not None:
                message = "expected no start beside a key to correlate by: only a wf_run_id says which WfRun to start"
                self.problem("FIELD_VALUE", place("start"), message)
        return BoundEvent(event, wf_run_id, correlate, event_id, content, content_type, None, start, path=path)

    def _expect_id(self, name: str, expression: Expression, found: Type, path: Path) -> None:
        if found not in (None, VariableType.STR, VariableType.INT):
            self.problem("EXPRESSION_TYPE", path, f"expected a STR or an INT, found {found}")
        elif name == "event_id" and isinstance(expression, Literal) and found is not None:
            message = "expected an id that differs from record to record, found one for all: only the first would count"
            self.problem("EXPRESSION_TYPE", path, message)

    def _content(self, fields: Fields, names: Names, path: Path) -> tuple[Template, Type]:
        if fields.has("content"):
            return self.template(fields.data["content"], path, names)
        for usual in (ITEM, VALUE):
            if usual in names:
                return VariableRef(usual), names[usual]
        return Literal(None), None

    def _start(self, value: object, path: Path, names: Names) -> Start:
        if isinstance(value, str):
            return Start(value, path=path)
        fields = self.fields(value, path, "a start", START_FIELDS)
        if fields is None:
            return Start("")
        major, revision = self._version(fields)
        types = dict[str, Type]()

        def given(name: str, item: object, at: Path) -> Template:
            template, types[name] = self.template(item, at, names)
            return template

        return Start(fields.text("wf_spec"), major, revision, fields.entries("inputs", given), types, path)

    def _version(self, fields: Fields) -> tuple[int | None, int | None]:
        if not fields.has("version"):
            return None, None
        value, path = fields.data["version"], fields.path_of("version")
        parts = re.fullmatch(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?", str(value)) if type(value) in (int, str) else None
        if parts is None:
            self.wrong(path, 'a version, such as 1 or "1.2" (with quotation marks)', value)
            return None, None
        return int(parts[1]), None if parts[2] is None else int(parts[2])

    def _tombstone(self, fields: Fields, names: Names) -> OfTombstone:
        if not fields.has("tombstone"):
            return Tombstone.DEAD_LETTER
        value, path = fields.data["tombstone"], fields.path_of("tombstone")
        if not isinstance(value, Mapping):
            if not isinstance(value, str):
                self.wrong(path, "skip, dead-letter, or the event that a tombstone becomes", value)
                return Tombstone.SKIP
            return self.one_of(value, path, Tombstone, Tombstone.SKIP)
        own = self.fields(value, path, "the event of a tombstone", EVENT_FIELDS)
        assert own is not None
        return self._event(own, {}, names, path)


def numbered(bindings: tuple[Binding, ...]) -> Iterator[Binding]:
    """Yield the bindings with the numbers of their events: among those of one topic and one ExternalEventDef."""
    counts = dict[tuple[str, str], int]()

    def number(binding: Binding, event: BoundEvent) -> BoundEvent:
        of = binding.topic, event.external_event_def
        counts[of] = counts.get(of, -1) + 1
        return replace(event, number=counts[of])

    for it in bindings:
        events = tuple(number(it, event) for event in it.events)
        tombstone = number(it, it.tombstone) if isinstance(it.tombstone, BoundEvent) else it.tombstone
        yield replace(it, events=events, tombstone=tombstone)
