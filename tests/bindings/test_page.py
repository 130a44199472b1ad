"""docs/bindings.md says what the code does."""

import re
from pathlib import Path

import pytest

from halter.bindings.document import (
    ABOUT_RECORDS,
    BINDING_FIELDS,
    EVENT_FIELDS,
    INDEX,
    ITEM,
    KEY,
    VALUE,
    read_bindings,
)
from halter.bindings.files import read_bindings_file
from halter.bindings.mapping import RefusalCode
from halter.bindings.model import FormatKind, Framing, Tombstone
from halter.files.yaml_files import parse_yaml

PAGE = (Path(__file__).parents[2] / "docs" / "bindings.md").read_text(encoding="utf-8")
DOCUMENTS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", DOCUMENTS)
def test_every_document_on_the_page_is_a_good_one(text: str) -> None:
    bindings, problems = read_bindings(parse_yaml(text, "page").data)
    assert problems == []
    assert bindings.bindings


def test_the_shipped_example_is_a_good_one() -> None:
    assert read_bindings_file(Path(__file__).parents[2] / "examples" / "cart" / "bindings.yaml").problems == []


def test_everything_that_can_be_written_is_on_the_page() -> None:
    names = {VALUE, KEY, ITEM, INDEX, *ABOUT_RECORDS}
    words = {*BINDING_FIELDS, *EVENT_FIELDS, *names, *FormatKind, *Framing, *Tombstone, "wf_spec", "version", "inputs"}
    assert [word for word in sorted(words) if not re.search(rf"\b{re.escape(word)}\b", PAGE)] == []


def test_the_table_of_reasons_is_that_of_the_code() -> None:
    (section,) = re.findall(r"\| Reason \| \|\n(.*?)\n\n", PAGE, re.DOTALL)
    assert re.findall(r"^\| `([A-Z_]+)`", section, re.MULTILINE) == [it.value for it in RefusalCode]
