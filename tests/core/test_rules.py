"""The rules of docs/rules and who cites them: code that implements them, documents and tests that show them."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

CITATIONS = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "docs" / "rules_citations.py")))
KNOWN, PROBLEMS = CITATIONS.cited_rules()


def test_every_citation_names_a_rule_and_every_id_is_there_once() -> None:
    assert not PROBLEMS, "\n".join(PROBLEMS)


def test_one_module_or_two_implement_every_rule() -> None:
    assert not CITATIONS.without_module(KNOWN)


def test_a_scenario_document_or_a_test_shows_every_rule() -> None:
    assert not CITATIONS.not_shown(KNOWN)


def test_every_scenario_document_says_which_rules_it_shows() -> None:
    assert not CITATIONS.documents_without_rules()


def test_the_pages_say_who_cites_the_rules() -> None:
    assert not CITATIONS.stale_pages(KNOWN)


def test_rules_are_cited_by_their_ids_alone() -> None:
    assert not CITATIONS.cited_otherwise()


def test_the_pages_link_only_to_rules_that_there_are() -> None:
    assert not CITATIONS.broken_links()


def test_the_log_of_an_interrupt_is_one_that_was_recorded() -> None:
    told = (CITATIONS.PAGES / "interrupts.md").read_text(encoding="utf-8").split("```\n")[1]
    assert told in (CITATIONS.TESTS / "golden" / "duplicate-event.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ('"""Halts (rule still-before-halted)."""', ["still-before-halted"]),
        ('"""Halts (rules still-before-halted,\n    reasons-add-up)."""', ["still-before-halted", "reasons-add-up"]),
        ("# Halts (rules still-before-halted,\n    # reasons-add-up).", ["still-before-halted", "reasons-add-up"]),
        ('"""Halts as a (rule that nobody wrote) says."""', []),
    ],
)
def test_citations_in_code(text: str, cited: list[str], tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(text, encoding="utf-8")
    assert [it.id for it in CITATIONS._cited(module, CITATIONS._IN_PYTHON)] == cited


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("# Rules: still-before-halted\nname: x\n", ["still-before-halted"]),
        ("# Rules: a-b,\n#   c-d, e-f\n# A comment.\nname: x\n", ["a-b", "c-d", "e-f"]),
        ("name: x\n# Rules: still-before-halted\n", []),
    ],
)
def test_citations_in_scenario_documents(text: str, cited: list[str], tmp_path: Path) -> None:
    document = tmp_path / "document.yaml"
    document.write_text(text, encoding="utf-8")
    assert [it.id for it in CITATIONS._cited(document, CITATIONS._IN_SCENARIO)] == cited


@pytest.mark.parametrize("text", ["as SEMANTICS 3 says", "DESIGN 5", "halts at once (N12).", "(4.2, N5)", "(S3.2)"])
def test_what_nobody_can_follow_is_found(text: str) -> None:
    assert CITATIONS._OTHERWISE.search(text)


@pytest.mark.parametrize("text", ["N12-a-task-in-back-off-halts-at-once", "designs", "0.1.0", "(1.5 s)"])
def test_what_looks_like_it_is_not(text: str) -> None:
    assert CITATIONS._OTHERWISE.search(text) is None
