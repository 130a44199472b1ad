"""Templates: what a document computes from a record. The expressions are those of WfSpecs, tree and evaluator.

Two things are different here. A text is an expression in its text form, because nearly every one is a path into the
record; a text that stands for itself is written `{literal: …}`. And an object can be put together from templates:
`{fields: {total: value.total, …}}`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from processors.core.records.names import NAME_IN_WORDS, is_name
from processors.core.records.spec import Expression, Literal, VariableRef, walk
from processors.core.records.values import (
    TellableProblem,
    Timestamp,
    TooMuchWork,
    Value,
    ValueProblem,
    VariableType,
    describe,
    kind_of,
    weighed,
)
from processors.core.wf_spec.document_problems import Path
from processors.core.wf_spec.document_reader import listed, shown
from processors.core.wf_spec.expression_forms import EXPRESSION_DEPTH_MAX, list_of
from processors.core.wf_spec.expression_parser import ExpressionTextProblem, parse_expression
from processors.core.wf_spec.expression_reader import ExpressionReader
from processors.core.wf_spec.expressions import evaluate
from processors.core.wf_spec.static_types import IN_JSON, StaticTypes, Type

FIELDS: Final = "fields"
TOPIC_NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
"""The form of a topic's name, as brokers take it."""
STEPS_MAX: Final = 1_000_000
"""The most steps of computing for one record: as many as a command may take."""


@dataclass(frozen=True, slots=True)
class FieldsOf:
    """An object whose members are computed."""

    members: Mapping[str, "Template"]


Template: TypeAlias = Expression | FieldsOf
Names: TypeAlias = Mapping[str, Type]
"""The names that the templates of a document may use, with their types; None for a type that only the record tells."""


class GivenValues:
    """The scope of the templates of one record: names, and functions that find their values when they are asked for.

    Values that are asked for twice are found once. All templates of the record share the steps of computing.
    """

    __slots__ = ("_finders", "_found", "_steps_left")

    def __init__(self, finders: Mapping[str, Callable[[], Value]], steps: int = STEPS_MAX) -> None:
        self._finders = finders
        self._found: dict[str, Value] = {}
        self._steps_left = steps

    def variable(self, name: str) -> Value:
        """Return the value of a name. Raises ValueProblem, also where the value cannot be found."""
        if name in self._found:
            return self._found[name]
        find = self._finders.get(name)
        if find is None:
            raise TellableProblem(f"there is no {name!r} here")
        value = self._found[name] = find()
        return value

    def give(self, name: str, value: Value) -> None:
        """Set the value of a name from here on."""
        self._found[name] = value

    def output(self, node: str) -> Value:
        """Raise ValueProblem: a record has no nodes."""
        raise TellableProblem(f"there is no node {node!r} here")

    def spend(self, steps: int) -> None:
        """Count work; raises TooMuchWork where it is too much for one record."""
        self._steps_left -= steps
        if self._steps_left < 0:
            raise TooMuchWork


def rendered(template: Template, scope: GivenValues) -> Value:
    """Return the value of a template, within the bounds of computed values. Raises ValueProblem."""
    scope.spend(1)
    if isinstance(template, FieldsOf):
        value: Value = {name: _member(name, it, scope) for name, it in template.members.items()}
        scope.spend(weighed(value))
        return value
    return evaluate(template, scope)


def _member(name: str, template: Template, scope: GivenValues) -> Value:
    value = rendered(template, scope)
    if isinstance(value, bytes | Timestamp):
        where = f"field {name!r}: JSON cannot hold"
        raise ValueProblem(f"{where} {describe(value)}: cast it to STR", f"{where} {kind_of(value)}: cast it to STR")
    return value


def expressions_in(template: Template) -> Iterator[Expression]:
    """Yield every expression of a template, nested ones included."""
    if isinstance(template, FieldsOf):
        for member in template.members.values():
            yield from expressions_in(member)
    else:
        yield from walk(template)


def uses(template: Template, *names: str) -> bool:
    """Return True if a template uses one of these names."""
    return any(isinstance(it, VariableRef) and it.name in names for it in expressions_in(template))


class TemplateReader(ExpressionReader):
    """A reader of documents about the records of a topic, with templates.

    Every problem of an expression is found here: names, types, forms.
    """

    def name(self, value: object, path: Path) -> str:
        """Read a name of the form that Halter's names have; empty with a problem if it is no text."""
        name = self.text(value, path)
        if isinstance(value, str) and not is_name(name):
            self.problem("NAME_INVALID", path, f"expected {NAME_IN_WORDS}, found {shown(name)}")
        return name

    def topic(self, value: object, path: Path) -> str:
        """Read the name of a topic; empty with a problem if it is no text."""
        topic = self.text(value, path)
        if isinstance(value, str) and not TOPIC_NAME.fullmatch(topic):
            self.problem("FIELD_VALUE", path, f"expected the name of a topic, found {shown(topic)}")
        return topic

    def template(self, value: object, path: Path, names: Names) -> tuple[Template, Type]:
        """Read a template, and return it with its type as far as that is known. `names` are those that it may use."""
        return self._template(value, path, names, 0)

    def _template(self, value: object, path: Path, names: Names, depth: int) -> tuple[Template, Type]:
        if not (isinstance(value, Mapping) and FIELDS in value):
            return self.checked(value, path, names)
        fields = self.fields(value, path, "an object of fields", (FIELDS,))
        if depth >= EXPRESSION_DEPTH_MAX:
            self.problem("LIMIT", path, f"expected fields at most {EXPRESSION_DEPTH_MAX} deep, found more")
            return Literal(None), None
        assert fields is not None

        def member(_name: str, item: object, where: Path) -> Template:
            inner, found = self._template(item, where, names, depth + 1)
            if found is not None and found not in IN_JSON:
                self.problem("EXPRESSION_TYPE", where, f"expected a value that JSON can hold, found {found}: cast it")
            return inner

        return FieldsOf(fields.entries(FIELDS, member)), VariableType.JSON_OBJ

    def checked(self, value: object, path: Path, names: Names) -> tuple[Expression, Type]:
        """Read one expression, and return it with its type."""
        before = len(self.problems)
        expression = self._expression(value, path, 0)
        if len(self.problems) > before:
            return Literal(None), None
        return expression, self._type(expression, path, names)

    def _expression(self, value: object, path: Path, depth: int) -> Expression:
        """Read texts, and lists of them. In the mappings of a tree everything is as in a WfSpec: a text is itself."""
        if isinstance(value, str):
            return self._compiled_text(value, path, depth)
        if isinstance(value, list) and depth < EXPRESSION_DEPTH_MAX:
            return list_of(tuple(self._expression(it, (*path, index), depth + 1) for index, it in enumerate(value)))
        return self.expression(value, path, depth)

    def _compiled_text(self, text: str, path: Path, depth: int) -> Expression:
        try:
            part = parse_expression(text)
        except ExpressionTextProblem as problem:
            self.problem("EXPRESSION_TEXT", path, str(problem))
            return Literal(None)
        if depth + part.depth > EXPRESSION_DEPTH_MAX:
            self.problem("LIMIT", path, f"expected expressions at most {EXPRESSION_DEPTH_MAX} deep, found more")
        return part.tree

    def _type(self, expression: Expression, path: Path, names: Names) -> Type:
        def variable(name: str, at: Path) -> Type:
            if name in names:
                return names[name]
            message = f"there is no {shown(name)} here{self.near.meant(name, names)}; there are {listed(names, 'and')}"
            self.problem("VAR_UNKNOWN", at, message)
            return None

        def output(node: str, at: Path) -> Type:
            self.problem("VAR_UNKNOWN", at, f"expected values of a record, found the output of a node, {shown(node)}")
            return None

        def report(code: str, at: Path, message: str) -> None:
            self.problem(code, at, message)

        return StaticTypes(variable, output, report).of(expression, path)
