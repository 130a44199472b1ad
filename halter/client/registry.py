"""Waits for a Schema Registry before anything is written, and registers schemas. Not used if none is configured."""

import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, TypeAlias, TypeVar

from processors.codec import Codec, Schemas
from processors.codec.framing import BothFramings, SingleObject
from processors.codec.registry import ConfluentRegistry, RegistryRefused, RegistryUnavailable, WireFormat, subject_of

ASKED_AGAIN_SECONDS: Final = 2.0
STEP_SECONDS: Final = 0.1
Answer = TypeVar("Answer")
Asked: TypeAlias = Callable[[], bool]


def never() -> bool:
    """Return False: the waiting is never stopped."""
    return False


def until_prepared(codec: Codec, log: Any, names: Collection[str] | None = None, is_stopped: Asked = never) -> None:
    """Wait until a codec knows all schema ids for writing records of these names, or of all.

    It then no longer needs the registry for them. Raises RegistryRefused if waiting does not help.
    """
    until_answered(lambda: codec.prepare(names), log, is_stopped)


def until_answered(ask: Callable[[], Answer], log: Any, is_stopped: Asked = never) -> Answer | None:
    """Ask a registry until it answers, and return the answer; None if `is_stopped`. Raises RegistryRefused."""
    while not is_stopped():
        try:
            return ask()
        except RegistryRefused:
            raise
        except RegistryUnavailable as unavailable:
            log.warning("waiting_for_registry", reason=str(unavailable))
            until = time.monotonic() + ASKED_AGAIN_SECONDS
            while time.monotonic() < until and not is_stopped():
                time.sleep(STEP_SECONDS)
    return None


def register(schemas: Schemas, registry: ConfluentRegistry) -> Iterator[tuple[str, int]]:
    """Register the schema of each record that is written in the wire format. Yields subjects and ids.

    Raises RegistryUnavailable.
    """
    framing = BothFramings(SingleObject(schemas), WireFormat(schemas, registry), writes_wire=True)
    for name in sorted(framing.wired):
        header = framing.header(schemas.records[name])
        yield subject_of(schemas.records[name]), int.from_bytes(header[1:], "big")
