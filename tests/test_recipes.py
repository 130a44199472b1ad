"""CONTRIBUTING.md says what to touch to add an event, a node, a command or a topic; it names every place there is.

A place is a file that names at least three in five of those there are: of 35 events, 21. A new one belongs there as
well, or somebody has to decide that it does not. A recipe names each such file, or its folder, and nothing that does
not exist.
"""

import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import yaml

from processors.core.records import spec
from processors.core.records.commands import Command
from processors.core.records.events import Event

ROOT = Path(__file__).resolve().parent.parent
SHARE = 0.6
SEARCHED = ("processors", "halter", "docs", "topics.yaml", "README.md", "tests/support", "tests/README.md")
GENERATED = ("docs/asyncapi.yaml", "docs/topics.md")
"""Files that a command writes; the recipes name the command."""


def kind_of(node: type) -> str:
    """The kind of a node as documents write it: SleepNode is SLEEP."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", node.__name__.removesuffix("Node")).upper()


def names() -> dict[str, list[tuple[str, ...]]]:
    """All that there are of each kind, by the names that a file may use for each."""
    nodes = [
        it for it in vars(spec).values() if isinstance(it, type) and issubclass(it, spec.Node) and it is not spec.Node
    ]
    topics = yaml.safe_load((ROOT / "topics.yaml").read_text(encoding="utf-8"))["topics"]
    return {
        "an event": [(event.__name__,) for event in get_args(Event)],
        "a command": [(command.__name__,) for command in get_args(Command)],
        "a kind of node": [(node.__name__, kind_of(node)) for node in nodes],
        "a topic": [(topic, topic.upper().replace("-", "_")) for topic in topics],
    }


@cache
def words() -> dict[str, set[str]]:
    """The names in each file of the repository in which one could have to be added."""
    tracked = subprocess.check_output(["git", "ls-files", *SEARCHED], cwd=ROOT, text=True).split()
    return {
        file: set(re.findall(r"[A-Za-z_][A-Za-z_0-9-]*", (ROOT / file).read_text(encoding="utf-8")))
        for file in tracked
        if file.endswith((".py", ".md", ".yaml"))
        and not file.startswith(("docs/adr/", "docs/rules/"))
        and file not in GENERATED
    }


def places(named: Sequence[tuple[str, ...]]) -> set[str]:
    """The files that name most of them."""
    return {
        file
        for file, found in words().items()
        if sum(any(alias in found for alias in aliases) for aliases in named) >= SHARE * len(named)
    }


def recipes() -> dict[str, str]:
    """What is added, and the text of its recipe."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^### Add (.*?)\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL))


def paths_in(recipe: str) -> set[str]:
    return set(re.findall(r"`([\w./-]+/[\w./-]+|[\w-]+\.(?:md|yaml|toml|py))`", recipe))


def test_there_is_a_recipe_for_each_kind() -> None:
    assert list(recipes()) == list(names())


@pytest.mark.parametrize("what", names())
def test_a_recipe_names_every_place(what: str) -> None:
    named = paths_in(recipes()[what])
    folders = tuple(path for path in named if path.endswith("/"))
    left_out = {place for place in places(names()[what]) - named if not place.startswith(folders)}
    assert not left_out


@pytest.mark.parametrize("what", names())
def test_a_recipe_names_no_file_that_does_not_exist(what: str) -> None:
    missing = [path for path in paths_in(recipes()[what]) if not (ROOT / path).exists()]
    assert not missing
