"""What is in an archive, and what it says of itself. Each function yields sentences; none means that all is well."""

import base64
import hashlib
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from packaging.metadata import InvalidMetadata, Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from trove_classifiers import classifiers

from release.building import ROOT

OURS = {"halter", "processors", "halter_kafka.py"}
"""What a wheel has at its top, beside what it says of itself and a library of the compiled core."""
DATA = "processors/_data"
BUILDS = {
    "pyproject.toml", "hatch_build.py", "halter_kafka.py", "topics.yaml", "README.md", "LICENSE", "CHANGELOG.md",
    "Makefile", "requirements/run.txt", "requirements/dev.txt", "tests/conftest.py", "schemas/events/Halt.avsc",
}  # fmt: skip
"""Some of what a source archive must have, to be built and tested."""
EXTENSIONS = (".so", ".pyd")
RUBBISH = re.compile(r"(^|/)(__pycache__|\.venv|\.git|\.[a-z_]+_cache|node_modules|dist)(/|$)|\.py[co]$")


def files(archive: Path) -> dict[str, bytes]:
    """Return the files of an archive by their names; those of a source archive without its folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {it.filename: wheel.read(it) for it in wheel.infolist() if not it.is_dir()}
    found = {}
    with tarfile.open(archive) as source:
        for it in source:
            if (content := source.extractfile(it)) is not None:
                found[it.name.partition("/")[2]] = content.read()
    return found


# What it says of itself.


def metadata(archive: Path, project: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the metadata: what an index refuses, and what is not as pyproject.toml has it."""
    inside = files(archive)
    is_wheel = archive.suffix == ".whl"
    name = next((it for it in inside if it.endswith(".dist-info/METADATA")), "") if is_wheel else "PKG-INFO"
    if name not in inside:
        yield "expected metadata, found none"
        return
    try:
        found = Metadata.from_email(inside[name], validate=True)
    except ExceptionGroup as invalid:
        yield from (f"metadata: {_sentence(it)}" for it in invalid.exceptions)
        return
    named, version = parse_wheel_filename(archive.name)[:2] if is_wheel else parse_sdist_filename(archive.name)
    readme = (ROOT / project["readme"]).read_text(encoding="utf-8")
    extras = project["optional-dependencies"]
    expected: dict[str, tuple[Any, Any]] = {
        "name": (found.name, project["name"]),
        "name of the file": (named, canonicalize_name(project["name"])),
        "version": (str(found.version), project["version"]),
        "version of the file": (str(version), project["version"]),
        "summary": (found.summary, project["description"]),
        "licence": (found.license_expression, project["license"]),
        "extras": (set(found.provides_extra or ()), set(extras)),
        "requirements": (
            {str(it) for it in found.requires_dist or () if "extra ==" not in str(it.marker)},
            {str(Requirement(it)) for it in project["dependencies"]},
        ),
        "type of the description": (found.description_content_type, "text/markdown"),
        "description": ((found.description or "").strip(), readme.strip()),
    }
    for what, (is_so, should_be) in expected.items():
        if is_so != should_be:
            yield f"metadata, {what}: expected {_short(should_be, is_so)}, found {_short(is_so, should_be)}"
    for it in found.classifiers or ():
        if it not in classifiers:
            yield f"metadata: no index knows the classifier '{it}'"
    if "<h1>" not in MarkdownIt("gfm-like", {"linkify": False}).render(found.description or ""):
        yield "metadata: expected a description with a title, found none when it was rendered"


def _sentence(error: Exception) -> str:
    return f"{error.field}: {error}" if isinstance(error, InvalidMetadata) else str(error)


def _short(value: Any, other: Any = None) -> str:
    """Return a value in at most so many characters: of a long text, those from where another one differs."""
    if isinstance(value, str) and isinstance(other, str):
        same = next((at for at, (one, two) in enumerate(zip(value, other, strict=False)) if one != two), 0)
        value = value[max(0, same - 40) :]
    text = repr(sorted(value) if isinstance(value, set) else value)
    return text if len(text) < 300 else f"{text[:300]}..."


def relative_links(text: str) -> list[str]:
    """Return the links and pictures of a Markdown text that lead to files beside it."""
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [it for it in found if not it.startswith(("#", "https://", "http://"))]


# What is in it.


def contents(archive: Path) -> Iterator[str]:
    """Yield what is missing in an archive, and what does not belong there."""
    inside = files(archive)
    rubbish = sorted(it for it in inside if RUBBISH.search(it))
    if rubbish:
        yield f"expected no files that are made by tools, found {_short(rubbish)}"
    if archive.suffix == ".whl":
        yield from _wheel(inside, compiled="-none-any" not in archive.name)
    elif missing := BUILDS - inside.keys():
        yield f"expected what builds and tests it, found no {_short(missing)}"


def _wheel(inside: Mapping[str, bytes], *, compiled: bool) -> Iterator[str]:
    tops = {it.partition("/")[0] for it in inside}
    others = {it for it in tops - OURS if not it.endswith(".dist-info") and not (compiled and "__mypyc." in it)}
    if OURS - tops or others:
        yield f"expected {_short(OURS)} at the top, found {_short(tops)}"
    for package in ("halter", "processors"):
        expected = {str(it.relative_to(ROOT)) for it in (ROOT / package).rglob("*") if it.is_file() and not _made(it)}
        if missing := expected - inside.keys():
            yield f"expected all files of {package}, found no {_short(missing)}"
        there = {it for it in inside if it.startswith(f"{package}/") and not it.endswith(EXTENSIONS)}
        if wrong := {it for it in there - expected if not it.startswith(f"{DATA}/")}:
            yield f"expected only files of {package}, found {_short(wrong)}"
    for name in ("topics.yaml", "schemas", "examples"):
        source = ROOT / name
        for path in [source] if source.is_file() else source.rglob("*"):
            if path.is_file() and not _made(path) and f"{DATA}/{path.relative_to(ROOT)}" not in inside:
                yield f"expected {DATA}/{path.relative_to(ROOT)}, found none"
    extensions = [it for it in inside if it.endswith(EXTENSIONS)]
    if bool(extensions) is not compiled:
        yield f"expected {'a' if compiled else 'no'} compiled core, found {len(extensions)} extension modules"
    entry_points = next((text for it, text in inside.items() if it.endswith(".dist-info/entry_points.txt")), b"")
    if b"halter = halter_kafka:main" not in entry_points:
        yield "expected the command halter among the entry points, found none"
    yield from _recorded(inside)


def _recorded(inside: Mapping[str, bytes]) -> Iterator[str]:
    """Yield the files that are not as RECORD has them: pip refuses such a wheel, or installs half of it."""
    [record] = [it for it in inside if it.endswith(".dist-info/RECORD")]
    told = dict(line.rsplit(",", 2)[:2] for line in inside[record].decode().splitlines())
    for name in sorted({*inside, *told} - {record}):
        digest = base64.urlsafe_b64encode(hashlib.sha256(inside.get(name, b"")).digest()).rstrip(b"=").decode()
        if name not in inside or told.get(name) != f"sha256={digest}":
            yield f"expected {name} as RECORD has it, found another or none"


def _made(path: Path) -> bool:
    return RUBBISH.search(str(path.relative_to(ROOT))) is not None


def same_files(pure: Path, compiled: Path) -> Iterator[str]:
    """Yield the differences between two wheels, but for extension modules and what they say of themselves."""
    one, other = (
        {
            name: content
            for name, content in files(it).items()
            if ".dist-info/" not in name and not name.endswith(EXTENSIONS)
        }
        for it in (pure, compiled)
    )
    if differing := {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}:
        yield f"expected the same Python files in both wheels, found others: {_short(differing)}"
