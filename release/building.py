"""Builds the archives of a release. Wheels are built of the source archive, which so proves that it is complete."""

import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@dataclass(frozen=True)
class Archives:
    """What is built: the source archive, the wheel for every platform, and the compiled one for this platform."""

    source: Path
    pure: Path
    compiled: Path

    @property
    def all(self) -> tuple[Path, Path, Path]:
        """All three, in the order in which they are built."""
        return self.source, self.pure, self.compiled


def build(folder: Path) -> Archives:
    """Build everything into a folder. What cannot be built ends the process, with what the build said."""
    source = _built(ROOT, "sdist", folder)
    with tempfile.TemporaryDirectory(prefix="halter-release-") as unpacked:
        with tarfile.open(source) as archive:
            # Python 3.11.2, which Debian has, knows no filters; 3.12 warns where there is none.
            archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            archive.extractall(unpacked)
        [tree] = Path(unpacked).iterdir()
        return Archives(source, *(_built(tree, "wheel", folder, HALTER_CORE=core) for core in ("python", "compiled")))


def _built(tree: Path, target: str, folder: Path, **variables: str) -> Path:
    """Build one archive, and return it."""
    before = set(folder.glob("*"))
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    built = subprocess.run(
        command,
        cwd=tree,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        sys.exit(f"release: expected an archive of the kind {target} {variables or ''}, found none:\n{built.stdout}")
    [new] = set(folder.glob("*")) - before
    return new
