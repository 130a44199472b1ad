"""The pages: they build into a site whose links and anchors lead somewhere, and what is generated is current."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.pictures import scenes
from docs.site import build, stage
from halter.files.definition_files import read_definition_file
from tests.halter.test_workflow import said

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the site, built without npm. It is not built if a link leads nowhere, or a page fetches from elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "WORK", tmp_path_factory.mktemp("docs"))
        patch.setattr(build, "SITE", build.WORK / "site")
        patch.setattr(stage, "LANGUAGES", {})  # without colours it takes two thirds of the time
        build.build(npm=False)
        yield build.SITE


def test_the_readme_leads_to_every_page() -> None:
    pages = [f"docs/{it.name}" for it in (ROOT / "docs").glob("*.md")]
    assert [it for it in pages if f"]({it}" not in README] == [], "README.md, 'Documentation', has a list of all pages"


def test_every_page_is_on_the_site_and_in_its_navigation(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        name = f"{page.stem}.html"
        assert (site / name).is_file()
        assert f'href="./{name}"' in home, f"{name} is in no group of docs/site/mkdocs.yml"


def test_a_page_that_fetches_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "good.html").write_text('<a href="https://example.org">x</a> <script src="./own.js"></script>')
    assert build.from_elsewhere(tmp_path) == {}
    (tmp_path / "bad.html").write_text(
        '<script src="https://example.org/x.js"></script><link href=//example.org/y.css>'
    )
    assert [*map(len, build.from_elsewhere(tmp_path).values())] == [2]


def test_a_link_that_leads_nowhere_is_told_with_its_page(tmp_path: Path) -> None:
    staged = stage.Stage(tmp_path, stage.tracked())
    text = '[a](nowhere.md) `[b](code.md)` [c](concepts.md#the-log) <img src="gone.png">\n'
    text += "```\n[d](code.md)\n```\n[e]: lost.md\n"
    assert "[c](concepts.md#the-log)" in staged.with_links("docs/page.md", text)
    assert staged.dead == ["docs/page.md: nowhere.md", "docs/page.md: gone.png", "docs/page.md: lost.md"]


def test_a_link_to_a_file_leads_to_the_page_that_shows_it(tmp_path: Path) -> None:
    staged = stage.Stage(tmp_path, stage.tracked())
    linked = staged.with_links("docs/rules/page.md", "[a](../../Makefile) [b](../../README.md#examples) [c](../adr/)")
    assert linked == "[a](../source/Makefile.md) [b](../index.md#examples) [c](../adr/index.md)"


def test_the_pictures_are_what_the_rules_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["scenes.py", "--check"])
    assert scenes.main() == 0


def test_the_workflow_of_the_readme_is_the_same_in_python_and_in_yaml(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(from halter import Workflow\n.*?)^```", README, re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    exec(program, names)
    (tmp_path / "order.yaml").write_text(scenes.workflow())
    in_yaml = read_definition_file(tmp_path / "order.yaml").commands
    order = names["order"]
    wf_specs = [it for it in order.commands() if it.name == "order"]  # type: ignore[attr-defined]
    assert said(wf_specs) == said(in_yaml)


def test_each_figure_of_the_first_table_of_performance_stands_in_the_section_to_which_it_leads() -> None:
    """The table is read first and the sections are renewed, so it would be wrong soon."""
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0].lower().replace(" ", "-"): part for part in page.split("\n## ")[1:]}
    rows = [line.split(" | ") for line in page.partition("\n## ")[0].splitlines() if "](#" in line and line[0] == "|"]
    assert len(rows) > 10
    for what, _, found, where in rows:
        anchor = re.findall(r"\]\(#([\w-]+)\)", where)[0]
        figures = re.findall(r"\d[\d.,]*\d|\d", re.sub(r"\[\w+\]\([^)]*\)", "", found))
        assert figures, what
        assert [it for it in figures if it not in sections[anchor]] == [], f"{what}: not in the section '{anchor}'"
