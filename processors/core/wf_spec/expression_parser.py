"""Compiles the text form of expressions and mutations: `total + INPUT.quantity * INPUT.price_cents`, `total += INPUT`.

The result is the tree that a document has without text, so nobody else knows that there was a text. Operators bind as
in Python. `expression_text` writes what is read here; reading it gives the same tree, and brackets are kept:

    a + b + c       one operation of three operands, as {add: [a, b, c]}; the same for *, and, or
    (a + b) + c     two operations
    a - b - c       two operations, from left to right
    -a              0 - a; before a number it is the number's sign

A text is as hostile as any document. It is gone through once, how deep it nests is bounded, and so is the tree that it
makes, whatever it says. Knows no types, and no names.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn, TypeAlias

from processors.core.records.names import INNER_NAME
from processors.core.records.spec import (
    Cast,
    Expression,
    Format,
    JsonPath,
    Literal,
    Mutation,
    MutationOperator,
    Operation,
    Operator,
    OutputRef,
    VariableRef,
)
from processors.core.records.values import VALUE_DEPTH_MAX, Value, ValueProblem, VariableType, bounded, is_number
from processors.core.wf_spec.document_problems import Path
from processors.core.wf_spec.expression_forms import (
    EXPRESSION_DEPTH_MAX,
    INDEX_DIGITS_MAX,
    OPERANDS_MAX,
    PATH_STEPS_MAX,
    list_of,
)
from processors.core.wf_spec.json_document import utf8_size
from processors.core.wf_spec.near_names import NearNames

TEXT_LENGTH_MAX: Final = 64 * 1024
"""Longest text of one expression, and of all in one document together, in characters. A character says as much as ten
of the tree, and takes as long.
"""
NESTING_MAX: Final = EXPRESSION_DEPTH_MAX + VALUE_DEPTH_MAX
"""The most brackets and signs around each other: what the deepest tree with the deepest value needs."""
TOO_DEEP: Final = f"expected expressions at most {EXPRESSION_DEPTH_MAX} deep, found more"

OR, AND, NOT, COMPARED, SUM, PRODUCT, SIGNED = range(1, 8)
"""How tightly a form binds, as in Python."""

LEVELS: Final[dict[Operator, int]] = {
    Operator.OR: OR,
    Operator.AND: AND,
    **dict.fromkeys(
        (Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE, Operator.IN, Operator.NOT_IN),
        COMPARED,
    ),
    Operator.ADD: SUM,
    Operator.SUBTRACT: SUM,
    Operator.MULTIPLY: PRODUCT,
    Operator.DIVIDE: PRODUCT,
}
"""How tightly the operators between two operands bind."""
SIGNS: Final[dict[Operator, str]] = {
    Operator.OR: "or",
    Operator.AND: "and",
    Operator.EQ: "==",
    Operator.NE: "!=",
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.GE: ">=",
    Operator.IN: "in",
    Operator.NOT_IN: "not in",
    Operator.ADD: "+",
    Operator.SUBTRACT: "-",
    Operator.MULTIPLY: "*",
    Operator.DIVIDE: "/",
}
CHAINED: Final = frozenset({Operator.ADD, Operator.MULTIPLY, Operator.AND, Operator.OR})
"""Operators of which a chain without brackets is one operation."""
CONSTANTS: Final[dict[str, Value]] = {"true": True, "false": False, "null": None}
OF_PYTHON: Final = {"True": "true", "False": "false", "None": "null"}
"""What Python calls them."""
RESERVED: Final = frozenset({"and", "or", "not", "in", *CONSTANTS, *OF_PYTHON})
"""Words that are no bare name of a Variable: `var("in")`."""
FUNCTIONS: Final = ("size", "cast", "format", "output", "var")
"""Words that stand for a form of their own if a bracket follows. Without one they may be names of Variables."""
IN_PLACE: Final[dict[MutationOperator, str]] = {
    MutationOperator.ASSIGN: "=",
    MutationOperator.ADD: "+=",
    MutationOperator.SUBTRACT: "-=",
    MutationOperator.MULTIPLY: "*=",
    MutationOperator.DIVIDE: "/=",
    MutationOperator.POW: "**=",
    MutationOperator.AND: "&=",
    MutationOperator.OR: "|=",
}
"""Mutations that are written between the Variable and the value."""
BEFORE: Final[dict[MutationOperator, str]] = {
    operator: operator.value.lower() for operator in MutationOperator if operator not in IN_PLACE
}
"""Mutations that are written as `extend(items, INPUT)`."""

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A name that needs no quotes: of a Variable, or of a key behind a dot."""
_TOKEN: Final = re.compile(
    r"""
    [ \t\r\n]*(?:
      (?P<NAME>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<NUMBER>[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)
    | (?P<STRING>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')
    | (?P<SIGN>\*\*=|===|[=!<>]=|[-+*/&|]=|&&|\|\||\*\*|//|<>|[-+*/=<>()\[\]{},.:%&|!~^?;@\#$`\\])
    | (?P<END>\Z))
    """,
    re.VERBOSE,
)
_SPACE: Final = " \t\r\n"
_QUOTED_CHARACTERS: Final = 60

_INSTEAD: Final[dict[str, str]] = {
    "=": "write == to compare",
    "===": "write ==",
    "<>": "write !=",
    "&&": "write and",
    "||": "write or",
    "&": "write and",
    "|": "write or",
    "!": "write not",
    "~": "write not",
    "**": "there is no power; `total **= 2` of a mutation has it",
    "//": "write /, which drops the fraction of INT by INT",
    "%": "there is no remainder",
    "^": "there is no such operator",
    "?": "there is no choice between values: let two edges decide",
    "if": "there is no choice between values: let two edges decide",
    "is": "write ==",
    "(": "there is no function of that name: size, cast, format, output and var are all",
    **dict.fromkeys(
        (sign for operator, sign in IN_PLACE.items() if operator is not MutationOperator.ASSIGN),
        "only a mutation changes a Variable",
    ),
}
"""What other languages write, and what to write here."""


class ExpressionTextProblem(ValueProblem):
    """A text is no expression, or no mutation. Its author acts: the sentence says where it is wrong."""

    def __init__(self, text: str, offset: int, message: str) -> None:
        before = text[:offset]
        line, column = before.count("\n") + 1, offset - before.rfind("\n")
        place = f"column {column}" if "\n" not in text else f"line {line}, column {column}"
        super().__init__(f"{message}, at {place} of the text")
        self.offset, self.line, self.column = offset, line, column


@dataclass(slots=True)
class Part:
    """A tree, and where its parts stand in the text that it was compiled from.

    `at` counts characters from 0: an operator's place is that of its sign, a name's that of its first letter.
    """

    tree: Expression
    at: int
    inner: tuple["Part", ...] = ()
    path_at: int = -1
    """Where the JSON path of a reference begins, or the template of a format."""
    depth: int = 0

    def offset_of(self, path: Path) -> int:
        """Return the place of what a path in the expression's document leads to, or of the nearest around it."""
        part = self
        while path:
            match part.tree, path[0]:
                case Operation(operator=operator), step if step == operator.value:
                    inner, rest = path[1:2], path[2:]
                case Cast(), "cast":
                    inner, rest = path[1:2], path[2:]
                case Format(), "args":
                    inner, rest = path[1:2], path[2:]
                case (Format(), "format") | (VariableRef() | OutputRef(), "path"):
                    return part.path_at if part.path_at >= 0 else part.at
                case _:
                    inner, rest = path[:1], path[1:]
            if not inner or not isinstance(inner[0], int) or inner[0] >= len(part.inner):
                break
            part, path = part.inner[inner[0]], rest
        return part.at


@dataclass(frozen=True, slots=True)
class MutationPart:
    """A mutation, and where its parts stand in the text that it was compiled from."""

    mutation: Mutation
    target: Part
    value: Part
    at: int

    def offset_of(self, path: Path) -> int:
        """Return the place of what a path in the mutation's document leads to, or of the nearest around it."""
        if path[:1] == ("value",):
            return self.value.offset_of(path[1:])
        return self.target.offset_of(path) if path else self.at


# (rule text-is-compiled)
def parse_expression(text: str) -> Part:
    """Compile the text of an expression. Raises ExpressionTextProblem with the first thing that is wrong."""
    parser = _Parser(text)
    part = parser.expression(OR)
    parser.end("an operator or the end")
    parser.check_values(part)
    return part


# (rule text-is-compiled)
def parse_mutation(text: str) -> MutationPart:
    """Compile the text of a mutation, such as `total += INPUT` or `extend(items, INPUT)`.

    Raises ExpressionTextProblem with the first thing that is wrong.
    """
    parser = _Parser(text)
    part = parser.mutation()
    parser.end("the end")
    parser.check_values(part.value)
    return part


class _Token(NamedTuple):
    """A piece of the text. `kind` is NUMBER, STRING, NAME, SIGN or END; a reserved word is a SIGN."""

    kind: str
    text: str
    at: int


_Read: TypeAlias = Callable[["_Parser", _Token], Part]


class _Parser:
    """Goes through one text once, from left to right, one token ahead."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.near = NearNames()
        self.nesting, self.calls = 0, 0
        if len(text) > TEXT_LENGTH_MAX:
            self.fail(0, f"expected a text of at most {TEXT_LENGTH_MAX} characters, found {len(text)}")
        try:
            utf8_size(text)
        except ValueProblem as problem:
            self.fail(0, str(problem))
        self.token = self._token_from(0)
        self.operator = self._operator()
        """The operator between two operands that stands here; None if there is none."""

    # Tokens.

    def fail(self, at: int, message: str) -> NoReturn:
        raise ExpressionTextProblem(self.text, at, message)

    def unexpected(self, expected: str) -> NoReturn:
        """Fail at the token that is not what was expected."""
        found, instead = self.token, _INSTEAD.get(self.token.text, "")
        if found.kind == "END":
            self.fail(found.at, f"expected {expected}, found the end")
        if found.kind == "STRING":
            instead = ""
        self.fail(found.at, f"expected {expected}, found {_quoted(found.text)}{instead and f': {instead}'}")

    def _token_from(self, position: int) -> _Token:
        match = _TOKEN.match(self.text, position)
        if match is None:
            at = len(self.text) - len(self.text[position:].lstrip(_SPACE))
            if self.text[at] in "\"'":
                self.fail(at, "expected a quote at the end of the text that begins here, found none on its line")
            raise ExpressionTextProblem(self.text, at, f"expected an expression, found {_quoted(self.text[at])}")
        kind = match.lastgroup
        assert kind is not None
        if kind == "END":
            return _Token(kind, "", len(self.text.rstrip(_SPACE)))
        text = match[kind]
        return _Token("SIGN" if text in RESERVED else kind, text, match.start(kind))

    def take(self) -> _Token:
        """Return the token, and go to the next."""
        taken = self.token
        self.go_to(taken.at + len(taken.text))
        return taken

    def go_to(self, position: int) -> None:
        self.token = self._token_from(position)
        self.operator = self._operator()

    def is_sign(self, *signs: str) -> bool:
        return self.token.kind == "SIGN" and self.token.text in signs

    def expect(self, sign: str, expected: str) -> None:
        if not self.is_sign(sign):
            self.unexpected(expected)
        self.take()

    def end(self, expected: str) -> None:
        if self.token.kind != "END":
            self.unexpected(expected)

    # Expressions.

    def expression(self, lowest: int) -> Part:
        """Read an expression whose operators bind at least as tightly as `lowest`."""
        left = self._operand(lowest)
        while (operator := self.operator) is not None and (level := LEVELS[operator]) >= lowest:
            sign, operands = self.take(), [left]
            if operator is Operator.NOT_IN:
                self.take()
            operands.append(self.expression(level + 1))
            while self.operator is operator and operator in CHAINED:
                self.take()
                operands.append(self.expression(level + 1))
            left = self._operation(operator, sign.at, tuple(operands))
            following = self.operator
            if level == COMPARED and following is not None and LEVELS[following] == COMPARED:
                self.fail(
                    self.token.at,
                    f"expected `and`, `or` or the end, found {_quoted(SIGNS[following])}: comparisons are not chained, "
                    "write a < b and b < c, or brackets",
                )
        return left

    def _operator(self) -> Operator | None:
        if self.token.kind != "SIGN":
            return None
        if self.token.text == "not":
            following = self._token_from(self.token.at + len("not"))
            return Operator.NOT_IN if following.text == "in" and following.kind == "SIGN" else None
        return _OPERATORS.get(self.token.text)

    def _operation(self, operator: Operator, at: int, operands: tuple[Part, ...]) -> Part:
        if len(operands) > OPERANDS_MAX:
            self.fail(operands[-1].at, f"expected at most {OPERANDS_MAX} operands of {operator}, found more")
        return self._part(Operation(operator, tuple(it.tree for it in operands)), at, operands)

    def _part(self, tree: Expression, at: int, inner: tuple[Part, ...] = (), path_at: int = -1) -> Part:
        depth = 0
        if inner and type(tree) is not Literal:
            for it in inner:
                depth = max(depth, it.depth + 1)
        if depth > EXPRESSION_DEPTH_MAX:
            self.fail(at, TOO_DEEP)
        return Part(tree, at, inner, path_at, depth)

    def _operand(self, lowest: int) -> Part:
        token = self.token
        if token.kind == "SIGN" and token.text in _OPENING:
            if token.text == "not" and lowest > NOT:
                self.fail(token.at, "expected a value, found 'not': put it into brackets, as `a == (not b)`")
            self.nesting += 1
            if self.nesting > NESTING_MAX:
                self.fail(token.at, f"expected at most {NESTING_MAX} brackets and signs around each other, found more")
            self.take()
            part = _OPENING[token.text](self, token)
            self.nesting -= 1
        elif token.kind == "NUMBER":
            part = Part(Literal(self._number(self.take(), "")), token.at)
        elif token.kind == "STRING":
            part = Part(Literal(self._string(self.take())), token.at)
        elif token.text in CONSTANTS:
            self.take()
            part = Part(Literal(CONSTANTS[token.text]), token.at)
        elif token.kind == "NAME":
            return self._named(self.take())
        elif token.text in OF_PYTHON:
            meant = OF_PYTHON[token.text]
            message = f'expected {meant}, found {token.text}; a Variable of this name is var("{token.text}")'
            self.fail(token.at, message)
        else:
            self.unexpected("a value")
        if self.is_sign(".", "["):
            self.fail(
                self.token.at,
                f"expected an operator or the end, found {_quoted(self.token.text)}: only a Variable and an output "
                "have parts",
            )
        return part

    def _signed(self, sign: _Token) -> Part:
        if self.token.kind == "NUMBER":
            return Part(Literal(self._number(self.take(), "-")), sign.at)
        zero = Part(Literal(0), sign.at)
        return self._operation(Operator.SUBTRACT, sign.at, (zero, self.expression(SIGNED)))

    def _not(self, word: _Token) -> Part:
        return self._operation(Operator.NOT, word.at, (self.expression(NOT),))

    def _brackets(self, _: _Token) -> Part:
        part = self.expression(OR)
        self.expect(")", "an operator or )")
        return part

    def _list(self, bracket: _Token) -> Part:
        items = self._items("]")
        return self._part(list_of(tuple(it.tree for it in items)), bracket.at, items)

    def _items(self, closing: str) -> tuple[Part, ...]:
        """Read expressions up to a closing bracket."""
        items: list[Part] = []
        while not self.is_sign(closing):
            items.append(self.expression(OR))
            if not self.is_sign(","):
                break
            self.take()
        self.expect(closing, f"an operator, a comma or {closing}")
        return tuple(items)

    def _mapping(self, bracket: _Token) -> Part:
        data: dict[str, Value] = {}
        while not self.is_sign("}"):
            if self.token.kind != "STRING":
                self.unexpected("a key in quotes, or }")
            at = self.token.at
            key = self._string(self.take())
            if key in data:
                self.fail(at, f"expected each key once, found {_quoted(key)} again")
            self.expect(":", "a : behind the key")
            value = self.expression(OR)
            if not isinstance(value.tree, Literal):
                self.fail(value.at, "expected a value that stands for itself: a mapping cannot have computed ones")
            data[key] = value.tree.value
            if not self.is_sign(","):
                break
            self.take()
        self.expect("}", "a comma or }")
        return Part(Literal(data), bracket.at)

    # Values.

    def _number(self, token: _Token, sign: str) -> Value:
        if len(token.text) > 1 and token.text[0] == "0" and token.text[1].isdigit():
            self.fail(token.at, f"expected a number without leading zeros, found {_quoted(token.text)}")
        if token.text.isdecimal():
            # Python refuses to read thousands of digits; no such number fits.
            value: int | float = int(sign + token.text) if len(token.text) < 30 else 2**64
        else:
            value = float(sign + token.text)
        if not is_number(value):
            self.fail(token.at, f"expected a number of 64 bits, found {_quoted(token.text)}")
        return value

    def _string(self, token: _Token) -> str:
        quoted = token.text
        if quoted.startswith("'"):
            quoted = '"' + _SINGLE_QUOTED.sub(_double_quoted, quoted[1:-1]) + '"'
        try:
            text: str = json.loads(quoted, strict=False)
            utf8_size(text)
        except ValueError:
            self.fail(token.at, r"expected the escapes of JSON (\" \\ \/ \b \f \n \r \t \u0041), found another")
        except ValueProblem as problem:
            self.fail(token.at, str(problem))
        return text

    # Names, and what looks like a function.

    def _named(self, name: _Token) -> Part:
        if self.is_sign("("):
            if name.text not in FUNCTIONS:
                meant = self.near.meant_or_known(name.text, FUNCTIONS)
                self.fail(name.at, f"expected a function that there is{meant}, found {_quoted(name.text)}")
            self.take()
            return _CALLS[name.text](self, name)
        return self._variable(name.text, name.at)

    def _variable(self, name: str, at: int) -> Part:
        path_at, path = self._path()
        return Part(VariableRef(name, path), at, path_at=path_at)

    def _path(self) -> tuple[int, JsonPath | None]:
        steps: list[str | int] = []
        at = self.token.at
        while self.is_sign(".", "["):
            if len(steps) == PATH_STEPS_MAX:
                self.fail(self.token.at, f"expected a path of at most {PATH_STEPS_MAX} steps, found more")
            if self.take().text == ".":
                # Behind a dot, a reserved word is a key as any other.
                if NAME.fullmatch(self.token.text) is None:
                    self.unexpected('a key (.key, or ["a key"])')
                steps.append(self.take().text)
                continue
            if self.token.kind == "STRING":
                steps.append(self._string(self.take()))
            elif self.token.kind == "NUMBER" and self.token.text.isdigit():
                if len(self.token.text) > INDEX_DIGITS_MAX:
                    self.fail(self.token.at, f"expected an index of at most {INDEX_DIGITS_MAX} digits, found more")
                steps.append(int(self.take().text))
            else:
                self.unexpected("an index that is a whole number, or a key in quotes: none is computed")
            self.expect("]", "a ]")
        return (at, JsonPath(tuple(steps))) if steps else (-1, None)

    def _closed(self, part: Part) -> Part:
        """Read the bracket behind what a function is given."""
        self.expect(")", "an operator or )" if part.inner else "a )")
        if self.is_sign(".", "["):
            self.fail(self.token.at, f"expected an operator or the end, found {_quoted(self.token.text)}")
        return part

    def _nested(self, word: _Token) -> Part:
        """Read an expression inside the brackets of a function."""
        self.calls += 1
        if self.calls > EXPRESSION_DEPTH_MAX:  # each is a level of the tree
            self.fail(word.at, TOO_DEEP)
        part = self.expression(OR)
        self.calls -= 1
        return part

    def _size(self, word: _Token) -> Part:
        return self._closed(self._operation(Operator.SIZE_OF, word.at, (self._nested(word),)))

    def _cast(self, word: _Token) -> Part:
        operand = self._nested(word)
        self.expect(",", "a comma and a type, as in `cast(total, STR)`")
        found = next((it for it in VariableType if it.value == self.token.text), None)
        if found is None or self.token.kind != "NAME":
            meant = self.near.meant_or_known(self.token.text, [it.value for it in VariableType])
            self.unexpected(f"a type{meant}")
        self.take()
        return self._closed(self._part(Cast(operand.tree, found), word.at, (operand,)))

    def _format(self, word: _Token) -> Part:
        at = self.token.at
        if self.token.kind != "STRING":
            self.unexpected('a text in quotes, as in `format("Hello {0}", name)`')
        template, args = self._string(self.take()), list[Part]()
        while self.is_sign(","):
            self.take()
            if self.is_sign(")"):
                break
            args.append(self._nested(word))
        part = self._part(Format(template, tuple(it.tree for it in args)), word.at, tuple(args), at)
        return self._closed(part)

    def _output(self, _: _Token) -> Part:
        at = self.token.at
        bare = INNER_NAME.match(self.text, at)  # with -, as names of nodes have it
        if bare is not None:
            node = bare.group()
            self.go_to(bare.end())
        elif self.token.kind == "STRING":
            node = self._string(self.take())
        else:
            self.unexpected("the name of a node, as in `output(charge-card)`")
        self.expect(")", "a ) behind the name of a node")
        path_at, path = self._path()
        return Part(OutputRef(node, path), at, path_at=path_at)

    def _var(self, _: _Token) -> Part:
        at = self.token.at
        if self.token.kind != "STRING":
            self.unexpected('the name of a Variable in quotes, as in `var("a-name")`')
        name = self._string(self.take())
        self.expect(")", "a ) behind the name of a Variable")
        return self._variable(name, at)

    # Mutations.

    def mutation(self) -> MutationPart:
        """Read what an edge does to a Variable."""
        word = self.token
        operator = _BEFORE.get(word.text)
        if word.kind == "NAME" and operator is not None and self._token_from(word.at + len(word.text)).text == "(":
            self.take()
            self.take()
            target = self._target()
            self.expect(",", "a comma and a value")
            value = self._nested(word)
            self.expect(")", "an operator or )")
            return self._mutated(operator, target, value, word.at)
        target = self._target()
        sign = self.token
        found = _IN_PLACE.get(sign.text) if sign.kind == "SIGN" else None
        if found is None:
            self.unexpected(f"one of {' '.join(IN_PLACE.values())}, or one of {', '.join(BEFORE.values())} before it")
        self.take()
        return self._mutated(found, target, self.expression(OR), sign.at)

    def _target(self) -> Part:
        if self.token.kind != "NAME":
            self.unexpected("a Variable, or the value inside it that a path leads to")
        name = self.take()
        if not self.is_sign("("):
            return self._variable(name.text, name.at)
        if name.text != "var":
            meant = self.near.meant_or_known(name.text, [*BEFORE.values(), "var"])
            self.fail(name.at, f"expected a mutation that there is{meant}, found {_quoted(name.text)}")
        self.take()
        return self._var(name)

    def _mutated(self, operator: MutationOperator, target: Part, value: Part, at: int) -> MutationPart:
        assert isinstance(target.tree, VariableRef)
        return MutationPart(Mutation(target.tree.name, operator, value.tree, target.tree.path), target, value, at)

    # The whole.

    def check_values(self, part: Part) -> None:
        """Check the size and the depth of every literal."""
        todo = [part]
        while todo:
            one = todo.pop()
            if isinstance(one.tree, Literal):
                try:
                    bounded(one.tree.value)
                except ValueProblem as problem:
                    self.fail(one.at, str(problem))
            else:
                todo += one.inner


_OPENING: Final[dict[str, _Read]] = {
    "-": _Parser._signed,
    "not": _Parser._not,
    "(": _Parser._brackets,
    "[": _Parser._list,
    "{": _Parser._mapping,
}
_CALLS: Final[dict[str, _Read]] = {
    "size": _Parser._size,
    "cast": _Parser._cast,
    "format": _Parser._format,
    "output": _Parser._output,
    "var": _Parser._var,
}
_OPERATORS: Final = {sign: operator for operator, sign in SIGNS.items() if operator is not Operator.NOT_IN}
_IN_PLACE: Final = {sign: operator for operator, sign in IN_PLACE.items()}
_BEFORE: Final = {word: operator for operator, word in BEFORE.items()}
_SINGLE_QUOTED: Final = re.compile(r"""\\.|\"""", re.DOTALL)


def _double_quoted(match: re.Match[str]) -> str:
    """Return a piece of a text in single quotes as it is written in double quotes."""
    return {"\\'": "'", '"': '\\"'}.get(match.group(), match.group())


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "…")
