"""Makes the output records of a shard: log entries, what task workers read, state rows, timers, dead letters."""

from collections.abc import Mapping, Sequence
from typing import Final, get_args

from processors.codec import Codec, Record
from processors.core.records.commands import RegisterCorrelationKey, RemoveCorrelationKey, TimerFired
from processors.core.records.events import (
    Asked,
    CorrelationKeyChanged,
    Event,
    LogEntry,
    TaskAttemptRequested,
    TaskCancellation,
    TaskRequest,
    WfRunDeleted,
)
from processors.core.records.model import CorrelationKey
from processors.core.records.topic_names import (
    CORRELATION_COMMANDS,
    DEAD_LETTERS,
    TASK_CANCELLATIONS,
    WF_COMMANDS,
    WF_EVENTS,
    task_requests_of,
)
from processors.core.rules.versions import RULES
from processors.fold.inputs import DeadLetter, Headers, InputRecord, dead_letter_record
from processors.fold.outputs import RULES_HEADER, OutputRecord, asked_headers
from processors.kafka.partitioner import partition_of

_EVENT_HEADERS: Final[Mapping[type, Headers]] = {
    event: (("event", event.__name__.encode()),) for event in get_args(Event)
}
"""Event -> headers of its record on the log. A reader sees from them which event it is, without decoding it."""
_RULES: Final[Headers] = ((RULES_HEADER, str(RULES).encode()),)


class OutputEncoder:
    """Encodes what one shard writes."""

    def __init__(self, partition: int, partitions: int, codec: Codec) -> None:
        self._partition, self._partitions, self._codec = partition, partitions, codec
        # Beside workers of an earlier release some rules are as they were there, and its records do not name any.
        rules = _RULES if codec.release is None else ()
        self._headers = {event: (*headers, *rules) for event, headers in _EVENT_HEADERS.items()}

    def log(self, wf_run_id: str, entries: Sequence[LogEntry], asked: Asked | None = None) -> list[OutputRecord]:
        """Return the entries of one command for the log, and the requests for the task attempts among them.

        `asked`: who asked for the command, which headers say.
        """
        key, partition, time_ms, headers = wf_run_id.encode(), self._partition, entries[0].time_ms, self._headers
        # An earlier release has no such headers, and writes what it does byte for byte.
        who = () if asked is None or self._codec.release is not None else asked_headers(asked)
        outputs: list[OutputRecord] = []
        for entry, value in zip(entries, self._codec.encode_log(entries), strict=True):
            event = entry.event
            told = headers[type(event)]
            # As OutputRecord(...), which is a function in Python: an interrupt would spend 3 % of its time there.
            fields = (WF_EVENTS, partition, key, value, told if asked is None else told + who, time_ms)
            outputs.append(tuple.__new__(OutputRecord, fields))
            if type(event) is TaskAttemptRequested:
                outputs.append(self._task_request(entry, event))
        return outputs

    def _task_request(self, entry: LogEntry, event: TaskAttemptRequested) -> OutputRecord:
        value, key = self._codec.encode(request_of(entry, event)), entry.wf_run_id.encode()
        return OutputRecord(task_requests_of(event.queue), self._partition, key, value)

    def cancellations(self, cancelled: Sequence[TaskCancellation]) -> list[OutputRecord]:
        """Return what task workers are told of the attempts that one command cancelled."""
        return [
            OutputRecord(TASK_CANCELLATIONS, self._partition, it.wf_run_id.encode(), self._codec.encode(it))
            for it in cancelled
        ]

    # (rule key-owner-is-told)
    def changed_keys(self, keys: Mapping[str, CorrelationKey], log: Sequence[LogEntry]) -> list[OutputRecord]:
        """Return what the owners of correlation keys are told of the entries of one command: all that the log says.

        `keys`: those of the WfRun before, by ExternalEventDef. A command may change a key twice, or start a WfRun, give
        it a key and end it.
        """
        records: list[RegisterCorrelationKey | RemoveCorrelationKey] = []
        known = {event_def: it.key for event_def, it in keys.items() if it.key is not None}
        for entry in log:
            event, of = entry.event, (entry.wf_run_id, entry.incarnation)
            if type(event) is CorrelationKeyChanged:
                event_def, key = event.external_event_def, event.correlation_key
                if event_def in known:
                    records.append(RemoveCorrelationKey(known.pop(event_def), event_def, *of))
                if key is not None:
                    known[event_def] = key
                    records.append(RegisterCorrelationKey(key, event_def, *of))
            elif type(event) is WfRunDeleted:
                records += [RemoveCorrelationKey(known[event_def], event_def, *of) for event_def in sorted(known)]
        return [self._of_key(it) for it in records]

    def _of_key(self, command: RegisterCorrelationKey | RemoveCorrelationKey) -> OutputRecord:
        key = command.correlation_key.encode()
        partition = partition_of(key, self._partitions)
        return OutputRecord(CORRELATION_COMMANDS, partition, key, self._codec.encode(command))

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


def request_of(entry: LogEntry, event: TaskAttemptRequested) -> TaskRequest:
    """Return what task workers read of a task attempt that the log has."""
    return TaskRequest(
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
