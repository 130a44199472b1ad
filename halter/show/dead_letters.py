"""Shows dead letters: what is in one as plain data, with the values of WfRuns taken out, and what to do about it.

It reads nothing: the caller has the dead letter and the record that was decoded of it.
"""

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Any, Final

from halter.client.dead_letters import DeadLetterRead, Retried
from halter.show.masking import UNKNOWN
from halter.show.plain import plain
from halter.show.redaction import RedactedLog, hidden
from halter.show.times import iso
from processors.core.records.commands import Command
from processors.fold.inputs import DeadLetterReason, InputCommand

VALUE_BYTES_SHOWN: Final = 512
TO_DO: Final[Mapping[str, str]] = {
    DeadLetterReason.NO_VALUE: "Input topics take no tombstones. `halter delete` deletes a WfRun.",
    DeadLetterReason.TOO_LARGE: "Store the large value elsewhere, and send a reference to it.",
    DeadLetterReason.WRONG_TIME: "The producer has set the time. `halter topics plan` says which topic lets it.",
    DeadLetterReason.EMPTY_KEY: "Let the producer set the key: the id of the WfRun.",
    DeadLetterReason.UNDECODABLE: "The producer writes other bytes than its schema says. Mend it, and send again.",
    DeadLetterReason.UNKNOWN_SCHEMA: "The producer is newer than the workers, or none of ours. Upgrade the workers "
    "first, then retry it as it was.",
    DeadLetterReason.WRONG_RECORD: "The record belongs on another topic. Mend the producer, and send it there.",
    DeadLetterReason.KEY_MISMATCH: "The key is another one than the record is about. Retry it with `wf_run_id` "
    "corrected, if only to what it is: the key is made of it.",
    DeadLetterReason.WRONG_PARTITION: "The producer does not partition by murmur2. A retry sends it to the right "
    "partition.",
    DeadLetterReason.QUARANTINE_FULL: "Its WfRun is in quarantine and as much is kept as may be. Release the WfRun, "
    "then retry this.",
    DeadLetterReason.SKIPPED: "An operator had it skipped. Retry it once the rule is mended.",
    DeadLetterReason.NOT_CORRELATED: "No WfRun had its key within 7 days. Look at the key, then retry it.",
}
"""What to do about a dead letter of a worker, by its reason."""


def letter_data(
    letter: DeadLetterRead, command: InputCommand | None, retried: Retried | None, *, unmask: bool
) -> dict[str, Any]:
    """Return a dead letter as plain JSON data. Without `unmask` no values of WfRuns are in it."""
    value = letter.value or b""
    bytes_ = {"bytes": len(value)} | ({"begins": value[:VALUE_BYTES_SHOWN].hex()} if unmask else {})
    return {
        "place": letter.name,
        "reason": letter.reason,
        "message": letter.message,
        "source": letter.source,
        "origin": letter.origin,
        "mapping": letter.mapping,
        "time": iso(letter.at_ms),
        "key": None if letter.key is None else letter.key.decode(errors="backslashreplace"),
        "headers": {name: data.decode(errors="backslashreplace") for name, data in letter.headers} if unmask else {},
        "record": None if command is None else type(command).__name__,
        "fields": None if command is None else fields_of(command, unmask=unmask),
        "value": None if command is not None or letter.value is None else bytes_,
        "retried": None if retried is None else retried.place,
    }


def fields_of(command: InputCommand, typed: Collection[str] = (), *, unmask: bool = False) -> dict[str, Any]:
    """Return the fields of a record as plain data. Without `unmask` the values of WfRuns are hidden.

    `typed`: the fields that whoever looks has typed. These are shown.
    """
    shown: Any = command
    if not unmask and isinstance(command, Command):
        shown = RedactedLog(UNKNOWN, hidden).command(command, None)
        shown = replace(shown, **{it.name: getattr(command, it.name) for it in fields(command) if it.name in typed})
    found: dict[str, Any] = plain(shown)
    return found
