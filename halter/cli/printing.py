"""Prints results and notes, as wide as the terminal is. Knows no command and no Kafka."""

import json
import re
import shutil
import sys
from typing import Any, Final, TextIO

import typer

LABEL: Final = re.compile(r" *\S+  +")
"""Begins a line whose words stand in a column: `  recorded  E  Halt …`."""


def print_json(data: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def note(sentence: str) -> None:
    """Print a sentence that is not part of the result, on stderr. On a terminal it is wrapped."""
    from halter.show.wrapping import wrapped

    said, width = f"halter: {sentence}", terminal_width(sys.stderr)
    typer.echo(said if width is None else "\n".join(wrapped(said, width)), err=True)


def print_line(line: str, **style: Any) -> None:
    """Print a line of a result. On a terminal it is wrapped, and goes on below its words."""
    from halter.show.wrapping import printable, wrapped

    line, width = printable(line), terminal_width()
    if width is not None:
        label = LABEL.match(line)
        column = len(line) - len(line.lstrip()) + 2 if label is None else len(label[0])
        for part in wrapped(line, max(width, 20), hanging=" " * min(column, max(width, 20) // 2)):
            typer.echo(styled(part, **style))
    else:
        typer.echo(styled(line, **style))


def styled(text: str, **style: Any) -> str:
    """Return the text with colours if stdout is a terminal."""
    return typer.style(text, **style) if sys.stdout.isatty() else text


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Return how wide a line may be; None if the stream (default: stdout) is no terminal, where lines are not cut."""
    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None
