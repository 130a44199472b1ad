"""The errors between bytes and records. Each message says what was expected and what was found."""

from processors.core.records.errors import HalterError


class SchemaProblem(HalterError):
    """The files of `schemas/` do not fit together, or do not fit the classes. Whoever changed them repairs them."""


class UnknownRelease(HalterError):
    """There is no released version of that name. Whoever set it (HALTER_SCHEMAS) corrects it."""


class CodecError(HalterError):
    """Base of the errors of encoding and decoding. A codec raises no others."""


class Unencodable(CodecError):
    """A record cannot be written as its schema says. This is a bug of the caller, who answers for types and ranges."""


class DecodeError(CodecError):
    """Base of the errors of decoding. Whoever wrote the record has to act; the fold makes a dead letter of it."""


class NotSingleObject(DecodeError):
    """The bytes do not begin as the framing in use demands: the producer writes plain Avro, JSON or another framing."""


class UnknownSchema(DecodeError):
    """The record was written with a schema that this installation does not carry: upgrade it, or correct the producer.

    `fingerprint` is what the record names: 8 bytes as on the wire, or the id in a Schema Registry (4 bytes).
    """

    def __init__(self, fingerprint: bytes, message: str) -> None:
        super().__init__(message)
        self.fingerprint = fingerprint


class Undecodable(DecodeError):
    """The bytes are not what their schema says. `reason` is the sentence without the name of the record."""

    def __init__(self, record_name: str, reason: str) -> None:
        super().__init__(f"{record_name}: {reason}")
        self.record_name = record_name
        self.reason = reason
