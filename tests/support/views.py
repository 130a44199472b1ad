"""Views without Kafka: filled from an engine in memory, or with a great many WfRuns that nobody ran.

with_view = filled(str(tmp_path / "view.db"))          # WfRuns in every state, of two examples
many(str(tmp_path / "view.db"), wf_runs=1_000_000)     # rows that look like those of running shops
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from halter.scenarios.memory import MemoryEngine
from halter.testing.known import registered
from halter.view import tables
from halter.view.keeping import Ends, Keeper, News, Source
from halter.view.place import View, open_view
from halter.view.state import SizedRecord
from processors.codec import Codec
from processors.core.records.commands import (
    Command,
    ExternalEvent,
    ReportTaskRun,
    RunWf,
    StopWfRun,
)
from processors.core.records.events import Cause, LogEntry, WfRunQuarantined
from processors.core.records.model import TaskStatus
from processors.core.records.topic_names import OPERATOR_COMMANDS
from processors.core.rules.context import Context, Limits
from processors.core.rules.engine import note
from processors.fold.rows import RowRecord

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
START_MS: Final = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
CODEC: Final = Codec.load()
SECOND: Final = 1_000


def shop() -> MemoryEngine:
    """Run carts and orders that have come to all sorts of states. Their ids say to which."""
    definitions = registered([EXAMPLES / "cart" / "cart.yaml", Path(__file__).with_name("shop.yaml")])
    engine = MemoryEngine(Context(definitions, Limits()), START_MS)

    def put(command: Command) -> None:
        engine.put(command)
        engine.pass_time(SECOND)

    def report(wf_run_id: str, output: Any = None, status: TaskStatus = TaskStatus.SUCCESS, **more: Any) -> None:
        run = engine.runs[wf_run_id]
        thread = next(it for it in run.threads.values() if it.task_out)
        task = thread.node.task
        assert task is not None
        place = run.wf_run_id, run.incarnation, thread.number, thread.node.position, task.attempt
        put(ReportTaskRun(*place, status, output, **more))

    def cart(wf_run_id: str, customer: str = "Ann") -> None:
        put(RunWf(wf_run_id, "cart", {"customer": customer, "card": "4111111111111111"}))

    def order(wf_run_id: str, cents: int = 2900) -> None:
        items = [{"sku": "mug-01", "quantity": 2}]
        put(RunWf(wf_run_id, "order", {"items": items, "card": "card-1", "cents": cents, "address": "3 Mill Lane"}))

    cart("cart-waits")
    put(ExternalEvent("cart-waits", "address-changed", "a1", "12 Harbour Street"))
    cart("cart-stopped", "Bob")
    put(StopWfRun("cart-stopped"))
    cart("cart-charges", "Cid")
    put(ExternalEvent("cart-charges", "checkout", "c1"))
    put(ExternalEvent("cart-charges", "slot-chosen", "s1", "Monday"))
    put(ExternalEvent("cart-early", "address-changed", "a2", "1 Early Road"))
    put(ExternalEvent("cart-waits", "address-changed", "a1", "12 Harbour Street"))  # a repeat: it is rejected
    cart("cart-quarantined", "Dee")
    quarantine(engine, "cart-quarantined")
    order("order-reserves")
    order("order-halting", 1_200)
    report("order-halting", 2)
    put(ExternalEvent("order-halting", "order-killed", "k1", "found it cheaper"))
    order("order-halted", 700)
    report("order-halted", 2)
    put(ExternalEvent("order-halted", "order-killed", "k2", "too late"))
    report("order-halted", "receipt-1")
    order("order-killed", 9_900)
    report("order-killed", 2)
    put(ExternalEvent("order-killed", "order-killed", "k3", "changed my mind"))
    report("order-killed", "receipt-2")
    report("order-killed", 2)
    report("order-killed", 9_900)
    order("order-done")
    report("order-done", 2)
    report("order-done", "receipt-3")
    report("order-done", "parcel-1")
    order("order-failed", 50)
    report("order-failed", status=TaskStatus.FAILED, message="the stock is closed")
    return engine


def quarantine(engine: MemoryEngine, wf_run_id: str) -> None:
    """Put a WfRun into quarantine, as the fold of a worker does."""
    run = engine.runs[wf_run_id]
    event = WfRunQuarantined(engine.time_ms, "it hits a bug", "Eve")
    entry = note(run, event, Cause(OPERATOR_COMMANDS, 0, 0, None, 0), engine.time_ms)
    engine.rows[wf_run_id].write(run)
    engine.log.append((RunWf(wf_run_id, "none"), [entry]))


def log_of(engine: MemoryEngine) -> list[LogEntry]:
    """Return everything that an engine has logged, in order."""
    return [entry for _, entries in engine.log for entry in entries]


def definitions_of(engine: MemoryEngine) -> News:
    """Return the definitions of an engine as news."""
    definitions = engine.context.definitions
    return News(definitions=[(START_MS, it) for it in definitions.all()])  # type: ignore[attr-defined]


def news_of(log: Iterable[LogEntry], offset: int = 0, partition: int = 0) -> News:
    """Return entries of a partition's log as news. The first is at this offset."""
    entries = list(enumerate(log, offset))
    end = entries[-1][0] + 1 if entries else offset
    seen_ms = entries[-1][1].time_ms if entries else START_MS
    return News(entries={partition: entries}, ends={partition: Ends(end, 0, 0, seen_ms, seen_ms)})


def sized(rows: Mapping[str, list[RowRecord]]) -> Iterator[tuple[str, list[SizedRecord]]]:
    """Yield the rows of WfRuns, each with the number of its bytes."""
    for wf_run_id, records in rows.items():
        yield wf_run_id, [(it, len(CODEC.encode(it))) for it in records]


def in_pieces(log: Iterable[LogEntry], size: int) -> Iterator[News]:
    """Yield a log as news of so many entries each."""
    entries, offset = iter(log), 0
    while piece := list(islice(entries, size)):
        yield news_of(piece, offset)
        offset += len(piece)


def filled(view_url: str, engine: MemoryEngine | None = None, *, with_masked: bool = False, size: int = 50) -> View:
    """Fill a view from an engine, by default that of `shop`, and open it for reading."""
    engine = shop() if engine is None else engine
    writable = open_view(view_url, writable=True)
    keeper = Keeper(writable, CODEC, with_masked=with_masked)
    keeper.begin(Source(partitions=1, cluster="in-memory"), START_MS)
    keeper.write(definitions_of(engine))
    for news in in_pieces(log_of(engine), size):
        keeper.write(news)
    keeper.ready()
    writable.close()
    return open_view(view_url)


CUSTOMERS: Final = ("ann", "bob", "cid", "dee", "eve", "fay", "gus", "hal")
NODES: Final = ("wait", "charge", "pack", "ship")


def many(view_url: str, wf_runs: int = 1_000_000) -> View:
    """Fill a view with so many WfRuns that were never run, of ten WfSpecs, and open it for reading.

    Of 100 WfRuns 60 are COMPLETED, 30 RUNNING, 5 HALTED, 4 in ERROR and 1 in EXCEPTION. Values follow from the
    number of a WfRun alone.
    """
    writable = open_view(view_url, writable=True)
    Keeper(writable, CODEC).begin(Source(partitions=8, cluster="made-up"), START_MS)
    with writable.write() as connection:
        for first in range(0, wf_runs, 20_000):
            numbers = range(first, min(first + 20_000, wf_runs))
            for table, rows in (
                (tables.wf_runs, [_wf_run(it) for it in numbers]),
                (tables.thread_runs, [_thread(it) for it in numbers]),
                (tables.waits, [_wait(it) for it in numbers if _status(it) == "RUNNING"]),
                (tables.halt_reasons, [_reason(it) for it in numbers if _status(it) == "HALTED"]),
                (tables.failures, [_failure(it) for it in numbers if _status(it) in ("ERROR", "EXCEPTION")]),
                (tables.searchable, [_searchable(it) for it in numbers]),
                (tables.external_events, [_external_event(it) for it in numbers if it % 2]),
            ):
                if rows:
                    connection.execute(table.insert(), rows)
        connection.execute(tables.definitions.insert(), [_definition(it) for it in range(10)])
    Keeper(writable, CODEC).ready()
    with writable.write() as connection:
        connection.exec_driver_sql("ANALYZE")
    writable.close()
    return open_view(view_url)


def _status(number: int) -> str:
    of_hundred = number * 37 % 100
    for status, until in (("COMPLETED", 60), ("RUNNING", 90), ("HALTED", 95), ("ERROR", 99)):
        if of_hundred < until:
            return status
    return "EXCEPTION"


def _id(number: int) -> str:
    return f"order-{number:08d}"


def _variables(number: int) -> dict[str, Any]:
    return {"customer": CUSTOMERS[number % 8], "cents": number % 10_000, "order_number": f"N{number:09d}"}


def _wf_run(number: int) -> dict[str, Any]:
    status, started_ms = _status(number), START_MS + number * 100
    failed = status in ("ERROR", "EXCEPTION")
    variables = _variables(number)
    changed_ms = started_ms + number % 86_400_000
    return {
        "wf_run_id": _id(number),
        "partition": number % 8,
        "incarnation": number,
        "wf_spec_name": f"shop-{number % 10}",
        "wf_spec_version": "0.0",
        "status": status,
        "seq": 10 + number % 30,
        "started_ms": started_ms,
        "changed_ms": changed_ms,
        "ended_ms": None if status in ("RUNNING", "HALTED") else changed_ms,
        "failure_code": ("TASK_FAILURE", "CHILD_FAILED", "TIMEOUT")[number % 3] if failed else None,
        "failure_message": "the stock is closed" if failed else None,
        "cause_code": "killed" if failed and number % 3 == 1 else None,
        "halted": int(status == "HALTED"),
        "quarantined": int(number % 5_000 == 0),
        "quarantined_ms": changed_ms if number % 5_000 == 0 else None,
        "node_name": NODES[number % 4] if status != "COMPLETED" else None,
        "live_threads": int(status in ("RUNNING", "HALTED")),
        "variables": variables,
        "search_text": " ".join((_id(number), f"shop-{number % 10}", *map(str, variables.values()))).lower(),
        "forked_from": None,
        "log_offset": number,
    }


def _thread(number: int) -> dict[str, Any]:
    own = _wf_run(number)
    return {
        "wf_run_id": own["wf_run_id"],
        "thread": 0,
        "thread_spec": "main",
        "type": "ENTRYPOINT",
        "parent": None,
        "status": own["status"],
        "node_name": own["node_name"] or "exit",
        "node_position": number % 4,
        "started_ms": own["started_ms"],
        "changed_ms": own["changed_ms"],
        "ended_ms": own["ended_ms"],
        "failure_code": own["failure_code"],
        "failure_message": own["failure_message"],
        "hot": int(own["status"] in ("RUNNING", "HALTED", "ERROR")),
        "variables": own["variables"],
        "log_offset": number,
    }


def _wait(number: int) -> dict[str, Any]:
    is_task = number % 2 == 0
    return {
        "wf_run_id": _id(number),
        "thread": 0,
        "position": 0,
        "waits_for": "TASK_REPORT" if is_task else "EXTERNAL_EVENT",
        "external_event_def": None if is_task else "checkout",
        "task_def": f"charge-{number % 5}" if is_task else None,
        "attempt": 0 if is_task else None,
        "attempts": 1 if is_task else None,
        "since_ms": START_MS + number * 100,
        "until_ms": None,
    }


def _reason(number: int) -> dict[str, Any]:
    return {
        "wf_run_id": _id(number),
        "thread": 0,
        "position": 0,
        "kind": "MANUAL_HALT" if number % 2 else "INTERRUPTED",
        "handler": None if number % 2 else 1,
        "since_ms": START_MS + number * 100,
    }


def _failure(number: int) -> dict[str, Any]:
    own = _wf_run(number)
    return {
        "wf_run_id": own["wf_run_id"],
        "seq": own["seq"],
        "thread": 0,
        "node_name": own["node_name"],
        "code": own["failure_code"],
        "failure_class": own["status"],
        "message": own["failure_message"],
        "failed_ms": own["changed_ms"],
        "log_offset": number,
    }


def _searchable(number: int) -> dict[str, Any]:
    return {"wf_run_id": _id(number), "name": "order_number", "text_value": f"N{number:09d}", "number_value": None}


def _external_event(number: int) -> dict[str, Any]:
    return {
        "wf_run_id": _id(number),
        "external_event_def": "checkout",
        "external_event_id": f"e-{number}",
        "status": "UNCLAIMED" if number % 10 == 1 else "CLAIMED",
        "posted_ms": START_MS + number * 100,
        "seq": 3,
        "hot": 1,
        "log_offset": number,
    }


def _definition(number: int) -> dict[str, Any]:
    return {
        "kind": "WF_SPEC",
        "name": f"shop-{number}",
        "version": "0.0",
        "major": 0,
        "revision": 0,
        "registered_ms": START_MS,
        "deleted": 0,
        "searchable": ["order_number"],
        "document": json.dumps({"name": f"shop-{number}"}),
    }
