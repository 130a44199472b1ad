"""Writes a file that appears when it is complete, so that nobody ever reads half of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from processors.core.records.errors import HalterError


class CannotWrite(HalterError):
    """The file cannot be written. Whoever named it names another, or makes room; the message says why."""


@contextmanager
def whole_file(file: Path) -> Iterator[BinaryIO]:
    """Yield a stream. What the block writes to it is in `file` when the block has ended well. Raises CannotWrite."""
    partly = file.with_name(file.name + ".partly")
    try:
        with partly.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partly.replace(file)
    except OSError as error:
        raise CannotWrite(f"expected to write {file}, found: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partly.unlink(missing_ok=True)
