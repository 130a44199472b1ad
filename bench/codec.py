"""Measures how long a record takes to be written and read, by our codec and by fastavro, which needs dicts in between.

    python -m bench.codec [rounds]

The figures are microseconds: the best of the rounds, each the mean of 20,000 calls. Compare figures of one run, not of
two machines.
"""

import io
import sys
import timeit
from typing import Any

import fastavro

from processors.codec import Codec
from processors.core.records.commands import ExternalEvent
from processors.core.records.events import Cause, Halt, LogEntry, NodeCompleted, SpawnChild, VariableWrite
from processors.core.records.model import NodeRun, PendingInterrupt, Status, ThreadRun, ThreadType
from tests.support.records import plain_record, without_logical_types

CALLS = 20_000
WF_RUN_ID = "0190f3c2-7a51-7b62-9d7e-3f1c2a4b5d6e"
CAUSE = Cause("external-events", 3, 998_877, None, 12)
NOW = 1_790_000_000_000


def entry(event: Any) -> LogEntry:
    """Return an event as an entry of the log."""
    return LogEntry(WF_RUN_ID, 123_456, 55, NOW, CAUSE, event)


RECORDS = {
    "Halt": entry(Halt(0, PendingInterrupt("on-cancel", "e-1234567"))),
    "SpawnChild": entry(
        SpawnChild(5, 0, "on-cancel", ThreadType.INTERRUPT, "entrypoint", {"INPUT": "now"}, "on-cancel", "e-1234567")
    ),
    "SpawnChild, JSON": entry(
        SpawnChild(5, 0, "on-cancel", ThreadType.INTERRUPT, "entrypoint", {"INPUT": {"n": 3}}, "on-cancel", "e-1234567")
    ),
    "NodeCompleted": entry(
        NodeCompleted(5, 1, "entrypoint", "add", [VariableWrite(0, "count", 7), VariableWrite(0, "total", 12.5)])
    ),
    "ThreadRun": ThreadRun(
        WF_RUN_ID,
        0,
        ThreadType.ENTRYPOINT,
        "main",
        None,
        Status.HALTED,
        NodeRun(1, "wait", NOW),
        NOW,
        {"count": 7, "total": 12.5, "name": "Ann"},
        halt_reasons=[PendingInterrupt("on-cancel", "e-1234567")],
    ),
    "ExternalEvent": ExternalEvent(WF_RUN_ID, "on-cancel", "e-1234567", "now"),
    "ExternalEvent, JSON": ExternalEvent(WF_RUN_ID, "on-cancel", "e-1234567", {"reason": "changed my mind", "n": 3}),
}


def main() -> None:
    """Print a line per record."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    codec = Codec.load()

    def microseconds(call: Any) -> float:
        return min(timeit.repeat(call, number=CALLS, repeat=rounds)) / CALLS * 1e6

    print(f"{'':20} {'bytes':>5} | {'write':>6} {'fastavro':>8} | {'read':>6} {'fastavro':>8}   (fastavro: dicts only)")
    for name, record in RECORDS.items():
        data = codec.encode(record)
        schema = fastavro.parse_schema(without_logical_types(codec.schemas.records[codec.record_name(data)].schema))
        as_dict = plain_record(record, tagged=True)

        def write(schema: Any = schema, as_dict: Any = as_dict) -> bytes:
            out = io.BytesIO()
            fastavro.schemaless_writer(out, schema, as_dict)
            return out.getvalue()

        def read(schema: Any = schema, data: bytes = data) -> Any:
            return fastavro.schemaless_reader(io.BytesIO(data[10:]), schema, None, return_record_name=True)

        ours = microseconds(lambda r=record: codec.encode(r)), microseconds(lambda d=data: codec.decode(d))
        theirs = microseconds(write), microseconds(read)
        print(f"{name:20} {len(data):5} | {ours[0]:6.2f} {theirs[0]:8.2f} | {ours[1]:6.2f} {theirs[1]:8.2f}")


if __name__ == "__main__":
    main()
