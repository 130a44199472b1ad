"""Tells people what events become by a sink: for dry runs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from halter.show.counting import counted
from halter.transform import Output, SourceRecord


def data(record: SourceRecord, outputs: Sequence[Output], dead_letters: str) -> dict[str, Any]:
    """Return what a record of the log becomes, as plain data. `dead_letters`: that topic."""
    return {"event": record.place, "name": _name(record), "outputs": [_output(it, dead_letters) for it in outputs]}


def lines(record: SourceRecord, outputs: Sequence[Output], dead_letters: str) -> list[str]:
    """Return the same as lines of text; none if it becomes nothing."""
    if not outputs:
        return []
    told = [f"{record.place} {_name(record)}"]
    for it in outputs:
        output = _output(it, dead_letters)
        if "reason" in output:
            told.append(f"  dead letter {output['reason']}: {output['message']}")
        else:
            told.append(f"  {output['topic']}  {output['key']}: {(it.value or b'').decode()}")
    return told


@dataclass(slots=True)
class Counts:
    """How many events were looked at, and what they become."""

    events: int = 0
    written: int = 0
    dead_letters: int = 0

    def add(self, outputs: Sequence[Output], dead_letters: str) -> None:
        """Count what an event becomes."""
        self.events += 1
        buried = sum(it.topic == dead_letters for it in outputs)
        self.dead_letters += buried
        self.written += len(outputs) - buried

    def line(self) -> str:
        """Return the numbers in words."""
        outputs = f"{counted(self.written, 'record')} and {counted(self.dead_letters, 'dead letter')}"
        return f"{counted(self.events, 'event')}: {outputs}"


def _name(record: SourceRecord) -> str:
    return dict(record.headers).get("event", b"").decode()


def _output(output: Output, dead_letters: str) -> dict[str, Any]:
    headers = {name: (value or b"").decode(errors="replace") for name, value in output.headers}
    if output.topic == dead_letters:
        return {"reason": headers["halter.reason"], "message": headers["halter.message"]}
    key = (output.key or b"").decode()
    return {"topic": output.topic, "key": key, "headers": headers, "value": json.loads(output.value or b"null")}
