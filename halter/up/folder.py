"""The folder of a process tree: data and logs, kept between runs. One tree uses it at a time.

Knows files and a lock, and no processes. The lock goes with its process, however that ends.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from processors.core.records.errors import HalterError


class FolderInUse(HalterError):
    """Another `halter up` uses the folder. Whoever started this one uses that, or names another folder."""


class FolderUnfit(HalterError):
    """The folder cannot be used. Whoever named it names another one, or mends its rights."""


class Folder:
    """A folder that is ours for the block."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.logs = self.path / "logs"
        self._lock: IO[str] | None = None

    def says(self, where: str) -> None:
        """Note where the parts of this tree are, for whoever starts a second one."""
        assert self._lock is not None
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()}, {where}\n")
        self._lock.flush()

    def __enter__(self) -> Self:
        """Take it. Raises FolderInUse and FolderUnfit."""
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "up.lock").open("a+", encoding="utf-8")
        except OSError as error:
            why = f"cannot use {self.path} for data and logs: {error.strerror}"
            raise FolderUnfit(f"{why}; name another folder with --data") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            lock.close()
            raise FolderInUse(
                f"expected nobody else in {self.path}, found `halter up` ({owner}): use it, end it, or "
                "name another folder with --data"
            ) from None
        self._lock = lock
        self.says("which is starting")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._lock is not None
        self._lock.close()
