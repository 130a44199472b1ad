"""Measures the latency of an interrupt: from its post until a read_committed consumer has the `Resume`.

    python -m bench.latency [--partitions 8] [--rates 1 100 1000] [--seconds 20]

Posts come at a steady rate whatever the answers do, so slow answers do not lower the load.
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
from processors.core.records.commands import ExternalEvent, RunWf
from processors.core.records.errors import HalterError
from processors.core.records.events import Rejected, WfRunStarted

WF_RUNS = 20_000
"""So many that none is interrupted twice at once: two handlers that run beside each other end in one `Resume`."""
WARM_UP_SECONDS = 5.0
RESUME = b"Resume"
MANY = 1_000
TOO_MANY, TOO_MANY_SECONDS = 6_000, 3.0
SHARE_OF_THE_MAXIMUM = 0.8
AT_ONCE = 1_000
"""The most records that are read along with the one that was waited for."""
PATIENCE_SECONDS = 30.0
"""Seconds without any answer after which the benchmark fails."""


class Unanswered(HalterError):
    """Posts and answers do not match. Whoever measures inspects the WfRun that the message names."""


class Latency:
    """An installation with WfRuns that wait, and a worker."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._posted = 0

    def at(self, per_second: int, seconds: float) -> list[float]:
        """Post at a rate, and return the milliseconds of every interrupt after the warm-up."""
        consumer = self._house.consumer("wf-events", from_the_end=True)
        # Linger as Halter's client while somebody waits, and librdkafka's default where one process posts so much.
        producer = Producer(self._house.settings.producer(linger_ms=0 if per_second < MANY else 5))
        count, warm = int(per_second * seconds), max(5, int(per_second * WARM_UP_SECONDS))
        posted: dict[int, float] = {}
        first = self._posted
        self._posted += count + warm

        def post() -> None:
            begun = time.monotonic()
            for number in range(count + warm):
                time.sleep(max(0.0, begun + number / per_second - time.monotonic()))
                # Each post goes to another WfRun, so the answers of a WfRun come in the order of its posts.
                this = wf_run_id((first + number) * 7_919 % WF_RUNS)
                posted[number] = time.monotonic()
                self._house.post(
                    "external-events", this, ExternalEvent(this, "add", f"{first + number:08}", 1), producer
                )
                producer.poll(0)
            producer.flush()

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

    def most(self) -> float:
        """Post more than can be answered, and return the answers per second."""
        begun = time.monotonic()
        took = self.at(TOO_MANY, TOO_MANY_SECONDS)
        return (len(took) + WARM_UP_SECONDS * TOO_MANY) / (time.monotonic() - begun)

    def _answers(
        self, consumer: Consumer, waiting: dict[str, deque[int]], posted: dict[int, float], count: int
    ) -> dict[int, float]:
        took: dict[int, float] = {}
        last = time.monotonic()
        while len(took) < count:
            first = consumer.poll(1)
            now = time.monotonic()
            if first is None and now - last > PATIENCE_SECONDS:
                raise self._unanswered(waiting, posted)
            for message in [first, *consumer.consume(AT_ONCE, 0)] if first is not None else ():
                if message.error() is None and dict(message.headers() or ()).get("event") == RESUME:
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
        """Return what became of a WfRun, from its log."""
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
    figures: Figures,
    kafka: EmbeddedBroker,
    folder: Path,
    partitions: int,
    rates: dict[int, float],
    runs: int,
    *,
    near_the_maximum: bool = False,
) -> None:
    """Measure latencies. `rates` gives posts per second, and for how many seconds.

    The maximum rate is that of posts that come one by one, while the poster and reader uses the same machine.
    """
    house = House(kafka, folder, partitions)
    with house.running():
        house.prepare("interrupt", WF_RUNS)
        bench = Latency(house)
        for _ in range(runs):
            for rate, seconds in rates.items():
                add(figures, f"latency at {rate:,}/s, {partitions} partitions", bench.at(rate, seconds), rate == 100)
            if near_the_maximum:
                most = bench.most()
                figures.add(f"posts one by one, {partitions} partitions: answered", "/s", most)
                share = f"{SHARE_OF_THE_MAXIMUM:.0%}"
                took = bench.at(int(SHARE_OF_THE_MAXIMUM * most), 10.0)
                add(figures, f"latency at {share} of that, {partitions} partitions", took)


def add(figures: Figures, name: str, took: list[float], asked: bool = False) -> None:
    """Return the figures of a run from its milliseconds."""
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
    parser.add_argument("--near-the-maximum", action="store_true", help="find it, and post at 80 %% of it as well")
    given = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = Path(name)
        with EmbeddedBroker(folder / "kafka") as kafka:
            rates = dict.fromkeys(given.rates, given.seconds)
            try:
                measure(
                    figures,
                    kafka,
                    folder,
                    given.partitions,
                    rates,
                    given.runs,
                    near_the_maximum=given.near_the_maximum,
                )
            except Unanswered as error:
                sys.exit(f"latency: {error}")
    print(figures.table())


if __name__ == "__main__":
    main()
