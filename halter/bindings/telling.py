"""Tells what records become, as text and as plain data. Masked values are taken out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from halter.bindings.mapping import BindingMapping, Command, Mapped, Posting, version_of
from halter.show.plain import plain
from halter.show.redaction import redacted
from halter.transform import SourceRecord
from processors.core.records.commands import CorrelatedEvent, RunWfAndPost
from processors.core.records.values import Timestamp, Value, to_json, to_text

VALUE_WIDTH_MAX: Final = 160
"""The most characters of a value on a line."""


def told(value: Value) -> str:
    """Return a value as JSON, cut where it is long; a time or bytes as text."""
    text = to_text(value) if isinstance(value, bytes | Timestamp) else to_json(value)
    return text if len(text) <= VALUE_WIDTH_MAX else text[: VALUE_WIDTH_MAX - 1] + "…"


def whom(command: Command) -> str:
    """Return who gets an event, in words."""
    if isinstance(command, CorrelatedEvent):
        return f"WfRuns with the key {command.correlation_key}"
    return command.wf_run_id


@dataclass(slots=True)
class Counts:
    """How many of which there were."""

    records: int = 0
    events: int = 0
    dead_letters: int = 0
    passed: int = 0
    """Records of which no binding made anything."""

    def add(self, mapped: list[Mapped]) -> None:
        """Count one record."""
        self.records += 1
        self.events += sum(len(it.postings) for it in mapped)
        self.dead_letters += sum(it.refusal is not None for it in mapped)
        self.passed += not any(it.postings or it.refusal for it in mapped)

    def line(self) -> str:
        """Return them as a sentence."""
        counted = [(self.events, "ExternalEvent"), (self.dead_letters, "dead letter")]
        parts = [f"{number:,} {what}{'' if number == 1 else 's'}" for number, what in counted]
        passed = f"; nothing of {self.passed:,}" if self.passed else ""
        return f"{self.records:,} record{'' if self.records == 1 else 's'}: {' and '.join(parts)}{passed}"


class Telling:
    """Tells of the records of one mapping."""

    def __init__(self, mapping: BindingMapping, *, unmask: bool = False) -> None:
        self._mapping, self._unmask = mapping, unmask

    def lines(self, record: SourceRecord, mapped: list[Mapped]) -> Iterator[str]:
        """Yield the lines for a record: its place, and below it what each binding makes of it."""
        yield record.place
        for it in mapped:
            name = f"  {it.binding.name}  "
            if it.refusal is not None:
                yield f"{name}dead letter {it.refusal.code}: {it.refusal.message}"
            elif not it.postings:
                yield f"{name}nothing: {it.passed}"
            for posting in it.postings:
                command = posting.command
                what = f"{command.external_event_def} to {whom(command)}, id {command.external_event_id}"
                yield f"{name}{what}: {told(self._content(posting))}"
                if isinstance(command, RunWfAndPost):
                    yield " " * len(name) + self._start_text(posting, command)

    def _start_text(self, posting: Posting, command: RunWfAndPost) -> str:
        assert posting.event.start is not None
        inputs = ", ".join(f"{name} = {told(value)}" for name, value in self._inputs(posting, command).items())
        what = f"starts {command.wf_spec_name}{version_of(posting.event.start)} if there is none"
        return f"{what}: {inputs}" if inputs else what

    def data(self, record: SourceRecord, mapped: list[Mapped]) -> dict[str, Any]:
        """Return the same as plain data."""
        return {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "bindings": [self._mapped_data(it) for it in mapped],
        }

    def _mapped_data(self, mapped: Mapped) -> dict[str, Any]:
        refusal = mapped.refusal
        return {
            "binding": mapped.binding.name,
            "events": [self._posting_data(it) for it in mapped.postings],
            "dead_letter": None if refusal is None else {"code": refusal.code, "message": refusal.message},
            "nothing_because": mapped.passed or None,
        }

    def _posting_data(self, posting: Posting) -> dict[str, Any]:
        command = posting.command
        data: dict[str, Any] = {
            "wf_run_id": None if isinstance(command, CorrelatedEvent) else command.wf_run_id,
            "correlation_key": command.correlation_key if isinstance(command, CorrelatedEvent) else None,
            "external_event_def": command.external_event_def,
            "external_event_id": command.external_event_id,
            "content": plain(self._content(posting)),
            "starts": None,
        }
        if isinstance(command, RunWfAndPost):
            data["starts"] = {
                "wf_spec": command.wf_spec_name,
                "major": command.wf_spec_major,
                "revision": command.wf_spec_revision,
                "variables": plain(self._inputs(posting, command)),
            }
        return data

    def _content(self, posting: Posting) -> Any:
        secret = self._mapping.is_secret(posting.command.external_event_def) and not self._unmask
        return redacted(posting.command.content, secret)

    def _inputs(self, posting: Posting, command: RunWfAndPost) -> dict[str, Any]:
        start = posting.event.start
        assert start is not None
        return {
            name: redacted(value, self._mapping.is_secret_input(start, name) and not self._unmask)
            for name, value in command.variables.items()
        }
