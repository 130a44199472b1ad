"""Builds the site: `make docs`. It is in build/docs/site, and can be opened from there without a server.

    python -m docs.site.build               pages are gathered, links and anchors checked, and the site is built
    python -m docs.site.build --no-npm      diagrams are shown as their text, and the search needs a server

The site needs no network when it is read. Building it needs one once, for the scripts that draw diagrams and let pages
search without a server.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from docs.site import api, cli
from docs.site.stage import ROOT, DeadLink, stage

HERE = Path(__file__).parent
WORK = ROOT / "build" / "docs"
SITE = WORK / "site"
CACHE = ROOT / "build" / "cache"
SEARCH_SHIM = "https://unpkg.com/iframe-worker/shim"
"""Where pages would fetch the script that lets them search without a server."""
ELSEWHERE = re.compile(r"<(?:script|img|source|link)\b[^>]*\b(?:src|srcset|href)=\"?(?:https?:)?//[^>]*>")
DIAGRAM = re.compile(r"^```mermaid$", re.MULTILINE)


class Script(NamedTuple):
    """A script of an npm package, as it is fetched once."""

    package: str
    member: str
    sha256: str


MERMAID = Script(
    "mermaid@12.3.0",
    "package/dist/mermaid.min.js",
    "336df803d87a38b70a01e736e666c8f7601d2ce42f5e47c8fafe5d721074b9a3",
)
SHIM = Script(
    "iframe-worker@1.0.4",
    "package/shim/index.js",
    "e8e412dbcfea9b7e31b5ffa288d7b6035915e714c542f4176a0cdbe262fc9609",
)


def pages_of(nav: list[Any]) -> set[str]:
    """Return the pages that a navigation names."""
    found: set[str] = set()
    for entry in nav:
        inside = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found |= pages_of(inside) if isinstance(inside, list) else {inside}
    return found


def configuration(staged: set[str], offline: bool) -> str:
    """Return mkdocs.yml with a navigation of the pages that there are: others come last among the how-to guides."""
    text = (HERE / "mkdocs.yml").read_text(encoding="utf-8")
    if not offline:
        text = text.replace("plugins: [search, offline]", "plugins: [search]")
    before, rest = text.split("\nnav:\n")
    nav_text, after = re.split(r"\n\n(?=theme:)", rest, maxsplit=1)
    nav = yaml.safe_load(nav_text)
    top = {it for it in staged if "/" not in it or it.startswith("rules/")}
    (guides,) = (entry["How-to guides"] for entry in nav if "How-to guides" in entry)
    guides.extend(sorted(top - pages_of(nav)))
    return f"{before}\nnav:\n{yaml.safe_dump(_present(nav, staged), sort_keys=False)}\n{after}"


def _present(nav: list[Any], staged: set[str]) -> list[Any]:
    kept: list[Any] = []
    for entry in nav:
        title, inside = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if isinstance(inside, list):
            inside = _present(inside, staged)
        elif inside not in staged:
            continue
        kept.append(inside if title is None else {title: inside})
    return kept


def fetched(script: Script) -> Path:
    """Return a script, which npm fetches once. Raises SystemExit if it is not the one that we know."""
    file = CACHE / f"{script.package}.js"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            fetch = ["npm", "pack", script.package, "--silent", "--pack-destination", folder]
            subprocess.run(fetch, check=True, capture_output=True, text=True)
            (packed,) = Path(folder).glob("*.tgz")
            with tarfile.open(packed) as archive:
                member = archive.extractfile(script.member)
                assert member is not None
                found = member.read()
        if (digest := hashlib.sha256(found).hexdigest()) != script.sha256:
            raise SystemExit(f"docs: expected {script.package} with SHA-256 {script.sha256}, found {digest}")
        file.write_bytes(found)
    return file


def with_own_shim(site: Path) -> None:
    """Let pages find the script for their search in the site."""
    shutil.copy(fetched(SHIM), site / "assets" / "iframe-worker.js")
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace(SEARCH_SHIM, f"{up}assets/iframe-worker.js"), encoding="utf-8")


def with_diagrams(pages: Path, draw: bool) -> None:
    """Let pages with diagrams load the script. Without it a diagram is shown as its text."""
    drawn = [page for page in pages.rglob("*.md") if DIAGRAM.search(page.read_text(encoding="utf-8"))]
    for page in drawn:
        text = page.read_text(encoding="utf-8")
        if draw:
            up = "../" * (len(page.relative_to(pages).parts) - 1)
            text += f'\n<script src="{up}mermaid.min.js"></script>\n'
        else:
            text = DIAGRAM.sub("```text", text)
        page.write_text(text, encoding="utf-8")
    if draw and drawn:
        shutil.copy(fetched(MERMAID), pages / "mermaid.min.js")


def from_elsewhere(site: Path) -> dict[str, list[str]]:
    """Return what pages would fetch from other hosts, by page."""
    found = {page.name: ELSEWHERE.findall(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}
    return {page: tags for page, tags in found.items() if tags}


def build(npm: bool) -> None:
    """Build the site, with what npm fetches or without. Raises DeadLink, or SystemExit with what the generator said."""
    pages = WORK / "pages"
    for folder in (pages, SITE):
        shutil.rmtree(folder, ignore_errors=True)
    pages.mkdir(parents=True)
    stage(pages)
    (pages / "reference-api.md").write_text(api.page(), encoding="utf-8")
    (pages / "reference-cli.md").write_text(cli.page(), encoding="utf-8")
    with_diagrams(pages, draw=npm)
    shutil.copy(HERE / "site.css", pages / "site.css")
    staged = {str(it.relative_to(pages)) for it in pages.rglob("*.md")}
    (WORK / "mkdocs.yml").write_text(configuration(staged, offline=npm), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(WORK / "mkdocs.yml")]
    built = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    if built.returncode:
        raise SystemExit(built.stdout + built.stderr)
    if npm:
        with_own_shim(SITE)
    if others := from_elsewhere(SITE):
        raise SystemExit(f"docs: pages would fetch something from other hosts: {others}")


def main() -> None:
    """Build the site, or say what is wrong."""
    parser = argparse.ArgumentParser(description="Build the site into build/docs/site.")
    parser.add_argument(
        "--no-npm", action="store_true", help="show diagrams as text; to search, the site has to be served"
    )
    options = parser.parse_args()
    npm = not options.no_npm
    if npm and shutil.which("npm") is None:
        print(
            "docs: npm is not on the PATH: diagrams are shown as text, and to search, the site has to be served",
            file=sys.stderr,
        )
        npm = False
    try:
        build(npm)
    except DeadLink as dead:
        raise SystemExit(f"docs: these links lead nowhere:\n{dead}") from None
    print(f"docs: {SITE.relative_to(ROOT)}/index.html")


if __name__ == "__main__":
    main()
