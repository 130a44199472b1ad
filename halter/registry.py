"""Waiting for a Schema Registry before anything is written, and registering schemas. Nothing here where none is set."""

import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from processors.codec import Codec, Schemas
from processors.codec.framing import BothFramings, SingleObject
from processors.codec.registry import ConfluentRegistry, RegistryRefused, RegistryUnavailable, WireFormat, subject_of

ASKED_AGAIN_SECONDS: Final = 2.0
STEP_SECONDS: Final = 0.1


def until_prepared(
    codec: Codec,
    log: Any,
    names: Collection[str] | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Wait until a codec knows all that it needs for writing (records of these names, or all), so that a registry which
    goes away later is not missed. Raises RegistryRefused where waiting does not help.
    """
    while not is_stopped():
        try:
            codec.prepare(names)
        except RegistryRefused:
            raise
        except RegistryUnavailable as unavailable:
            log.warning("waiting_for_registry", reason=str(unavailable))
            until = time.monotonic() + ASKED_AGAIN_SECONDS
            while time.monotonic() < until and not is_stopped():
                time.sleep(STEP_SECONDS)
        else:
            return


def register(schemas: Schemas, registry: ConfluentRegistry) -> Iterator[tuple[str, int]]:
    """Register the schema of each record that is written in the wire format: subject and id.

    Raises RegistryUnavailable.
    """
    framing = BothFramings(SingleObject(schemas), WireFormat(schemas, registry), writes_wire=True)
    for name in sorted(framing.wired):
        header = framing.header(schemas.records[name])
        yield subject_of(schemas.records[name]), int.from_bytes(header[1:], "big")
