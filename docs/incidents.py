"""Runs the commands that docs/incidents.md shows, and keeps what the page says they print.

    python -m docs.incidents             says where the page differs from what is printed now; the exit code is 1 then
    python -m docs.incidents --write     writes what is printed now into the page
    python -m docs.incidents --record    records the incidents again, from the scenarios of docs/incidents

The blocks of the page are run from its beginning to its end, in one new folder that has the exports of docs/incidents.
A block of `console` has commands for bash, each behind a `$`, with what they print on a terminal of WIDTH columns. A
block of `diff` changes a file: it names the file, and each part of it must be in the file once.

An export stays as it was recorded, whatever later versions do: so the page also shows that they read it.
"""

import difflib
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from halter.history.export import export
from tests.support.checkout_copy import HALTS_WITH_A_TASK_OUT, copy_with_a_change
from tests.support.memory_source import source_of

FOLDER: Final = Path(__file__).with_suffix("")
PAGE: Final = Path(__file__).with_suffix(".md")
WIDTH: Final = 100
NOT_OURS: Final = ("HALTER_", "KAFKA_", "COLUMNS", "LINES")
"""Variables of whoever runs this that would change what is printed. The last two go before the size of the terminal."""
SECONDS: Final = 60
_BLOCK: Final = re.compile(r"^```(console|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND: Final = re.compile(r"^\$ .*?[^\\]\n", re.MULTILINE | re.DOTALL)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_TAKEN: Final = re.compile(r"\(\d+\.\d s(, [\d,]+ events/s)?\)")
"""How long something took: the only thing that may differ."""


class Page:
    """Runs a page's blocks in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "incidents"
        self._folder.mkdir()
        for recorded in FOLDER.glob("*.halter"):
            shutil.copy(recorded, self._folder)
        copy = folder / "halter-copy"
        copy.mkdir()
        copy_with_a_change(copy, *HALTS_WITH_A_TASK_OUT)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TERM": "dumb",
            "TZ": "UTC",
        }

    def now(self, text: str) -> str:
        """Return the text of the page with what its commands print now."""
        return _BLOCK.sub(lambda block: f"```{block[1]}\n{self._ran(block[1], block[2])}```", text)

    def _ran(self, kind: str, text: str) -> str:
        if kind == "diff":
            _change(self._folder, text)
            return text
        commands = [found[0] for found in _COMMAND.finditer(text)]
        shown = [part.strip("\n") for part in _COMMAND.split(text)[1:]]
        return "".join(
            f"{command}{_as_before(before, self._printed(command.removeprefix('$ ')))}"
            for command, before in zip(commands, shown, strict=True)
        )

    def _printed(self, command: str) -> str:
        """Return what a command prints on a terminal."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
        try:
            process = subprocess.Popen(
                ["/bin/bash", "-c", command],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
            )
        finally:
            os.close(theirs)
        printed = b"".join(_read(ours))
        process.wait(SECONDS)
        return _COLOUR.sub("", printed.decode().replace("\r\n", "\n"))


def _read(terminal: int) -> Iterator[bytes]:
    """Yield what is printed on a terminal until nothing has it open any more."""
    with open(terminal, "rb", buffering=0) as stream:
        while True:
            try:
                part = stream.read(65_536)
            except OSError:  # Linux says so that the last one has closed it
                return
            if not part:
                return
            yield part


def _as_before(before: str, now: str) -> str:
    """Return what is printed now, with the times that it took as the page has them."""
    now = "".join(f"{line.rstrip()}\n" for line in now.strip("\n").split("\n")) if now.strip() else ""
    if _TAKEN.sub("", before) == _TAKEN.sub("", now.strip("\n")):
        return f"{before}\n" if before else ""
    return now


def _change(folder: Path, text: str) -> None:
    """Change a file as a diff says: lines of context and gone lines are replaced by lines of context and new ones."""
    name, *lines = text.splitlines()
    file = folder / name.removeprefix("--- ")
    for part in "\n".join(lines).split("\n@@\n"):
        old, new = (
            "".join(f"{line[1:]}\n" for line in part.splitlines() if line[:1] in (" ", sign)) for sign in ("-", "+")
        )
        whole = file.read_text(encoding="utf-8")
        assert whole.count(old) == 1, f"{file.name} has this {whole.count(old)} times:\n{old}"
        file.write_text(whole.replace(old, new), encoding="utf-8")


def record() -> None:
    """Record the incidents: run their scenarios in memory, and export what came of them."""
    for document in sorted(FOLDER.glob("*.yaml")):
        source = source_of(document)
        assert source is not None, document
        export(source, list(source.wf_run_ids()), document.with_suffix(".halter"), source.engine.time_ms, clear=True)


def stale() -> tuple[str, str]:
    """Return the text of the page, and what it would be now."""
    text = PAGE.read_text(encoding="utf-8")
    with TemporaryDirectory() as folder:
        return text, Page(Path(folder)).now(text)


def main() -> int:
    """Check, write or record."""
    asked = sys.argv[1:]
    if "--record" in asked:
        record()
    text, now = stale()
    if "--write" in asked:
        PAGE.write_text(now, encoding="utf-8")
        return 0
    sys.stderr.writelines(difflib.unified_diff(text.splitlines(True), now.splitlines(True), str(PAGE.name), "now"))
    return int(text != now)


if __name__ == "__main__":
    sys.exit(main())
