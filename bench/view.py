"""Measures a view: python -m bench.view [--entries 100000] [--rows 500000] [--wf-runs 1000000] [--kafka]

Four figures. `fold`: entries of the log that are in memory, decoded, folded and written into a new view. `kafka`: the
same entries on an embedded broker, from the start of `halter view --once` to its end. `rows`: a view is filled from the
rows of many WfRuns of one partition, with the memory that this takes. `search`: the queries that one asks most, over a
view with a great many WfRuns that were never run, as the table of docs/performance.md.

Times are those of the clock; where it says CPU, those of the processor: with PostgreSQL of both processes, on average.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import quantiles
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from sqlalchemy import Connection, select

from halter.broker import EmbeddedBroker
from halter.topics import admin
from halter.view import tables
from halter.view.external_event_lists import external_events
from halter.view.filters import Sort, SortBy, WfRunFilter
from halter.view.keeping import Keeper, News, Source
from halter.view.node_counts import newest_of, nodes_of
from halter.view.place import open_view
from halter.view.rows import SettledRows
from halter.view.totals import stats
from halter.view.wf_run_lists import count, wf_run, wf_runs
from processors.core.records.events import LogEntry
from processors.kafka.settings import Settings
from tests.support.views import CODEC, START_MS, definitions_of, filled, log_of, many, news_of, shop

AT_ONCE = 5_000
REPEATS = 40


def entries(wanted: int) -> Iterator[LogEntry]:
    """Yield the log of a shop again and again, each time with other ids."""
    log, written = log_of(shop()), 0
    for round_ in range(wanted // len(log) + 1):
        for entry in log:
            yield replace(entry, wf_run_id=f"{entry.wf_run_id}-{round_}")
            written += 1
            if written == wanted:
                return


def fold(wanted: int, url: str) -> None:
    """Fold and write entries that are in memory."""
    encoded = [CODEC.encode(entry) for entry in entries(wanted)]
    view = open_view(url, writable=True)
    keeper = Keeper(view, CODEC)
    keeper.begin(Source(1, cluster="bench"), START_MS)
    keeper.write(News(definitions=definitions_of(shop()).definitions))
    rows, begun, cpu = 0, time.perf_counter(), time.process_time()
    for start in range(0, len(encoded), AT_ONCE):
        some = [CODEC.decode(value) for value in encoded[start : start + AT_ONCE]]
        rows += keeper.write(news_of((it for it in some if isinstance(it, LogEntry)), start))
    tell("fold", wanted, rows, time.perf_counter() - begun, time.process_time() - cpu)
    view.close()


def kafka(wanted: int, url: str) -> None:
    """Let `halter view` read the same from a broker."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker(Path(folder)) as broker:
        prefix = f"bench-{uuid.uuid4().hex[:8]}-"
        settings = Settings.load(None, {}, {"bootstrap.servers": broker.bootstrap}, prefix=prefix, partitions=1)
        topics = settings.topics()
        admin.make_so(topics, AdminClient(settings.admin()), replication="auto")
        producer = Producer(settings.producer())
        for _, definition in definitions_of(shop()).definitions:
            producer.produce(topics.definitions, CODEC.encode(definition), definition.key.encode(), 0)
        for number, entry in enumerate(entries(wanted)):
            producer.produce(topics.wf_events, CODEC.encode(entry), entry.wf_run_id.encode(), 0)
            if number % 10_000 == 0:
                producer.poll(0)
        producer.flush()
        variables = {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "HALTER_PREFIX": prefix, "HALTER_PARTITIONS": "1"}
        begun = time.perf_counter()
        command = [sys.executable, "-m", "halter", "view", "--url", url, "--once", "--log-format", "json"]
        done = subprocess.run(command, env={**os.environ, **variables}, check=True, capture_output=True, text=True)
        print(done.stderr.strip().splitlines()[-1])
        print(f"kafka: {wanted:,} entries in {time.perf_counter() - begun:.1f} s, the start of the process included")


def rows(wanted: int, folder: str) -> None:
    """Fill a view from the rows of so many WfRuns of one partition, as if the log of their beginnings were gone."""
    with filled(f"{folder}/shop.db").read() as connection:
        table = select(tables.state)
        state = [(it.wf_run_id, it.topic, it.row_key, CODEC.decode(it.value)) for it in connection.execute(table)]
    ids = {it[0] for it in state}
    settled = SettledRows()
    for number in range(wanted // len(ids)):
        some = []
        for wf_run_id, topic, key, record in state:
            record.wf_run_id = f"{wf_run_id}-{number}"  # type: ignore[attr-defined]
            new_key = f"{record.wf_run_id}{key[len(wf_run_id) :]}"  # type: ignore[attr-defined]
            some.append((topic, new_key.encode(), CODEC.encode(record)))
        settled.take(some)
    settled.end(None)
    view = open_view(f"{folder}/rows.db", writable=True)
    keeper = Keeper(view, CODEC)
    keeper.begin(Source(1, cluster="bench"), START_MS)
    keeper.write(definitions_of(shop()))
    found = (
        (it, [(CODEC.decode(value), len(value)) for value in of_one.values()]) for it, of_one in settled.rows_at(0)
    )
    begun, cpu = time.perf_counter(), time.process_time()
    written = sum(keeper.put_rows(0, found))  # type: ignore[arg-type]
    tell("rows", wanted, written, time.perf_counter() - begun, time.process_time() - cpu, "WfRuns")
    print(f"rows: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024:,} MB of memory at most")
    settled.close()
    view.close()


def tell(what: str, wanted: int, rows: int, seconds: float, cpu: float, of: str = "entries") -> None:
    """Print a line of figures."""
    print(
        f"{what}: {wanted:,} {of}, {rows:,} rows in {seconds:.1f} s ({rows / seconds:,.0f} rows/s), "
        f"{cpu:.1f} s CPU ({rows / cpu:,.0f} rows/s, {wanted / cpu:,.0f} {of}/s)"
    )


QUERIES: dict[str, Callable[[Connection, int], object]] = {
    "newest WfRuns": lambda it, _: wf_runs(it, WfRunFilter(), Sort(), limit=50),
    "halted, by kind": lambda it, _: wf_runs(it, WfRunFilter(halted_for="MANUAL_HALT"), Sort(), limit=50),
    "failed with": lambda it, _: wf_runs(it, WfRunFilter(failed_with="TIMEOUT"), Sort(), limit=50),
    "of a WfSpec and status": lambda it, n: wf_runs(
        it, WfRunFilter(status=("RUNNING",), wf_spec=f"shop-{n % 10}"), Sort(), limit=50
    ),
    "several statuses": lambda it, _: wf_runs(it, WfRunFilter(status=("ERROR", "EXCEPTION")), Sort(), limit=50),
    "failed because of a thread below": lambda it, _: wf_runs(it, WfRunFilter(failed_with="killed"), Sort(), limit=50),
    "older than, oldest first": lambda it, _: wf_runs(
        it, WfRunFilter(older_than_ms=1), Sort(SortBy.STARTED, reverse=True), limit=50
    ),
    "waits for a task": lambda it, n: wf_runs(
        it, WfRunFilter(waits_for=f"TASK_REPORT:charge-{n % 5}"), Sort(), limit=50
    ),
    "Variable = value": lambda it, n: wf_runs(
        it, WfRunFilter(variables=(("order_number", f"N{n * 9973 % 1_000:09d}"),)), Sort(), limit=50
    ),
    "text: an id": lambda it, n: wf_runs(it, WfRunFilter(text=f"order-{n * 9973 % 1_000:08d}"), Sort(), limit=50),
    "count of a status": lambda it, _: count(it, WfRunFilter(status=("ERROR",))),
    "count of a WfSpec": lambda it, n: count(it, WfRunFilter(wf_spec=f"shop-{n % 10}")),
    "count of what waits for an ExternalEvent": lambda it, _: count(it, WfRunFilter(waits_for="EXTERNAL_EVENT")),
    "one WfRun": lambda it, n: wf_run(it, f"order-{n * 9973 % 1_000:08d}"),
    "ExternalEvents, the newest": lambda it, _: external_events(it),
    "ExternalEvents of a def and status": lambda it, _: external_events(
        it, external_event_def="checkout", status="UNCLAIMED"
    ),
    "threads at the nodes of a WfSpec": lambda it, n: nodes_of(it, f"shop-{n % 10}"),
    "the newest WfRuns of a WfSpec, by status": lambda it, n: newest_of(it, f"shop-{n % 10}"),
    "how many of what (bounded)": lambda it, _: stats(it),
}


def search(wanted: int, url: str) -> None:
    """Ask the queries."""
    begun = time.perf_counter()
    view = many(url, wanted)
    print(f"search: {wanted:,} WfRuns written in {time.perf_counter() - begun:.0f} s")
    ask(url)
    view.close()


def ask(url: str) -> None:
    """Ask the queries of a view that `many` has filled. Prints a table for docs/performance.md."""
    view = open_view(url)
    print(f"load before: {os.getloadavg()[0]:.0f}")
    print("| Query | Median | p95 | CPU |")
    print("|---|--:|--:|--:|")
    for name, query in QUERIES.items():
        times, cpu_s = [], 0.0
        for number in range(REPEATS):
            with view.read() as connection:
                begun, cpu_begun = time.perf_counter(), cpu_seconds(connection)
                query(connection, number)
                times.append((time.perf_counter() - begun) * 1_000)
                cpu_s += cpu_seconds(connection) - cpu_begun
        figures = quantiles(times, n=20)[9], quantiles(times, n=20)[18], cpu_s * 1_000 / REPEATS
        print(f"| {name} | {' | '.join(f'{it:.1f} ms' for it in figures)} |", flush=True)
    view.close()


def cpu_seconds(connection: Connection) -> float:
    """Return the processor time so far of this process, and of the one that serves it if the view is in PostgreSQL."""
    if connection.dialect.name != "postgresql":
        return time.process_time()
    driver: Any = connection.connection.driver_connection
    spent = Path(f"/proc/{driver.info.backend_pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return time.process_time() + sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure what the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--wf-runs", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=0, help="WfRuns of one partition, from whose rows a view is filled")
    parser.add_argument("--kafka", action="store_true", help="also measure from a broker")
    parser.add_argument("--url", help="a view that is filled already: only ask it")
    given = parser.parse_args()
    if given.url:
        ask(given.url)
        return
    with tempfile.TemporaryDirectory() as folder:
        if given.entries:
            fold(given.entries, f"{folder}/fold.db")
        if given.kafka:
            kafka(given.entries, f"{folder}/kafka.db")
        if given.rows:
            rows(given.rows, folder)
        if given.wf_runs:
            search(given.wf_runs, f"{folder}/many.db")


if __name__ == "__main__":
    main()
