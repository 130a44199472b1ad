"""What can be wrong with a format: its files, or the bytes of a record."""

from collections.abc import Callable
from typing import TypeAlias

from processors.core.records.errors import HalterError
from processors.core.records.values import TellableProblem, Value
from processors.core.wf_spec.document_problems import Path

Decoder: TypeAlias = Callable[[bytes], Value]
"""Reads bytes. Raises Undecodable, whatever the bytes are, or RegistryUnavailable."""


class FormatProblem(HalterError):
    """A file that a format names is missing, or is not what it should be. The author of the document acts."""

    def __init__(self, path: Path, message: str) -> None:
        """`path`: the place in the format."""
        super().__init__(message)
        self.path, self.message = path, message


class Undecodable(TellableProblem):
    """Bytes of a record are not in the format that the document says. The sentence has nothing of the bytes but the
    first four.
    """


def begins(data: bytes) -> str:
    """Return how bytes begin, in the words of a sentence."""
    return f"bytes that begin with {data[:4].hex(' ').upper()}" if data else "no bytes"
