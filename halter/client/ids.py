"""Ids for records that clients make: new ones, UUIDv7, which Python has only from 3.14 on; and those of repeats."""

import secrets
import time
import uuid


def new_id() -> str:
    """A UUIDv7 in its usual text form: 48 bits of milliseconds, then 74 random ones. Younger ones sort later."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    number = (
        (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    )
    text = f"{number:032x}"  # as str(uuid.UUID(int=number)), in half the time
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def same_id(*parts: object) -> str:
    """A UUIDv5 of these parts: whoever makes the same command again gets the same id."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(map(str, parts))))
