"""Reads the document of a sink, and collects every problem with its place."""

from collections.abc import Callable
from typing import Final, get_args

from halter.sinks.model import GROUPS, Sink
from halter.transform.templates import Names, TemplateReader
from processors.core.records.events import Event
from processors.core.records.values import VariableType
from processors.core.wf_spec.document_problems import DocumentProblem, EnoughProblems, Path, report_to
from processors.core.wf_spec.document_reader import Fields, shown

SINK_FIELDS: Final = ("name", "topic", "wf_specs", "events", "variables", "when", "value")
EVENTS: Final = tuple(it.__name__ for it in get_args(Event))
NAMES: Final[Names] = {
    "wf_run_id": VariableType.STR,
    # Null where it is not known, or the event says nothing of it.
    "wf_spec": None,
    "thread": None,
    "status": None,
    "event": VariableType.STR,
    "time": VariableType.STR,
    "incarnation": VariableType.INT,
    "seq": VariableType.INT,
    "variables": VariableType.JSON_OBJ,
    "fields": VariableType.JSON_OBJ,
    "cause": VariableType.JSON_OBJ,
}
"""What templates may use: the members of the document of an event."""


def read_sink(document: object) -> tuple[Sink, list[DocumentProblem]]:
    """Return the sink of a document, and all that is wrong with it. With problems, use the sink for nothing."""
    reader = _Reader()
    try:
        sink = reader.sink(document)
    except EnoughProblems:
        sink = Sink("", "")
    return sink, reader.problems


class _Reader(TemplateReader):
    """One pass over a document."""

    def problem(self, code: str, path: Path, message: str) -> None:
        """Note a problem; raises EnoughProblems if there are as many as anybody looks for."""
        report_to(self.problems, DocumentProblem(code, path, message))

    def sink(self, document: object) -> Sink:
        """Read the document."""
        top = self.fields(document, (), "the document of a sink", SINK_FIELDS)
        if top is None:
            return Sink("", "")
        name, topic = top.required("name", self.name, ""), top.required("topic", self.topic, "")
        wf_specs, variables = self._names(top, "wf_specs"), self._names(top, "variables")
        events = self._names(top, "events", self._event)
        when = value = None
        if top.has("when"):
            when, found = self.checked(top.data["when"], ("when",), NAMES)
            if found not in (None, VariableType.BOOL):
                self.problem("CONDITION_TYPE", ("when",), f"expected a BOOL, found {found}")
        if top.has("value"):
            value, _ = self.template(top.data["value"], ("value",), NAMES)
        usual = Sink(name, topic)
        return Sink(name, topic, wf_specs, usual.events if events is None else events, variables, when, value)

    def _event(self, value: object, path: Path) -> str:
        """Read the name of an event or of a group of events."""
        name = self.text(value, path)
        if isinstance(value, str) and name not in EVENTS and name not in GROUPS:
            meant = self.near.meant(name, (*GROUPS, *EVENTS))
            self.problem("FIELD_VALUE", path, f"expected {', '.join(GROUPS)} or an event, found {shown(name)}{meant}")
        return name

    def _some_name(self, value: object, path: Path) -> str:
        """Read the name of something that WfSpecs define."""
        name = self.text(value, path)
        if value == "":
            self.problem("FIELD_VALUE", path, "expected a name, found an empty text")
        return name

    def _names(
        self, top: Fields, field: str, read: Callable[[object, Path], str] | None = None
    ) -> frozenset[str] | None:
        if not top.has(field):
            return None
        found = frozenset(it for it in top.items(field, read or self._some_name) if it)
        if not found and not self.problems:
            self.problem("FIELD_VALUE", (field,), "expected at least one name, found none; leave it out for all")
        return found
