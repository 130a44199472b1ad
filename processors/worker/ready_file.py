"""A file that exists while a worker is ready, for supervisors and scripts. Knows nothing of the runtime."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ReadyFile:
    """A file that exists while the worker is ready. It says as JSON what the worker is doing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.remove()

    def write(self, state: Mapping[str, Any]) -> None:
        """Make the file if the state is ready, and remove it if not. Whoever waits for the file finds it complete."""
        if not state["ready"]:
            self.remove()
            return
        new = self._path.with_name(f"{self._path.name}.new")
        new.write_text(json.dumps({**state, "pid": os.getpid()}) + "\n", encoding="utf-8")
        new.replace(self._path)

    def remove(self) -> None:
        """Say that the worker is not ready."""
        self._path.unlink(missing_ok=True)
