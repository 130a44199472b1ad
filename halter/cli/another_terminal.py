"""What to type in another terminal to reach what this process runs: the variables, and where `halter` is found."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path


def exports(variables: Mapping[str, object]) -> str:
    """Return one line that sets variables which have values here; empty if there is nothing to set.

    Where the shell would not find this installation's `halter`, as behind `make demo`, the line puts it on the path.
    """
    words = [f"{name}={value}" for name, value in variables.items() if value]
    if (folder := _folder_to_add()) is not None:
        words.append(f'PATH="{folder}:$PATH"')
    return f"export {' '.join(words)}" if words else ""


def _folder_to_add() -> Path | None:
    folder = Path(sys.executable).parent
    own = folder / "halter"
    found = shutil.which("halter", path=os.environ.get("PATH"))
    if not own.is_file() or (found is not None and Path(found).resolve() == own.resolve()):
        return None
    return folder
