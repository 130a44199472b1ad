"""A Faust application beside Halter: it counts how often each cart is halted, and cancels the carts of robots.

    faust -A cart_watch worker --without-web

Kafka is at KAFKA_BOOTSTRAP_SERVERS, else at localhost:9092. `halter topics apply` has made Halter's topics.
"""

import os

import faust
from faust.types import StreamT

from halter import LogEntry, Settings
from halter.commands import ExternalEvent
from halter.events import ThreadHalted

HALTS_MAX = 20
"""Nobody changes a cart so often."""

settings = Settings.load(None, os.environ, {})
topics = settings.topics()

app = faust.App(
    f"{topics.prefix}cart-watch",
    # kafka+committed: with kafka:// Faust also reads what a worker wrote and took back.
    broker=f"kafka+committed://{settings.bootstrap.replace(',', ';')}",
)
wf_events = app.topic(topics.wf_events, key_type=str, value_serializer="halter")
external_events = app.topic(topics.external_events, key_type=str, value_serializer="halter")
halts = app.Table("halts", default=lambda: [-1, 0, 0], partitions=topics.partitions)
"""WfRun id -> the incarnation and number of the last event that was counted, and how often the cart was halted."""


@app.agent(wf_events)
async def watch(log: StreamT[LogEntry]) -> None:
    """Count what happens to carts, in the order of the log."""
    async for entry in log:
        incarnation, seq, count = halts[entry.wf_run_id]
        if not isinstance(entry.event, ThreadHalted) or entry.event.thread != 0:
            continue
        if (entry.incarnation, entry.seq) <= (incarnation, seq):
            continue  # Faust gives a record again after a crash
        count = count + 1 if entry.incarnation == incarnation else 1
        if count == HALTS_MAX:
            await cancel(entry.wf_run_id)
        halts[entry.wf_run_id] = [entry.incarnation, entry.seq, count]


async def cancel(wf_run_id: str) -> None:
    """Post `cancelled` to a cart, and wait until Kafka has it. A second one is rejected: it has the same id."""
    event = ExternalEvent(wf_run_id, "cancelled", "cart-watch", f"it was halted {HALTS_MAX} times")
    sent = await external_events.send(key=wf_run_id, value=event)
    await sent
    print(f"{wf_run_id} is a robot's")
