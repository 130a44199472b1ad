"""Avro bytes to the dataclasses of the core and back. The only user of fastavro.

    schemas              the files of `schemas/`, put together, with fingerprints
    records              the class of each record
    framing              how bytes name their schema: single-object encoding
    registry             the other framing: a Schema Registry's wire format
    encoders, decoders   compile one function per record from its schema
    encoder_module       writes the log's encoders as a module for mypyc
    log_writer           writes the log with these, where the core is compiled
    codec                `Codec`, which joins them
    arguments, dropped   checks before a record is made, and before an older schema would lose a field
    compatibility        checks that released schemas change only in ways that nobody notices
    resources            finds the files that come with Halter
    errors               the errors between bytes and records

Knows schemas and bytes; knows nothing of topics, keys or Kafka (`processors.fold.inputs` does).
"""

from processors.codec.codec import Codec
from processors.codec.errors import (
    CodecError,
    DecodeError,
    NotSingleObject,
    SchemaProblem,
    Undecodable,
    Unencodable,
    UnknownRelease,
    UnknownSchema,
)
from processors.codec.records import Record
from processors.codec.schemas import RecordSchema, Schemas

__all__ = [
    "Codec",
    "CodecError",
    "DecodeError",
    "NotSingleObject",
    "Record",
    "RecordSchema",
    "SchemaProblem",
    "Schemas",
    "Undecodable",
    "Unencodable",
    "UnknownRelease",
    "UnknownSchema",
]
