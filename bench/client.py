"""Measures what posting an ExternalEvent costs: by the producer of confluent-kafka alone, and by Halter's clients.

    python -m bench.client [--events 50000] [--rounds 5]

Every way posts the same events to a broker of its own, in turns, so that they meet the same machine. `the producer` is
given bytes that are made already, with the settings of a client, and hears of each delivery: what others cost beyond it
is theirs. CPU is that of the process, with the threads of librdkafka. No worker runs: nothing is decided.

`one at a time` is how long a caller waits for one record, nothing else being on its way.
"""

import argparse
import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.aio import AIOProducer

from bench.figures import Figures
from halter import AsyncClient, Client, NewEvent
from halter.broker import EmbeddedBroker
from halter.client.async_client import in_thread
from tests.support.halter_processes import Halter

PARTITIONS: Final = 8
AT_A_TIME: Final = 1_000
"""Posts of a loop that are on their way together."""
SINGLE: Final = 200
PER_EVENT, BEYOND, RATE, ONE = "CPU per event", "CPU per event beyond the producer", "events/s", "one at a time"


def events(number: int) -> list[NewEvent]:
    """Return so many ExternalEvents of a usual size, for 500 WfRuns."""
    return [NewEvent(f"cart-{n % 500}", "item-added", {"sku": f"mug-{n}", "quantity": 2}) for n in range(number)]


class Ways:
    """The ways in which the same events are posted."""

    def __init__(self, halter: Halter, number: int) -> None:
        self.settings, self.topic = halter.settings, halter.topics.external_events
        self.client = Client.of(halter.settings, halter.topics)
        self.events = events(number)
        commands = [self.client._asking.event(it) for it in self.events]
        self.records = [(it.wf_run_id.encode(), self.client.check(it)) for it in commands]
        self.producer = Producer(self.settings.producer(linger_ms=0))
        self.ours = AsyncClient.of(halter.settings)

    def the_producer(self) -> None:
        """Give ready bytes to confluent-kafka's producer."""
        delivered = 0

        def report(error: KafkaError | None, _: Message) -> None:
            nonlocal delivered
            assert error is None
            delivered += 1

        for key, value in self.records:
            while True:
                try:
                    self.producer.produce(self.topic, key=key, value=value, on_delivery=report)
                    break
                except BufferError:
                    self.producer.poll(0.05)
        while delivered < len(self.records):
            self.producer.poll(0.05)

    def post_many(self) -> None:
        """Post by `Client.post_many`."""
        self.client.post_many(self.events)

    async def aio_producer(self) -> None:
        """Give ready bytes to confluent-kafka's producer for asyncio."""
        producer = AIOProducer(self.aio_settings())
        futures = [await producer.produce(self.topic, key=key, value=value) for key, value in self.records]
        await producer.flush()
        await asyncio.gather(*futures)
        await producer.close()

    def aio_settings(self) -> dict[str, Any]:
        """Its settings. It wants callbacks that are coroutines."""
        settings = self.settings.producer(linger_ms=0)
        del settings["error_cb"], settings["logger"]
        return settings

    async def async_post(self) -> None:
        """Post by `AsyncClient.post`, a thousand at a time."""
        await self._at_once(lambda it: self.ours.post(*it[:3]))

    async def async_post_many(self) -> None:
        """Post by `AsyncClient.post_many`."""
        await self.ours.post_many(self.events)

    async def in_threads(self) -> None:
        """Post by `Client.post` in the threads of a pool: the way that needs no code."""
        with ThreadPoolExecutor(32) as threads:
            await self._at_once(lambda it: in_thread(threads, lambda: self.client.post(*it[:3])))

    async def _at_once(self, post: Callable[[NewEvent], Awaitable[object]]) -> None:
        for first in range(0, len(self.events), AT_A_TIME):
            await asyncio.gather(*map(post, self.events[first : first + AT_A_TIME]))


def seconds_of(call: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds and the CPU seconds that a call takes."""
    gc.collect()
    begun, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - begun, time.process_time() - cpu


def measure(figures: Figures, ways: Ways, rounds: int, loop: asyncio.Runner) -> None:
    """Post all events in each way, in turns."""
    number = len(ways.events)
    all_ways: dict[str, Callable[[], object]] = {
        "the producer": ways.the_producer,
        "Client.post_many": ways.post_many,
        "AsyncClient.post_many": lambda: loop.run(ways.async_post_many()),
        "AsyncClient.post": lambda: loop.run(ways.async_post()),
        "AIOProducer": lambda: loop.run(ways.aio_producer()),
        "Client.post in 32 threads": lambda: loop.run(ways.in_threads()),
    }
    for one in range(rounds + 1):
        noted = figures if one else Figures(quiet=True)  # the first round warms up
        base = 0.0
        for name, way in all_ways.items():
            seconds, cpu = seconds_of(way)
            per_event = 1e6 * cpu / number
            base = base or per_event
            noted.add(f"{name}: {RATE}", "", number / seconds, "≥ 20,000" if name == "Client.post_many" else "")
            noted.add(f"{name}: {PER_EVENT}", "µs", per_event)
            if name != "the producer":
                target = "≤ 30" if name == "Client.post_many" else ""
                noted.add(f"{name}: {BEYOND}", "µs", per_event - base, target)


def measure_one_at_a_time(figures: Figures, ways: Ways, loop: asyncio.Runner) -> None:
    """Measure how long a caller waits for one record."""

    async def with_aio(wait_s: float) -> list[float]:
        producer = AIOProducer(ways.aio_settings(), buffer_timeout=wait_s)
        took = []
        for key, value in ways.records[: SINGLE if wait_s < 1 else 5]:
            begun = time.perf_counter()
            await (await producer.produce(ways.topic, key=key, value=value))
            took.append(time.perf_counter() - begun)
        await producer.close()
        return took

    async def with_ours() -> list[float]:
        return [await timed(ways.ours.post(*it[:3])) for it in ways.events[:SINGLE]]

    async def timed(call: Awaitable[object]) -> float:
        begun = time.perf_counter()
        await call
        return time.perf_counter() - begun

    for name, took in (
        ("Client.post", [seconds_of(lambda it=it: ways.client.post(*it[:3]))[0] for it in ways.events[:SINGLE]]),
        ("AsyncClient.post", loop.run(with_ours())),
        ("AIOProducer, its default", loop.run(with_aio(1.0))),
        ("AIOProducer, buffer_timeout=0.01", loop.run(with_aio(0.01))),
    ):
        figures.add(f"{name}: {ONE}", "ms", 1e3 * statistics.median(took))


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description="Measure what posting costs.")
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    figures = Figures()
    with (
        tempfile.TemporaryDirectory(prefix="halter-bench-") as folder,
        EmbeddedBroker(Path(folder) / "kafka") as kafka,
        asyncio.Runner() as loop,
    ):
        ways = Ways(Halter(kafka.bootstrap, "client-", Path(folder), PARTITIONS), options.events)
        measure(figures, ways, options.rounds, loop)
        measure_one_at_a_time(figures, ways, loop)
        loop.run(ways.ours.close())
        ways.client.close()
    print(figures.table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
