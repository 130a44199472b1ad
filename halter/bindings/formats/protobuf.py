"""Protobuf, by a set of descriptors: what `protoc --include_imports --descriptor_set_out` writes.

Values are those of Protobuf's JSON, with two differences: names of fields are as the `.proto` file has them, and whole
numbers are numbers, not text, if an INT holds them. A field that is not set has its default, or null where the schema
tells the two apart (messages, `optional`, `oneof`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from halter.bindings.formats.framing import HEADER_LENGTH, hint_of_framing, schema_id_of
from halter.bindings.formats.problems import Decoder, FormatProblem, Undecodable
from halter.bindings.formats.values import plain
from halter.bindings.model import Framing
from processors.core.records.values import VALUE_DEPTH_MAX, Value
from processors.core.wf_spec.near_names import NearNames
from processors.extras import needing

with needing("bindings", "a binding with the format protobuf"):
    from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import DecodeError, Message

DESCRIPTOR_BYTES_MAX: Final = 32 * 1024 * 1024
INDEXES_MAX: Final = 32
"""The most levels of messages within messages that Confluent's framing may name."""
OF_GOOGLE: Final = "google/protobuf/"


def protobuf(file: Path, message: str | None, framing: Framing) -> Decoder:
    """Return a decoder for messages of a set of descriptors. Raises FormatProblem."""
    kind = _message_in(file, message)
    made: Callable[[], Message] = message_factory.GetMessageClass(kind)
    indexes = _indexes_of(kind)

    def read(data: bytes, start: int) -> Value:
        found = made()
        try:
            found.ParseFromString(data[start:])
        except DecodeError as error:
            hint = "" if start else hint_of_framing(data)
            raise Undecodable(f"expected a {kind.full_name}, found bytes that are none: {error}{hint}") from None
        return _plain(found, 0)

    def confluent(data: bytes) -> Value:
        schema_id_of(data)
        found, start = _indexes_in(data)
        if found != indexes:
            raise Undecodable(
                f"expected a {kind.full_name}, which is message {_numbers(indexes)} of its file, found message "
                f"{_numbers(found)}"
            )
        return read(data, start)

    return confluent if framing is Framing.CONFLUENT else lambda data: read(data, 0)


def _message_in(file: Path, name: str | None) -> Descriptor:
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise FormatProblem(("descriptor",), f"there is no file {file}") from error
    except OSError as error:
        raise FormatProblem(("descriptor",), f"{file} cannot be read: {error.strerror}") from error
    if len(content) > DESCRIPTOR_BYTES_MAX:
        found = f"expected at most {DESCRIPTOR_BYTES_MAX} bytes, found {len(content)}"
        raise FormatProblem(("descriptor",), f"{file}: {found}")
    files = descriptor_pb2.FileDescriptorSet()
    how = "`protoc --include_imports --descriptor_set_out=FILE …` writes one"
    try:
        files.ParseFromString(content)
    except DecodeError as error:
        what = f"expected a set of Protobuf descriptors, found something else: {how}"
        raise FormatProblem(("descriptor",), f"{file}: {what}") from error
    if not any(it.name for it in files.file):
        raise FormatProblem(("descriptor",), f"{file}: expected descriptors of files, found none: {how}")
    pool = _pool_of(file, files, how)
    names = [kind for it in files.file if not it.name.startswith(OF_GOOGLE) for kind in _names_in(it)]
    if name is None:
        last = [f"{files.file[-1].package}.{it.name}".lstrip(".") for it in files.file[-1].message_type]
        if len(last) != 1:
            known = NearNames().meant_or_known(None, names)
            found = f"expected the field message, because {file.name} has {len(last)} messages{known}"
            raise FormatProblem((), found)
        name = last[0]
    try:
        return pool.FindMessageTypeByName(name)
    except KeyError:
        meant = NearNames().meant_or_known(name, names)
        raise FormatProblem(("message",), f"there is no message {name!r} in {file.name}{meant}") from None


def _pool_of(file: Path, files: descriptor_pb2.FileDescriptorSet, how: str) -> descriptor_pool.DescriptorPool:
    """Return a pool with these files. Those of Google that they import need not be among them."""
    pool = descriptor_pool.DescriptorPool()
    waiting = {it.name: it for it in files.file}
    added = set[str]()
    missing = set[str]()

    def add(name: str) -> None:
        if name in added or name in missing:
            return
        described = waiting.get(name)
        if described is None:
            described = descriptor_pb2.FileDescriptorProto()
            try:
                descriptor_pool.Default().FindFileByName(name).CopyToProto(described)
            except KeyError:
                missing.add(name)
                return
        added.add(name)  # here: a circle of imports is refused below, and not followed for ever
        for other in described.dependency:
            add(other)
        if not missing:
            pool.Add(described)

    for module in ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"):
        __import__(f"google.protobuf.{module}_pb2")  # puts it into the default pool
    try:
        for name in waiting:
            add(name)
        if not missing:
            for name in waiting:
                pool.FindFileByName(name)
    except (TypeError, KeyError, RecursionError) as error:
        what = f"{file}: the descriptors do not fit together: {str(error)[:300]}"
        raise FormatProblem(("descriptor",), what) from error
    if missing:
        raise FormatProblem(("descriptor",), f"{file} lacks the imported {', '.join(sorted(missing))}: {how}")
    return pool


def _names_in(file: Any) -> list[str]:
    names = []
    waiting = [(file.package, it) for it in file.message_type]
    for above, message in waiting:
        if not message.options.map_entry:
            name = f"{above}.{message.name}".lstrip(".")
            names.append(name)
            waiting += [(name, it) for it in message.nested_type]
    return names


def _indexes_of(kind: Descriptor) -> list[int]:
    """Return where a message is in its file, as Confluent's framing names it."""
    indexes = list[int]()
    inner: Descriptor | None = kind
    while inner is not None:
        around = inner.containing_type
        among = around.nested_types if around is not None else inner.file.message_types_by_name.values()
        indexes.append([it.full_name for it in among].index(inner.full_name))
        inner = around
    return indexes[::-1]


def _indexes_in(data: bytes) -> tuple[list[int], int]:
    """Return the indexes that follow the header of Confluent's framing, and where the message begins."""
    position = HEADER_LENGTH

    def number() -> int:
        nonlocal position
        value, shift = 0, 0
        while position < len(data) and shift < 35:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
        raise Undecodable("expected the indexes of a message behind the schema id (Confluent's framing), found none")

    count = number()
    if not 0 <= count <= INDEXES_MAX:
        raise Undecodable(f"expected at most {INDEXES_MAX} indexes of a message (Confluent's framing), found {count}")
    return ([number() for _ in range(count)] if count else [0]), position


def _numbers(indexes: list[int]) -> str:
    return ".".join(map(str, indexes))


def _plain(message: Message, depth: int) -> Value:
    """Return a message as an object."""
    kind = message.DESCRIPTOR
    if kind.full_name.startswith("google.protobuf.") and kind.file.name.startswith(OF_GOOGLE):
        return _of_google(message)
    if depth >= VALUE_DEPTH_MAX:
        raise Undecodable(f"expected a message of at most {VALUE_DEPTH_MAX} levels, found more")
    return {field.name: _field(message, field, depth + 1) for field in kind.fields}


def _field(message: Message, field: FieldDescriptor, depth: int) -> Value:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        of_value = kind.fields_by_name["value"]
        items = getattr(message, field.name)
        return {_key(key): _item(items[key], of_value, depth) for key in items}
    if _repeats(field):
        return [_item(item, field, depth) for item in getattr(message, field.name)]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _item(getattr(message, field.name), field, depth)


def _repeats(field: FieldDescriptor) -> bool:
    repeated = getattr(field, "is_repeated", None)  # from Protobuf 6.31 on
    return bool(field.label == FieldDescriptor.LABEL_REPEATED if repeated is None else repeated)


def _key(key: object) -> str:
    return ("true" if key else "false") if isinstance(key, bool) else str(key)


def _item(value: Any, field: FieldDescriptor, depth: int) -> Value:
    if field.message_type is not None:
        return _plain(value, depth)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else str(known.name)
    return plain(value)


def _of_google(message: Any) -> Value:
    """Return one of Google's well-known types as Protobuf's JSON has it: a Timestamp is ISO 8601."""
    try:
        pool = message.DESCRIPTOR.file.pool
        return plain(json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool))
    except TypeError:
        if not isinstance(getattr(message, "type_url", None), str):
            raise
        # An Any of a type that the descriptors do not have.
        return plain({"@type": message.type_url, "value": message.value})
    except (json_format.SerializeToJsonError, ValueError, KeyError) as error:
        name = message.DESCRIPTOR.full_name
        raise Undecodable(f"expected a {name} that has a form in JSON, found that {str(error)[:200]}") from None
