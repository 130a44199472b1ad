"""The codec: `value_serializer="halter"`."""

import os
from functools import cached_property
from typing import TYPE_CHECKING

from faust.serializers.codecs import Codec as FaustCodec

from processors.core.records.errors import HalterError

if TYPE_CHECKING:
    from processors.codec import Codec, Record


class HalterCodec(FaustCodec):
    """Turns bytes into the classes of `halter.events`, and those of `halter.commands` into bytes.

    A record of `wf-events` becomes a `LogEntry`, whose `event` says what happened. The variables of the process say
    where a Schema Registry is and what is written (`HALTER_FRAMING`), as for `Client.from_env`. The first record of
    each schema waits for the registry, if there is one.
    """

    @cached_property
    def codec(self) -> "Codec":
        """The codec of the installation. Raises SettingsError, ExtraMissing and RegistrySettings."""
        from processors.kafka.settings import Settings  # here: Faust imports this module in every program

        return Settings.load(None, os.environ, {}).codec()

    def _loads(self, s: bytes) -> "Record":
        """Return the record. Raises CodecError, of which Faust makes a ValueDecodeError."""
        return self._codec_or_end().decode(s)

    def _dumps(self, s: "Record") -> bytes:
        """Return the bytes of a record. Raises Unencodable or UnfitValue, which say what is wrong with it."""
        from processors.fold.inputs import InputCommand, check_command, check_size

        codec = self._codec_or_end()
        if not isinstance(s, InputCommand):
            return codec.encode(s)
        check_command(s, codec)  # the fold says no to what a schema lets through
        value = codec.encode(s)
        check_size(s, value)
        return value

    def _codec_or_end(self) -> "Codec":
        """Return the codec. Ends the program with a sentence if its variables give none.

        Faust would pass over every record, and the offsets would be committed. `transport` asks before there are any.
        """
        try:
            return self.codec
        except HalterError as error:
            raise SystemExit(f"halter: {error}") from error
