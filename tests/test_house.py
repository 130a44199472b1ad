"""The rooms that docs/architecture.md leads to list their modules: a reader finds each of them there."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

ROOMS = (
    "core.records",
    "core.wf_spec",
    "core.rules",
    "fold",
    "runtime.group",
    "runtime.loading",
    "runtime.turn",
    "worker",
)
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_lists_each_of_its_modules(room: str) -> None:
    package = import_module(f"processors.{room}")
    assert package.__doc__ is not None
    words = set(re.findall(r"\w+", package.__doc__))
    assert sorted({it.name for it in iter_modules(package.__path__)} - words) == []


def test_the_page_leads_to_files_that_are_there() -> None:
    links = re.findall(r"\]\((\.\./[^)#]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(links) > 20
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
