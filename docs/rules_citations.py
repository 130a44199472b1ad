"""Find who cites the rules of docs/rules, and keep the lines below each rule that name them.

python docs/rules_citations.py             says what is wrong; the exit code is 1 if anything is
python docs/rules_citations.py --write     writes the lines
python docs/rules_citations.py --sample 10 takes ten rules at random and prints which files each of them takes to find

A rule is a heading `### its-id` with text below it. It is cited as follows:

- Python, in a docstring or a comment: `(rule its-id)`, `(rules its-id, another-id)`;
- a scenario document, in its first line: `# Rules: its-id, another-id`. Further comment lines belong to it if they are
  indented by three spaces.
"""

import argparse
import ast
import io
import os
import random
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "rules"
CODE = ("processors", "halter")
TESTS = ROOT / "tests"
SCENARIOS = TESTS / "scenarios"
MODULES_MAX = 2
"""The most modules that may implement one rule: whoever looks for it opens no more."""

MARK = "<!-- citations -->"
SHOWN = "what-shows-each-rule"
"""The anchor of the table of a page."""
TABLE = "<!-- the rest is made by docs/rules_citations.py -->"
_HEADING = re.compile(r"^### (.+)$", re.MULTILINE)
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+){1,6}")
_IDS = r"[a-z0-9-]+(?:,\s+(?:#\s*)?[a-z0-9-]+)*"
_IN_PYTHON = re.compile(rf"\(rules?\s+(?:#\s*)?({_IDS})\)")
_IN_SCENARIO = re.compile(r"\A# Rules:(.*(?:\n#   .*)*)")
_OTHERWISE = re.compile(r"\b(?:SEMANTICS|DESIGN)\b|\bN\d{1,2}\b(?!-)|\((?:S|section )?[1-9]\.\d(?:[,;][^()]*)?\)")
"""What the rules were cited by before they were in the repository."""
_SENTENCE = re.compile(r"^name: (?:>-\n)?(.*(?:\n  .*)*)", re.MULTILINE)
_LINK = re.compile(r"\]\((?:([\w-]+\.md))?#([a-z0-9-]+)\)")


@dataclass
class Rule:
    """A rule of one of the pages, and who cites it."""

    id: str
    page: Path
    text: str
    code: list[Path] = field(default_factory=list)
    shown_by: list[Path] = field(default_factory=list)


@dataclass
class Citation:
    """One id that is cited, and where."""

    id: str
    file: Path
    line: int


def pages() -> list[Path]:
    """Return the pages that have rules, in the order of the index."""
    return sorted(path for path in PAGES.glob("*.md") if path.name != "README.md")


def rules() -> list[Rule]:
    """Return all rules, page by page, in the order in which they stand there."""
    found = []
    for page in pages():
        parts = _HEADING.split(page.read_text(encoding="utf-8"))
        found += [Rule(name.strip(), page, text) for name, text in zip(parts[1::2], parts[2::2], strict=True)]
    return found


def citations() -> Iterator[Citation]:
    """Yield what is cited: in code, in test modules, in scenario documents."""
    for root in (*(ROOT / name for name in CODE), TESTS):
        for module in sorted(root.rglob("*.py")):
            yield from _cited(module, _IN_PYTHON)
    for document in sorted(SCENARIOS.rglob("*.yaml")):
        yield from _cited(document, _IN_SCENARIO)


def _cited(file: Path, pattern: re.Pattern[str]) -> Iterator[Citation]:
    text = file.read_text(encoding="utf-8")
    for match in pattern.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        for cited in re.split(r"[\s,#]+", match[1].strip()):
            yield Citation(cited, file, line)


def cited_rules() -> tuple[list[Rule], list[str]]:
    """Return the rules with who cites them, and what is wrong with the ids."""
    known: dict[str, Rule] = {}
    problems = []
    for rule in rules():
        where = rule.page.relative_to(ROOT)
        if _ID.fullmatch(rule.id) is None:
            problems.append(f"{where}: expected the id of a rule, two to seven words joined by -, found {rule.id!r}")
        if rule.id in known:
            problems.append(f"{where}: the id {rule.id} is also in {known[rule.id].page.name}")
        if rule.text.count(MARK) != 1:
            problems.append(f"{where}: expected one line {MARK} below {rule.id}, found {rule.text.count(MARK)}")
        known[rule.id] = rule
    for citation in citations():
        cited = known.get(citation.id)
        if cited is None:
            problems.append(
                f"{citation.file.relative_to(ROOT)}:{citation.line}: there is no rule {citation.id!r} in docs/rules"
            )
            continue
        files = cited.shown_by if citation.file.is_relative_to(TESTS) else cited.code
        if citation.file not in files:
            files.append(citation.file)
    return list(known.values()), problems


def without_module(known: list[Rule]) -> list[str]:
    """Return the rules that no module implements, or too many."""
    problems = []
    for rule in known:
        where = f"{rule.page.relative_to(ROOT)}: {rule.id}"
        if not rule.code:
            problems.append(f"{where}: no module says that it implements this rule")
        if len(rule.code) > MODULES_MAX:
            modules = ", ".join(str(path.relative_to(ROOT)) for path in rule.code)
            problems.append(f"{where}: expected at most {MODULES_MAX} modules, found {modules}")
    return problems


def not_shown(known: list[Rule]) -> list[str]:
    """Return the rules that nothing shows."""
    return [
        f"{rule.page.relative_to(ROOT)}: {rule.id}: no scenario document and no test shows it"
        for rule in known
        if not rule.shown_by
    ]


def documents_without_rules() -> list[str]:
    """Return the scenario documents that do not say which rules they show."""
    return [
        f"{document.relative_to(ROOT)}: its first line cites no rule: # Rules: …"
        for document in sorted(SCENARIOS.rglob("*.yaml"))
        if _IN_SCENARIO.match(document.read_text(encoding="utf-8")) is None
    ]


def cited_otherwise() -> list[str]:
    """Return the lines of code, tests and benchmarks that cite what is not in the repository, by name or by number."""
    problems = []
    for root in (*CODE, "tests", "bench"):
        for module in sorted((ROOT / root).rglob("*.py")):
            source = module.read_text(encoding="utf-8")
            if _OTHERWISE.search(source) is None:
                continue  # parsing takes long
            for line, said in _said_in(source):
                problems += _problems_of(module, line, said)
    for document in sorted(SCENARIOS.rglob("*.yaml")):
        problems += _problems_of(document, 1, document.read_text(encoding="utf-8"))
    return problems


def _problems_of(file: Path, first: int, text: str) -> list[str]:
    problems = []
    for match in _OTHERWISE.finditer(text):
        line = first + text.count("\n", 0, match.start())
        problems.append(f"{file.relative_to(ROOT)}:{line}: {match[0]!r} is no rule of docs/rules")
    return problems


def _said_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments and docstrings of a module, with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def broken_links() -> list[str]:
    """Return the links between the pages that lead nowhere."""
    anchors: dict[str, set[str]] = {page.name: {SHOWN} for page in pages()}
    for rule in rules():
        anchors[rule.page.name].add(rule.id)
    problems = []
    for page in PAGES.glob("*.md"):
        for other, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
            if anchor not in anchors.get(other or page.name, ()):
                problems.append(f"{page.relative_to(ROOT)}: there is no rule {anchor} in {other or page.name}")
    return problems


def _links(files: list[Path], page: Path) -> str:
    return ", ".join(f"[{_name(path)}]({_way(path, page)})" for path in files) or "nothing yet"


def _way(path: Path, page: Path) -> str:
    return Path(os.path.relpath(path, page.parent)).as_posix()


def _name(path: Path) -> str:
    """Return what a link to a file says: of a scenario document the sentence that it shows, else the path."""
    if path.suffix == ".yaml":
        name = _SENTENCE.search(path.read_text(encoding="utf-8"))
        assert name is not None, path
        return " ".join(name[1].split()).strip("\"'").replace("|", "\\|")
    return f"`{path.relative_to(ROOT).as_posix()}`"


def written(page: Path, known: dict[str, Rule]) -> str:
    """Return the text of a page with what the citations give it: a line below each rule, a table at the end."""
    lines = []
    rule: Rule | None = None
    is_old = False
    text, _, _ = page.read_text(encoding="utf-8").partition(TABLE)
    for line in text.rstrip().split("\n"):
        heading = _HEADING.fullmatch(line)
        if heading is not None:
            rule = known[heading[1].strip()]
        if is_old and line.startswith("Code: "):
            is_old = False
            continue
        is_old = False
        lines.append(line)
        if line == MARK and rule is not None:
            lines.append(f"Code: {_links(rule.code, page)} · [shown by {len(rule.shown_by)}](#{SHOWN})")
            is_old = True
    return "\n".join([*lines, "", TABLE, "", *_table(page, known.values()), ""])


def _table(page: Path, known: Iterable[Rule]) -> Iterator[str]:
    """Yield the lines of a page's table: what shows each rule."""
    yield from ("## What shows each rule", "", "| Rule | Scenario document, or test |", "|---|---|")
    for rule in known:
        if rule.page != page:
            continue
        first = f"[{rule.id}](#{rule.id})"
        for path in rule.shown_by:
            yield f"| {first} | {_links([path], page)} |"
            first = ""


def stale_pages(known: list[Rule]) -> list[str]:
    """Return which pages have other lines than the citations give them."""
    by_id = {rule.id: rule for rule in known}
    return [
        f"{page.relative_to(ROOT)} is not what the citations say: run python docs/rules_citations.py --write"
        for page in pages()
        if written(page, by_id) != page.read_text(encoding="utf-8")
    ]


def _tell_sample(known: list[Rule], number: int, seed: int) -> None:
    print(f"seed {seed}")
    for rule in random.Random(seed).sample(known, number):
        sentence = " ".join(rule.text.split(MARK)[0].split())
        print(f"\n{rule.page.name}: {rule.id}\n  {sentence}")
        print(f"  {len(rule.code)} to open: {', '.join(str(path.relative_to(ROOT)) for path in rule.code)}")


def main() -> int:
    """Check, write or sample."""
    parser = argparse.ArgumentParser(description="Who cites the rules of docs/rules.")
    parser.add_argument("--write", action="store_true", help="write the lines below the rules")
    parser.add_argument("--sample", type=int, metavar="N", help="print the files of N rules taken at random")
    parser.add_argument("--seed", type=int, help="which ones; without it, others each time")
    asked = parser.parse_args()
    known, problems = cited_rules()
    if asked.sample is not None:
        _tell_sample(known, asked.sample, random.randrange(10_000) if asked.seed is None else asked.seed)
        return 0
    if asked.write and not problems:
        for page in pages():
            page.write_text(written(page, {rule.id: rule for rule in known}), encoding="utf-8")
    problems += [*without_module(known), *not_shown(known), *documents_without_rules()]
    problems += [*broken_links(), *cited_otherwise(), *stale_pages(known)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
