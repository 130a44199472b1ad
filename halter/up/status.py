"""The one line that says how the parts are. On a terminal it is written anew in its place, else when it changes."""

import time
from collections.abc import Callable, Mapping
from typing import Final, TextIO

CLEAR: Final = "\r\033[2K"
SEPARATOR: Final = " · "
CUT: Final = "…"


class StatusLine:
    """Writes the line. Other output goes through `say`, which leaves the line below."""

    def __init__(
        self, stream: TextIO, width: Callable[[], int | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`width` is that of the terminal; None where there is none."""
        self._stream, self._width, self._clock = stream, width, clock
        self._since, self._shown, self._is_there = clock(), "", False

    def show(self, states: Mapping[str, str]) -> None:
        """Show the states of the parts."""
        parts = SEPARATOR.join(f"{name} {state}" for name, state in states.items())
        width = self._width()
        if width is None:
            if parts != self._shown:
                self._stream.write(f"{parts}\n")
                self._stream.flush()
        else:
            line = f"{parts}{SEPARATOR}{lasted(self._clock() - self._since)}"
            line = line if len(line) < width else f"{line[: max(0, width - 2)]}{CUT}"
            if line != self._shown or not self._is_there:
                self._stream.write(f"{CLEAR}{line}")
                self._stream.flush()
            self._is_there, self._shown = True, line
            return
        self._shown = parts

    def say(self, sentence: str) -> None:
        """Print a sentence above the line."""
        self.clear()
        self._stream.write(f"halter: {sentence}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._is_there:
            self._stream.write(CLEAR)
            self._is_there = False


def lasted(seconds: float) -> str:
    """Return a span of time in words, two units at most."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour} h"
    if hours:
        return f"{hours} h {minute} min"
    return f"{minute} min {second} s" if minutes else f"{second} s"
