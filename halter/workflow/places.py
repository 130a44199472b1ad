"""The line of the program at which something was written, so that a problem is told there."""

import contextlib
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

_ROOM: Final = (str(Path(__file__).parent), contextlib.__file__)
"""Where calls pass through: this room, and what stands between a `with` and the block that it calls."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a program, counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def here() -> Place:
    """Return the line that called into this room: of the innermost caller outside."""
    frame = sys._getframe(1)  # `inspect.stack` would read every source file
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_ROOM):
        frame = frame.f_back
    return place_at(frame.f_code.co_filename, frame.f_lineno)


def place_at(file: str, line: int) -> Place:
    """Return a line of a file, which is named from the present folder if it is in there."""
    path = Path(file)
    return Place(str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file, line)


def raised_at(error: BaseException, otherwise: Place) -> Place:
    """Return the innermost line outside of this room on the way to an error."""
    lines = [(it.f_code.co_filename, line) for it, line in traceback.walk_tb(error.__traceback__) if not _is_made(it)]
    return next((place_at(file, line) for file, line in reversed(lines) if not file.startswith(_ROOM)), otherwise)


def _is_made(frame: FrameType) -> bool:
    """Say whether a frame is in the `__init__` that a dataclass of this room was given, which is in no file."""
    return frame.f_code.co_filename == "<string>" and frame.f_globals.get("__package__") == __package__
