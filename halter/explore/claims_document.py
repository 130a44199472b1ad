"""Reads the document of an author's claims and values (`claims`). Every problem has its place."""

import base64
import binascii
from collections.abc import Iterable, Mapping

from halter.explore.claims import FORMS, WF_RUN, Claim, Claims
from halter.explore.samples import Given
from halter.explore.subject import Subject
from processors.core.records.spec import INPUT, Expression, Literal
from processors.core.records.values import Value, ValueProblem, VariableType, describe, fits, stored, timestamp_of
from processors.core.wf_spec.document_problems import DocumentProblem, Path
from processors.core.wf_spec.document_reader import Fields
from processors.core.wf_spec.expression_reader import ExpressionReader
from processors.core.wf_spec.static_types import StaticTypes

_VALUES = ("events", "tasks", "variables")


def read_claims(document: object, subject: Subject) -> tuple[Claims, Given, list[DocumentProblem]]:
    """Return the claims and the values of a document, and everything that is wrong with it."""
    reader = _ClaimsReader(subject)
    claims, given = reader.read(document)
    return claims, given, reader.problems


class _ClaimsReader(ExpressionReader):
    """One pass over a document of claims."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self._subject = subject
        self._variables = subject.spec.threads[subject.spec.entrypoint].variables

    def read(self, document: object) -> tuple[Claims, Given]:
        top = self.fields(document, (), "a document of claims", (*FORMS, "values"))
        if top is None:
            return Claims(), Given()
        claims = {form: tuple(self._claims(top, form)) for form in FORMS}
        return Claims((*claims["never"], *claims["always"]), claims["eventually"]), self._values(top)

    def _claims(self, top: Fields, form: str) -> Iterable[Claim]:
        for name, value in self._entries(top, form).items():
            path = (form, name)
            before = len(self.problems)
            condition = self.expression(value, path)
            if len(self.problems) == before:
                self._check(condition, path)
                yield Claim(form, name, condition)

    def _entries(self, top: Fields, name: str) -> Mapping[str, object]:
        return top.entries(name, lambda _name, value, _path: value)

    def _check(self, condition: Expression, path: Path) -> None:
        known: dict[str, VariableType] = {name: it.type for name, it in self._variables.items()}
        known[WF_RUN] = VariableType.JSON_OBJ

        def variable(name: str, at: Path) -> VariableType | None:
            if name not in known:
                self.not_one_of(at, known, name)
            return known.get(name)

        def output(node: str, at: Path) -> None:
            message = f"expected Variables of thread 0 or {WF_RUN}, found the output of node {node!r}"
            self.problem("FIELD_VALUE", at, message)

        if isinstance(condition, Literal):
            self.problem("FIELD_VALUE", path, f"expected a condition, found {describe(condition.value)}")
            return
        found = StaticTypes(variable, output, self.problem).of(condition, path)
        if found not in (None, VariableType.BOOL):
            self.problem("CONDITION_TYPE", path, f"expected BOOL, found {found}")

    def _values(self, top: Fields) -> Given:
        given = Given()
        values = None if not top.has("values") else self.fields(top.data["values"], ("values",), "values", _VALUES)
        if values is None:
            return given
        definitions = self._subject.context.definitions
        for name, items in self._entries(values, "events").items():
            path = ("values", "events", name)
            if name not in self._subject.spec.external_event_defs:
                self.not_one_of(path, sorted(self._subject.spec.external_event_defs), name)
                continue
            event_def = definitions.external_event_def(name)
            declared = None if event_def is None else event_def.content_type
            given.events[name] = self._typed(items, declared, path)
        for name, items in self._entries(values, "tasks").items():
            path = ("values", "tasks", name)
            task_def = definitions.task_def(name)
            if task_def is None:
                self.not_one_of(path, sorted(self._subject.tasks), name)
                continue
            given.tasks[name] = self._typed(items, task_def.output, path)
        for name, items in self._entries(values, "variables").items():
            path = ("values", "variables", name)
            if name not in self._variables or name == INPUT:
                self.not_one_of(path, self._variables, name)
                continue
            given.variables[name] = self._typed(items, self._variables[name].type, path)
        return given

    def _typed(self, items: object, declared: VariableType | None, path: Path) -> list[Value]:
        if not isinstance(items, list) or not items:
            self.wrong(path, "a list with at least one value", items)
            return [None]
        return [self._value(item, declared, (*path, index)) for index, item in enumerate(items)]

    def _value(self, item: object, declared: VariableType | None, path: Path) -> Value:
        value = self.literal(item, path)
        try:
            if declared is VariableType.TIMESTAMP and isinstance(value, str):
                return timestamp_of(value)
            if declared is VariableType.BYTES and isinstance(value, str):
                return base64.b64decode(value, validate=True)
        except (ValueProblem, binascii.Error) as problem:
            self.problem("FIELD_VALUE", path, str(problem))
            return None
        if not fits(value, declared):
            self.problem("FIELD_VALUE", path, f"expected {declared}, found {describe(value)}")
            return None
        return stored(value, declared)
