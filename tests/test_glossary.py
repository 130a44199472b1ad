"""docs/glossary.md: our own words, each once, in order, with the file in which it lives."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GROUPS = ("Workflows", "The log and the topics", "Workers")
_TERM = re.compile(r"^- \*\*([^*]+)\*\*: (.+?)(?=\n- |\n*\Z)", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w/]+\.py)`\Z")


def _terms(group: str) -> list[tuple[str, str]]:
    """Return the words of a group with their meanings."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {group}\n")[1].split("\n## ")[0]
    return [(word, meaning.strip()) for word, meaning in _TERM.findall(section)]


ALL = [(word, meaning) for group in GROUPS for word, meaning in _terms(group)]


@pytest.mark.parametrize("group", GROUPS)
def test_the_words_of_a_group_are_sorted(group: str) -> None:
    words = [word for word, _ in _terms(group)]
    assert words == sorted(words, key=str.lower)


def test_no_word_has_two_meanings() -> None:
    words = [word.lower() for word, _ in ALL]
    assert sorted({word for word in words if words.count(word) > 1}) == []


def test_every_definition_is_one_of_ours_and_in_a_group() -> None:
    bold = re.findall(r"\*\*", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))
    assert len(bold) == 2 * len(ALL)


@pytest.mark.parametrize(("word", "meaning"), ALL, ids=[word for word, _ in ALL])
def test_a_word_is_said_in_the_file_that_the_glossary_names(word: str, meaning: str) -> None:
    named = _FILE.search(meaning)
    assert named is not None, f"expected the meaning of {word!r} to end with a file, found {meaning[-60:]!r}"
    file = ROOT / named[1]
    assert file.is_file(), f"{word!r}: there is no {named[1]}"
    text = file.stem + file.read_text(encoding="utf-8").lower()
    stems = [part[: max(4, len(part) - 3)] for part in re.findall(r"[a-z]{4,}", word.lower())] or [word.lower()]
    missing = [stem for stem in stems if stem not in text]
    assert not missing, f"{word!r} is said to live in {named[1]}, where {missing} is not said"
