"""Whether this commit may be released, as far as the tree and git say."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from release.archives import relative_links
from release.building import PROJECT, ROOT, Archives

HEADING = re.compile(r"^## (?P<heading>.+)$", re.MULTILINE)


def not_ready(version: str, root: Path = ROOT) -> Iterator[str]:
    """Yield what stands against a release of this commit."""
    yield from changelog(version, (root / "CHANGELOG.md").read_text(encoding="utf-8"))
    for stored in (root / "schemas" / "released" / version, root / "tests" / "released" / f"{version}.jsonl.gz"):
        if not stored.exists():
            yield f"expected {stored.relative_to(root)}, found none: step 2 of docs/releasing.md stores it"
    if shutil.which("git") is None:
        yield "expected git, found none: it says whether everything is committed"
        return
    if changed := _git(root, "status", "--porcelain"):
        yield f"expected everything to be committed, found changes in {len(changed.splitlines())} files: git status"
    if _git(root, "tag", "--list", f"v{version}"):
        yield f"expected a version that is new, found the tag v{version}: a version is released once"


def changelog(version: str, text: str) -> Iterator[str]:
    """Yield what is wrong with the newest heading of the changelog."""
    first = HEADING.search(text)
    found = "none" if first is None else f"'{first['heading']}'"
    if first is None or not re.fullmatch(rf"{re.escape(version)} - \d{{1,2}} [A-Z][a-z]+ \d{{4}}", first["heading"]):
        yield f"CHANGELOG.md: expected the newest heading to be '## {version} - DAY MONTH YEAR', found {found}"


def undecided(archives: Archives) -> Iterator[str]:
    """Yield what only those who publish can decide."""
    if not PROJECT.get("urls"):
        yield "pyproject.toml has no [project.urls], so the page of the package leads nowhere"
        links = relative_links((ROOT / "README.md").read_text(encoding="utf-8"))
        yield f"{len(links)} links of README.md are relative: on the page of the package they lead nowhere"
    if "manylinux" not in archives.compiled.name:
        yield f"{archives.compiled.name} is for this machine: cibuildwheel makes those that are published"


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout
