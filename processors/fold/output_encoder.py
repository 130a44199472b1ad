"""Makes the output records of a shard: log entries, what task workers read, state rows, timers, dead letters."""

from collections.abc import Mapping, Sequence
from typing import Final, get_args

from processors.codec import Codec, Record
from processors.core.records.commands import TimerFired
from processors.core.records.events import Event, LogEntry, TaskAttemptRequested, TaskCancellation, TaskRequest
from processors.core.records.topic_names import (
    DEAD_LETTERS,
    TASK_CANCELLATIONS,
    WF_COMMANDS,
    WF_EVENTS,
    task_requests_of,
)
from processors.core.rules.versions import RULES
from processors.fold.inputs import DeadLetter, Headers, InputRecord, dead_letter_record
from processors.fold.outputs import RULES_HEADER, OutputRecord

_EVENT_HEADERS: Final[Mapping[type, Headers]] = {
    event: (("event", event.__name__.encode()),) for event in get_args(Event)
}
"""Event -> headers of its record on the log. A reader sees from them which event it is, without decoding it."""
_RULES: Final[Headers] = ((RULES_HEADER, str(RULES).encode()),)


class OutputEncoder:
    """Encodes what one shard writes."""

    def __init__(self, partition: int, codec: Codec) -> None:
        self._partition, self._codec = partition, codec
        # Beside workers of an earlier release some rules are as they were there, and its records do not name any.
        rules = _RULES if codec.release is None else ()
        self._headers = {event: (*headers, *rules) for event, headers in _EVENT_HEADERS.items()}

    def log(self, wf_run_id: str, entries: Sequence[LogEntry]) -> list[OutputRecord]:
        """Return the entries of one command for the log, and the requests for the task attempts among them."""
        key, partition, time_ms, headers = wf_run_id.encode(), self._partition, entries[0].time_ms, self._headers
        outputs: list[OutputRecord] = []
        for entry, value in zip(entries, self._codec.encode_log(entries), strict=True):
            event = entry.event
            # As OutputRecord(...), which is a function in Python: an interrupt would spend 3 % of its time there.
            fields = (WF_EVENTS, partition, key, value, headers[type(event)], time_ms)
            outputs.append(tuple.__new__(OutputRecord, fields))
            if type(event) is TaskAttemptRequested:
                outputs.append(self._task_request(entry, event))
        return outputs

    def _task_request(self, entry: LogEntry, event: TaskAttemptRequested) -> OutputRecord:
        request = TaskRequest(
            wf_run_id=entry.wf_run_id,
            incarnation=entry.incarnation,
            thread=event.thread,
            position=event.position,
            attempt=event.attempt,
            task_def=event.task_def,
            input=event.input,
            requested_ms=entry.time_ms,
            deadline_ms=event.deadline_ms,
            start_by_ms=event.start_by_ms,
            progress=event.progress,
        )
        key = entry.wf_run_id.encode()
        return OutputRecord(task_requests_of(event.queue), self._partition, key, self._codec.encode(request))

    def cancellations(self, cancelled: Sequence[TaskCancellation]) -> list[OutputRecord]:
        """Return what task workers are told of the attempts that one command cancelled."""
        return [
            OutputRecord(TASK_CANCELLATIONS, self._partition, it.wf_run_id.encode(), self._codec.encode(it))
            for it in cancelled
        ]

    def row(self, topic: str, key: str, record: Record | None) -> OutputRecord:
        """Return a row of a state topic; None for a row that is gone."""
        value = None if record is None else self._codec.encode(record)
        return OutputRecord(topic, self._partition, key.encode(), value)

    def timer(self, fired: TimerFired) -> OutputRecord:
        """Return a timer that is due, as the record that it becomes."""
        return OutputRecord(WF_COMMANDS, self._partition, fired.wf_run_id.encode(), self._codec.encode(fired))

    def dead_letter(self, record: InputRecord, dead_letter: DeadLetter) -> OutputRecord:
        """Return a record that cannot be taken, for `dead-letters`."""
        letter = dead_letter_record(record, dead_letter)
        return OutputRecord(DEAD_LETTERS, self._partition, letter.key, letter.value, letter.headers)
