"""How pages write times, values and numbers. It knows no page, and cuts what is too long to show."""

import re
import time
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from halter.show.times import iso
from halter.timeline.texts import VALUE_MAX, plain_text, sentence, visible

SHORT: Final = 140
"""Most characters of a value that stand in a line. A longer one opens on request."""
_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


@dataclass(frozen=True, slots=True)
class ShownValue:
    """A value as JSON: how it begins, and the whole of it if that is longer."""

    start: str
    rest: bool
    whole: str
    length: int
    cut: bool


class Formats:
    """The formats of one answer: all its times are as of one moment."""

    def __init__(self, now_ms: int | None = None) -> None:
        self.now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms

    def ago(self, ms: int) -> str:
        """How long ago a time is: `12 s ago`, `3 h 5 min ago`, `in 4 min`. As static/times.js."""
        apart = abs(self.now_ms - ms)
        if apart < 1000:
            return "now"
        words = self.lasting(apart)
        return f"{words} ago" if ms <= self.now_ms else f"in {words}"

    def lasting(self, milliseconds: int) -> str:
        """A span of time in its largest unit, with the one below for hours and days: `5 min`, `2 h 10 min`."""
        for index, (size, unit) in enumerate(_UNITS):
            if milliseconds >= size:
                whole, rest = divmod(milliseconds, size)
                if index < 2 and (below := rest // _UNITS[index + 1][0]):
                    return f"{whole} {unit} {below} {_UNITS[index + 1][1]}"
                return f"{whole} {unit}"
        return "0 s"

    def took(self, milliseconds: int) -> str:
        """A span of time as `lasting`, and in milliseconds below a second: `16 s`, `120 ms`."""
        return f"{max(0, milliseconds)} ms" if milliseconds < 1_000 else self.lasting(milliseconds)

    def iso(self, ms: int) -> str:
        """A time in ISO 8601, in UTC with milliseconds."""
        return iso(ms)

    def moment(self, ms: int) -> str:
        """A time for people, in UTC: `2026-01-01 12:00:00.000`."""
        return iso(ms).replace("T", " ").removesuffix("Z")

    def counted(self, number: int) -> str:
        """A number with separators of thousands."""
        return f"{number:,}"

    def several(self, number: int, one: str, many: str | None = None) -> str:
        """`1 WfRun`, `2 WfRuns`."""
        return f"{number:,} {one if number == 1 else many or one + 's'}"

    def visible(self, text: Any) -> str:
        """A text on one line with escapes for what cannot be seen, and cut if it is very long."""
        return sentence(str(text))

    def coded(self, text: str) -> Markup:
        """A sentence on one line whose parts in backticks are code."""
        parts = self.visible(text).split("`")
        return Markup("").join(Markup("<code>{}</code>").format(it) if n % 2 else it for n, it in enumerate(parts))

    def value(self, value: Any) -> ShownValue:
        """A value that JSON can express, as JSON."""
        text = plain_text(value)
        if len(text) <= SHORT:
            return ShownValue(_spaced(text), rest=False, whole="", length=len(text), cut=False)
        whole = indented(value)
        return ShownValue(
            _spaced(text[:80]), rest=True, whole=whole[:VALUE_MAX], length=len(text), cut=len(whole) > VALUE_MAX
        )

    def indented(self, value: Any) -> str:
        """A value as JSON on many lines, cut at 20,000 characters."""
        text = indented(value)
        return text if len(text) <= VALUE_MAX else f"{text[:VALUE_MAX]}\n… ({len(text):,} characters)"


def undeceiving(value: Any) -> Any:
    """What a template writes of a value: a text with escapes for what cannot be seen. Lines stay lines."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(map(visible, value.split("\n")))


def typed(value: Any) -> Markup:
    """What a field of a form has: exactly what was typed, so that a form sends what it has shown.

    A browser would take a CR, as text, for the end of a line.
    """
    return Markup("&#13;").join(str(value).split("\r"))


def indented(value: Any) -> str:
    """A value as JSON on many lines, whole. Characters that deceive are escaped."""
    import orjson

    try:
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except (TypeError, orjson.JSONEncodeError):  # numbers beyond 64 bits, or nested too deeply
        return plain_text(value)
    return undeceiving(text)  # type: ignore[no-any-return]


def _spaced(text: str) -> str:
    """JSON on one line with a space after commas and colons outside of strings, so that it can break there."""
    return re.sub(r'("(?:[^"\\]|\\.)*"?)|([,:])', lambda found: found[1] or f"{found[2]} ", text)
