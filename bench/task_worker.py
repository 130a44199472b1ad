"""Measures task workers on the embedded broker: python -m bench.task_worker [--former FOLDER] [--attempts 10000]

The requests are in the queue before a task worker starts, and nobody decides its reports: what is measured is the task
worker alone. Handlers return at once, or after 10 ms. Requests count their time from themselves, or from the start, and
then the task worker says when it begins. The sides take turns in one run, each in a process of its own. The time counts
from the first handler that begins to the last that ends, without the joining of the group.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from halter.broker import EmbeddedBroker
from halter.topics import admin
from processors.codec import Codec
from processors.core.records.events import TaskRequest
from processors.core.records.values import Value
from processors.kafka.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PREFIX, STARTS, PARTITIONS, FAR_MS = "bench-", "bench-starts-", 8, 10_000_000_000_000
PROGRAM = """
import asyncio, json, os, resource, sys, threading, time
from halter.client import Client
from halter.task_worker import TaskWorker
from processors.kafka.settings import Settings
count, seconds, is_async, group, options = json.loads(sys.argv[1])
times, lock = [], threading.Lock()
def note():
    with lock:
        times.append(time.perf_counter())
        if len(times) == 2 * count:
            worker.stop()
def work(task):
    note()
    if seconds:
        time.sleep(seconds)
    note()
async def work_async(task):
    note()
    if seconds:
        await asyncio.sleep(seconds)
    note()
connect = getattr(Client, "of", Client)  # which a former one has not
with connect(Settings.load(None, os.environ, {})) as client:
    handlers = {"t": work_async if is_async else work}
    with TaskWorker(client, handlers, group=group, follow_reports=False, **options) as worker:
        worker.run()
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([count / (times[-1] - times[0]), (used.ru_utime + used.ru_stime) * 1e6 / count]))
"""
CASES = [
    ("former", None, False, PREFIX),
    *(("present", number, it, PREFIX) for it in (False, True) for number in (1, 32, 256)),
    *(("present", 32, it, STARTS) for it in (False, True)),
]
"""Which code, concurrency, whether handlers are coroutines, and which requests."""


def fill(settings: Settings, attempts: int, start_by_ms: int | None) -> None:
    """Put requests of WfRuns that nobody has into the queue."""
    topics, codec = settings.topics(), Codec.load()
    admin.make_so(topics, AdminClient(settings.admin()), replication="auto")
    producer = Producer(settings.producer(linger_ms=50))
    for number in range(attempts):
        inputs: dict[str, Value] = {"cents": number}
        request = TaskRequest(f"w{number}", 1, 0, 1, 1, "t", inputs, 0, FAR_MS, start_by_ms=start_by_ms)
        producer.produce(topics.task_requests, key=request.wf_run_id.encode(), value=codec.encode(request))
        producer.poll(0)
    producer.flush(60)


def measured(bootstrap: str, prefix: str, folder: Path, given: list[object]) -> list[float]:
    """Attempts per second and µs of CPU for each, of a task worker of one checkout."""
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap, "HALTER_PREFIX": prefix, "HALTER_PARTITIONS": str(PARTITIONS),
        "PYTHONPATH": str(folder),
    }  # fmt: skip
    command = [sys.executable, "-c", PROGRAM, json.dumps(given)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    figures: list[float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measure, and print a line for each case."""
    parser = argparse.ArgumentParser(description="Measure task workers.")
    parser.add_argument("--former", type=Path, help="A checkout of the former code.")
    parser.add_argument("--attempts", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker(Path(folder)) as kafka:
        overrides: dict[str, str | None] = {"bootstrap.servers": kafka.bootstrap}
        for prefix, start_by_ms in ((PREFIX, None), (STARTS, FAR_MS - 60_000)):
            settings = Settings.load(None, {}, overrides, prefix=prefix, partitions=PARTITIONS)
            fill(settings, options.attempts, start_by_ms)
        found: dict[str, list[list[float]]] = {}
        for _ in range(options.runs):
            for side, concurrency, is_async, prefix in CASES:
                for seconds in (0, 0.01):
                    checkout = ROOT if side == "present" else options.former
                    attempts = options.attempts if not seconds else min(options.attempts, 100 * (concurrency or 1))
                    if checkout is None:
                        continue
                    more = {} if concurrency is None else {"concurrency": concurrency}
                    group = f"g{time.time_ns()}"
                    given: list[object] = [attempts, seconds, is_async, group, more]
                    name = f"{side}, concurrency {concurrency or 1}, {'async def' if is_async else 'def'}"
                    name += ", 10 ms" if seconds else ", empty handler"
                    name += ", with starts" if prefix == STARTS else ""
                    found.setdefault(name, []).append(measured(kafka.bootstrap, prefix, checkout.resolve(), given))
    for name, figures in found.items():
        rates = sorted(rate for rate, _ in figures)
        spread = f"{rates[0]:,.0f} … {rates[-1]:,.0f}"
        print(
            f"{name}: {median(rates):,.0f} attempts/s ({spread}), {median(cpu for _, cpu in figures):,.0f} µs CPU each"
        )


if __name__ == "__main__":
    main()
