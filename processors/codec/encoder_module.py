"""Writes the module of the log's encoders that mypyc compiles: `processors/codec/compiled_encoders.py`, in wheels only.

    python -m processors.codec.encoder_module FOLDER_OF_SCHEMAS > compiled_encoders.py

The functions are those of `EncoderCompiler`, with types, so that mypyc reads the fields of a record without a lookup.
The build of a wheel calls this (`hatch_build.py`). It needs no other package.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final

from processors.codec.encoders import PYTHON_TYPES, EncoderCompiler, varint
from processors.codec.records import CLASSES, ENUMS, EVENTS, JSON
from processors.codec.schemas import NAMESPACE, Schema, Schemas, chain_field, short_name, type_name
from processors.core.records.events import Cause

MODULE: Final = "processors.codec.compiled_encoders"
TYPES: Final = {
    "null": "None",
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "double": "float",
    "string": "str",
    "bytes": "bytes",
}


class NotCompiled(Exception):
    """A record has a chain, such as one of Failures. Its encoder stays Python: it is long, and failures are rare."""


def compiled_encoders(names: Mapping[str, Mapping[str, Any]]) -> ModuleType | None:
    """Return the module of the compiled encoders, if there is one and it was made from these definitions."""
    try:
        module = import_module(MODULE)
    except ModuleNotFoundError:
        return None
    return module if digest_of(names) == module.MADE_OF else None


def digest_of(names: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a text that tells definitions apart."""
    import hashlib  # here: where nothing is compiled, nothing needs it

    return hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()


def source_of(names: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the source of the module for these definitions."""
    writer = ModuleWriter(names)
    cause = writer.part_name(Cause.__name__)
    written = [name for name in EVENTS if writer.event_if_possible(name)]
    return "\n\n".join(
        [
            '"""Encoders of the log, for mypyc. Written from the schemas by `processors.codec.encoder_module`."""',
            "\n".join(writer.imports()),
            *writer.sources,
            f"MADE_OF = {digest_of(names)!r}",
            f"write_cause = {cause}",
            f"WRITERS: dict[type, EventWriter] = {{{', '.join(f'{name}: write_{name}' for name in written)}}}\n",
        ]
    )


class ModuleWriter(EncoderCompiler):
    """Writes the functions with types into a list of sources, and executes nothing."""

    LONG: ClassVar = "long_of({})"
    INT: ClassVar = "int_of({})"
    TEXT: ClassVar = "text_of({})"
    JOIN: ClassVar = "b''.join({})"

    def __init__(self, names: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(names)
        self.sources: list[str] = []
        self.classes: dict[str, str] = {}
        """Each class that occurs -> its module."""

    def part_name(self, name: str) -> str:
        """Write the function of a part of a record; return its name."""
        return self._record_function(f"{NAMESPACE}.{name}")

    def event_if_possible(self, name: str) -> bool:
        """Write the function of an event. Return False, and write nothing, if it has a chain."""
        functions, sources = dict(self.functions), list(self.sources)
        header = {"it": f"{NAMESPACE}.{name}", "header": "bytes", "head": "bytes", "seq": "bytes", "tail": "bytes"}
        try:
            self._compile(f"write_{name}", header, "header", "head", "seq", "tail", *self._parts_of_event(name))
        except NotCompiled:
            self.functions, self.sources = functions, sources
            return False
        return True

    def imports(self) -> Iterable[str]:
        """Yield the lines that import what the functions use."""
        yield "from typing import Final"
        yield ""
        yield "from processors.codec.log_writer import EventWriter, int_of, long_of, pack_double, text_of"
        yield "from processors.core.records.values import Value, to_json"
        for name, module in sorted(self.classes.items()):
            yield f"from {module} import {name}"

    def _execute(self, name: str, arguments: Mapping[str, Schema], body: str) -> Callable[..., bytes]:
        typed = ", ".join(f"{argument}: {self._type(schema)}" for argument, schema in arguments.items())
        self.sources.append(f"def {name}({typed}) -> bytes:\n{body}")
        return varint  # in the place of the function, which is in a module that is not there yet

    def _joined(self, *parts: str) -> str:
        return " + ".join(parts) if len(parts) < 3 else self.JOIN.format(f"[{', '.join(parts)}]")

    def _type(self, schema: Schema) -> str:
        """Return the Python type of a value of a schema."""
        match schema:
            case {"type": "array", "items": items}:
                return f"list[{self._type(items)}]"
            case {"type": "map", "values": values}:
                return f"dict[str, {self._type(values)}]"
            case list():
                return "Value" if any(short_name(type_name(branch)) == JSON for branch in schema) else "object"
        name = type_name(schema)
        return TYPES.get(name) or self._class(short_name(name))

    def _class(self, name: str) -> str:
        self.classes[name] = (ENUMS.get(name) or CLASSES[name]).__module__
        return name

    def _record_function(self, name: str) -> str:
        if chain_field(self._definition(name)) is not None:
            raise NotCompiled(name)
        return super()._record_function(name)

    def _symbols(self, name: str) -> str:
        if name not in self.functions:
            table = super()._symbols(name)
            self.sources.append(f"{table}: Final[dict[str, bytes]] = {dict(self.space[table])!r}\n")
        return self.functions[name]

    def _branch(self, union: list[Schema], value: str, again: str) -> str:  # noqa: ARG002  the value is looked at once
        return f"{self._branches(union)}({value})"

    def _branches(self, union: list[Schema]) -> str:
        key = f"union of {union}"
        if key not in self.functions:
            function = self.functions[key] = self._name("write_union")
            lines, expected = [], []
            for index, branch in enumerate(union):
                written = self._joined(*self._parts_of_branch(index, branch))
                kinds = self._kinds(type_name(branch))
                expected += kinds or ["NoneType"]
                fits = " or ".join(f"type(it) is {kind}" for kind in kinds) or "it is None"
                lines.append(f"    if {fits}:\n        return {written}\n")
            lines.append(
                f"    raise ValueError(f'expected one of {', '.join(sorted(expected))}, found {{type(it).__name__}}')\n"
            )
            self.sources.append(f"def {function}(it: object) -> bytes:\n{''.join(lines)}")
        return self.functions[key]

    def _kinds(self, branch: str) -> list[str]:
        """Return the names of the classes that a branch takes; none for null."""
        if branch == "null":
            return []
        if branch in PYTHON_TYPES:
            return [kind.__name__ for kind in PYTHON_TYPES[branch]]
        return ["dict", "list"] if short_name(branch) == JSON else [self._class(short_name(branch))]


def main() -> None:
    """Print the module."""
    print(source_of(Schemas.load(Path(sys.argv[1])).names))  # noqa: T201


if __name__ == "__main__":
    main()
