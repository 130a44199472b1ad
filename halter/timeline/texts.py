"""Writes names, sentences and values for the page so that a hostile one shows as what it is.

A control character, a character that turns the direction of a line, or one that has no width, is written as its escape
(`\\u202e`). In JSON that means the same; in other text it shows what is there. Long texts are cut, and say so.
"""

import json
import re
from typing import Any, Final

from halter.show.plain import plain
from processors.core.records.values import Value

SENTENCE_MAX: Final = 2_000
"""Most characters of a name or a sentence on the page."""
VALUE_MAX: Final = 20_000
"""Most characters of the JSON of one value on the page."""

_DECEIVING: Final = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""Characters that cannot be seen, or that change how others are seen. An emoji loses its variant: that is its price."""


def visible(text: str) -> str:
    """The text on one line, with an escape in place of each character that cannot be seen."""
    return _DECEIVING.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\u{{{number:x}}}"


def sentence(text: str) -> str:
    """A name or a sentence for the page: visible, and cut if it is very long."""
    if len(text) > SENTENCE_MAX:
        text = f"{text[:SENTENCE_MAX]}… ({len(text):,} characters)"
    return visible(text)


def value_text(value: Value) -> str:
    """A value as JSON on one line, whole: numbers keep all their digits, and an object the order of its keys."""
    return plain_text(plain(value))


def plain_text(data: Any) -> str:
    """Plain JSON data as JSON on one line."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return _DECEIVING.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def cut(text: str) -> str | list[Any]:
    """The JSON of a value, or if it is too long for the page its beginning and its length."""
    return text if len(text) <= VALUE_MAX else [text[:VALUE_MAX], len(text)]
