"""Latency of an interrupt: from the post to the `Resume` in the hands of a read_committed consumer.

    python -m bench.latency [--partitions 8] [--rates 1 100 1000] [--seconds 20]

Posts come at a steady rate whatever the answers do, so that a slow answer is not forgiven by a slower load.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

from confluent_kafka import Consumer, Producer

from bench.figures import Figures, percentile
from bench.house import House
from bench.wf_specs import wf_run_id
from halter.broker import EmbeddedBroker
from processors.core.commands import ExternalEvent, RunWf
from processors.core.events import Rejected, WfRunStarted
from processors.errors import HalterError

WF_RUNS = 20_000
"""So many that none is interrupted twice at once: two handlers that run beside each other end in one `Resume`."""
WARM_UP_SECONDS = 5.0
RESUME = b"Resume"
PATIENCE_SECONDS = 30.0
"""Without any answer."""


class Unanswered(HalterError):
    """Posts and answers do not match: whoever measures should look at the WfRun that is named."""


class Latency:
    """One installation with WfRuns that wait, and a worker."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._producer = Producer(house.settings.producer(linger_ms=0))  # as the client's: somebody waits
        self._posted = 0

    def at(self, per_second: int, seconds: float) -> list[float]:
        """Post at a rate; return the milliseconds of every interrupt, those of the warm-up aside."""
        consumer = self._house.consumer("wf-events", from_the_end=True)
        count, warm = int(per_second * seconds), max(5, int(per_second * WARM_UP_SECONDS))
        posted: dict[int, float] = {}
        first = self._posted
        self._posted += count + warm

        def post() -> None:
            begun = time.monotonic()
            for number in range(count + warm):
                time.sleep(max(0.0, begun + number / per_second - time.monotonic()))
                # Each to another WfRun, so that the answers of a WfRun come in the order of its posts.
                this = wf_run_id((first + number) * 7_919 % WF_RUNS)
                posted[number] = time.monotonic()
                self._house.post(
                    "external-events", this, ExternalEvent(this, "add", f"{first + number:08}", 1), self._producer
                )
                self._producer.poll(0)
            self._producer.flush()

        waiting: dict[str, deque[int]] = {}
        for number in range(count + warm):
            waiting.setdefault(wf_run_id((first + number) * 7_919 % WF_RUNS), deque()).append(number)
        thread = threading.Thread(target=post)
        thread.start()
        try:
            took = self._answers(consumer, waiting, posted, count + warm)
        finally:
            thread.join()
            consumer.close()
        return [took[number] for number in range(warm, count + warm)]

    def _answers(
        self, consumer: Consumer, waiting: dict[str, deque[int]], posted: dict[int, float], count: int
    ) -> dict[int, float]:
        took: dict[int, float] = {}
        last = time.monotonic()
        while len(took) < count:
            message = consumer.poll(1)
            now = time.monotonic()
            if message is None or message.error() is not None:
                if now - last > PATIENCE_SECONDS:
                    raise self._unanswered(waiting, posted)
            elif dict(message.headers() or ()).get("event") == RESUME:
                wf_run = (message.key() or b"").decode()
                if not waiting.get(wf_run):
                    raise Unanswered(f"expected one `Resume` per post, found one too many: {self._tell(wf_run)}")
                number = waiting[wf_run].popleft()
                took[number] = 1_000 * (now - posted[number])
                last = now
        return took

    def _unanswered(self, waiting: dict[str, deque[int]], posted: dict[int, float]) -> "Unanswered":
        left = sorted((number, wf_run) for wf_run, numbers in waiting.items() for number in numbers)
        number, wf_run = left[0]
        when = f"{time.monotonic() - posted[number]:.0f} s ago" if number in posted else "not even yet"
        return Unanswered(
            f"expected a `Resume` for each post, found none for {PATIENCE_SECONDS:.0f} s with {len(left)} to come; "
            f"the first was posted {when}: {self._tell(wf_run)}"
        )

    def _tell(self, wf_run: str) -> str:
        """What became of a WfRun, from its log."""
        events = [entry.event for entry in self._house.log_of(wf_run)]
        told = [
            f"its {event.command} was rejected ({event.code}: {event.message})"
            for event in events
            if isinstance(event, Rejected)
        ]
        if any(isinstance(event, WfRunStarted) for event in events):
            told.append("its RunWf was accepted")
        elif not any(isinstance(event, Rejected) and event.command == RunWf.__name__ for event in events):
            told.append("its RunWf was neither accepted nor rejected")
        last = type(events[-1]).__name__ if events else "nothing"
        return f"WfRun {wf_run}: {', '.join(told)}; its log of {len(events)} events ends with {last}"


def measure(
    figures: Figures, kafka: EmbeddedBroker, folder: Path, partitions: int, rates: dict[int, float], runs: int
) -> None:
    """`rates`: posts per second, and for how many seconds."""
    house = House(kafka, folder, partitions)
    with house.running():
        house.prepare("interrupt", WF_RUNS)
        bench = Latency(house)
        for _ in range(runs):
            for rate, seconds in rates.items():
                took = bench.at(rate, seconds)
                name = f"latency at {rate:,}/s, {partitions} partitions"
                asked = rate == 100
                figures.add(f"{name}: p50", "ms", percentile(took, 50), "≤ 15" if asked else "")
                figures.add(f"{name}: p99", "ms", percentile(took, 99), "≤ 60" if asked else "")
                figures.add(f"{name}: p99.9", "ms", percentile(took, 99.9))
                figures.add(f"{name}: max", "ms", max(took))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--rates", type=int, nargs="*", default=[1, 100, 1_000])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = Path(name)
        with EmbeddedBroker(folder / "kafka") as kafka:
            rates = dict.fromkeys(given.rates, given.seconds)
            try:
                measure(figures, kafka, folder, given.partitions, rates, given.runs)
            except Unanswered as error:
                sys.exit(f"latency: {error}")
    print(figures.table())


if __name__ == "__main__":
    main()
