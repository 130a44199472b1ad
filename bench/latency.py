"""Measures the latency of an interrupt: from its post until a read_committed consumer has the `Resume`.

    python -m bench.latency [--partitions 8 16 32] [--rates 1 100 1000] [--seconds 10] [--runs 3] [--former FOLDER]

Posts come at a steady rate whatever the answers do, so slow answers do not lower the load. The floor
(bench/floor_worker.py), the former code (a checkout that `--former` names) and the present one are measured in turn, on
one broker, each on topics of its own. All workers run all the time; those that are not measured are idle.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, Producer

from bench.figures import Figures, percentile
from bench.house import FloorHouse, FormerHouse, House
from bench.sides import FLOOR, Sides, Target, Targets
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
TOO_MANY, TOO_MANY_SECONDS = 8_000, 9.0
SHARE_OF_THE_MAXIMUM = 0.8
AT_ONCE = 1_000
"""The most records that are read along with the one that was waited for."""
PATIENCE_SECONDS = 30.0
"""Seconds without any answer after which the benchmark fails."""
FEW_PARTITIONS = 8
TARGETS: Mapping[int, Mapping[str, Targets]] = {
    100: {"p50": [Target(12, 1.3)], "p99": [Target(45)]},
    1_000: {"p50": [Target(30, 1.5)], "p99": [Target(120)]},
}
"""Posts per second -> what must be reached on 8 partitions."""
TARGETS_WITH_MORE_PARTITIONS: Mapping[int, Mapping[str, Targets]] = {
    1_000: {"p50": [Target(45, 1.5)], "p99": [Target(180)]},
}
TARGETS_NEAR_THE_MAXIMUM: Mapping[str, Targets] = {"p99": [Target(500)]}


class Unanswered(HalterError):
    """Posts and answers do not match. Whoever measures inspects the WfRun that the message names."""


class Answer(NamedTuple):
    """One `Resume`: the number of the post that it answers, when it came, and how long that took, in seconds."""

    number: int
    at: float
    took: float


class Latency:
    """An installation with WfRuns that wait, and a worker."""

    def __init__(self, house: House, wf_runs: int = WF_RUNS) -> None:
        self._house, self._wf_runs = house, wf_runs
        self._posted = 0

    def at(self, per_second: int, seconds: float, warm_up_seconds: float = WARM_UP_SECONDS) -> list[float]:
        """Post at a rate, and return the milliseconds of every interrupt after the warm-up."""
        count, warm = int(per_second * seconds), max(5, int(per_second * warm_up_seconds))
        answers, _ = self._run(count + warm, per_second)
        return [1_000 * answer.took for answer in answers if answer.number >= warm]

    def most(self) -> float:
        """Return the answers per second while more posts come, one by one, than can be answered.

        With a fixed number of posts under way more would be answered: those come in bursts, which cost the broker less.
        """
        answers, posted = self._run(int(TOO_MANY * TOO_MANY_SECONDS), TOO_MANY)
        first, last = posted[0] + TOO_MANY_SECONDS / 3, posted[-1]
        return sum(first <= answer.at <= last for answer in answers) / (last - first)

    def _run(self, count: int, per_second: int) -> tuple[list["Answer"], list[float]]:
        """Post so often, at a rate. Return the answers in the order in which they came, and the times of the posts."""
        # Encoded before the clock starts: whoever posts and reads takes the processor from broker and worker.
        posts = [self._post(self._posted + number) for number in range(count)]
        self._posted += count
        consumer = self._house.consumer("wf-events", from_the_end=True)
        # Linger as Halter's client while somebody waits, and librdkafka's default where one process posts so much.
        producer = Producer(self._house.settings.producer(linger_ms=0 if per_second < MANY else 5))
        topic = self._house.topics.prefix + "external-events"
        posted: list[float] = []

        def post() -> None:
            begun = time.monotonic()
            for number, (key, value) in enumerate(posts):
                time.sleep(max(0.0, begun + number / per_second - time.monotonic()))
                posted.append(time.monotonic())
                producer.produce(topic, value, key)
                producer.poll(0)
            producer.flush()

        # Each post goes to another WfRun, so the answers of a WfRun come in the order of its posts.
        waiting: dict[bytes, deque[int]] = {}
        for number, (key, _) in enumerate(posts):
            waiting.setdefault(key, deque()).append(number)
        thread = threading.Thread(target=post, daemon=True)
        thread.start()
        try:
            answers = self._answers(consumer, waiting, posted, count)
        finally:
            consumer.close()
        thread.join()
        return answers, posted

    def _post(self, number: int) -> tuple[bytes, bytes]:
        wf_run = wf_run_id(number * 7_919 % self._wf_runs)
        return wf_run.encode(), self._house.codec.encode(ExternalEvent(wf_run, "add", f"{number:08}", 1))

    def _answers(
        self,
        consumer: Consumer,
        waiting: dict[bytes, deque[int]],
        posted: list[float],
        count: int,
    ) -> list["Answer"]:
        answers: list[Answer] = []
        last = time.monotonic()
        while len(answers) < count:
            first = consumer.poll(1)
            if first is None:
                if time.monotonic() - last > PATIENCE_SECONDS:
                    raise self._unanswered(waiting, posted)
                continue
            messages = [first, *consumer.consume(AT_ONCE, 0)]
            now = time.monotonic()
            for message in messages:
                if (headers := message.headers()) and headers[0][1] == RESUME:
                    key = message.key() or b""
                    if not waiting.get(key):
                        raise Unanswered(
                            f"expected one `Resume` per post, found one too many: {self._tell(key.decode())}"
                        )
                    number = waiting[key].popleft()
                    answers.append(Answer(number, now, now - posted[number]))
                    last = now
        return answers

    def _unanswered(self, waiting: dict[bytes, deque[int]], posted: list[float]) -> "Unanswered":
        left = sorted((number, key.decode()) for key, numbers in waiting.items() for number in numbers)
        number, wf_run = left[0]
        when = f"{time.monotonic() - posted[number]:.0f} s ago" if number < len(posted) else "not even yet"
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


def houses(kafka: EmbeddedBroker, folder: Path, partitions: int, former: Path | None) -> list[House]:
    """Return an installation for each side, in the order in which they are measured."""
    for kind in ("floor", "former", "present"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    return [
        FloorHouse(kafka, folder / "floor", partitions),
        *([FormerHouse(kafka, folder / "former", partitions, former)] if former is not None else []),
        House(kafka, folder / "present", partitions),
    ]


def measure(
    sides: Sides,
    kafka: EmbeddedBroker,
    folder: Path,
    partitions: int,
    rates: Mapping[int, float],
    runs: int,
    *,
    former: Path | None = None,
    near_the_maximum: bool = False,
) -> None:
    """Measure latencies. `rates` gives posts per second, and for how many seconds.

    The maximum rate is that of posts that come one by one, while the poster and reader uses the same machine.
    """
    where = f"{partitions} partition{'s' * (partitions > 1)}"
    if kafka.brokers > 1:
        where += f", {kafka.brokers} brokers"
    targets = TARGETS if partitions <= FEW_PARTITIONS else TARGETS_WITH_MORE_PARTITIONS
    with ExitStack() as stack:
        benches = []
        for house in houses(kafka, folder, partitions, former):
            stack.enter_context(house.running())
            house.prepare("interrupt", WF_RUNS)
            benches.append((house.kind, Latency(house)))
        for _ in range(runs):
            for rate, seconds in rates.items():
                for side, bench in benches:
                    name = f"latency at {rate:,}/s, {where}"
                    took = figures_of(bench.at(rate, seconds))
                    sides.add_all(name, side, took, "ms", targets.get(rate, {}))
            for side, bench in benches:
                if near_the_maximum and side != FLOOR:
                    most = bench.most()
                    sides.add(f"posts one by one, {where}: answered at most", "/s", side, most)
                    took = figures_of(bench.at(int(SHARE_OF_THE_MAXIMUM * most), 10.0))
                    name = f"latency at {SHARE_OF_THE_MAXIMUM:.0%} of that, {where}"
                    sides.add_all(name, side, took, "ms", TARGETS_NEAR_THE_MAXIMUM)


def figures_of(took: Sequence[float]) -> dict[str, float]:
    """Return the figures of a run from its milliseconds."""
    return {
        "p50": percentile(took, 50),
        "p99": percentile(took, 99),
        "p99.9": percentile(took, 99.9),
        "max": max(took),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--partitions", type=int, nargs="*", default=[8])
    parser.add_argument("--rates", type=int, nargs="*", default=[1, 100, 1_000])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--former", type=Path, help="a checkout of the former code, with an environment in its .venv")
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3))
    parser.add_argument("--near-the-maximum", action="store_true", help="find it, and post at 80 %% of it as well")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    former = given.former.resolve() if given.former else None
    sides = Sides(Figures(quiet=given.json))
    rates = dict.fromkeys(given.rates, given.seconds)
    try:
        for partitions in given.partitions:
            with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
                folder = Path(name)
                with EmbeddedBroker(folder / "kafka", given.brokers) as kafka:
                    measure(
                        sides,
                        kafka,
                        folder,
                        partitions,
                        rates,
                        given.runs,
                        former=former,
                        near_the_maximum=given.near_the_maximum,
                    )
    except HalterError as error:
        sys.exit(f"latency: {error}")
    print(json.dumps(sides.as_dict(), indent=2) if given.json else sides.table())


if __name__ == "__main__":
    main()
