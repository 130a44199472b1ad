"""Formats: bytes of a record's key or value to a Value. Pure, except that Avro by registry asks it for each new id.

    plain        JSON, text, bytes, whole numbers
    avro         Avro by `.avsc` file or by Schema Registry
    protobuf     Protobuf by descriptor set
    framing      what stands before the bytes, and how much of them it is
    values       turns what libraries read into Values
    problems     what can be wrong with a format

What JSON has no form for is written as text: dates and times in ISO 8601, decimals and UUIDs as they are written, bytes
in base64, numbers that no INT or DOUBLE is. So a record is never refused for a field that nobody asks for.
"""

from pathlib import Path
from typing import assert_never

from halter.bindings.formats.avro import AvroByRegistry, avro_by_file
from halter.bindings.formats.framing import framed
from halter.bindings.formats.plain import PLAIN
from halter.bindings.formats.problems import Decoder, FormatProblem, Undecodable
from halter.bindings.model import Format, FormatKind, Framing
from processors.codec.registry import ConfluentRegistry

__all__ = ["Decoder", "FormatProblem", "Undecodable", "decoder_of"]


def decoder_of(format_: Format, folder: Path, registry: ConfluentRegistry | None) -> Decoder:
    """Return the function that reads the bytes of a format. It raises Undecodable, and RegistryUnavailable.

    `folder`: where files are that the document names. `registry` may be None where no format needs one. Raises
    FormatProblem for a file that is missing or is not what it should be, and ExtraMissing.
    """
    match format_.kind:
        case FormatKind.AVRO if format_.schema is None:
            if registry is None:
                raise FormatProblem((), "avro without a schema needs a Schema Registry: set KAFKA_SCHEMA_REGISTRY_URL")
            return AvroByRegistry(registry)
        case FormatKind.AVRO:
            assert format_.schema is not None
            return avro_by_file(folder / format_.schema, format_.framing)
        case FormatKind.PROTOBUF:
            from halter.bindings.formats.protobuf import protobuf  # needs an extra

            assert format_.descriptor is not None
            return protobuf(folder / format_.descriptor, format_.message, format_.framing)
        case FormatKind.JSON | FormatKind.STRING | FormatKind.BYTES | FormatKind.INTEGER | FormatKind.LONG:
            read = PLAIN[format_.kind]
            return framed(read) if format_.framing is Framing.CONFLUENT else read
        case _:
            assert_never(format_.kind)
