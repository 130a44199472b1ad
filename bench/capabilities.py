"""Measures what else a worker does per second: starts, task round trips, children, timers; and how long programs start.

    python -m bench.capabilities [--partitions 8] [--wf-runs 5000] [--runs 5]

As in bench/throughput.py, all commands become visible at once. The task worker reports as soon as it reads a request.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer

from bench.figures import Figures
from bench.house import AtOnce, House
from halter.broker import EmbeddedBroker
from processors.core.records.commands import ReportTaskRun
from processors.core.records.events import TaskRequest
from processors.core.records.model import TaskStatus

KINDS = {
    "interrupt": ("WfRun starts", b"WfRunStarted"),
    "child": ("children spawned and joined", b"WfRunEnded"),
    "task": ("task round trips", b"WfRunEnded"),
    "sleep": ("timers of 1 s", b"WfRunEnded"),
}
"""WfSpec -> what one WfRun of it measures, and the event that ends the measurement."""


class Reporter:
    """A task worker that reports every request at once, with as little work as possible."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._consumer = house.consumer("task-requests")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        house = self._house
        while not self._over.is_set():
            for message in self._consumer.consume(1_000, 0.02):
                request = house.codec.decode(message.value() or b"")
                assert isinstance(request, TaskRequest)
                report = ReportTaskRun(
                    request.wf_run_id,
                    request.incarnation,
                    request.thread,
                    request.position,
                    request.attempt,
                    TaskStatus.SUCCESS,
                )
                house.post("task-reports", request.wf_run_id, report)
            house.producer.poll(0)


def per_second(house: House, wf_spec: str, wf_runs: int, first: int) -> float:
    """Start so many WfRuns at once, and return how many per second reached the event that ends the measurement."""
    wanted = KINDS[wf_spec][1]
    waiting = AtOnce(house)
    for number in range(first, first + wf_runs):
        this = f"{wf_spec}-{number:012d}"
        waiting.post("wf-commands", this, house.run_wf(this, wf_spec))
    consumer = house.consumer("wf-events", from_the_end=True)
    begun = time.monotonic()
    waiting.show("wf-commands")
    wait_for(consumer, wanted, wf_runs)
    seconds = time.monotonic() - begun
    consumer.close()
    return wf_runs / (seconds - (1.0 if wf_spec == "sleep" else 0.0))


def wait_for(consumer: Consumer, event: bytes, left: int) -> None:
    """Read until so many events of that name were seen."""
    until = time.monotonic() + 300
    while left > 0:
        assert time.monotonic() < until, f"{left} events {event!r} are missing"
        for message in consumer.consume(5_000, 0.02):
            headers: Any = message.headers() or ()
            left -= any(value == event for name, value in headers if name == "event")


@contextmanager
def timed() -> Iterator[list[float]]:
    """Yield a list that has the seconds of the block at its end."""
    begun = time.perf_counter()
    result: list[float] = []
    yield result
    result.append(time.perf_counter() - begun)


def measure_starting(figures: Figures, runs: int) -> None:
    """Measure how long programs take to start."""
    for _ in range(runs):
        with timed() as seconds:
            subprocess.run([sys.executable, "-m", "halter", "--help"], check=True, capture_output=True)
        figures.add("halter --help", "s", seconds[0], "≤ 0.3")


def measure(figures: Figures, kafka: EmbeddedBroker, folder: Path, partitions: int, wf_runs: int, runs: int) -> None:
    """Measure everything in one installation."""
    house = House(kafka, folder, partitions)
    with timed() as seconds, house.running():
        seconds.append(0.0)
        house.prepare()
        with Reporter(house):
            for run in range(-1, runs):
                for wf_spec, (name, _) in KINDS.items():
                    rate = per_second(house, wf_spec, wf_runs // 5 if run < 0 else wf_runs, (run + 1) * wf_runs)
                    if run >= 0:  # the first run warms up
                        figures.add(name, "/s", rate)
    for _ in range(runs):
        begun = time.perf_counter()
        with house.running():
            figures.add("halter worker until it is ready, no live WfRuns", "s", time.perf_counter() - begun)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--wf-runs", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    figures = Figures()
    measure_starting(figures, given.runs)
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = Path(name)
        with EmbeddedBroker(folder / "kafka") as kafka:
            measure(figures, kafka, folder, given.partitions, given.wf_runs, given.runs)
    print(figures.table())


if __name__ == "__main__":
    main()
