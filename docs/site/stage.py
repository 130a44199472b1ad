"""Gathers the pages of the site: docs/, the READMEs, and every file of the repository that a page links to.

Pages are written for a repository: a link leads to a file, be it a page, a module or a test. A generator of sites knows
only the pages in one folder. So this copies the pages into one, and makes a page of every other file that is linked.
Nothing of a site stands in the pages themselves. A link that leads nowhere, or to something that Git does not track, is
an error here. Anchors are the generator's to check.
"""

import posixpath
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
MOVED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages that are called otherwise on the site."""
LISTED = {"docs/adr": "Decisions"}
"""Folders of pages that have no page of their own, and the title of the one that lists them."""
LANGUAGES = {
    ".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".jsonl": "json", ".avsc": "json",
    ".toml": "toml", ".sh": "bash", ".java": "java", ".go": "go",
}  # fmt: skip
LINES_MAX = 1_000
"""Longer files are cut: nobody reads thousands of records on a page."""
PICTURES = {".png", ".svg", ".jpg"}
CODE = re.compile(r"^(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^(?P=fence)[ \t]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"(?P<before>\]\()(?P<inline>[^)\s]+)|(?P<open>\b(?:src|srcset|href)=\")(?P<attribute>[^\"\s]+)"
    r"|(?P<define>^\[[^\]]+\]:[ \t]+)(?P<reference>\S+)",
    re.MULTILINE,
)
ELSEWHERE = re.compile(r"[a-z]+:|#|//")


class DeadLink(Exception):
    """A page links to what is not in the repository."""


@dataclass
class Stage:
    """The pages of the site, as they are gathered."""

    folder: Path
    tracked: frozenset[str]
    dead: list[str] = field(default_factory=list)
    _done: set[str] = field(default_factory=set)
    _open: list[str] = field(default_factory=list)

    def add(self, *paths: str) -> None:
        """Stage files of the repository, and all that they link to."""
        self._open.extend(paths)
        while self._open:
            path = self._open.pop()
            if path not in self._done:
                self._done.add(path)
                self._stage(path)

    def place(self, path: str) -> str:
        """Return where a file or a folder of the repository stands on the site."""
        if path in MOVED:
            return MOVED[path]
        below = path.removeprefix("docs/")
        if path.endswith(".md"):
            return below
        if PurePosixPath(path).suffix in PICTURES:
            return below
        if self.is_folder(path):
            index = f"{path}/README.md"
            if index in self.tracked:
                return self.place(index)
            return f"{below}/index.md" if path in LISTED else f"source/{path}/index.md"
        return f"source/{path}.md"

    def is_folder(self, path: str) -> bool:
        """Tell whether files are tracked below this path."""
        return any(it.startswith(f"{path}/") for it in self.tracked)

    def _stage(self, path: str) -> None:
        target = self.folder / self.place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / path
        if path.endswith(".md"):
            target.write_text(self.with_links(path, source.read_text(encoding="utf-8")), encoding="utf-8")
        elif source.suffix in PICTURES:
            target.write_bytes(source.read_bytes())
        elif source.is_dir():
            if f"{path}/README.md" in self.tracked:
                self._open.append(f"{path}/README.md")
            else:
                target.write_text(self._listing(path), encoding="utf-8")
        else:
            target.write_text(text_of(path, source), encoding="utf-8")

    def _listing(self, path: str) -> str:
        below = sorted({it[len(path) + 1 :].split("/")[0] for it in self.tracked if it.startswith(f"{path}/")})
        title = LISTED.get(path)
        if title is None:
            return HIDDEN + f"# {path}/\n\n" + "".join(f"- `{name}`\n" for name in below)
        pages = [(ROOT / path / name).read_text(encoding="utf-8").split("\n", 1)[0][2:] for name in below]
        self._open.extend(f"{path}/{name}" for name in below)
        return f"# {title}\n\n" + "".join(f"- [{page}]({name})\n" for page, name in zip(pages, below, strict=True))

    def with_links(self, path: str, text: str) -> str:
        """Return a page whose links lead to where things stand on the site."""

        def moved(link: re.Match[str]) -> str:
            kind = next(it for it in ("inline", "attribute", "reference") if link[it] is not None)
            found = link[kind]
            if ELSEWHERE.match(found):
                return link[0]
            to, _, anchor = found.partition("#")
            wanted = posixpath.normpath(posixpath.join(posixpath.dirname(path), to))
            if wanted not in self.tracked and not self.is_folder(wanted):
                self.dead.append(f"{path}: {found}")
                return link[0]
            self._open.append(wanted)
            here = posixpath.dirname(self.place(path)) or "."
            there = posixpath.relpath(self.place(wanted), here)
            if kind == "attribute" and there.endswith(".md"):
                there = there.removesuffix("index.md").removesuffix(".md") or "."
            return link[0][: -len(found)] + there + (f"#{anchor}" if anchor else "")

        return outside_code(text, lambda part: LINK.sub(moved, part))


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Return the text with a change made everywhere but in code."""

    def parts() -> Iterator[str]:
        at = 0
        for code in CODE.finditer(text):
            yield change(text[at : code.start()])
            yield code[0]
            at = code.end()
        yield change(text[at:])

    return "".join(parts())


HIDDEN = "---\nsearch:\n  exclude: true\nhide: [toc]\n---\n\n"


def text_of(path: str, source: Path) -> str:
    """Return a page that shows a file."""
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return HIDDEN + f"# {path}\n\nA file of {source.stat().st_size:,} bytes that is no text.\n"
    shown = lines[:LINES_MAX]
    note = f"\nThe first {LINES_MAX:,} of {len(lines):,} lines.\n" if len(lines) > LINES_MAX else ""
    longest = max((len(it) for line in shown for it in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    code = "\n".join(line[:2_000] for line in shown)
    return HIDDEN + f"# {path}\n{note}\n{fence}{LANGUAGES.get(source.suffix, 'text')}\n{code}\n{fence}\n"


def tracked() -> frozenset[str]:
    """Return the files that Git tracks or would track."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return frozenset(name for name in names if (ROOT / name).is_file())


def stage(folder: Path) -> Stage:
    """Gather the site in a folder. Raises DeadLink with all links that lead nowhere."""
    staged = Stage(folder, tracked())
    staged.add(*MOVED, *sorted(it for it in staged.tracked if it.startswith("docs/") and it.endswith(".md")), *LISTED)
    if staged.dead:
        raise DeadLink("\n".join(staged.dead))
    return staged
