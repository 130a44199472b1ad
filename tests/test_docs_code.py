"""The code in the pages: documents are read by our own readers, programs compile, commands and their options exist.

Pages whose programs are run are named in CONTRIBUTING.md. This holds for every page.
"""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from halter.bindings.document import read_bindings
from halter.cli import COMMANDS, load
from halter.files.yaml_files import parse_yaml
from processors.core.wf_spec.validate import check_document

ROOT = Path(__file__).parents[1]
PAGES = [
    *ROOT.glob("*.md"),
    *(it for it in (ROOT / "docs").rglob("*.md") if "adr" not in it.parts),
    *(ROOT / "examples").rglob("*.md"),
]


class Block(NamedTuple):
    """A block of code in a page."""

    place: str
    language: str
    code: str


def blocks(*languages: str) -> list[Block]:
    def found() -> Iterator[Block]:
        for page in PAGES:
            text = page.read_text(encoding="utf-8")
            for block in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
                if block[1] in languages:
                    line = text.count("\n", 0, block.start()) + 1
                    yield Block(f"{page.relative_to(ROOT)}:{line}", block[1], block[2])

    return list(found())


def named(block: Block) -> str:
    return block.place


@pytest.mark.parametrize("block", blocks("yaml"), ids=named)
def test_a_document_is_read_by_our_reader(block: Block) -> None:
    document = parse_yaml(block.code, block.place).data
    if isinstance(document, dict) and {"name", "entrypoint", "threads"} <= document.keys():
        _, problems = check_document(document, None)
        assert [str(it) for it in problems] == []
    if isinstance(document, dict) and {"name", "bindings"} <= document.keys():
        _, problems = read_bindings(document)
        assert [str(it) for it in problems] == []


@pytest.mark.parametrize("block", blocks("python"), ids=named)
def test_a_program_compiles(block: Block) -> None:
    compile(block.code, block.place, "exec")


@cache
def command(name: str) -> Any:
    return load(name)


def commands_in(code: str) -> Iterator[list[str]]:
    for line in code.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
        lexer.whitespace_split = True
        for operator, words in groupby(lexer, key=lambda it: set(it) <= set(";&|<>")):
            found = list(words)
            if not operator and found[0] == "halter":
                yield found[1:]


@pytest.mark.parametrize("block", blocks("sh", "console"), ids=named)
def test_commands_and_their_options_exist(block: Block) -> None:
    shown = re.sub(r"\\\n\s*", " ", block.code)
    if block.language == "console":
        shown = "\n".join(re.findall(r"^\$ (.*)$", shown, re.MULTILINE))
    for words in commands_in(shown):
        if words[:1] in ([], ["--version"], ["--help"]):
            continue
        assert words[0] in COMMANDS, f"{block.place}: halter {words[0]}"
        found, rest = command(words[0]), words[1:]
        while hasattr(found, "commands"):
            assert rest, f"{block.place}: {words}"
            assert rest[0] in found.commands, f"{block.place}: halter {words[0]} {rest[0]}"
            found, rest = found.commands[rest[0]], rest[1:]
        known = {option for it in found.params for option in (*it.opts, *it.secondary_opts)} | {"--help", "-h"}
        for option in (word.partition("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)):
            assert option in known, f"{block.place}: {' '.join(words)}: there is no {option}"
