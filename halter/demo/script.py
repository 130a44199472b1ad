"""Runs the demo in order: start, register, produce, kill, restart, wait, and read everything again.

Every wait is for records or positions, never for a time. The first half of the records comes at a steady rate: it
gives the latency. The second half comes in one burst, and in its middle the worker is killed with SIGKILL. After the
restart the rest is folded as fast as possible: it gives the rate.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from confluent_kafka.admin import AdminClient

from halter.broker.cluster import choose_ports, is_free
from halter.client import Client
from halter.client.ids import new_id
from halter.demo.feed import Feeder, FeedRecord, RecordAddress, halves, read_feed
from halter.demo.ledger import Ledger, LedgerReader
from halter.demo.stage import Stage
from halter.demo.watch import Watcher
from halter.files.definition_files import read_definition_file
from halter.processes.actor import Say
from halter.topics import admin as topic_admin
from processors.codec import Codec
from processors.codec.resources import resource
from processors.kafka.settings import Settings

DEFAULT_PORT: Final = 9092
STILL_SECONDS: Final = 60.0
"""The demo gives up when nothing has moved for so long. It is longer than a restart takes."""

BURST_SEEN_SHARE: Final = 0.2
"""The worker is killed when this share of the burst has a visible outcome."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command."""

    keep: bool = False
    bootstrap: str | None = None
    """The Kafka to use; None for the embedded one."""
    prefix: str | None = None
    partitions: int | None = None
    events: Path | None = None
    """The file of events; None for that of the cart."""
    records_max: int | None = None
    """The number of records to use from the start of the file; None for all."""
    per_second: float = 400.0
    """The rate of the first half."""


@dataclass
class Figures:
    """The measurements. Times in seconds; records of all input topics."""

    records: int = 0
    per_second: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Times from produce until the first outcome was seen, sorted; of the first half without its first third."""
    outage_s: float = 0.0
    """The time from SIGKILL to the next outcome."""
    drained: int = 0
    drained_events: int = 0
    drain_s: float = 0.0
    handled_when_killed: int = 0
    total_s: float = 0.0

    def latency_ms(self, share: float) -> float:
        """Return a percentile of the latencies in milliseconds."""
        if not self.latencies:
            return 0.0
        return 1_000 * self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that the report needs."""

    ledger: Ledger
    figures: Figures
    settings: Settings
    client: Client


class Demo:
    """One run of the demo."""

    def __init__(self, options: Options, say: Say) -> None:
        self._options, self._say = options, say
        self._codec = Codec.load()
        self._begun = time.perf_counter()

    def run(self, stage: Stage) -> Result:
        """Run the demo from the start to the check, and leave the processes running. Raises HalterError."""
        options = self._options
        events = options.events or resource("examples/cart/events.jsonl")
        read_feed(events, self._codec)  # fail on a bad file before anything is started
        settings = self._settings(stage)
        topics = settings.topics()
        self._say(f"creating {len(topics.all)} topics")
        admin = AdminClient(settings.admin())
        with settings.explaining("creating topics", admin):
            topic_admin.make_so(topics, admin, replication="auto")
        stage.use(settings.bootstrap, settings.prefix, topics.partitions)
        self._say("starting a worker and a task worker")
        stage.start_worker()
        client = Client.of(settings, topics, self._codec)
        records = read_feed(events, self._codec, self._register(client))[: options.records_max]
        stage.start_task_worker()  # it compares its handlers with the TaskDefs
        watcher = Watcher(settings, topics, self._codec)
        watcher.start()
        figures = Play(stage, watcher, Feeder(settings, topics), self._say).run(records, options.per_second)
        watcher.stop()
        self._say("reading all topics again, and checking")
        reader = LedgerReader(client.reader, topics, self._codec)
        reader.wait_for_rows()
        ledger = reader.read()
        figures.total_s = time.perf_counter() - self._begun
        return Result(ledger, figures, settings, client)

    def _settings(self, stage: Stage) -> Settings:
        options = self._options
        prefix, bootstrap = options.prefix or "", options.bootstrap
        if bootstrap is None:
            port = DEFAULT_PORT if is_free(DEFAULT_PORT) else choose_ports(1)[0]
            self._say(f"starting Apache Kafka at 127.0.0.1:{port}")
            bootstrap = stage.start_broker(port)
        elif options.prefix is None:
            # On a shared Kafka, the demo keeps apart from everything else.
            prefix = f"halter-demo-{new_id()[-12:]}-"
        return Settings.load(None, {}, {"bootstrap.servers": bootstrap}, prefix=prefix, partitions=options.partitions)

    def _register(self, client: Client) -> int:
        """Register the cart, and return the position of `definitions` that a worker needs to run it."""
        commands = read_definition_file(resource("examples/cart/cart.yaml")).commands
        self._say(f"registering the cart: {len(commands)} definitions")
        return max(client.put(command).position for command in commands)


class Play:
    """Produces the records, kills the worker and restarts it, and waits until everything is handled."""

    def __init__(self, stage: Stage, watcher: Watcher, feeder: Feeder, say: Say) -> None:
        self._stage, self._watcher, self._feeder, self._say = stage, watcher, feeder, say
        self._figures = Figures()

    def run(self, records: Sequence[FeedRecord], per_second: float) -> Figures:
        """Return the figures once every record has an outcome and no task is out."""
        first, second = halves(records)
        self._figures.records = len(records)
        self._steadily(first, per_second)
        self._burst(second)
        return self._figures

    def _steadily(self, records: Sequence[FeedRecord], per_second: float) -> None:
        self._say(f"producing {len(records):,} records at {per_second:,.0f}/s")
        self._feeder.feed_at(records, per_second)
        self._wait_until_handled()
        seen, produced = self._watcher.seen_at, self._feeder.produced_at
        self._figures.per_second = per_second
        # The first third is left out: one Java and three Python processes have only just started.
        warm = sorted(produced, key=produced.__getitem__)[len(produced) // 3 :]
        self._figures.latencies = sorted(seen[address] - produced[address] for address in warm)

    def _burst(self, records: Sequence[FeedRecord]) -> None:
        figures, watcher = self._figures, self._watcher
        self._say(f"producing {len(records):,} records in one burst, and killing the worker in the middle of it")
        enough = len(watcher.seen_at) + int(len(records) * BURST_SEEN_SHARE)
        self._feeder.feed(records)
        self._wait(lambda: len(watcher.seen_at) >= enough)
        killed_at = time.perf_counter()
        self._stage.actors["worker"].kill()
        figures.handled_when_killed = self._handled()
        entries = watcher.entries
        self._say(
            f"kill -9 with {figures.handled_when_killed:,} of {figures.records:,} records handled; starting it again"
        )
        self._stage.start_worker()
        ready_at = time.perf_counter()
        self._wait_until_handled()
        after = sorted(at for at in watcher.seen_at.values() if at > killed_at)
        # Outcomes committed before the kill may still arrive after it. So the outage is the longest silence.
        silences = [(later - earlier, later) for earlier, later in zip([killed_at, *after], after, strict=False)]
        figures.outage_s, resumed_at = max(silences, default=(0.0, killed_at))
        drained = [at for at in after if at >= resumed_at]
        figures.drained, figures.drained_events = len(drained), watcher.entries - entries
        # The first turn is large. Counting from its commit would leave its time out.
        figures.drain_s = watcher.moved_at - min(ready_at, resumed_at)

    def _handled(self) -> int:
        return len(self._feeder.produced_at) - len(self._missing())

    def _missing(self) -> list[RecordAddress]:
        seen = self._watcher.seen_at
        return [address for address in self._feeder.produced_at if address not in seen]

    def _wait_until_handled(self) -> None:
        missing, seen = self._missing(), self._watcher.seen_at

        def handled() -> bool:
            while missing and missing[-1] in seen:
                missing.pop()
            return not missing and not self._watcher.tasks_out

        self._wait(handled)

    def _wait(self, condition: Callable[[], bool]) -> None:
        def goes_on() -> bool:
            self._stage.expect_all_running()
            return condition()

        self._watcher.wait_until(goes_on, STILL_SECONDS, self._why_stuck)

    def _why_stuck(self) -> str:
        missing = self._missing()
        examples = ", ".join(f"{topic}[{partition}]@{offset}" for topic, partition, offset in missing[:3])
        return (
            f"nothing has moved for {STILL_SECONDS:.0f} s, with {len(missing)} records without an outcome "
            f"({examples or 'none'}) and {len(self._watcher.tasks_out)} tasks out; the end of the worker's log:\n"
            + self._stage.actors["worker"].log_end()
        )
