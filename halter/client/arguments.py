"""Makes commands of what a caller gives, and their bytes. Sends nothing.

Whatever the engine would put on `dead-letters` is refused here, with a sentence: the caller hears it at once.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar

from halter.client.errors import InvalidArgument, RecordTooLarge
from halter.client.moments import WITHOUT_ZONE, timestamp_from
from processors.codec import Codec
from processors.core.records.commands import Command, CorrelatedEvent, OperatorCommand
from processors.core.records.names import check_names
from processors.core.records.spec import WfSpec
from processors.core.records.value_checks import OversizedValue, check_value
from processors.core.records.values import TellableProblem, Value, to_json
from processors.core.wf_spec.json_document import DOCUMENT_DEPTH_MAX
from processors.core.wf_spec.writer import document_text
from processors.fold.inputs import InputCommand, check_command, check_made, check_size

Made = TypeVar("Made")
Given: TypeAlias = "Value | datetime"
"""What a caller may give as a value. A datetime with a zone becomes a Timestamp."""
WITH_VALUES: Final = ("content", "variables", "output")
"""Fields that are values, or have them by name."""
PLAIN: Final = frozenset({str, int, bool, type(None)})
"""Types of arguments that are kept as they are. To ask whether one is a Mapping takes longer than all else about it."""


class Arguments:
    """Checks arguments by the schemas of a codec. All that it raises is an InvalidArgument."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def command(self, kind: type[Made], **fields: Any) -> Made:
        """Make a command of these fields."""
        for name in WITH_VALUES:
            if type(it := fields.get(name)) not in PLAIN:
                fields[name] = _with_timestamps(it, name)
        try:
            self._codec.check_arguments(kind, fields)
        except TellableProblem as problem:
            raise _invalid(problem) from None
        for name, it in fields.items():
            if type(it) not in PLAIN and (type(it) is dict or isinstance(it, Mapping)):
                fields[name] = dict(it)
        return kind(**fields)

    def check_fields(self, kind: type, **fields: Any) -> None:
        """Refuse what can be no field of a command."""
        try:
            self._codec.check_arguments(kind, fields)
        except TellableProblem as problem:
            raise _invalid(problem) from None

    def check_names(self, command: Command | OperatorCommand | CorrelatedEvent) -> None:
        """Refuse ids and names that the engine refuses whatever the WfRun is like."""
        with _as_invalid_argument():
            check_names(command)

    def encoded(self, command: InputCommand) -> bytes:
        """The bytes of a command that the engine can take."""
        with _as_invalid_argument():
            check_command(command, self._codec)
        return self._small_enough(command)

    def encoded_made(self, command: Command | OperatorCommand | CorrelatedEvent) -> bytes:
        """The same, for a command that `command` has made. Refuses ids and names too, as `check_names` does."""
        try:
            check_made(command)
            check_names(command)
        except TellableProblem as problem:
            raise _invalid(problem) from None
        return self._small_enough(command)

    def _small_enough(self, command: InputCommand) -> bytes:
        value = self._codec.encode(command)
        try:
            check_size(command, value)
        except TellableProblem as problem:
            raise _invalid(problem) from None
        return value

    def wf_spec_document(self, document: WfSpec | Mapping[str, Any] | str) -> tuple[str, str]:
        """The JSON text of a WfSpec, and the name that it has in itself; a text has none."""
        match document:
            case WfSpec():
                return document_text(document), document.name
            case Mapping():
                data = dict(document)
                with _as_invalid_argument():
                    check_value(data, "document", depth_max=DOCUMENT_DEPTH_MAX)
                return to_json(data), data.get("name", "")
            case _:
                return document, ""


def _with_timestamps(given: Any, what: str) -> Any:
    """Return a value, or values by name, with a Timestamp for each datetime. Raises InvalidArgument."""
    if isinstance(given, datetime):
        timestamp = timestamp_from(given)
        if timestamp is None:
            raise InvalidArgument(f"{what}: {WITHOUT_ZONE}")
        return timestamp
    if what == "variables" and isinstance(given, Mapping) and any(isinstance(it, datetime) for it in given.values()):
        return {
            name: _with_timestamps(it, f"variables[{name!r}]") if isinstance(it, datetime) else it
            for name, it in given.items()
        }
    return given


@contextmanager
def _as_invalid_argument() -> Iterator[None]:
    try:
        yield
    except TellableProblem as problem:
        raise _invalid(problem) from None


def _invalid(problem: TellableProblem) -> InvalidArgument:
    return (RecordTooLarge if isinstance(problem, OversizedValue) else InvalidArgument)(str(problem))
