"""A Source that reads an export. It believes nothing: whatever is wrong with the file gets one sentence.

The file is unpacked once, checked line by line, into a temporary file, in memory if it is small. Afterwards each record
is found by its place there. So an export may be large, and reading it takes little memory.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Any, Final, Self, TypeVar

from halter.client.history import Lives
from halter.history import export_form as form
from halter.history.logged import Logged
from halter.history.source import Place, definitions_at
from processors.codec import Codec, CodecError
from processors.core.records.errors import HalterError
from processors.core.records.events import Asked, Definition, LogEntry
from processors.core.rules.context import Limits
from processors.core.wf_spec.definitions import Definitions
from processors.fold.inputs import INPUT_TOPICS, InputRecord, partition_key

IN_MEMORY_MAX: Final = 32 * 1024 * 1024
PARTITIONS_MAX: Final = 1_000_000

Wanted = TypeVar("Wanted", bound=object)


class BadExport(HalterError):
    """A file is no export, or cannot be read: the message says why. Whoever made it makes it again."""


class ExportFile:
    """What an export has about WfRuns."""

    def __init__(self, path: Path) -> None:
        """Unpack the export and check it. Raises BadExport."""
        self.path = path
        self.codec = Codec.load()
        self.header: dict[str, Any] = {}
        """The first line: `halter` (the version that made it), `made`, `masked`, …"""
        self.made: dict[str, Any] = {}
        """The last line: what the export has, and `inputs_gone`, which it has not."""
        self._lines: IO[bytes] = SpooledTemporaryFile(IN_MEMORY_MAX)  # noqa: SIM115  closed by `close`
        self._events: dict[str, list[int]] = {}
        """WfRun id, or the id of a partition -> where its events are in the unpacked file."""
        self._lives: dict[str, Lives] = {}
        self._inputs: dict[Place, int] = {}
        self._definition_records: list[tuple[int, Definition]] = []
        self._number = 0
        try:
            self._unpack()
            self.limits = self._limits()
            self.partitions = self._integer(self.header, "partitions", 1, PARTITIONS_MAX)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Forget the unpacked lines."""
        self._lines.close()

    def __enter__(self) -> Self:
        """Return the export."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the export."""
        self.close()

    @property
    def where(self) -> str:
        """Where it looks, for sentences."""
        return f"in {self.path}"

    @property
    def is_masked(self) -> bool:
        """True if tokens stand for masked values."""
        return bool(self.header.get("masked", True))

    def wf_run_ids(self) -> Iterator[str]:
        """Yield the id of every WfRun that it has, each once."""
        return iter(self._lives)

    def events(self, wf_run_id: str, *, previous: bool = False) -> Iterator[Logged]:
        """Yield the events of a WfRun id in the order of the log."""
        found = self._events.get(wf_run_id)
        if found is None:
            return
        lives = self._lives.get(wf_run_id)
        for place in found[0 if previous or lives is None else lives.last :]:
            yield self._logged(place, wf_run_id)

    def definitions(self, position: int | None = None) -> Definitions:
        """Return all definitions that it has, or those that were registered before a position of `definitions`."""
        return definitions_at(self._definition_records, position)

    def definition_records(self) -> Iterator[tuple[int, Definition]]:
        """Yield the records of `definitions` that it has, each with its offset."""
        return iter(self._definition_records)

    def record(self, topic: str, partition: int, offset: int) -> InputRecord | None:
        """Return an input record; None if it has none."""
        place = self._inputs.get((topic, partition, offset))
        return None if place is None else self._input(self._line_at(place))

    def records(self, places: Iterable[Place]) -> dict[Place, InputRecord]:
        """Return many input records at once. Those that it does not have are left out."""
        found = ((place, self.record(*place)) for place in places)
        return {place: record for place, record in found if record is not None}

    # Reading lines.

    def _unpack(self) -> None:
        kind, wf_run_id = "", ""
        for line in self._unpacked():
            place = self._lines.tell()
            told = self._parsed(line)
            kind = self._text(told, "kind")
            if self._number == 1:
                self._begin(kind, told)
            elif self.made:
                raise self._bad("expected nothing behind the last line of the export, found more")
            elif kind == form.WF_RUN:
                wf_run_id = self._text(told, "id")
                if not wf_run_id.isprintable():
                    raise self._bad(f"expected the id of a WfRun, found {wf_run_id[:80]!a}")
                if wf_run_id in self._events:
                    raise self._bad(f"expected each WfRun once, found '{wf_run_id}' again")
                self._events[wf_run_id], self._lives[wf_run_id] = [], Lives()
            elif kind == form.PARTITION:
                wf_run_id = partition_key(self._integer(told, "number", 0, PARTITIONS_MAX))
                self._events.setdefault(wf_run_id, [])
            elif kind == form.EVENT:
                if not wf_run_id:
                    raise self._bad("expected a WfRun before its events, found an event")
                entry = self._logged_in(told, wf_run_id).entry
                if wf_run_id in self._lives:
                    self._lives[wf_run_id].see(entry)
                self._events[wf_run_id].append(place)
            elif kind == form.INPUT:
                record = self._input(told)
                self._inputs[record.topic, record.partition, record.offset] = place
            elif kind == form.DEFINITION:
                self._definition(told)
            elif kind == form.END:
                self._end(told)
            # Other lines are schemas, which this version has itself, and what a later version adds.
            self._lines.write(line)
        if not self._number:
            raise BadExport(f"{self.path}: expected an export, found an empty file")
        if not self.made:
            raise BadExport(
                f"{self.path}: expected a last line that ends the export, found none after {self._number} lines: the "
                "file is cut off, export again"
            )

    def _unpacked(self) -> Iterator[bytes]:
        """Yield the lines of the file, within the bounds."""
        size = 0
        try:
            with gzip.open(self.path, "rb") as packed:
                while line := packed.readline(form.LINE_BYTES_MAX + 1):
                    self._number += 1
                    size += len(line)
                    if len(line) > form.LINE_BYTES_MAX:
                        raise self._bad(f"expected a line of at most {form.LINE_BYTES_MAX:,} bytes, found a longer one")
                    if size > form.FILE_BYTES_MAX or self._number > form.LINES_MAX:
                        raise self._bad(
                            f"expected at most {form.FILE_BYTES_MAX:,} bytes in {form.LINES_MAX:,} lines when it is "
                            "unpacked, found more: export fewer WfRuns at once"
                        )
                    yield line
        except EOFError:
            raise BadExport(f"{self.path}: the file is cut off after {self._number} lines: export again") from None
        except gzip.BadGzipFile as error:
            raise BadExport(f"{self.path}: expected an export of halter (gzip), found another file ({error})") from None
        except zlib.error as error:
            raise BadExport(f"{self.path}: the file is damaged behind line {self._number} ({error})") from None
        except OSError as error:
            raise BadExport(f"cannot read {self.path}: {error.strerror or error}") from error

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            told = json.loads(line)
        except RecursionError:
            raise self._bad("expected a line of JSON, found one that is nested too deeply") from None
        except ValueError as error:
            raise self._bad(f"expected a line of JSON ({str(error)[:80]})") from None
        if not isinstance(told, dict):
            raise self._bad("expected an object of JSON, found something else")
        return told

    def _begin(self, kind: str, told: dict[str, Any]) -> None:
        if kind != form.MARK:
            raise self._bad(f"expected an export of halter, whose first line has the kind {form.MARK}")
        newest = self._integer(told, "format", 1, 2**31)
        if newest > form.FORMAT:
            raise self._bad(
                f"expected format {form.FORMAT} or an earlier one, found {newest}: halter {self._maker(told)} made it, "
                "read it with that version or a later one"
            )
        self.header = told

    def _end(self, told: dict[str, Any]) -> None:
        lines = self._integer(told, "lines", 0, form.LINES_MAX)
        if lines != self._number - 1:
            found = self._number - 1
            raise self._bad(f"expected {lines:,} lines before the last one, found {found:,}: the file was changed")
        self.made = told

    def _definition(self, told: dict[str, Any]) -> None:
        definition = self._decoded(told, Definition)
        if len(self._definition_records) >= form.DEFINITIONS_MAX:
            raise self._bad(f"expected at most {form.DEFINITIONS_MAX:,} definitions, found more")
        self._definition_records.append((self._integer(told, "offset", 0), definition))

    def _line_at(self, place: int) -> dict[str, Any]:
        self._lines.seek(place)
        return self._parsed(self._lines.readline())

    def _logged(self, place: int, wf_run_id: str) -> Logged:
        return self._logged_in(self._line_at(place), wf_run_id)

    def _logged_in(self, told: dict[str, Any], wf_run_id: str) -> Logged:
        entry = self._decoded(told, LogEntry)
        if entry.wf_run_id != wf_run_id:
            raise self._bad(f"expected an event of WfRun '{wf_run_id}', found one of '{entry.wf_run_id[:128]}'")
        offset, rules = (self._maybe_integer(told, name) for name in ("offset", "rules"))
        operator, reason = (self._text(told, name) if told.get(name) else None for name in ("operator", "reason"))
        if operator or reason:
            entry = replace(entry, asked=Asked(operator, reason))
        return Logged(offset, entry, rules)

    def _input(self, told: dict[str, Any]) -> InputRecord:
        topic = self._text(told, "topic")
        if topic not in INPUT_TOPICS:
            raise self._bad(f"expected an input topic, found '{topic[:80]}'")
        headers = told.get("headers", [])
        if not isinstance(headers, list) or not all(isinstance(it, list) and len(it) == 2 for it in headers):
            raise self._bad("expected headers as pairs of a name and a value")
        return InputRecord(
            topic,
            self._integer(told, "partition", 0),
            self._integer(told, "offset", 0),
            self._integer(told, "time_ms", -(2**63)),
            self._bytes(told, "key"),
            self._bytes(told, "value"),
            tuple((str(name), self._bytes({"header": data}, "header") or b"") for name, data in headers),
        )

    def _decoded(self, told: Mapping[str, Any], kind: type[Wanted]) -> Wanted:
        try:
            found = self.codec.decode(self._bytes(told, "value") or b"")
        except CodecError as error:
            raise self._bad(f"{error} (halter {self._maker(self.header)} made the export)") from None
        if not isinstance(found, kind):
            raise self._bad(f"expected a {kind.__name__}, found {type(found).__name__}")
        return found

    def _limits(self) -> Limits:
        told = self.header.get("limits", {})
        if not isinstance(told, dict):
            raise self._bad("expected limits by name")
        known = {it.name for it in fields(Limits)}
        return Limits(**{name: self._integer(told, name, 0) for name in told if name in known})

    def _text(self, told: Mapping[str, Any], name: str) -> str:
        found = told.get(name)
        if not isinstance(found, str):
            raise self._bad(f"expected a text as {name}, found {type(found).__name__}")
        return found

    def _integer(self, told: Mapping[str, Any], name: str, least: int, most: int = 2**63 - 1) -> int:
        found = told.get(name)
        if type(found) is not int or not least <= found <= most:
            raise self._bad(f"expected a number from {least} to {most} as {name}, found {str(found)[:40]}")
        return found

    def _maybe_integer(self, told: Mapping[str, Any], name: str) -> int | None:
        return None if told.get(name) is None else self._integer(told, name, 0)

    def _bytes(self, told: Mapping[str, Any], name: str) -> bytes | None:
        try:
            return form.unpacked(told.get(name))
        except ValueError as error:
            raise self._bad(f"{name}: {error}") from None

    @staticmethod
    def _maker(header: Mapping[str, Any]) -> str:
        return str(header.get("halter"))[:40]

    def _bad(self, sentence: str) -> BadExport:
        return BadExport(f"{self.path}, line {self._number}: {sentence}")
