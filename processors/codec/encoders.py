"""Records to bytes: one Python function per record, written and compiled from its schema when it is first needed.

A library's writer would be slower. An interrupt is a dozen records, and `fastavro`, the fastest library, needs them as
dicts and finds the branch of a union by trial. Code made for one record reads the attributes itself, knows the branch
from the class, and takes short integers from a table: 1.5 µs for a `Halt` instead of 6 (docs/adr/0003-records.md). The
bytes are the same; tests compare them with those of `fastavro` and `avro` for every record.

The generated code is one expression: a tuple of byte strings to join. The tables check ranges. A value of the wrong
type raises one of `ERRORS`.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final

from processors.codec.errors import SchemaProblem
from processors.codec.records import CLASSES, ENUMS, HEADER, JSON
from processors.codec.schemas import NAMESPACE, Schema, chain_field, full_name, short_name, type_name
from processors.core.records.values import ValueProblem, to_json

ERRORS: Final = (AttributeError, KeyError, OverflowError, TypeError, ValueError, ValueProblem, struct.error)
"""Exceptions of generated code for a record that does not fit its schema."""

PYTHON_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "long": (int,),
    "double": (float,),
    "string": (str,),
    "bytes": (bytes,),
}
"""Branch of a union that is not a record -> the classes that it takes."""


def varint(unsigned: int) -> bytes:
    """Return the encoding of an unsigned number: seven bits per byte, lowest first."""
    out = bytearray()
    while unsigned > 127:
        out.append(unsigned & 127 | 128)
        unsigned >>= 7
    out.append(unsigned)
    return bytes(out)


# Fourteen bits at a time: a time in milliseconds takes three steps instead of six. The tables are put together from
# single bytes, because every command waits for them: 1.4 ms instead of 6.
ENDS: Final = [bytes((bits,)) for bits in range(128)]
GOES_ON: Final = [bytes((bits | 128,)) for bits in range(128)]
CONTINUED: Final = [low + high for high in GOES_ON for low in GOES_ON]
LAST: Final = ENDS + [low + high for high in ENDS[1:] for low in GOES_ON]

SMALL: Final = {number: LAST[number << 1 if number >= 0 else ~(number << 1)] for number in range(-64, 8192)}
REMEMBERED: Final = 16_384


class Integers(dict[int, bytes]):
    """Number -> its Avro encoding. Has all small numbers, and those of the others that were used lately.

    The same time, offset or incarnation occurs in many records of a turn.
    """

    __slots__ = ("bits", "bound")

    def __init__(self, bits: int) -> None:
        super().__init__(SMALL)
        self.bits = bits
        self.bound = 1 << (bits - 1)

    def __missing__(self, number: int) -> bytes:
        if not -self.bound <= number < self.bound:
            raise ValueError(f"{number!r} does not fit into {self.bits} bits")
        left = number << 1 if number >= 0 else ~(number << 1)
        if left < 1 << 14:
            encoded = LAST[left]
        elif left < 1 << 28:
            encoded = CONTINUED[left & 16383] + LAST[left >> 14]
        elif left < 1 << 42:
            encoded = CONTINUED[left & 16383] + CONTINUED[left >> 14 & 16383] + LAST[left >> 28]
        else:
            encoded = CONTINUED[left & 16383] + CONTINUED[left >> 14 & 16383] + varint(left >> 28)
        if len(self) > REMEMBERED + len(SMALL):
            self.clear()
            self.update(SMALL)
        self[number] = encoded
        return encoded


class Branches(dict[type, Callable[[Any], bytes]]):
    """Class of a value -> the function that writes the value as its branch of a union."""

    def __missing__(self, found: type) -> Callable[[Any], bytes]:
        expected = ", ".join(sorted(known.__name__ for known in self))
        raise ValueError(f"expected one of {expected}, found {found.__name__}")


class Symbols(dict[str, bytes]):
    """Symbol of an enum -> its encoding."""

    def __missing__(self, found: object) -> bytes:
        raise ValueError(f"expected one of {', '.join(self)}, found {found!r}")


LONGS: Final = Integers(64)
INTS: Final = Integers(32)


class Texts(dict[str, bytes]):
    """Short text that was used lately -> its Avro encoding.

    Names occur in all records. The ids of a WfRun and an ExternalEvent occur in a dozen records of an interrupt.
    """

    __slots__ = ()
    LENGTH_MAX: Final = 64

    def __missing__(self, text: str) -> bytes:
        data = text.encode()
        encoded = LONGS[len(data)] + data
        if len(text) <= self.LENGTH_MAX:
            if len(self) >= REMEMBERED:
                self.clear()
            self[text] = encoded
        return encoded


TEXTS: Final = Texts()


class Encoded(dict[int, tuple[object, bytes]]):
    """Identity of a value that never changes -> the value and its encoding. Has those that were used lately."""

    __slots__ = ("size",)
    BYTES_MAX: Final = 4 * 1024 * 1024

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def remember(self, value: object, encoded: bytes) -> None:
        """Keep an encoding. While the value is here, no other value has its identity."""
        if self.size + len(encoded) > self.BYTES_MAX:
            self.clear()
            self.size = 0
        self.size += len(encoded)
        self[id(value)] = (value, encoded)


class EncoderCompiler:
    """Writes and compiles the functions of a set of schemas. Functions of parts are shared between records."""

    LONG: ClassVar = "LONGS[{}]"
    INT: ClassVar = "INTS[{}]"
    TEXT: ClassVar = "TEXTS[{}]"
    JOIN: ClassVar = "join({})"
    """How the code encodes a number and a text, and joins byte strings. `encoder_module` has other ways."""

    def __init__(self, names: Mapping[str, Mapping[str, Any]]) -> None:
        """`names`: full name -> definition of every record and enum that occurs."""
        self.names = names
        self.space: dict[str, Any] = {
            "LONGS": LONGS,
            "INTS": INTS,
            "TEXTS": TEXTS,
            "pack_double": struct.Struct("<d").pack,
            "to_json": to_json,
            "join": b"".join,
        }
        self.functions: dict[str, str] = {}
        """Each compiled function or table, by what it writes -> its name in `space`."""
        self.fresh = 0

    def record(self, name: str, header: bytes) -> Callable[[Any], bytes]:
        """Return a function from a record of that name to its bytes, which begin with this header of the framing."""
        parts = self._parts_of_fields(self._definition(f"{NAMESPACE}.{name}")["fields"], "it")
        return self._compile(f"write_{name}", {"it": f"{NAMESPACE}.{name}"}, repr(header), *parts)

    def event(self, name: str, header: bytes) -> Callable[[Any, bytes, bytes, bytes], bytes]:
        """Return a function from an event and the encoded fields of its LogEntry (head, seq, tail) to bytes."""
        arguments = {"it": f"{NAMESPACE}.{name}", "head": "bytes", "seq": "bytes", "tail": "bytes"}
        return self._compile(
            f"write_{name}", arguments, repr(header), "head", "seq", "tail", *self._parts_of_event(name)
        )

    def _parts_of_event(self, name: str) -> Iterator[str]:
        fields = self._definition(f"{NAMESPACE}.{name}")["fields"]
        found = tuple(field["name"] for field in fields[: len(HEADER)])
        if found != HEADER:
            raise SchemaProblem(f"{name}: expected the first fields to be {HEADER}, found {found}")
        return self._parts_of_fields(fields[len(HEADER) :], "it")

    def part(self, name: str) -> Callable[[Any], bytes]:
        """Return a function from a part of a record, such as a Cause, to its bytes."""
        function: Callable[[Any], bytes] = self.space[self._record_function(f"{NAMESPACE}.{name}")]
        return function

    def _compile(self, name: str, arguments: Mapping[str, Schema], *parts: str) -> Callable[..., bytes]:
        return self._execute(name, arguments, f"    return {self._joined(*parts)}\n")

    def _joined(self, *parts: str) -> str:
        """Return an expression that joins byte strings."""
        return self.JOIN.format(f"({''.join(f'{part}, ' for part in parts)})")

    def _execute(self, name: str, arguments: Mapping[str, Schema], body: str) -> Callable[..., bytes]:
        """Make a function. `arguments`: the names of its arguments -> their schemas."""
        source = f"def {name}({', '.join(arguments)}):\n{body}"
        # The code comes from our own schema files, never from input. `dataclasses` makes its methods in the same way.
        exec(compile(source, f"<encoder {name}>", "exec"), self.space)  # noqa: S102
        function: Callable[..., bytes] = self.space[name]
        return function

    def _name(self, prefix: str) -> str:
        self.fresh += 1
        return f"{prefix}_{self.fresh}"

    def _parts_of_fields(self, fields: list[dict[str, Any]], it: str) -> Iterator[str]:
        for field in fields:
            yield from self._parts(field["type"], f"{it}.{field['name']}")

    def _parts(self, schema: Schema, value: str) -> Iterator[str]:
        """Yield expressions for the byte strings of a value. `value` is itself an expression; it is evaluated once."""
        if isinstance(schema, dict) and "name" in schema:
            schema = full_name(schema)  # defined in place, as the self-contained schemas of a release do
        match schema:
            case "null":
                return
            case "boolean":
                yield f"(b'\\1' if {value} else b'\\0')"
            case "int":
                yield self.INT.format(value)
            case "long":
                yield self.LONG.format(value)
            case "double":
                yield f"pack_double({value})"
            case "string":
                yield self.TEXT.format(value)
            case "bytes":
                data = self._name("data")
                yield self.LONG.format(f"len({data} := {value})")
                yield data
            case str() if self._definition(schema)["type"] == "enum":
                yield f"{self._symbols(schema)}[{value}._value_]"
            case str():
                yield from self._parts_of_record(schema, value)
            case {"type": "array", "items": items}:
                array = self._name("array")
                yield f"({self._array_function(items)}({array}) if ({array} := {value}) else b'\\0')"
            case {"type": "map", "values": values}:
                map_ = self._name("map")
                yield f"({self._map_function(values)}({map_}) if ({map_} := {value}) else b'\\0')"
            case {"type": str() as primitive}:  # a logical type: written as what it is annotated on
                yield from self._parts(primitive, value)
            case ["null", inner]:
                yield self._optional(inner, value)
            case ["null", *_]:
                item = self._name("item")
                yield f"(b'\\0' if ({item} := {value}) is None else {self._branch(schema, item, item)})"
            case list():
                item = self._name("item")
                yield self._branch(schema, f"{item} := {value}", item)
            case _:
                raise SchemaProblem(f"a schema that the codec does not know: {schema}")

    def _definition(self, name: str) -> Mapping[str, Any]:
        return self.names[name]

    def _parts_of_record(self, name: str, value: str) -> Iterator[str]:
        if short_name(name) == JSON:
            text = self._name("json")
            yield self.LONG.format(f"len({text} := to_json({value}).encode())")
            yield text
            return
        definition = self._definition(name)
        if chain_field(definition) is not None:
            yield f"{self._record_function(name)}({value})"
            return
        record = self._name("record")
        if not definition["fields"]:
            return
        first, *others = definition["fields"]
        # The first part assigns the record to a name, which the others use.
        head, *rest = self._parts(first["type"], f"({record} := {value}).{first['name']}")
        yield head
        yield from rest
        yield from self._parts_of_fields(others, record)

    def _optional(self, inner: Schema, value: str) -> str:
        item = self._name("item")
        parts = list(self._parts(inner, item))
        written = " + ".join(["b'\\2'", *parts]) if len(parts) < 3 else self._joined("b'\\2'", *parts)
        return f"(b'\\0' if ({item} := {value}) is None else {written})"

    def _symbols(self, name: str) -> str:
        if name not in self.functions:
            table = self.functions[name] = self._name(f"symbols_{short_name(name)}")
            members = set(ENUMS[short_name(name)])
            self.space[table] = Symbols(
                (symbol, varint(index << 1))
                for index, symbol in enumerate(self._definition(name)["symbols"])
                if symbol in members
            )
        return self.functions[name]

    def _record_function(self, name: str) -> str:
        if name in self.functions:
            return self.functions[name]
        function = self.functions[name] = self._name(f"write_{short_name(name)}")
        definition = self._definition(name)
        link = chain_field(definition)
        if link is None:
            self._compile(function, {"it": name}, *self._parts_of_fields(definition["fields"], "it"))
            return function
        # A chain, such as one of failures, is written in a loop, because it may be longer than Python's stack is deep.
        # A link that was encoded lately is not encoded again: each failure that climbs is in several records, and in
        # the cause of the next.
        parts = "".join(f"{part}, " for part in self._parts_of_fields(definition["fields"][:-1], "it"))
        known = self._name("known")
        self.space[known] = Encoded()
        self._execute(
            function,
            {"it": name},
            "    links = []\n"
            "    rest = b'\\0'\n"
            "    while it is not None:\n"
            f"        if (found := {known}.get(id(it))) is not None:\n"
            "            rest = b'\\2' + found[1]\n"
            "            break\n"
            "        links.append(it)\n"
            f"        it = it.{link}\n"
            "    for it in reversed(links):\n"
            f"        written = join(({parts}rest))\n"
            f"        {known}.remember(it, written)\n"
            "        rest = b'\\2' + written\n"
            "    return rest[1:]\n",
        )
        return function

    def _array_function(self, items: Schema) -> str:
        key = f"array of {items}"
        if key not in self.functions:
            function = self.functions[key] = self._name("write_array")
            parts = "".join(f"{part}, " for part in self._parts(items, "item"))
            self._execute(
                function,
                {"it": {"type": "array", "items": items}},
                f"    written = [{self.LONG.format('len(it)')}]\n"
                "    for item in it:\n"
                f"        written += ({parts})\n"
                "    written.append(b'\\0')\n"
                f"    return {self.JOIN.format('written')}\n",
            )
        return self.functions[key]

    def _map_function(self, values: Schema) -> str:
        key = f"map of {values}"
        if key not in self.functions:
            function = self.functions[key] = self._name("write_map")
            parts = "".join(f"{part}, " for part in [*self._parts("string", "key"), *self._parts(values, "item")])
            self._execute(
                function,
                {"it": {"type": "map", "values": values}},
                f"    written = [{self.LONG.format('len(it)')}]\n"
                "    for key, item in it.items():\n"
                f"        written += ({parts})\n"
                "    written.append(b'\\0')\n"
                f"    return {self.JOIN.format('written')}\n",
            )
        return self.functions[key]

    def _branch(self, union: list[Schema], value: str, again: str) -> str:
        """Return an expression for a value as its branch of a union. `value` is evaluated first, then `again`."""
        return f"{self._branches(union)}[type({value})]({again})"

    def _branches(self, union: list[Schema]) -> str:
        key = f"union of {union}"
        if key in self.functions:
            return self.functions[key]
        table = self.functions[key] = self._name("branches")
        branches = self.space[table] = Branches()
        for index, branch in enumerate(union):
            name = type_name(branch)
            function = self._name(f"write_branch_{short_name(name)}")
            written = self._compile(function, {"it": branch}, *self._parts_of_branch(index, branch))
            for python_type in self._python_types(name):
                branches[python_type] = written
        return table

    def _parts_of_branch(self, index: int, branch: Schema) -> Iterator[str]:
        yield repr(varint(index << 1))
        if type_name(branch) == "string":  # a text that is a value: it may be long, and occurs once
            yield self.LONG.format("len(text := it.encode())")
            yield "text"
        else:
            yield from self._parts(branch, "it")

    @staticmethod
    def _python_types(branch: str) -> tuple[type, ...]:
        if branch in PYTHON_TYPES:
            return PYTHON_TYPES[branch]
        return (dict, list) if short_name(branch) == JSON else (CLASSES[short_name(branch)],)
