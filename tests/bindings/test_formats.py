"""Formats read what real encoders write: those of Confluent, fastavro and Protobuf. Other bytes are a sentence."""

import io
import json
import struct
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pytest
from confluent_kafka.schema_registry import Schema as RegisteredSchema
from confluent_kafka.schema_registry import SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import (
    DoubleSerializer,
    IntegerSerializer,
    MessageField,
    SerializationContext,
    StringSerializer,
)
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from halter.bindings.formats import Decoder, FormatProblem, Undecodable, decoder_of
from halter.bindings.model import Format, FormatKind, Framing
from processors.codec.registry import ConfluentRegistry, RegistryUnavailable
from processors.core.records.values import to_json
from tests.support.schema_registry import SchemaRegistry

HERE = Path()
CONTEXT = SerializationContext("orders", MessageField.VALUE)
ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "lines", "type": {"type": "array", "items": {
            "type": "record", "name": "Line",
            "fields": [{"name": "sku", "type": "string"}, {"name": "n", "type": "int"}],
        }}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "raw", "type": "bytes"},
        {"name": "ratio", "type": "double"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["NEW", "OLD"]}},
        {"name": "tags", "type": {"type": "map", "values": "string"}},
    ],
}  # fmt: skip
AN_ORDER = {
    "id": "o-1",
    "lines": [{"sku": "mug", "n": 2}],
    "note": None,
    "at": datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
    "day": date(2026, 1, 2),
    "total": Decimal("12.50"),
    "key": UUID(int=5),
    "raw": b"\x00\xff",
    "ratio": float("nan"),
    "kind": "NEW",
    "tags": {"a": "b"},
}
AS_VALUE = {
    "id": "o-1",
    "lines": [{"sku": "mug", "n": 2}],
    "note": None,
    "at": "2026-01-02T03:04:05.000600Z",
    "day": "2026-01-02",
    "total": "12.50",
    "key": str(UUID(int=5)),
    "raw": "AP8=",
    "ratio": "NaN",
    "kind": "NEW",
    "tags": {"a": "b"},
}


def written(schema: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def avsc(folder: Path, schema: Any = ORDER) -> str:
    (folder / "order.avsc").write_text(json.dumps(schema))
    return "order.avsc"


# Plain formats.


def plain(kind: FormatKind, framing: Framing = Framing.BARE) -> Decoder:
    return decoder_of(Format(kind, framing), HERE, None)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(VALUES)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    assert to_json(plain(FormatKind.JSON)(json.dumps(value).encode())) == to_json(value)
    assert to_json(plain(FormatKind.JSON, Framing.CONFLUENT)(b"\0\0\0\0\1" + json.dumps(value).encode())) == to_json(
        value
    )


@given(st.text())
def test_a_text_is_read_as_kafkas_serializer_writes_it(text: str) -> None:
    data = StringSerializer()(text, CONTEXT)
    assert data is not None
    assert plain(FormatKind.STRING)(data) == text


@given(st.integers(-(2**31), 2**31 - 1))
def test_whole_numbers_are_read_as_kafkas_serializers_write_them(number: int) -> None:
    data = IntegerSerializer()(number, CONTEXT)
    assert data is not None
    assert plain(FormatKind.INTEGER)(data) == number
    assert plain(FormatKind.LONG)(struct.pack(">q", number)) == number


def test_bytes_are_bytes() -> None:
    assert plain(FormatKind.BYTES)(b"\0\xff") == b"\0\xff"


@pytest.mark.parametrize(
    ("kind", "framing", "data", "sentence"),
    [
        ("json", "bare", b"", "no bytes at all"),
        ("json", "bare", b"{", "not JSON"),
        ("json", "bare", b'{"n": 123456789012345678901}', "64 bits"),
        ("json", "bare", b"NaN", "NaN is not JSON"),
        ("json", "bare", b'{"a": "\xff"}', "JSON in UTF-8, found bytes that begin with FF 22 7D at byte 7"),
        ("json", "bare", b"[" * 5000, "100 deep"),
        ("json", "bare", b"\0\0\0\0\1{}", "`framing: confluent`"),
        ("json", "confluent", b"{}", "Confluent's framing"),
        ("string", "bare", b"abc\xfe", "text in UTF-8, found bytes that begin with FE at byte 3"),
        ("integer", "bare", b"12345", "4 bytes, found 5"),
        ("long", "bare", b"", "8 bytes, found 0"),
    ],
)
def test_other_bytes_are_a_sentence(kind: str, framing: str, data: bytes, sentence: str) -> None:
    with pytest.raises(Undecodable) as refused:
        plain(FormatKind(kind), Framing(framing))(data)
    assert sentence in str(refused.value)


# Avro.


@pytest.mark.parametrize("framing", [Framing.BARE, Framing.CONFLUENT, Framing.SINGLE_OBJECT])
def test_avro_by_file_is_read_in_each_framing(tmp_path: Path, framing: Framing) -> None:
    canonical = fastavro.schema.to_parsing_canonical_form(ORDER)
    fingerprint = bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
    header = {Framing.BARE: b"", Framing.CONFLUENT: b"\0\0\0\0\7", Framing.SINGLE_OBJECT: b"\xc3\1" + fingerprint}[
        framing
    ]
    read = decoder_of(Format(FormatKind.AVRO, framing, schema=avsc(tmp_path)), tmp_path, None)
    assert read(header + written(ORDER, AN_ORDER)) == AS_VALUE


@pytest.mark.parametrize(
    ("framing", "data", "sentence"),
    [
        ("bare", b"", "ends too early"),
        ("bare", b"\x06o-1", "expected a record of the Avro schema"),
        ("confluent", b"\1\2\3", "Confluent's framing"),
        ("single-object", b"{}", "single-object"),
        ("single-object", b"\xc3\1" + bytes(8), "one of another (fingerprint 0000000000000000)"),
    ],
)
def test_bytes_that_are_not_of_the_avro_schema_are_a_sentence(
    tmp_path: Path, framing: str, data: bytes, sentence: str
) -> None:
    read = decoder_of(Format(FormatKind.AVRO, Framing(framing), schema=avsc(tmp_path)), tmp_path, None)
    with pytest.raises(Undecodable) as refused:
        read(data)
    assert sentence in str(refused.value)


def test_avro_with_more_bytes_than_its_schema_has_is_refused(tmp_path: Path) -> None:
    read = decoder_of(Format(FormatKind.AVRO, schema=avsc(tmp_path)), tmp_path, None)
    with pytest.raises(Undecodable, match="3 bytes more"):
        read(written(ORDER, AN_ORDER) + b"abc")


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    schema = fastavro.parse_schema({"type": "record", "name": "Node", "fields": [
        {"name": "next", "type": ["null", "Node"]}, {"name": "names", "type": {"type": "array", "items": "string"}}
    ]})  # fmt: skip
    from halter.bindings.formats.avro import _reader

    with suppress(Undecodable):
        to_json(_reader(schema)(data, 0))


def test_an_avro_record_that_nests_too_deep_is_refused(tmp_path: Path) -> None:
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    read = decoder_of(Format(FormatKind.AVRO, schema=avsc(tmp_path, node)), tmp_path, None)
    assert read(b"\2\2\0") == {"next": {"next": {"next": None}}}
    for depth in (150, 100_000):
        with pytest.raises(Undecodable, match="levels"):
            read(b"\2" * depth + b"\0")


@pytest.mark.parametrize("items", ["null", {"type": "record", "name": "Empty", "fields": []}])
def test_a_schema_of_which_a_few_bytes_could_be_billions_of_items_is_refused(tmp_path: Path, items: Any) -> None:
    name = avsc(tmp_path, {"type": "array", "items": items})
    with pytest.raises(FormatProblem, match="items that take no bytes"):
        decoder_of(Format(FormatKind.AVRO, schema=name), tmp_path, None)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "there is no file"), (b"{", "no JSON"), (b'{"type": "nonsense"}', "expected an Avro schema")],
)
def test_a_file_that_is_no_avro_schema_is_a_problem_of_the_document(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / "order.avsc").write_bytes(content)
    with pytest.raises(FormatProblem) as problem:
        decoder_of(Format(FormatKind.AVRO, schema="order.avsc"), tmp_path, None)
    assert sentence in problem.value.message
    assert problem.value.path == ("schema",)


def test_avro_is_read_as_confluents_serializer_writes_it_and_the_registry_is_asked_once() -> None:
    with SchemaRegistry() as registry:
        serializer = AvroSerializer(SchemaRegistryClient({"url": registry.url}), json.dumps(ORDER))
        data = serializer(AN_ORDER, CONTEXT)
        assert data is not None
        read = decoder_of(Format(FormatKind.AVRO, Framing.CONFLUENT), HERE, ConfluentRegistry({"url": registry.url}))
        assert read(data) == AS_VALUE
        asked = len(registry.calls)
        assert read(data) == AS_VALUE
        assert len(registry.calls) == asked


def test_a_later_schema_of_the_registry_reads_its_own_records() -> None:
    later = {**ORDER, "fields": [*ORDER["fields"], {"name": "new", "type": "int", "default": 7}]}  # type: ignore[misc]
    with SchemaRegistry() as registry:
        client = SchemaRegistryClient({"url": registry.url})
        read = decoder_of(Format(FormatKind.AVRO, Framing.CONFLUENT), HERE, ConfluentRegistry({"url": registry.url}))
        for schema, value, expected in (
            (ORDER, AN_ORDER, AS_VALUE),
            (later, {**AN_ORDER, "new": 3}, {**AS_VALUE, "new": 3}),
        ):
            data = AvroSerializer(client, json.dumps(schema))(value, CONTEXT)
            assert data is not None
            assert read(data) == expected


class WithReferences:
    """A registry client that has a schema which refers to another one."""

    def get_schema(self, _schema_id: int) -> RegisteredSchema:
        text = '{"type": "record", "name": "Cart", "fields": [{"name": "line", "type": "shop.Line"}]}'
        return RegisteredSchema(text, "AVRO", [SchemaReference("shop.Line", "line", 3)])

    def get_version(self, subject: str, version: int) -> Any:
        assert (subject, version) == ("line", 3)
        text = '{"type": "record", "name": "Line", "namespace": "shop", "fields": [{"name": "n", "type": "int"}]}'
        return type("Registered", (), {"schema": RegisteredSchema(text, "AVRO", [])})


def test_a_schema_that_refers_to_others_is_put_together() -> None:
    registry = ConfluentRegistry({"url": "http://127.0.0.1:1"})
    registry.client = WithReferences()
    read = decoder_of(Format(FormatKind.AVRO, Framing.CONFLUENT), HERE, registry)
    assert read(b"\0\0\0\0\1\x06") == {"line": {"n": 3}}


def test_an_unknown_schema_id_is_a_sentence_and_not_asked_for_again_at_once() -> None:
    with SchemaRegistry() as registry:
        read = decoder_of(Format(FormatKind.AVRO, Framing.CONFLUENT), HERE, ConfluentRegistry({"url": registry.url}))
        for _ in range(3):
            with pytest.raises(Undecodable, match="id 77, which it does not know"):
                read(b"\0\0\0\0\x4dabc")
        assert len(registry.calls) == 1


def test_a_registry_that_is_away_is_not_the_records_fault() -> None:
    read = decoder_of(
        Format(FormatKind.AVRO, Framing.CONFLUENT),
        HERE,
        ConfluentRegistry({"url": "http://127.0.0.1:1", "max.retries": 0}),
    )
    with pytest.raises(RegistryUnavailable):
        read(b"\0\0\0\0\1abc")


def test_avro_without_schema_and_registry_is_a_problem_of_the_document() -> None:
    with pytest.raises(FormatProblem, match="KAFKA_SCHEMA_REGISTRY_URL"):
        decoder_of(Format(FormatKind.AVRO, Framing.CONFLUENT), HERE, None)


# Protobuf.

FIELD = descriptor_pb2.FieldDescriptorProto


def field(number: int, name: str, kind: int, type_name: str = "", label: int = FIELD.LABEL_OPTIONAL) -> Any:
    return FIELD(name=name, number=number, type=kind, type_name=type_name or None, label=label)  # type: ignore[arg-type]


def shop() -> descriptor_pb2.FileDescriptorProto:
    """The file that protoc makes of a schema with a bit of everything."""
    file = descriptor_pb2.FileDescriptorProto(
        name="shop.proto",
        package="shop",
        syntax="proto3",
        dependency=["google/protobuf/timestamp.proto", "google/protobuf/struct.proto", "google/protobuf/any.proto"],
    )
    file.enum_type.add(name="Kind").value.add(name="NEW", number=0)
    line = file.message_type.add(name="Line")
    line.field.extend([field(1, "sku", FIELD.TYPE_STRING), field(2, "n", FIELD.TYPE_INT32)])
    order = file.message_type.add(name="Order")
    order.field.extend(
        [
            field(1, "id", FIELD.TYPE_INT64),
            field(2, "big", FIELD.TYPE_UINT64),
            field(3, "lines", FIELD.TYPE_MESSAGE, ".shop.Line", FIELD.LABEL_REPEATED),
            field(4, "first", FIELD.TYPE_MESSAGE, ".shop.Line"),
            field(5, "at", FIELD.TYPE_MESSAGE, ".google.protobuf.Timestamp"),
            field(6, "more", FIELD.TYPE_MESSAGE, ".google.protobuf.Struct"),
            field(7, "kind", FIELD.TYPE_ENUM, ".shop.Kind"),
            field(8, "raw", FIELD.TYPE_BYTES),
            field(9, "ratio", FIELD.TYPE_DOUBLE),
            field(10, "counts", FIELD.TYPE_MESSAGE, ".shop.Order.CountsEntry", FIELD.LABEL_REPEATED),
            field(11, "anything", FIELD.TYPE_MESSAGE, ".google.protobuf.Any"),
            field(12, "inner", FIELD.TYPE_MESSAGE, ".shop.Order.Inner"),
        ]
    )
    entry = order.nested_type.add(name="CountsEntry")
    entry.options.map_entry = True
    entry.field.extend([field(1, "key", FIELD.TYPE_INT32), field(2, "value", FIELD.TYPE_INT32)])
    inner = order.nested_type.add(name="Inner")
    inner.field.extend([field(1, "deeper", FIELD.TYPE_MESSAGE, ".shop.Order.Inner")])
    return file


def message(name: str = "shop.Order") -> Any:
    pool = descriptor_pool.DescriptorPool()
    for it in ("timestamp", "struct", "any"):
        described = descriptor_pb2.FileDescriptorProto()
        descriptor_pool.Default().FindFileByName(f"google/protobuf/{it}.proto").CopyToProto(described)
        pool.Add(described)
    pool.Add(shop())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def an_order() -> Any:
    order = message()(id=2**62, big=2**64 - 1, raw=b"\0\xff", ratio=float("inf"))
    order.lines.add(sku="mug", n=2)
    order.at.seconds = 1
    order.more.fields["a"].number_value = 1.5
    order.counts[3] = 4
    order.anything.type_url, order.anything.value = "type.googleapis.com/shop.Unknown", b"x"
    return order


ORDER_AS_VALUE = {
    "id": 2**62,
    "big": str(2**64 - 1),
    "lines": [{"sku": "mug", "n": 2}],
    "first": None,
    "at": "1970-01-01T00:00:01Z",
    "more": {"a": 1.5},
    "kind": "NEW",
    "raw": "AP8=",
    "ratio": "Infinity",
    "counts": {"3": 4},
    "anything": {"@type": "type.googleapis.com/shop.Unknown", "value": "eA=="},
    "inner": None,
}


def descriptors(folder: Path, *files: descriptor_pb2.FileDescriptorProto) -> str:
    made = descriptor_pb2.FileDescriptorSet(file=files or (shop(),))
    (folder / "shop.pb").write_bytes(made.SerializeToString())
    return "shop.pb"


def protobuf(folder: Path, framing: Framing = Framing.BARE, name: str | None = "shop.Order") -> Decoder:
    format_ = Format(FormatKind.PROTOBUF, framing, descriptor=descriptors(folder), message=name)
    return decoder_of(format_, folder, None)


def test_protobuf_is_read_by_its_descriptors(tmp_path: Path) -> None:
    assert protobuf(tmp_path)(an_order().SerializeToString()) == ORDER_AS_VALUE


def test_protobuf_is_read_as_confluents_serializer_writes_it(tmp_path: Path) -> None:
    client = SchemaRegistryClient.new_client({"url": "mock://shop"})
    for kind, made in (("shop.Order", an_order()), ("shop.Line", message("shop.Line")(sku="a", n=1))):
        conf = {"use.deprecated.format": False, "skip.known.types": True}
        data = ProtobufSerializer(type(made), client, conf)(made, CONTEXT)
        assert data is not None
        assert data[0] == 0
        read = protobuf(tmp_path, Framing.CONFLUENT, kind)
        assert read(data) == protobuf(tmp_path, name=kind)(made.SerializeToString())


def test_another_message_than_the_binding_says_is_refused(tmp_path: Path) -> None:
    line = message("shop.Line")(sku="a").SerializeToString()
    read = protobuf(tmp_path, Framing.CONFLUENT)
    assert read(b"\0\0\0\0\1" + b"\2\2" + an_order().SerializeToString()) == ORDER_AS_VALUE
    with pytest.raises(Undecodable, match=r"expected a shop\.Order, which is message 1 of its file, found message 0"):
        read(b"\0\0\0\0\1" + b"\0" + line)


@pytest.mark.parametrize(
    "data", [b"\0\0\0\0\1", b"\0\0\0\0\1\xff", b"\0\0\0\0\1\x80\x80\x80\x80\x80\x80", b"\0\0\0\0\1\x7f"]
)
def test_indexes_that_are_none_are_a_sentence(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Undecodable, match="indexes of a message"):
        protobuf(tmp_path, Framing.CONFLUENT)(data)


@given(data=st.binary(max_size=60))
def test_no_bytes_of_protobuf_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    read = READ.get("") or READ.setdefault("", protobuf(tmp_path_factory.mktemp("shop")))
    with suppress(Undecodable):
        to_json(read(data))


READ: dict[str, Decoder] = {}


def test_a_message_that_nests_too_deep_is_refused(tmp_path: Path) -> None:
    data = b""
    for _ in range(3000):
        length = len(data)
        size = bytearray()
        while length > 0x7F:
            size.append(length & 0x7F | 0x80)
            length >>= 7
        data = b"\x0a" + bytes([*size, length]) + data
    with pytest.raises(Undecodable):
        protobuf(tmp_path, name="shop.Order.Inner")(data)


def test_descriptors_that_are_not_whole_are_problems_of_the_document(tmp_path: Path) -> None:
    def problem(data: bytes | None, name: str | None = None) -> str:
        (tmp_path / "shop.pb").unlink(missing_ok=True)
        if data is not None:
            (tmp_path / "shop.pb").write_bytes(data)
        with pytest.raises(FormatProblem) as found:
            decoder_of(Format(FormatKind.PROTOBUF, descriptor="shop.pb", message=name), tmp_path, None)
        return found.value.message

    whole = descriptor_pb2.FileDescriptorSet(file=[shop()]).SerializeToString()
    assert "there is no file" in problem(None)
    assert "protoc --include_imports" in problem(b"\xff\xff")
    assert "found none" in problem(b"")
    assert "shop.pb has 2 messages (shop.Line, shop.Order, shop.Order.Inner)" in problem(whole)
    assert "there is no message 'shop.Ordr' in shop.pb (did you mean shop.Order?)" in problem(whole, "shop.Ordr")
    lacking = shop()
    lacking.dependency.append("other.proto")
    assert "lacks the imported other.proto" in problem(
        descriptor_pb2.FileDescriptorSet(file=[lacking]).SerializeToString()
    )
    broken = shop()
    broken.message_type[0].field[0].type_name = ".shop.Nothing"
    broken.message_type[0].field[0].type = FIELD.TYPE_MESSAGE
    assert "do not fit together" in problem(descriptor_pb2.FileDescriptorSet(file=[broken]).SerializeToString())


def test_the_only_message_of_a_file_needs_no_name(tmp_path: Path) -> None:
    alone = descriptor_pb2.FileDescriptorProto(name="one.proto", package="one", syntax="proto3")
    alone.message_type.add(name="Only").field.extend([field(1, "a", FIELD.TYPE_STRING)])
    format_ = Format(FormatKind.PROTOBUF, descriptor=descriptors(tmp_path, alone))
    assert decoder_of(format_, tmp_path, None)(b"\x0a\x01x") == {"a": "x"}


def test_a_double_is_no_whole_number() -> None:
    data = DoubleSerializer()(1.5, CONTEXT)
    assert data is not None
    with pytest.raises(Undecodable):
        plain(FormatKind.INTEGER)(data)
