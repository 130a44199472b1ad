"""Environments that have only what some extras of the distribution bring, for what an installation may lack.

They are made of the packages of this environment, by links: nothing is installed, so one takes half a second. What pip
makes of a wheel is tried by `make release`.
"""

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from halter_kafka import DISTRIBUTION

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def requirements_of(*extras: str) -> list[str]:
    """Return what the distribution asks for with these extras, and with those that they bring along."""
    found, seen, waiting = list(PROJECT["dependencies"]), set[str](), list(extras)
    while waiting:
        extra = waiting.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for asked in EXTRAS[extra]:
            requirement = Requirement(asked)
            if canonicalize_name(requirement.name) == DISTRIBUTION:
                waiting += requirement.extras
            else:
                found.append(asked)
    return found


@cache
def distributions_of(*extras: str) -> frozenset[str]:
    """Return the names of all distributions that come with these extras, and that are here."""
    found, waiting = set[str](), [(Requirement(it), "") for it in requirements_of(*extras)]
    seen = set[tuple[str, str]]()
    while waiting:
        asked, by_extra = waiting.pop()
        name = canonicalize_name(asked.name)
        if asked.marker is not None and not asked.marker.evaluate({"extra": by_extra}):
            continue
        for extra in ("", *asked.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                needed = distribution(name).requires or []
            except PackageNotFoundError:
                continue
            found.add(name)
            waiting += [(Requirement(it), extra) for it in needed]
    return frozenset(found)


def modules_of(*extras: str) -> set[str]:
    """Return the names of the modules that can be imported with these extras, at the top."""
    there = distributions_of(*extras)
    return {module for module, names in _brought_by().items() if not there.isdisjoint(names)}


@cache
def _brought_by() -> dict[str, set[str]]:
    """Return module -> the names of the distributions that bring it. Takes half a second to find out."""
    return {module: {canonicalize_name(it) for it in names} for module, names in packages_distributions().items()}


@dataclass(frozen=True)
class Environment:
    """A virtual environment with this checkout and the packages of some extras."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run its Python in a folder without packages, with variables of its own and none of ours."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KAFKA_", "HALTER_"))
        }
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.folder, env=kept | {"COLUMNS": "200"} | variables,
            capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def halter(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        return self.run("-P", "-m", "halter", *arguments, **variables)


def environment(folder: Path, *extras: str) -> Environment:
    """Make the environment of an installation with these extras."""
    venv.create(folder, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    here = Path(sysconfig.get_path("purelib"))
    for name in (*distributions_of(*extras), DISTRIBUTION):
        tops = {it.parts[0] for it in distribution(name).files or ()} - {"..", "__pycache__"}
        for top in tops if name != DISTRIBUTION else {it for it in tops if it.endswith(".dist-info")}:
            if (here / top).exists() and not (packages / top).exists():
                (packages / top).symlink_to(here / top)
    (packages / "checkout.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    return Environment(folder)
