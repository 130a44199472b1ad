"""Reads the expressions of a WfSpec document: values that stand for themselves, and mappings with a key that says what
to compute. `{expr: …}` has it as text, which becomes the same tree. Which names an expression may refer to, and whether
its types fit, `validate` checks.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from processors.core.records.spec import (
    Cast,
    Expression,
    Format,
    JsonPath,
    Literal,
    Operation,
    Operator,
    OutputRef,
    VariableRef,
)
from processors.core.records.values import VALUE_DEPTH_MAX, Value, ValueProblem, VariableType, bounded, is_number
from processors.core.wf_spec.document_problems import Path
from processors.core.wf_spec.document_reader import DocumentReader, Fields, shown
from processors.core.wf_spec.expression_forms import (
    EXPRESSION_DEPTH_MAX,
    EXPRESSIONS,
    INDEX_DIGITS_MAX,
    OPERANDS,
    PATH_STEPS_MAX,
    list_of,
)
from processors.core.wf_spec.expression_parser import TEXT_LENGTH_MAX, ExpressionTextProblem, parse_expression

Parsed = TypeVar("Parsed")


def parse_json_path(text: str) -> JsonPath:
    """Return the path that is written `$.a.b[0]` or `$["a key"]`; raises ValueProblem."""
    steps: list[str | int] = []
    position = 1
    while position < len(text):
        match = _PATH_STEP.match(text, position)
        if match is None:
            break
        key, index, quoted = match.groups()
        if key is not None:
            steps.append(key)
        elif index is not None:
            steps.append(int(index))
        else:
            steps.append(_unquoted(quoted))
        position = match.end()
    if not text.startswith("$") or position != len(text):
        raise ValueProblem(f'expected a JSON path such as $.a.b[0] or $["a key"], found {text[:80]!r}')
    if len(steps) > PATH_STEPS_MAX:
        raise ValueProblem(f"expected a JSON path of at most {PATH_STEPS_MAX} steps, found {len(steps)}")
    return JsonPath(tuple(steps))


_PATH_STEP = re.compile(
    rf"""\.([^.\[\]\s"']+) | \[([0-9]{{1,{INDEX_DIGITS_MAX}}})\] | \[("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\]""",
    re.VERBOSE,
)


def _unquoted(quoted: str) -> str:
    if quoted.startswith("'"):
        quoted = '"' + quoted[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    try:
        text: str = json.loads(quoted)
    except ValueError:
        raise ValueProblem(f"expected a quoted key of a JSON path, found {quoted[:80]}") from None
    return text


class ExpressionReader(DocumentReader):
    """A reader that knows expressions."""

    text_length = 0
    """The characters of all expressions and mutations so far that are written as text."""

    def expression_of(self, fields: Fields, name: str) -> Expression:
        """Read the expression in a field that must be there."""
        return fields.required(name, self.expression, Literal(None))

    def named_expression(self, _name: str, value: object, path: Path) -> Expression:
        """Read one expression of `Fields.entries`."""
        return self.expression(value, path)

    def json_path(self, fields: Fields) -> JsonPath | None:
        """Read the path in the field `path`; None if there is none, or if it leads to the value itself."""
        text = fields.optional_text("path")
        if text is None:
            return None
        try:
            path = parse_json_path(text)
        except ValueProblem as exc:
            self.problem("FIELD_VALUE", fields.path_of("path"), str(exc))
            return None
        return path if path.steps else None

    def literal(self, value: object, path: Path) -> Value:
        """Read a value of JSON that stands for itself; None with a problem for anything else."""
        try:
            return bounded(self._plain(value, path, 0))
        except ValueProblem as exc:
            self.problem("FIELD_VALUE", path, str(exc))
            return None

    def _plain(self, value: object, path: Path, depth: int, *step: int | str) -> Value:
        """Read a value inside a literal. `step` leads from `path` to it: a hundred thousand values need no own path."""
        if depth > VALUE_DEPTH_MAX:
            raise ValueProblem(f"JSON that nests more than {VALUE_DEPTH_MAX} deep")
        match value:
            case None | bool() | str():
                return value
            case int() | float() if is_number(value):
                return value
            case int() | float():
                raise ValueProblem(f"expected a number of 64 bits, found {shown(value)}")
            case list():
                here = (*path, *step)
                return [self._plain(item, here, depth + 1, index) for index, item in enumerate(value)]
            case Mapping():
                here = (*path, *step)
                data = self.mapping(value, here) or {}
                return {name: self._plain(item, here, depth + 1, name) for name, item in data.items()}
            case _:
                raise ValueProblem(f"expected a JSON value, found {shown(value)}")

    def expression(self, value: object, path: Path, depth: int = 0) -> Expression:
        """Read an expression; the literal null with a problem if it is none."""
        if depth > EXPRESSION_DEPTH_MAX:
            self.problem("LIMIT", path, f"expected expressions at most {EXPRESSION_DEPTH_MAX} deep, found more")
            return Literal(None)
        if isinstance(value, list):
            items = tuple(self.expression(item, (*path, index), depth + 1) for index, item in enumerate(value))
            return list_of(items)
        if not isinstance(value, Mapping):
            return Literal(self.literal(value, path))
        data = self.mapping(value, path) or {}
        form = next((name for name in data if name in EXPRESSIONS), None)
        if form is None:
            keys = [f"`{name}`" for name in data][:5]
            self.problem(
                "EXPRESSION_FORM",
                path,
                f"expected a mapping with one of {', '.join(EXPRESSIONS)}, found {', '.join(keys) or 'none'}"
                f"{self.near.meant(next(iter(data), None), EXPRESSIONS)}; a mapping that stands for itself is written "
                "{literal: …}",
            )
            return Literal(None)
        fields = self.fields(data, path, f"an expression with {form}", (form, *EXPRESSIONS[form]))
        assert fields is not None
        return self._expression_of_form(form, fields, (*path, form), depth)

    def _expression_of_form(self, form: str, fields: Fields, path: Path, depth: int) -> Expression:
        operand = fields.data[form]
        match form:
            case "literal":
                return Literal(self.literal(operand, path))
            case "var":
                return VariableRef(fields.text("var"), self.json_path(fields))
            case "output":
                return OutputRef(fields.text("output"), self.json_path(fields))
            case "expr":
                return self.compiled(operand, path, depth)
            case "format":
                return Format(fields.text("format"), self._args(fields, depth + 1))
            case "cast":
                if not isinstance(operand, list) or len(operand) != 2:
                    self.wrong(path, "a list of a value and a type", operand)
                    return Literal(None)
                target = self.one_of(operand[1], (*path, 1), VariableType, VariableType.STR)
                return Cast(self.expression(operand[0], (*path, 0), depth + 1), target)
            case _:
                return self._operation(Operator(form), operand, path, depth)

    def compiled(self, value: object, path: Path, depth: int = 0) -> Expression:
        """Compile the text of an expression; the literal null with a problem if it is none."""
        if not isinstance(value, str):
            self.wrong(path, "an expression as text", value)
            return Literal(None)
        part = self.parsed(parse_expression, value, path)
        if part is None:
            return Literal(None)
        if depth + part.depth > EXPRESSION_DEPTH_MAX:
            self.problem("LIMIT", path, f"expected expressions at most {EXPRESSION_DEPTH_MAX} deep, found more")
            return Literal(None)
        return part.tree

    def parsed(self, parse: Callable[[str], Parsed], text: str, path: Path) -> Parsed | None:
        """Parse a text; None with a problem if it is not what `parse` reads."""
        self.text_length += len(text)
        if self.text_length > TEXT_LENGTH_MAX:
            message = f"expected at most {TEXT_LENGTH_MAX} characters in all texts of expressions together, found more"
            self.problem("LIMIT", path, message)
            return None
        try:
            return parse(text)
        except ExpressionTextProblem as problem:
            self.problem("EXPRESSION_TEXT", path, str(problem))
            return None

    def _args(self, fields: Fields, depth: int) -> tuple[Expression, ...]:
        def read(value: object, path: Path) -> Expression:
            return self.expression(value, path, depth)

        return fields.items("args", read)

    def _operation(self, operator: Operator, operand: object, path: Path, depth: int) -> Expression:
        lowest, highest = OPERANDS[operator]
        if isinstance(operand, list):
            found = operand
        elif highest == 1:
            found = [operand]
        else:
            self.wrong(path, "a list of operands", operand)
            return Literal(None)
        if not lowest <= len(found) <= highest:
            wanted = str(lowest) if lowest == highest else f"{lowest} or more"
            self.problem("FIELD_VALUE", path, f"expected {wanted} operands of {operator}, found {len(found)}")
            return Literal(None)
        if len(found) == 1 and not isinstance(operand, list):
            return Operation(operator, (self.expression(operand, path, depth + 1),))
        return Operation(
            operator,
            tuple(self.expression(item, (*path, index), depth + 1) for index, item in enumerate(found)),
        )
