"""AsyncAPI's own parser: installed by npm into the cache of the user, once for each lock, and run by node."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from halter.broker.jars import cache_folder, sole_downloader

HERE = Path(__file__).parents[1] / "asyncapi_parser"
FILES = ("check.mjs", "package.json", "package-lock.json")


def missing() -> str | None:
    """Return why the parser cannot run here; None if it can."""
    lacks = [it for it in ("node", "npm") if shutil.which(it) is None]
    return f"AsyncAPI's parser needs {' and '.join(lacks)}, and it is not installed" if lacks else None


def installed(report: Callable[[str], None] = print) -> Path:
    """Return the folder with the parser. It is installed first if that was not done yet: 55 MB, some seconds."""
    lock = hashlib.sha256(b"".join((HERE / it).read_bytes() for it in FILES)).hexdigest()[:12]
    folder = cache_folder() / f"asyncapi-parser-{lock}"
    folder.mkdir(parents=True, exist_ok=True)
    with sole_downloader(folder, report):
        if not (folder / ".installed").exists():
            for it in FILES:
                shutil.copy(HERE / it, folder / it)
            command = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(command, cwd=folder, check=True, timeout=300)
            (folder / ".installed").touch()
    return folder


def check(*texts: str) -> list[dict[str, Any]]:
    """Return what the parser says to each document: `wrong` (sentences) and `channels` (their names)."""
    ended = subprocess.run(
        ["node", "check.mjs"],
        cwd=installed(),
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    said: list[dict[str, Any]] = json.loads(ended.stdout)
    return said
