"""Reads documents that people write, whatever they are about: mappings, lists and scalars, from YAML or from JSON text.

A reader goes through a document once and collects everything that is wrong with its structure: a field that the format
does not have, one that is missing, one of the wrong type. Each problem has its place. A value with a problem is
replaced by a stand-in of its type, so that reading goes on and finds the next problem.

`reader` builds on this for WfSpecs, and the files of scenarios are read by it too. A format that words a problem
differently, or takes more, overrides the method that says so.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from processors.core.wf_spec.document_problems import DocumentProblem, Path
from processors.core.wf_spec.near_names import NearNames

Enumeration = TypeVar("Enumeration", bound=StrEnum)
Item = TypeVar("Item")
StandIn = TypeVar("StandIn")


class DocumentReader:
    """One pass over a document; collects its problems."""

    def __init__(self) -> None:
        self.problems: list[DocumentProblem] = []
        self.near = NearNames()

    # The problems.

    def problem(self, code: str, path: Path, message: str) -> None:
        """Note a problem."""
        self.problems.append(DocumentProblem(code, path, message))

    def wrong(self, path: Path, expected: str, found: object) -> None:
        """Note that a value is of the wrong type."""
        self.problem("FIELD_TYPE", path, f"expected {expected}, found {shown(found)}")

    def not_one_of(self, path: Path, choices: Iterable[str], found: object) -> None:
        """Note that a value is none of those that it can be."""
        names = [str(choice) for choice in choices]
        meant = self.near.meant(found, names)
        self.problem("FIELD_VALUE", path, f"expected {listed(names)}, found {shown(found)}{meant}")

    def missing(self, path: Path, name: str) -> None:
        """Note that the mapping at `path` lacks a field."""
        self.problem("FIELD_MISSING", (*path, name), f"expected the field {name}, found none")

    def unknown(self, path: Path, name: str, what: str, known: Iterable[str]) -> None:
        """Note that the mapping at `path`, which is `what`, has a field that the format does not have."""
        names = tuple(known)
        has = f"it has {listed(names, 'and')}"
        self.problem("FIELD_UNKNOWN", (*path, name), f"{what} has no field {name}{self.near.meant(name, names)}; {has}")

    # The values.

    def text(self, value: object, path: Path) -> str:
        """Read a text; empty with a problem otherwise."""
        if not isinstance(value, str):
            self.wrong(path, "text", value)
            return ""
        return value

    def one_of(self, value: object, path: Path, choices: type[Enumeration], stand_in: StandIn) -> Enumeration | StandIn:
        """Read a member of an enumeration by its value; the stand-in with a problem if none has this value."""
        chosen = next((choice for choice in choices if choice.value == value), None)
        if chosen is not None:
            return chosen
        self.not_one_of(path, choices, value)
        return stand_in

    def mapping(self, value: object, path: Path) -> dict[str, object] | None:
        """Read a mapping whose keys are text; None with a problem for anything but a mapping."""
        if not isinstance(value, Mapping):
            self.wrong(path, "a mapping", value)
            return None
        texts = {key: item for key, item in value.items() if isinstance(key, str)}
        if len(texts) < len(value):
            odd = next(key for key in value if not isinstance(key, str))
            self.wrong(path, "keys that are text", odd)
        return texts

    def fields(self, value: object, path: Path, what: str, known: Iterable[str]) -> "Fields | None":
        """Read the fields of a mapping that may have the `known` ones; None with a problem if it is no mapping."""
        data = self.mapping(value, path)
        if data is None:
            return None
        known = tuple(known)
        for name in data:
            if name not in known:
                self.unknown(path, name, what, known)
        return Fields(self, data, path)


class Fields:
    """The fields of one mapping: hands them out by type, and reports those that are missing or of another type."""

    def __init__(self, reader: DocumentReader, data: Mapping[str, object], path: Path) -> None:
        self.reader, self.data, self.path = reader, data, path

    def has(self, name: str) -> bool:
        """Say whether the field is there."""
        return name in self.data

    def path_of(self, name: str) -> Path:
        """Return the place of a field."""
        return (*self.path, name)

    def require(self, name: str) -> bool:
        """Say whether the field is there; report that it is missing if not."""
        if name in self.data:
            return True
        self.reader.missing(self.path, name)
        return False

    def required(self, name: str, read: Callable[[object, Path], Item], stand_in: StandIn) -> Item | StandIn:
        """Read a field that must be there."""
        if name in self.data:
            return read(self.data[name], (*self.path, name))
        self.reader.missing(self.path, name)
        return stand_in

    def optional(self, name: str, read: Callable[[object, Path], Item]) -> Item | None:
        """Read a field that may be there; None if it is not."""
        return read(self.data[name], (*self.path, name)) if name in self.data else None

    def text(self, name: str) -> str:
        """Read a text that must be there."""
        return self.required(name, self.reader.text, "")

    def optional_text(self, name: str) -> str | None:
        """Read a text that may be there; None if it is not."""
        return self.optional(name, self.reader.text)

    def flag(self, name: str, default: bool) -> bool:
        """Read true or false."""
        value = self.data.get(name, default)
        if not isinstance(value, bool):
            self.reader.wrong(self.path_of(name), "true or false", value)
            return default
        return value

    def integer(self, name: str, default: int, lowest: int, highest: int) -> int:
        """Read a whole number within bounds."""
        if not self.has(name):
            return default
        value = self.data[name]
        if type(value) is not int or not lowest <= value <= highest:
            self.reader.wrong(self.path_of(name), f"a whole number from {lowest} to {highest}", value)
            return default
        return value

    def number(self, name: str, default: float, lowest: float, highest: float) -> float:
        """Read a number within bounds."""
        value = self.data.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not lowest <= value <= highest:
            self.reader.wrong(self.path_of(name), f"a number from {lowest:g} to {highest:g}", value)
            return default
        return float(value)

    def one_of(self, name: str, choices: type[Enumeration], default: StandIn) -> Enumeration | StandIn:
        """Read a member of an enumeration."""
        if name not in self.data:
            return default
        return self.reader.one_of(self.data[name], (*self.path, name), choices, default)

    def entries(
        self, name: str, read: Callable[[str, object, Path], Item], *, required: bool = False
    ) -> dict[str, Item]:
        """Read a mapping of names that the author chose; empty if it is not there."""
        path = self.path_of(name)
        given = self.require(name) if required else self.has(name)
        data = self.reader.mapping(self.data[name], path) if given else None
        return {key: read(key, item, (*path, key)) for key, item in (data or {}).items()}

    def items(self, name: str, read: Callable[[object, Path], Item]) -> tuple[Item, ...]:
        """Read a list; empty if it is not there."""
        path = self.path_of(name)
        value = self.data.get(name, [])
        if not isinstance(value, list):
            self.reader.wrong(path, "a list", value)
            return ()
        return tuple(read(item, (*path, index)) for index, item in enumerate(value))


def shown(value: object) -> str:
    """Return what was found in the words of a sentence."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(value if len(value) <= 60 else value[:57] + "...")
        case float() if math.isnan(value):
            return "NaN"
        case int() | float():
            return repr(value) if abs(value) < 1e30 else "a number beyond 64 bits"
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def listed(names: Iterable[str], word: str = "or") -> str:
    """Return `a, b or c`; `none` if there are no names."""
    texts = [str(name) for name in names]
    if not texts:
        return "none"
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {word} {texts[-1]}"
