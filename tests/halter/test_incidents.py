"""docs/incidents.md shows what its commands print."""

import pytest

pytest.importorskip("pty", reason="the page shows what a terminal shows")

from docs import incidents


@pytest.mark.timeout(300)
def test_the_commands_of_the_page_print_what_it_shows() -> None:
    text, now = incidents.stale()
    assert now == text, "python -m docs.incidents --write"


def test_the_page_leads_to_a_test_in_each_section() -> None:
    sections = incidents.PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(sections) == 4
    for section in sections:
        assert "halter scenario from-history" in section
        assert "FAILED" in section
        assert "\nok " in section


def test_lines_fit_the_terminal() -> None:
    page = incidents.PAGE.read_text(encoding="utf-8")
    shown = [line for _, block in incidents._BLOCK.findall(page) for line in block.splitlines()]
    assert [line for line in shown if len(line) > incidents.WIDTH] == []
