"""YAML as fields that know where they stand, so that a problem in topics.yaml is named with file, line and field.

An alias counts as much as it stands for, in values, levels and bytes of text, so no small file becomes a large one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from processors.kafka.errors import TopicsFileError

if TYPE_CHECKING:
    from yaml import SafeLoader
else:
    # Each command reads topics.yaml. The parser in C, if PyYAML was built with it, is ten times as fast.
    SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

FILE_BYTES_MAX: Final = 1024 * 1024
"""Size limit of a topics.yaml, and of the text in it once aliases and `<<` are written out."""

VALUES_MAX: Final = 100_000
"""Limit on the number of values in a file; those behind an alias count each time."""

DEPTH_MAX: Final = 100
FOUND_LENGTH_MAX: Final = 80
"""Characters of a value that a message quotes."""


@dataclass(frozen=True, slots=True)
class Field:
    """A value of the file, and its place for messages."""

    file: Path
    line: int
    name: str
    value: object

    def wrong(self, expected: str) -> TopicsFileError:
        """Return the error that says what was expected here; the caller raises it."""
        found = {dict: "a mapping", list: "a list", type(None): "nothing"}.get(type(self.value))
        return TopicsFileError(
            f"{self.file}:{self.line}: {self.name}: expected {expected}, found {found or _shown(self.value)}"
        )

    def mapping(self, allowed: frozenset[str] | None = None) -> "dict[str, Field]":
        """Return the fields of this mapping. Refuses a field that is not allowed."""
        if not isinstance(self.value, dict):
            raise self.wrong("a mapping")
        fields: dict[str, Field] = self.value
        for key, field in fields.items():
            if allowed is not None and key not in allowed:
                raise TopicsFileError(
                    f"{self.file}:{field.line}: {self.name}: expected one of {', '.join(sorted(allowed))}, "
                    f"found '{key}'"
                )
        return fields

    def child(self, key: str) -> "Field":
        """Return a field that is required."""
        fields = self.mapping()
        if key not in fields:
            raise TopicsFileError(f"{self.file}:{self.line}: {self.name}: '{key}' is missing")
        return fields[key]

    def text(self) -> str:
        """Return a text that is not empty."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong("a text")
        return self.value

    def count(self) -> int:
        """Return a whole number of at least 1."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < 1:
            raise self.wrong("a whole number of at least 1")
        return self.value

    def texts(self) -> "list[Field]":
        """Return a list of texts, as fields."""
        if not isinstance(self.value, list):
            raise self.wrong("a list of texts")
        items: list[Field] = self.value
        for item in items:
            item.text()
        return items

    def config(self) -> str:
        """Return the value of a Kafka configuration as Kafka writes it."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        if isinstance(self.value, int | float | str):
            return str(self.value)
        raise self.wrong("a text or a number")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= FOUND_LENGTH_MAX else text[: FOUND_LENGTH_MAX - 3] + "..."


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a node once its aliases are written out."""

    values: int = 1
    text_bytes: int = 0
    depth: int = 1

    def around(self, inner: "Size") -> "Size":
        """Return the size with one more value in it."""
        values, text_bytes = self.values + inner.values, self.text_bytes + inner.text_bytes
        return Size(values, text_bytes, max(self.depth, inner.depth + 1))


class Reader(SafeLoader):
    """YAML to Fields: SafeLoader's values, with lines kept and keys that stand twice refused."""

    def __init__(self, text: str, file: Path) -> None:
        super().__init__(text)
        self.file = file
        self.flattened: set[int] = set()

    def field(self) -> Field:
        """Return the document."""
        node = self.get_single_node()
        if node is None:
            raise TopicsFileError(f"{self.file}:1: expected `settings`, `topics` and `services`, found nothing")
        self._check_size(node)
        return self._field(node, "")

    def _check_size(self, root: yaml.Node) -> None:
        """Refuse a file that would become large or endless, before fields are made: here an alias is still one node."""
        sizes: dict[int, Size] = {}
        begun: set[int] = set()
        nodes = [root]
        while nodes:
            node = nodes[-1]
            if id(node) in sizes:
                nodes.pop()
                continue
            inner = _inner_nodes(node)
            if id(node) not in begun:
                begun.add(id(node))
                nodes += [it for it in inner if id(it) not in sizes]
                continue
            size = Size(text_bytes=len(node.value.encode()) if isinstance(node, yaml.ScalarNode) else 0)
            for it in inner:
                if id(it) not in sizes:
                    raise self._refused(it, "a value that does not contain itself, found one")
                size = size.around(sizes[id(it)])
                if size.values > VALUES_MAX or size.text_bytes > FILE_BYTES_MAX or size.depth > DEPTH_MAX:
                    raise self._refused(
                        it,
                        f"at most {VALUES_MAX} values, {FILE_BYTES_MAX} bytes of text and {DEPTH_MAX} levels, what is "
                        "behind an alias counted each time, found more",
                    )
            sizes[id(node)] = size
            nodes.pop()

    def _refused(self, node: yaml.Node, sentence: str) -> TopicsFileError:
        return TopicsFileError(f"{self.file}:{node.start_mark.line + 1}: expected {sentence}")

    def _scalar(self, node: yaml.Node) -> object:
        try:
            return self.construct_object(node)
        except (ValueError, OverflowError):  # thousands of digits, the 45th of a month
            raise self._refused(node, f"a number, a date or text, found {_shown(node.value)}") from None

    def _field(self, node: yaml.Node, name: str) -> Field:
        value: object
        if isinstance(node, yaml.MappingNode):
            value = self._fields(node, name)
        elif isinstance(node, yaml.SequenceNode):
            value = [self._field(item, f"{name}[{index}]") for index, item in enumerate(node.value)]
        else:
            value = self._scalar(node)
        return Field(self.file, node.start_mark.line + 1, name or "the file", value)

    def _fields(self, node: yaml.MappingNode, name: str) -> dict[str, Field]:
        """Resolve `<<`, whose keys yield to the mapping's own. Any other key may occur once."""
        own: dict[str, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._refused(key_node, "a key that is text, found a list or a mapping")
            # The target of an alias may be flattened already. It then has both keys, and the last one counts.
            if key_node.tag == "tag:yaml.org,2002:merge" or id(node) in self.flattened:
                continue
            line = key_node.start_mark.line + 1
            if own.setdefault(key_node.value, line) != line:
                raise TopicsFileError(
                    f"{self.file}:{line}: {name or 'the file'}: '{key_node.value}' stands here and in line "
                    f"{own[key_node.value]}"
                )
        self.flatten_mapping(node)
        self.flattened.add(id(node))
        fields = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            field = self._field(value_node, f"{name}.{key}" if name else key)
            # A mapping begins a line below its key, but people look at the key's line.
            fields[key] = Field(self.file, key_node.start_mark.line + 1, field.name, field.value)
        return fields


def _inner_nodes(node: yaml.Node) -> list[yaml.Node]:
    match node:
        case yaml.MappingNode():
            return [part for pair in node.value for part in pair]
        case yaml.SequenceNode():
            return list(node.value)
        case _:
            return []
