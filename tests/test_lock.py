"""The lock files in requirements/: what pyproject.toml asks for, exact versions with hashes, and no private address."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Environment, Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.environments import EXTRAS, requirements_of

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
OURS = PYPROJECT["project"]["name"]
RENEW = "run `make lock`"
PLATFORMS = {"linux": "Linux", "darwin": "Darwin"}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@dataclass(frozen=True)
class Entry:
    """One distribution of the lock."""

    requirement: Requirement
    hashes: tuple[str, ...]
    asked_for_by: tuple[str, ...]

    @property
    def version(self) -> str:
        [specifier] = self.requirement.specifier
        assert specifier.operator == "=="
        return specifier.version


def entries(text: str) -> Iterator[Entry]:
    for block in re.findall(r"^[A-Za-z0-9].*(?:\n[ \t].*)*", text, re.MULTILINE):
        lines = [line.strip().removesuffix("\\").strip() for line in block.splitlines()]
        options = [line for line in lines[1:] if not line.startswith("#")]
        asked = [re.sub(r"^# +(via)?", "", line).strip() for line in lines if line.startswith("#")]
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", option) for option in options), block
        yield Entry(Requirement(lines[0]), tuple(options), tuple(filter(None, asked)))


LOCKS = {name: (ROOT / "requirements" / f"{name}.txt").read_text() for name in ("run", "dev", "image", "build")}
LOCKED = {
    name: {canonicalize_name(entry.requirement.name): entry for entry in entries(text)} for name, text in LOCKS.items()
}
BUILDERS = PYPROJECT["build-system"]["requires"]
COMPILERS = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["compiler"]
IN_THE_IMAGE = ("console", "engine")
"""What runs in a container. Kafka and its Java have containers of their own, and nobody tests there."""
OURS_ASK: dict[str, list[str]] = {
    "run": requirements_of("all"),
    "dev": requirements_of(*EXTRAS),
    "image": requirements_of(*IN_THE_IMAGE),
    "build": [],
}
ASKED = {
    "run": OURS_ASK["run"] + BUILDERS,
    "dev": OURS_ASK["dev"] + BUILDERS + COMPILERS,
    "image": OURS_ASK["image"],
    "build": BUILDERS + COMPILERS,
}


def environments() -> Iterator[Environment]:
    """Yield the environments that the project is for, as markers see them."""
    for python, (platform, system) in product(PYTHONS, PLATFORMS.items()):
        yield default_environment() | {  # type: ignore[misc]  # of a typed dictionary, with a part of it
            "python_version": python,
            "python_full_version": f"{python}.0",
            "sys_platform": platform,
            "platform_system": system,
        }


def applies(marker: Marker | None, environment: Environment, extra: str = "") -> bool:
    return marker is None or marker.evaluate({**environment, "extra": extra})


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_of_the_project_is_in_the_lock_in_a_version_of_its_range(lock: str) -> None:
    for asked in map(Requirement, ASKED[lock]):
        entry = LOCKED[lock].get(canonicalize_name(asked.name))
        assert entry is not None, f"pyproject.toml asks for {asked}, which is not in requirements/{lock}.txt: {RENEW}"
        assert asked.specifier.contains(entry.version, prereleases=True), (
            f"pyproject.toml asks for {asked}, requirements/{lock}.txt has {entry.version}: {RENEW}"
        )
        for environment in environments():
            if applies(asked.marker, environment):
                assert applies(entry.requirement.marker, environment), (
                    f"pyproject.toml asks for {asked}, which requirements/{lock}.txt lacks on "
                    f"{environment['sys_platform']} with Python {environment['python_version']}: {RENEW}"
                )


@pytest.mark.parametrize("lock", LOCKS)
def test_what_the_project_no_longer_asks_for_is_not_in_the_lock_for_its_sake(lock: str) -> None:
    asked = {canonicalize_name(Requirement(it).name) for it in OURS_ASK[lock]}
    locked = {name for name, entry in LOCKED[lock].items() if f"{OURS} (pyproject.toml)" in entry.asked_for_by}
    assert locked == asked, f"requirements/{lock}.txt is not of this pyproject.toml: {RENEW}"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_is_closed(lock: str) -> None:
    """Everything that a distribution needs is locked too, extras included: pip refuses anything without hashes."""
    here = default_environment()
    looked_at: set[tuple[str, str]] = set()
    waiting = [(it, "") for it in map(Requirement, ASKED[lock])]
    while waiting:
        asked, because_of = waiting.pop()
        name = canonicalize_name(asked.name)
        assert name in LOCKED[lock], f"{because_of} needs {asked}, not in requirements/{lock}.txt: {RENEW}"
        for extra in ("", *asked.extras):
            if (name, extra) in looked_at:
                continue
            looked_at.add((name, extra))
            try:
                installed = distribution(name)
            except PackageNotFoundError:
                continue
            if Version(installed.version) == Version(LOCKED[lock][name].version):
                needed = [Requirement(it) for it in installed.requires or ()]
                waiting += [(it, str(asked)) for it in needed if applies(it.marker, here, extra)]
    assert len(looked_at) >= len(ASKED[lock])


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_has_hashes_and_none_an_address(lock: str) -> None:
    assert len(LOCKED[lock]) == len(re.findall(r"^[A-Za-z0-9]", LOCKS[lock], re.MULTILINE)) >= len(ASKED[lock])
    for entry in LOCKED[lock].values():
        assert entry.hashes, f"{entry.requirement} has no hash: {RENEW}"
        assert entry.requirement.url is None
    assert "://" not in LOCKS[lock]
    assert re.findall(r"^\s*--(?!hash=).*", LOCKS[lock], re.MULTILINE) == []


@pytest.mark.parametrize("lock", ["run", "image", "build"])
def test_all_files_of_the_lock_have_the_same_versions(lock: str) -> None:
    assert LOCKED[lock].keys() < LOCKED["dev"].keys()
    for name, entry in LOCKED[lock].items():
        assert (entry.requirement, entry.hashes) == (LOCKED["dev"][name].requirement, LOCKED["dev"][name].hashes)


def test_the_classifiers_name_pythons_that_the_lock_is_for_and_none_too_old() -> None:
    found = re.findall(r"Programming Language :: Python :: (3\.\d+)", "\n".join(PYPROJECT["project"]["classifiers"]))
    assert found == list(PYTHONS[: len(found)])
    assert PYPROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"


# The Makefile.


def steps(*arguments: str) -> str:
    """Return the commands that make would run in a checkout without environments."""
    command = ["make", "--dry-run", "--always-make", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="no make is installed")
@pytest.mark.parametrize(("target", "locks"), [("demo", ["run"]), ("setup", ["run", "dev"])])
def test_make_installs_the_lock_by_its_hashes_and_the_project_without_looking_for_more(
    target: str, locks: list[str]
) -> None:
    installed = [line for line in steps(target).splitlines() if " pip install " in line]
    expected = [*(f"--require-hashes --requirement requirements/{lock}.txt" for lock in locks)]
    expected.insert(1, "--no-deps --no-build-isolation --editable .")
    assert len(installed) == len(expected)
    for line, end in zip(installed, expected, strict=True):
        assert line.endswith(end)
        assert line.startswith(".venv/bin/python -m pip install ")


@pytest.mark.skipif(shutil.which("make") is None, reason="no make is installed")
def test_each_interpreter_and_the_newest_releases_have_an_environment_of_their_own() -> None:
    own = f".venv-{sys.version_info.major}.{sys.version_info.minor}"
    into = r"^(\S+)/bin/python -m pip install"
    assert set(re.findall(into, steps("setup", f"PYTHON={sys.executable}"), re.MULTILINE)) == {own}
    newest = steps("newest")
    assert set(re.findall(into, newest, re.MULTILINE)) == {".venv-newest"}
    assert "requirements/" not in newest
    assert '--editable ".[all]"' in newest
    assert '--editable ".[dev]"' in newest


@pytest.mark.skipif(shutil.which("make") is None, reason="no make is installed")
def test_what_make_runs_keeps_bytecode_whatever_the_environment_asks_for() -> None:
    shown = f"include {ROOT / 'Makefile'}\nshown:\n\t@echo $${{PYTHONDONTWRITEBYTECODE:-kept}}\n"
    command = ["make", "--no-print-directory", "-f", "-", "shown"]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, input=shown, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "kept\n", done.stderr
