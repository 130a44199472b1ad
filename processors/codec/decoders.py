"""Bytes to records: one Python function per pair of schemas, written and compiled when it is first needed.

A record is read with the schema that it was written with (the *writer's*: current or released) and becomes an object of
today's class, as the *reader's* schema says. Avro's schema resolution applies: new fields take their defaults, and
fields that are gone are skipped. `encoders` says why this is not a library's reader. There is one more reason here:
input is hostile. Compiled readers of libraries recurse on the C stack and believe lengths. This one never takes more
memory than a small multiple of the bytes it was given, and raises for everything that is not exactly a record. The
codec turns `ERRORS` into `Undecodable`.
"""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from itertools import groupby
from typing import Any, Final, Self

from processors.codec.errors import SchemaProblem
from processors.codec.records import CLASSES, ENUMS, EVENTS, HEADER, JSON
from processors.codec.schemas import NAMESPACE, Schema, chain_field, short_name, type_name
from processors.core.records.events import LogEntry
from processors.core.records.values import Value, ValueProblem, from_json

SEVERAL: Final = 3
"""Number of fields in a row from which it pays to look at all of them at once."""

TOO_SHORT: Final = (IndexError, struct.error)
"""Exceptions of generated code for bytes that end too early."""

ERRORS: Final = (*TOO_SHORT, UnicodeDecodeError, ValueProblem)
"""Exceptions of generated code for bytes that are not a record."""

PROMOTIONS: Final = frozenset({("int", "long"), ("int", "double"), ("long", "double"), ("float", "double")})
"""(written as, read as): the pairs of different types that Avro lets be read."""


def rest_of_varint(data: bytes, position: int, first: int) -> tuple[int, int]:
    """Return an unsigned number of more than one byte, and the position after it. `first` is its first byte."""
    number, shift = first & 127, 7
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > 63:
            raise ValueProblem("expected a number of at most 64 bits, found a longer one")
    if number >> 64 or byte == 0:
        raise ValueProblem("expected a number in its shortest form of at most 64 bits")
    return number, position


def read_json(text: str) -> Value:
    """Return the object or array that a JSON text stands for. Raises ValueProblem."""
    value = from_json(text)
    if not isinstance(value, dict | list):
        raise ValueProblem(f"expected a JSON object or array, found {text[:40]}")
    return value


def problem(expected: str, found: object) -> ValueProblem:
    """Return the error that generated code raises."""
    return ValueProblem(f"expected {expected}, found {found}")


class Source:
    """Lines of Python under construction."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.indent = 1

    def add(self, *lines: str) -> None:
        """Add lines at the current indentation."""
        self.lines += ["    " * self.indent + line for line in lines]

    def __enter__(self) -> Self:
        self.indent += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.indent -= 1


class DecoderCompiler:
    """Writes and compiles the functions that read what was written with one set of schemas."""

    def __init__(self, written: Mapping[str, Mapping[str, Any]], read: Mapping[str, Mapping[str, Any]]) -> None:
        """Both are full name -> definition: of the schemas as records were written, and as they are now."""
        self.written = written
        self.read = read
        self.space: dict[str, Any] = {
            "rest_of_varint": rest_of_varint,
            "problem": problem,
            "read_json": read_json,
            "unpack_double": struct.Struct("<d").unpack_from,
            "unpack_float": struct.Struct("<f").unpack_from,
            "LogEntry": LogEntry,
            **CLASSES,
        }
        self.functions: dict[str, str] = {}
        self.fresh = 0

    def record(self, name: str) -> Callable[[bytes, int], tuple[Any, int]]:
        """Return a function from bytes and a position to the record of that name and the position after it."""
        writer, reader = self.written[f"{NAMESPACE}.{name}"], self.read[f"{NAMESPACE}.{name}"]
        function = self._name(f"read_{name}")
        source = Source()
        self._fields(source, writer, reader, f"{name}_")
        own = [field for field in reader["fields"] if name not in EVENTS or field["name"] not in HEADER]
        made = self._construction(CLASSES[name], own, f"{name}_")
        if name in EVENTS:
            made = f"LogEntry({', '.join(f'{name}_{header}' for header in HEADER)}, {made})"
        source.add(f"return {made}, position")
        return self._compile(function, source)

    def first_fields(self, name: str, wanted: tuple[str, ...]) -> Callable[[bytes, int], tuple[Any, ...]]:
        """Return a function from bytes and a position to the values of some fields. It reads up to the last of them."""
        writer, reader = self.written[f"{NAMESPACE}.{name}"], self.read[f"{NAMESPACE}.{name}"]
        own = [field for field in reader["fields"] if field["name"] in wanted]
        names = {alias for field in own for alias in (*field.get("aliases", ()), field["name"])}
        last = max((index for index, field in enumerate(writer["fields"]) if field["name"] in names), default=-1)
        source = Source()
        shorter = {**writer, "fields": writer["fields"][: last + 1]}
        self._fields(source, shorter, {**reader, "fields": own}, "it_")
        source.add(f"return ({''.join(f'it_{field}, ' for field in wanted)})")
        return self._compile(self._name(f"peek_{name}"), source)

    def _compile(self, name: str, source: Source) -> Callable[..., Any]:
        text = f"def {name}(data, position):\n    size = len(data)\n" + "\n".join(source.lines) + "\n"
        # The code comes from our own schema files, never from input. `dataclasses` makes its methods in the same way.
        exec(compile(text, f"<decoder {name}>", "exec"), self.space)  # noqa: S102
        function: Callable[..., Any] = self.space[name]
        return function

    def _name(self, prefix: str) -> str:
        self.fresh += 1
        return f"{prefix}_{self.fresh}"

    def _constant(self, value: Any) -> str:
        name = self._name("constant")
        self.space[name] = value
        return name

    def _construction(self, made: type, schema_fields: list[dict[str, Any]], prefix: str) -> str:
        """Return an expression that makes an object of a class from the variables of its fields."""
        wanted = {field["name"] for field in schema_fields}
        arguments = []
        positional = True
        for field in fields(made):
            if field.name in wanted:
                variable = f"{prefix}{field.name}"
                arguments.append(variable if positional else f"{field.name}={variable}")
            elif field.default is MISSING and field.default_factory is MISSING:
                raise SchemaProblem(f"{made.__name__}.{field.name}: expected in the schema or with a default")
            else:
                positional = False
        return f"{made.__name__}({', '.join(arguments)})"

    def _fields(self, source: Source, writer: Mapping[str, Any], reader: Mapping[str, Any] | None, prefix: str) -> None:
        """Read the fields of a record into variables `<prefix><field>`. Without a reader, skip them."""
        wanted: dict[str, Mapping[str, Any]] = {}
        for field in reader["fields"] if reader is not None else ():
            for alias in (*field.get("aliases", ()), field["name"]):
                wanted[alias] = field
        found = set()
        pairs: list[tuple[Schema, Schema | None, str]] = []
        for field in writer["fields"]:
            target = wanted.get(field["name"])
            if target is None or target["name"] in found:
                pairs.append((field["type"], None, self._name("unused")))
            else:
                found.add(target["name"])
                pairs.append((field["type"], target["type"], f"{prefix}{target['name']}"))
        for usually, run in groupby(pairs, lambda pair: usual(pair[0], pair[1]) is not None):
            several = list(run)
            if usually and len(several) >= SEVERAL:
                self._usual_values(source, several)
            else:
                for written, read, variable in several:
                    self._value(source, written, read, variable)
        for field in reader["fields"] if reader is not None else ():
            if field["name"] not in found:
                source.add(f"{prefix}{field['name']} = {self._default(reader, field)}")

    def _usual_values(self, source: Source, pairs: list[tuple[Schema, Schema | None, str]]) -> None:
        """Read values that are usually empty, which is a byte of 0 each. If all are, they are read at once."""
        source.add(f"if data[position:position + {len(pairs)}] == {bytes(len(pairs))!r}:")
        with source:
            source.add(f"position += {len(pairs)}")
            source.add(*(f"{variable} = {usual(written, read)}" for written, read, variable in pairs))
        source.add("else:")
        with source:
            for written, read, variable in pairs:
                self._value(source, written, read, variable)

    def _default(self, reader: Mapping[str, Any] | None, field: Mapping[str, Any]) -> str:
        where = f"{reader and reader['name']}.{field['name']}"
        if "default" not in field:
            raise SchemaProblem(f"{where}: expected a default, because older records lack this field")
        match field["default"], field["type"]:
            case None | bool() | int() | float() as default, _:
                return repr(default)
            case [], _:
                return "[]"
            case {} as default, _ if not default:
                return "{}"
            case str() as default, str() as name if name in self.read:
                return self._constant(ENUMS[short_name(name)](default))
            case str() as default, "string":
                return repr(default)
            case default, _:
                raise SchemaProblem(f"{where}: a default that the codec does not know: {json.dumps(default)}")

    def _varint(self, source: Source, target: str) -> None:
        source.add(
            f"{target} = data[position]; position += 1",
            f"if {target} > 127: {target}, position = rest_of_varint(data, position, {target})",
        )

    def _long(self, source: Source, target: str) -> None:
        self._varint(source, target)
        source.add(f"{target} = ({target} >> 1) ^ -({target} & 1)")

    def _block(self, source: Source, target: str, what: str) -> None:
        """Read a length and then that many bytes. Raises if there are fewer."""
        length = self._name("length")
        self._varint(source, length)
        source.add(
            f"if {length} & 1: raise problem('{what} of at least 0 bytes', -({length} >> 1) - 1)",
            f"end = position + ({length} >> 1)",
            f"if end > size: raise problem(f'{what} of {{{length} >> 1}} bytes', f'{{size - position}} that are left')",
            f"{target} = data[position:end]",
            "position = end",
        )

    def _value(self, source: Source, writer: Schema, reader: Schema | None, target: str) -> None:
        """Read one value into a variable. `reader` is None for a value that is skipped."""
        if isinstance(reader, list) and not isinstance(writer, list):
            reader = self._branch_for(writer, reader)
        if isinstance(writer, list):
            self._union(source, writer, reader, target)
        elif type_name(writer) in self.written:
            self._named(source, type_name(writer), None if reader is None else type_name(reader), target)
        elif type_name(writer) in ("array", "map"):
            self._container(source, writer, reader, target)
        else:
            self._primitive(source, type_name(writer), None if reader is None else type_name(reader), target)

    def _primitive(self, source: Source, writer: str, reader: str | None, target: str) -> None:
        if reader is not None and writer != reader and (writer, reader) not in PROMOTIONS:
            raise SchemaProblem(f"{target}: written as {writer}, cannot be read as {reader}")
        match writer:
            case "null":
                source.add(f"{target} = None")
            case "boolean":
                source.add(
                    f"{target} = data[position]; position += 1",
                    f"if {target} > 1: raise problem('a boolean of 0 or 1', {target})",
                    f"{target} = {target} == 1",
                )
            case "int" | "long":
                self._long(source, target)
                if writer == "int":
                    source.add(
                        f"if not -2147483648 <= {target} <= 2147483647: raise problem('a number of 32 bits', {target})"
                    )
            case "float" | "double":
                source.add(f"{target}, = unpack_{writer}(data, position); position += {8 if writer == 'double' else 4}")
            case "string":
                self._block(source, target, "a text")
                source.add(f"{target} = {target}.decode()")
            case "bytes":
                self._block(source, target, "bytes")
            case _:
                raise SchemaProblem(f"{target}: a type that the codec does not know: {writer}")
        if reader == "double" and writer in ("int", "long"):
            source.add(f"{target} = float({target})")

    def _named(self, source: Source, writer: str, reader: str | None, target: str) -> None:
        definition = self.written[writer]
        if reader is not None and reader not in self.read:
            raise SchemaProblem(f"{target}: written as {writer}, cannot be read as {reader}")
        if definition["type"] == "enum":
            self._enum(source, definition, reader, target)
        elif chain_field(definition) is not None:
            source.add(f"{target}, position = {self._chain(writer, reader)}(data, position)")
        else:
            prefix = self._name("field") + "_"
            now = None if reader is None else self.read[reader]
            self._fields(source, definition, now, prefix)
            if now is None:
                source.add(f"{target} = None")
            elif short_name(writer) == JSON:
                source.add(f"{target} = read_json({prefix}json)")
            else:
                made = self._construction(CLASSES[short_name(now["name"])], now["fields"], prefix)
                source.add(f"{target} = {made}")

    def _enum(self, source: Source, writer: Mapping[str, Any], reader: str | None, target: str) -> None:
        self._varint(source, target)
        name = writer["name"]
        if reader is None:
            source.add(f"if {target} & 1 or {target} > {2 * len(writer['symbols']) - 2}:")
            with source:
                source.add(f"raise problem('a symbol of {name}', {target})")
            return
        members = {member.value: member for member in ENUMS[short_name(reader)]}
        known = {index << 1: members[symbol] for index, symbol in enumerate(writer["symbols"]) if symbol in members}
        symbol = self._name("symbol")
        source.add(
            f"{symbol} = {self._constant(known)}.get({target})",
            f"if {symbol} is None: raise problem('a symbol of {name}', {self._constant(writer['symbols'])}"
            f"[{target} >> 1] if not {target} & 1 and {target} >> 1 < {len(writer['symbols'])} else {target})",
            f"{target} = {symbol}",
        )

    def _chain(self, writer: str, reader: str | None) -> str:
        """Return the name of a function that reads a chain in a loop: records whose last field is an optional record of
        the same kind.
        """
        key = f"chain {writer} {reader}"
        if key in self.functions:
            return self.functions[key]
        function = self.functions[key] = self._name(f"read_{short_name(writer)}")
        definition = self.written[writer]
        now = None if reader is None else self.read[reader]
        link = definition["fields"][-1]
        if now is not None and chain_field(now) != link["name"]:
            raise SchemaProblem(f"{writer}: expected its last field to be '{link['name']}', an optional {writer}")
        source = Source()
        source.add("levels = []", "while True:")
        with source:
            shorter = {**definition, "fields": definition["fields"][:-1]}
            own = [] if now is None else now["fields"][:-1]
            self._fields(source, shorter, None if now is None else {**now, "fields": own}, "it_")
            source.add(f"levels.append(({''.join('it_' + field['name'] + ', ' for field in own)}))")
            self._varint(source, "more")
            source.add("if more == 0: break", f"if more != 2: raise problem('null or a {writer}', f'branch {{more}}')")
        source.add("it = None")
        if now is not None:
            source.add("for level in reversed(levels):")
            with source:
                source.add(f"({''.join('it_' + field['name'] + ', ' for field in own)}) = level")
                source.add(f"it_{link['name']} = it")
                source.add(f"it = {self._construction(CLASSES[now['name']], now['fields'], 'it_')}")
        source.add("return it, position")
        self._compile(function, source)
        return function

    def _container(self, source: Source, writer: Any, reader: Any, target: str) -> None:
        kind = writer["type"]
        if reader is not None and type_name(reader) != kind:
            raise SchemaProblem(f"{target}: written as {kind}, cannot be read as {type_name(reader)}")
        inner = "items" if kind == "array" else "values"
        self._require_bytes(writer[inner], target)
        count, item = self._name("count"), self._name("item")
        source.add(f"{target} = {'[]' if kind == 'array' else '{}'}", "while True:")
        with source:
            self._long(source, count)
            source.add(f"if {count} == 0: break", f"if {count} < 0:")
            with source:
                source.add(f"{count} = -{count}")
                self._long(source, self._name("size_in_bytes"))
            # Every item takes at least a byte, so the bytes that are left bound the count, and the count bounds the
            # memory.
            source.add(
                f"if {count} > size - position: raise problem(f'{{{count}}} items', f'{{size - position}} bytes')",
                f"for _ in range({count}):",
            )
            with source:
                key = self._name("key")
                if kind == "map":
                    self._primitive(source, "string", "string", key)
                self._value(source, writer[inner], None if reader is None else reader[inner], item)
                if reader is not None:
                    source.add(f"{target}.append({item})" if kind == "array" else f"{target}[{key}] = {item}")

    def _require_bytes(self, items: Schema, target: str) -> None:
        definition = self.written.get(type_name(items)) if not isinstance(items, list) else None
        if items == "null" or (definition is not None and not definition.get("fields", definition.get("symbols"))):
            raise SchemaProblem(f"{target}: expected items that take at least a byte each")

    def _union(self, source: Source, writer: list[Schema], reader: Schema | None, target: str) -> None:
        if len(writer) > 2:
            source.add(f"{target}, position = {self._union_function(writer, reader)}(data, position)")
            return
        branch = self._name("branch")
        self._varint(source, branch)
        self._branches(source, writer, reader, branch, target)

    def _union_function(self, writer: list[Schema], reader: Schema | None) -> str:
        key = f"union {[type_name(b) for b in writer]} {None if reader is None else reader_key(reader)}"
        if key not in self.functions:
            function = self.functions[key] = self._name("read_union")
            source = Source()
            self._varint(source, "branch")
            self._branches(source, writer, reader, "branch", "it")
            source.add("return it, position")
            self._compile(function, source)
        return self.functions[key]

    def _branches(self, source: Source, writer: list[Schema], reader: Schema | None, branch: str, target: str) -> None:
        for index, schema in enumerate(writer):
            source.add(f"{'el' if index else ''}if {branch} == {index << 1}:")
            with source:
                try:
                    chosen = self._branch_for(schema, reader if isinstance(reader, list) else [reader])
                except SchemaProblem as error:
                    source.add(f"raise problem({str(error)!r}, 'a branch that it has no more')")
                    continue
                self._value(source, schema, chosen, target)
        names = ", ".join(short_name(type_name(schema)) for schema in writer)
        source.add(f"else: raise problem('one of {names}', f'branch {{{branch}}}')")

    def _branch_for(self, writer: Schema, readers: list[Any]) -> Schema | None:
        """Return the reader's branch for a writer's branch, as Avro resolves it: the same type, or else a promotion."""
        if readers == [None]:
            return None
        name = type_name(writer)
        for reader in readers:
            if type_name(reader) == name:
                return reader  # type: ignore[no-any-return]
        for reader in readers:
            if (name, type_name(reader)) in PROMOTIONS:
                return reader  # type: ignore[no-any-return]
        raise SchemaProblem(f"{short_name(name)} as one of {', '.join(map(type_name, readers))}")


def usual(written: Schema, read: Schema | None) -> str | None:
    """Return the Python expression of the value that is written as one byte of 0, unless that byte is special."""
    if read is not None and read != written:
        return None
    if isinstance(written, list):
        return "None" if written[0] == "null" else None
    match type_name(written):
        case "array":
            return "[]"
        case "map":
            return "{}"
        case "boolean":
            return "False"
    return None


def reader_key(schema: Schema) -> str:
    """Return a text that tells reader schemas apart."""
    return str([type_name(branch) for branch in schema]) if isinstance(schema, list) else type_name(schema)
