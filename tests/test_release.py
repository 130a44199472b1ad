"""`make release` sees what is wrong with an archive or a tree. Here it is given some that are wrong on purpose."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from release.archives import contents, files, metadata, relative_links, same_files
from release.building import PROJECT, ROOT
from release.tree import changelog, not_ready
from release.trying import CASES, versions
from tests.support.environments import EXTRAS

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Yield the wheel for every platform."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    environment = {"HALTER_CORE": "python", "PATH": ""}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    [built] = folder.iterdir()
    return built


def changed(wheel: Path, folder: Path, change: Callable[[Files], None]) -> Path:
    """Return a wheel with other files. RECORD is as before."""
    inside = files(wheel)
    change(inside)
    other = folder / wheel.name
    with zipfile.ZipFile(other, "w") as archive:
        for name, content in inside.items():
            archive.writestr(name, content)
    return other


def within(inside: Files, name: str) -> str:
    """Return the whole name of a file in the folder with the metadata."""
    [found] = [it for it in inside if it.endswith(f".dist-info/{name}")]
    return found


def edited(name: str, old: str, new: str) -> Callable[[Files], None]:
    """Replace text in the metadata."""

    def change(inside: Files) -> None:
        place = within(inside, name)
        assert old in inside[place].decode()
        inside[place] = inside[place].decode().replace(old, new, 1).encode()

    return change


def without(name: str) -> Callable[[Files], None]:
    return lambda inside: inside.pop(name) and None


def with_file(name: str) -> Callable[[Files], None]:
    return lambda inside: inside.update({name: b"x"})


def test_a_wheel_as_it_is_built_is_all_right(wheel: Path) -> None:
    assert [*contents(wheel), *metadata(wheel, PROJECT), *same_files(wheel, wheel)] == []


def test_a_source_archive_as_it_is_built_is_all_right(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = tmp_path.iterdir()
    assert [*contents(built), *metadata(built, PROJECT)] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("halter/py.typed"), "all files of halter, found no .*halter/py.typed"),
        (without("processors/core/rules/engine.py"), "all files of processors, found no .*engine.py"),
        (without("processors/_data/topics.yaml"), "expected processors/_data/topics.yaml, found none"),
        (without("processors/_data/schemas/events/Halt.avsc"), "Halt.avsc, found none"),
        (with_file("tests/conftest.py"), "at the top, found .*tests"),
        (with_file("halter/notes.txt"), "only files of halter, found .*notes.txt"),
        (with_file("halter/__pycache__/x.cpython-311.pyc"), "files that are made by tools, found .*pyc"),
        (with_file("processors/core/engine.cpython-311-darwin.so"), "no compiled core, found 1 extension"),
        (edited("entry_points.txt", "halter_kafka:main", "halter.cli:main"), "the command halter"),
        (lambda inside: inside.update({"topics.yaml": b""}), "at the top"),
        (lambda inside: inside.update({"halter/events.py": b"x"}), "halter/events.py as RECORD has it"),
    ],
)
def test_a_wheel_with_other_files_is_told(
    wheel: Path, tmp_path: Path, change: Callable[[Files], None], told: str
) -> None:
    problems = list(contents(changed(wheel, tmp_path, change)))
    assert [it for it in problems if re.search(told, it)], problems


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (edited("METADATA", "\nVersion: ", "\nVersion: 9"), "metadata, version: expected"),
        (edited("METADATA", "Requires-Dist: fastavro", "Requires-Dist: fastavros"), "metadata, requirements: expected"),
        (edited("METADATA", "Provides-Extra: engine", "Provides-Extra: motor"), "metadata, extras: expected"),
        (
            edited("METADATA", "Topic :: Software", "Topic :: Hardware"),
            "no index knows the classifier 'Topic :: Hardware",
        ),
        (edited("METADATA", "Requires-Python: >=3.11", "Requires-Python: new"), "metadata: requires-python: "),
        (edited("METADATA", "# Halter", "Halter"), "metadata, description: expected"),
        (edited("METADATA", "text/markdown", "text/x-rst"), "metadata, type of the description"),
        (lambda inside: inside.pop(within(inside, "METADATA")) and None, "expected metadata, found none"),
    ],
)
def test_a_wheel_that_says_something_else_of_itself_is_told(
    wheel: Path, tmp_path: Path, change: Callable[[Files], None], told: str
) -> None:
    problems = list(metadata(changed(wheel, tmp_path, change), PROJECT))
    assert [it for it in problems if told in it], problems


def test_another_description_is_told_by_where_it_differs(wheel: Path, tmp_path: Path) -> None:
    line = "- **Same records, same bytes.**"
    [problem] = metadata(changed(wheel, tmp_path, edited("METADATA", line, f"{line} Perhaps.")), PROJECT)
    expected, found = problem.split(", found ")
    assert "same bytes.** The rules" in expected
    assert "same bytes.** Perhaps. The rules" in found


def test_two_wheels_with_other_code_are_told(wheel: Path, tmp_path: Path) -> None:
    other = changed(wheel, tmp_path, lambda inside: inside.update({"halter/events.py": b"x"}))
    [problem] = same_files(wheel, other)
    assert "halter/events.py" in problem


@pytest.mark.parametrize(
    ("heading", "is_ready"),
    [
        ("## 0.9.0 - 3 May 2027", True),
        ("## Unreleased\n\n## 0.9.0 - 3 May 2027", False),
        ("## 0.9.0", False),
        ("## 0.8.0 - 3 May 2027", False),
        ("", False),
    ],
)
def test_the_changelog_begins_with_the_version_and_its_day(heading: str, is_ready: bool) -> None:
    assert (list(changelog("0.9.0", f"# Changelog\n\n{heading}\n")) == []) is is_ready


def test_a_version_that_was_not_prepared_is_told(tmp_path: Path) -> None:
    (tmp_path / "CHANGELOG.md").write_text("## 0.9.0 - 3 May 2027\n", encoding="utf-8")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    stored = ["schemas/released/0.9.0", "tests/released/0.9.0.jsonl.gz"]
    assert [it.split(",")[0] for it in not_ready("0.9.0", tmp_path)] == [
        *(f"expected {it}" for it in stored),
        "expected everything to be committed",
    ]
    for name in stored:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x").touch()
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "x"], check=True)
    assert list(not_ready("0.9.0", tmp_path)) == []
    subprocess.run([*git, "tag", "v0.9.0"], check=True)
    assert [it for it in not_ready("0.9.0", tmp_path) if "found the tag v0.9.0" in it]


def test_each_archive_and_each_extra_for_users_is_installed() -> None:
    assert {it.archive for it in CASES} == {"source", "pure", "compiled"}
    others = {"bindings", "dev", "otlp", "registry", "rocksdb"}
    assert {it.extras for it in CASES} == {"", *EXTRAS} - others
    assert {it.archive for it in CASES if it.needs_kafka} == {"pure", "compiled"}


def test_what_is_installed_is_of_the_lock() -> None:
    assert len(versions()) > 50
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.]*", it) for it in versions())


def test_links_to_files_are_found() -> None:
    assert relative_links("[a](b.md) ![c](d.png) [e](#f) [g](https://h)") == ["b.md", "d.png"]
