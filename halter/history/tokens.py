"""Tokens: stand in an export for masked values. Each has the type of its value, and equal values get equal tokens.

A token comes from a digest with a random key, which nobody keeps. So it does not tell the value, not even to whoever
can guess it, and the same value has another token in another export. A BOOL has no room for a token: it becomes false.
"""

import hashlib
import json
import secrets
from typing import Final

from processors.core.records.values import Timestamp, Value, type_of

KEY_BYTES: Final = 32
DIGEST_BYTES: Final = 8
BEGINNING: Final = "[redacted "
INT_LEAST: Final = 2**60
"""Tokens for INT are larger than any number that people count with, and fit 64 bits."""
TIME_LEAST_MS: Final = 221_845_392_000_000
"""Tokens for TIMESTAMP are times after the year 9000."""
TIME_SPAN_MS: Final = 900 * 365 * 24 * 60 * 60 * 1000


class Tokens:
    """Makes the tokens of one export."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)

    def __call__(self, value: Value) -> Value:
        """Return the token of a value."""
        kind = type_of(value)
        told = json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else repr(value)
        data = f"{kind} {told}".encode(errors="surrogatepass")
        digest = hashlib.blake2b(data, key=self._key, digest_size=DIGEST_BYTES)
        number, text = int.from_bytes(digest.digest(), "big"), f"{BEGINNING}{kind} {digest.hexdigest()}]"
        match value:
            case bool():
                return False
            case int():
                return INT_LEAST + number % INT_LEAST
            case float():
                return float(INT_LEAST + number % INT_LEAST)
            case Timestamp():
                return Timestamp(TIME_LEAST_MS + number % TIME_SPAN_MS)
            case bytes():
                return text.encode()
            case dict():
                return {"redacted": text}
            case list():
                return [text]
            case _:
                return text


def is_token(value: Value) -> bool:
    """Return True if a value looks like a token. Of a BOOL nothing can tell."""
    match value:
        case bool():
            return False
        case int() | float():
            return INT_LEAST <= value < 2 * INT_LEAST
        case Timestamp():
            return value.epoch_ms >= TIME_LEAST_MS
        case str():
            return value.startswith(BEGINNING)
        case bytes():
            return value.startswith(BEGINNING.encode())
        case dict():
            return set(value) == {"redacted"} and is_token(value["redacted"])
        case list():
            return len(value) == 1 and is_token(value[0])
        case _:
            return False
