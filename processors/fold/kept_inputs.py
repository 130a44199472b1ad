"""The inputs that are kept while their WfRun is in quarantine: from records to what is kept of them, and back."""

from processors.core.records.events import InputKept
from processors.core.records.model import KeptInput, RecordHeader, WfRun, size_of_headers
from processors.core.rules.context import Limits
from processors.fold.inputs import DeadLetter, DeadLetterReason, InputRecord


def kept_of(record: InputRecord) -> InputKept:
    """Return the event that keeps a record with all its bytes."""
    assert record.key is not None
    assert record.value is not None
    return InputKept(record.timestamp_ms, record.key, record.value, _headers_of(record))


def quarantine_full(run: WfRun, kept: InputKept, limits: Limits) -> DeadLetter | None:
    """Return a dead letter if more would be kept for a WfRun than may be; None if there is room."""
    size = len(kept.key) + len(kept.value) + size_of_headers(kept.headers)
    in_all = size + sum(it.size for it in run.kept_inputs)
    if len(run.kept_inputs) < limits.kept_inputs and size <= limits.kept_input_bytes and in_all <= limits.kept_bytes:
        return None
    return DeadLetter(
        DeadLetterReason.QUARANTINE_FULL,
        f"WfRun '{run.wf_run_id}' is in quarantine: expected at most {limits.kept_inputs} inputs and "
        f"{limits.kept_bytes} bytes to keep, none larger than {limits.kept_input_bytes}, found "
        f"{len(run.kept_inputs)} that are kept and one of {size} bytes",
    )


def record_of(kept: KeptInput) -> InputRecord:
    """Return a kept input as the record that it was."""
    headers = tuple((header.name, header.value) for header in kept.headers)
    return InputRecord(kept.topic, kept.partition, kept.offset, kept.timestamp_ms, kept.key, kept.value, headers)


def quarantine_note(run: WfRun, quarantine: InputRecord) -> KeptInput:
    """Return a QuarantineWfRun as the first kept input. It says that a WfRun is in quarantine whose own row is lost.

    Its topic tells it from the others; it is never decided.
    """
    assert quarantine.key is not None
    assert quarantine.value is not None
    return KeptInput(
        wf_run_id=run.wf_run_id,
        topic=quarantine.topic,
        partition=quarantine.partition,
        offset=quarantine.offset,
        number=0,
        timestamp_ms=quarantine.timestamp_ms,
        key=quarantine.key,
        value=quarantine.value,
        headers=_headers_of(quarantine),
    )


def _headers_of(record: InputRecord) -> list[RecordHeader]:
    return [RecordHeader(name, value) for name, value in record.headers]
