"""Ids for records that clients make: new ones, UUIDv7, which Python has only from 3.14 on; and those of repeats."""

import os
import time
import uuid
from typing import Final

VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The digit of a UUID that has its variant and two random bits, for a random digit."""


def new_id() -> str:
    """A UUIDv7 in its usual text form: 48 bits of milliseconds, then 74 random ones. Younger ones sort later."""
    milliseconds, random = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10).hex()
    # As str(uuid.UUID(int=...)), in a quarter of the time: who posts many ids makes as many.
    return f"{milliseconds[:8]}-{milliseconds[8:]}-7{random[:3]}-{VARIANTS[random[3]]}{random[4:7]}-{random[7:19]}"


def same_id(*parts: object) -> str:
    """A UUIDv5 of these parts: whoever makes the same command again gets the same id."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(map(str, parts))))
