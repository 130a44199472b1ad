"""Every room lists its modules, docs/architecture.md leads to files that are there, and logs name events in one way."""

import ast
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from halter.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
HOUSES = ("halter", "processors")
"""Their rooms are in the table of docs/architecture.md."""
ROOMS = sorted(
    ".".join(it.parent.relative_to(ROOT).parts)
    for house in HOUSES
    for it in (ROOT / house).rglob("__init__.py")
    if it.parent.name not in (*HOUSES, "versions")
)
LISTED = re.compile(r"^(?: {4})?(\w+(?:, \w+)*) {2,}\S", re.MULTILINE)
"""A line of a list of modules: their names, then what they are."""


def test_rooms_are_found() -> None:
    assert {"halter.client", "processors.core.rules.nodes"} <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_lists_each_of_its_modules(room: str) -> None:
    package = import_module(room)
    assert package.__doc__ is not None
    words = set(re.findall(r"\w+", package.__doc__))
    if room == "halter.cli":
        words |= {it.target.partition(":")[0].rpartition(".")[2] for it in COMMANDS.values()}
    missing = sorted({it.name for it in iter_modules(package.__path__)} - words)
    assert missing == [], f"{room.replace('.', '/')}/__init__.py: its docstring does not say what these modules are"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_lists_no_module_that_is_not_there(room: str) -> None:
    package = import_module(room)
    there = {it.name for it in iter_modules(package.__path__)} | {it.name for it in Path(package.__path__[0]).iterdir()}
    listed = {name for names in LISTED.findall(package.__doc__ or "") for name in names.split(", ")}
    assert sorted(listed - there) == [], f"{room.replace('.', '/')}/__init__.py: its docstring lists what is not there"


def test_the_benchmarks_are_listed() -> None:
    listed = ast.get_docstring(ast.parse((ROOT / "bench" / "__main__.py").read_text(encoding="utf-8"))) or ""
    there = {it.stem for it in (ROOT / "bench").glob("*.py")} - {"__main__"}
    names = {name for names in LISTED.findall(listed) for name in names.split(", ")}
    assert sorted(names ^ there) == [], "the docstring of bench/__main__.py says what each program measures"


def test_the_page_leads_to_files_that_are_there() -> None:
    links = re.findall(r"\]\((\.\./[^)#]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(links) > 20
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
LOGGER = re.compile(r"(\b|_)log$|get_logger\(.*\)$")


def test_a_line_of_a_log_is_an_event_in_snake_case_with_fields() -> None:
    """So one searches the logs of all processes alike. A sentence belongs into a field."""
    events, wrong = set(), []
    for path in [it for house in HOUSES for it in (ROOT / house).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            if node.func.attr in LEVELS and LOGGER.search(ast.unparse(node.func.value)):
                for event in (it.value for it in ast.walk(node.args[0]) if isinstance(it, ast.Constant)):
                    events.add(event)
                    if not re.fullmatch("[a-z_]+", event):
                        wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {event}")
    assert {"partition_paused", "login_refused"} <= events
    assert wrong == []


def test_no_room_but_its_own_uses_what_is_private_to_a_client() -> None:
    """What others need has a public function, if only one for the house."""
    others = [it for it in (ROOT / "halter").rglob("*.py") if it.parent != ROOT / "halter" / "client"]
    used = [it for it in others if re.search(r"\bclient\._[a-z]", it.read_text(encoding="utf-8"))]
    assert [str(it.relative_to(ROOT)) for it in used] == []
