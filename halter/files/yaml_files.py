"""Reads YAML that people write, and remembers the location of every value, so that a problem has a line and a column.

Scalars follow the core schema of YAML 1.2: only true and false are booleans (`on`, `yes` and `no` are text), dates are
text, and `010` is ten. A repeated key is an error, and so is a tag. An alias counts as what it stands for, in values,
levels and bytes of text, so that no small file becomes a large one.

JSON is YAML, so .json files are read in the same way. But a text that is JSON does not go through the YAML parser: it
refuses surrogate pairs as `json.dumps` writes them, keys of more than 1,024 characters, and some characters.
"""

import json
import math
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import yaml

from halter.files.json_tokens import is_json, tokens
from halter.files.text_places import offset_in, place_of
from processors.core.records.errors import HalterError
from processors.core.wf_spec.expression_forms import TEXT

STANDARD_INPUT = Path("-")
NO_YAML = "YAML"
"""The code of problems that make a file unreadable."""
FILE_BYTES_MAX = 4 * 1024 * 1024
DEPTH_MAX = 200
NODES_MAX = 500_000
"""Largest number of values in one file. A value behind an alias is counted each time."""

Step: TypeAlias = str | int
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""The parser in C if PyYAML was built with it, which gives the same events a hundred times faster."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a file, with its line and column, counted from 1, and the code of the rule if there is one.

    A problem of the file as a whole has line and column 0.
    """

    file: str
    line: int
    column: int
    message: str
    code: str = NO_YAML

    def __str__(self) -> str:
        return f"{self.location}: {self.message}"

    @property
    def location(self) -> str:
        """File, line and column, as `file:line:column`."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class UnreadableFile(HalterError):
    """A file cannot be opened, or is no YAML. Its author acts; the message names file, line and column."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(slots=True)
class _Node:
    """A value of a file, with its location and those of the values in it."""

    line: int
    column: int
    data: object = None
    size: int = 1
    text_bytes: int = 0
    """Size of its text and of all texts in it, keys included."""
    depth: int = 1
    children: dict[Step, "_Child"] = field(default_factory=dict)
    is_list: bool = False
    finished: bool = False


@dataclass(frozen=True, slots=True)
class _Child:
    line: int
    column: int
    node: _Node


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The content of a file as plain data, with the location of every value."""

    file: str
    data: object
    _root: _Node
    _text: str

    def problem(self, path: tuple[Step, ...], message: str, code: str) -> Problem:
        """A problem with the value at a path of the data, located at that value or at the nearest above it.

        If an expression is written there as text, the problem is located inside the text.
        """
        line, column, node, done = self._root.line, self._root.column, self._root, 0
        while done < len(path) and not (isinstance(node.data, str) or (_is_expression(node) and path[done] != TEXT)):
            child = _child(node, path[done])
            if child is None:
                break
            line, column, node, done = child.line, child.column, child.node, done + 1
        if _is_expression(node):
            node = node.children[TEXT].node
        if isinstance(node.data, str):
            offset = offset_in(node.data, path[:done], path[done:], code)
            if offset is not None:
                line, column = place_of(self._text, node.line, node.column, node.data, offset)
        return Problem(self.file, line, column, message, code)


def _is_expression(node: _Node) -> bool:
    """Say whether a value is an expression that is written as text."""
    return isinstance(node.data, dict) and node.data.keys() == {TEXT} and isinstance(node.data[TEXT], str)


def _child(node: _Node, step: Step) -> _Child | None:
    found = node.children.get(step)
    if found is not None or isinstance(step, int) == node.is_list:
        return found
    if step == 0:
        # A list of one may be written without brackets, as in `next: done`. Its item is then the node itself.
        return _Child(node.line, node.column, node)
    if len(node.children) == 1 and node.is_list:
        # And a path may leave out the index in a list of one that is written with brackets.
        return _child(node.children[0].node, step)
    return None


def read_yaml(path: Path, shown: str | None = None) -> YamlFile:
    """Read the document of a YAML file, or of standard input if the path is `-`.

    Raises UnreadableFile with every problem of its form.
    """
    name = str(path) if shown is None else shown
    try:
        if path == STANDARD_INPUT:
            content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise UnreadableFile([Problem(name, 0, 0, "there is no such file")]) from error
    except OSError as error:
        raise UnreadableFile([Problem(name, 0, 0, f"cannot be read: {error.strerror}")]) from error
    if len(content) > FILE_BYTES_MAX:
        raise UnreadableFile([Problem(name, 1, 1, f"expected at most {FILE_BYTES_MAX} bytes, found more")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise UnreadableFile([Problem(name, line, column, "expected UTF-8, found other bytes")]) from error
    return parse_yaml(text, name)


def parse_yaml(text: str, name: str) -> YamlFile:
    """Read a document from text, as `read_yaml` does from a file. Messages call the file `name`."""
    parser = _Parser(name, text)
    return parser.parse_json() if is_json(text) else parser.parse()


class _Parser:
    """Turns the events of the YAML parser into data. It has a stack of its own, so nesting takes none of Python's."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.problems: list[Problem] = []
        self.anchors: dict[str, _Node] = {}
        self.open: list[_Node] = []
        self.keys: list[tuple[Step, int, int] | None] = []
        """The key whose value comes next, for each open mapping."""
        self.root: _Node | None = None

    def parse(self) -> YamlFile:
        text = self.text
        try:
            self._take_all()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._check_nesting("" if mark is None else text[: mark.index])
            line, column = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
            message = " ".join(part for part in (error.context, error.problem) if part)
            raise UnreadableFile([Problem(self.file, line, column, f"not YAML: {message}")]) from error
        except yaml.YAMLError as error:
            position = getattr(error, "position", None)
            line = 1 if position is None else text.count("\n", 0, position) + 1
            raise UnreadableFile([Problem(self.file, line, 1, f"not YAML: {error}".split("\n")[0])]) from error
        return self._result()

    def _take_all(self) -> None:
        for event in yaml.parse(self.text, Loader=_LOADER):
            self._take(event)

    def _check_nesting(self, text: str) -> None:
        """Report values that are too deep, if there are any before an error of the parser.

        The error may be that the parser itself goes no deeper. It reads up to 1,024 characters ahead of its events, so
        its error may come before the events that say how deep the values are. Without the rest of the text they come.
        """
        before = _Parser(self.file, text)
        try:
            before._take_all()
        except yaml.YAMLError:
            return
        except UnreadableFile:
            if before._is_too_deep():
                raise

    def _is_too_deep(self) -> bool:
        return len(self.open) > DEPTH_MAX

    def parse_json(self) -> YamlFile:
        """Read a text that is JSON."""
        for written, line, column in tokens(self.text):
            match written[0]:
                case "{":
                    self._begin(_Node(line, column, {}))
                case "[":
                    self._begin(_Node(line, column, [], is_list=True))
                case "}" | "]":
                    self._end()
                case '"':
                    self._finish(_Node(line, column, self._text(written, line, column)), None)
                case _:
                    self._finish(_Node(line, column, self._scalar(written, line, column)), None)
        return self._result()

    def _text(self, written: str, line: int, column: int) -> str:
        text: str = json.loads(written)
        if _SURROGATE.search(text):
            self._problem(line, column, "expected text, found half of a surrogate pair")
        return text

    def _result(self) -> YamlFile:
        if self.root is None:
            raise UnreadableFile([Problem(self.file, 1, 1, "expected a document, found an empty file")])
        if self.problems:
            raise UnreadableFile(self.problems)
        return YamlFile(self.file, self.root.data, self.root, self.text)

    def _problem(self, line: int, column: int, message: str) -> None:
        self.problems.append(Problem(self.file, line, column, message))

    def _fatal(self, line: int, column: int, message: str) -> UnreadableFile:
        return UnreadableFile([*self.problems, Problem(self.file, line, column, message)])

    def _take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        line, column = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
        match event:
            case yaml.DocumentStartEvent():
                if self.root is not None:
                    raise self._fatal(line, column, "expected one document, found a second")
            case yaml.ScalarEvent():
                self._check_tag(event, line, column)
                plain = event.style in (None, "")
                data = self._scalar(event.value, line, column) if plain else event.value
                self._finish(_Node(line, column, data, text_bytes=_bytes_of(event.value)), event.anchor)
            case yaml.AliasEvent():
                node = self.anchors.get(event.anchor or "")
                if node is None or not node.finished:
                    raise self._fatal(line, column, f"expected an anchor above, found none for *{event.anchor}")
                self._add(node, line, column)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._check_tag(event, line, column)
                is_list = isinstance(event, yaml.SequenceStartEvent)
                node = _Node(line, column, [] if is_list else {}, is_list=is_list)
                if event.anchor is not None:
                    self.anchors[event.anchor] = node
                self._begin(node)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._end()
            case _:
                pass

    def _begin(self, node: _Node) -> None:
        self.open.append(node)
        self.keys.append(None)
        if self._is_too_deep():
            raise self._fatal(node.line, node.column, f"expected values at most {DEPTH_MAX} deep, found more")

    def _end(self) -> None:
        self.keys.pop()
        self._finish(self.open.pop(), None)

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int, column: int) -> None:
        if event.tag is not None and event.tag != "!":
            self._problem(line, column, f"expected a value without a tag, found {event.tag}")

    def _finish(self, node: _Node, anchor: str | None) -> None:
        node.finished = True
        if anchor is not None:
            self.anchors[anchor] = node
        self._add(node, node.line, node.column)

    def _add(self, node: _Node, line: int, column: int) -> None:
        """Add a value to the list or mapping that is open: as an item, a key, or the value of a key."""
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        parent.size += node.size
        parent.text_bytes += node.text_bytes
        parent.depth = max(parent.depth, node.depth + 1)
        if parent.size > NODES_MAX or parent.depth > DEPTH_MAX:
            raise self._fatal(line, column, f"expected at most {NODES_MAX} values, found more behind aliases")
        if parent.text_bytes > FILE_BYTES_MAX:
            raise self._fatal(
                line, column, f"expected at most {FILE_BYTES_MAX} bytes of text, found more behind aliases"
            )
        if isinstance(parent.data, list):
            parent.children[len(parent.data)] = _Child(line, column, node)
            parent.data.append(node.data)
            return
        assert isinstance(parent.data, dict)
        key = self.keys[-1]
        if key is None:
            self.keys[-1] = self._key(node, line, column)
            return
        self.keys[-1] = None
        name, key_line, key_column = key
        if name in parent.data:
            self._problem(key_line, key_column, f"expected each key once, found {name!r} again")
            return
        parent.children[name] = _Child(key_line, key_column, node)
        parent.data[name] = node.data

    def _key(self, node: _Node, line: int, column: int) -> tuple[Step, int, int]:
        name = node.data
        if isinstance(name, str) or type(name) is int:
            return name, line, column
        self._problem(line, column, f"expected a key that is text or a whole number, found {_kind(name)}")
        return f"<{line}:{column}>", line, column

    def _scalar(self, text: str, line: int, column: int) -> object:
        """The value of a scalar without quotes, by the core schema of YAML 1.2."""
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INTEGER.fullmatch(text):
            if len(text) > 40:
                self._problem(line, column, "expected a number of 64 bits, found more digits")
                return 0
            return int(text)
        if _BASED.fullmatch(text):
            if len(text) > 40:
                self._problem(line, column, "expected a number of 64 bits, found more digits")
                return 0
            return int(text, 0)
        return float(text) if _FLOAT.fullmatch(text) else text


_CONSTANTS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), math.inf),
    "-.inf": -math.inf,
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _kind(data: object) -> str:
    match data:
        case None:
            return "null"
        case bool():
            return "true" if data else "false"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return str(data)
