"""The order of it all: start, register, feed, kill, restart, wait, read everything again, tell.

Waiting is for records and positions. The first half of the records comes at a steady rate, as on a quiet day: it gives
the latency. The second half comes as one burst, and the worker is killed with SIGKILL in the middle of that; what is
left then is folded after the restart as fast as it can be: it gives the rate.
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
from halter.demo.feed import Feeder, FeedRecord, Place, halves, read_feed
from halter.demo.ledger import Ledger, LedgerReader
from halter.demo.stage import Say, Stage
from halter.demo.watch import Watcher
from halter.files.definition_files import read_definition_file
from halter.topics import admin as topic_admin
from processors.codec import Codec
from processors.codec.resources import resource
from processors.kafka.settings import Settings

DEFAULT_PORT: Final = 9092
STILL_SECONDS: Final = 60.0
"""So long nothing may move before the demo gives up: longer than a restart, shorter than anybody's patience."""

BURST_SEEN_SHARE: Final = 0.2
"""The worker is killed when this share of the burst has an outcome that can be seen."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose."""

    keep: bool = False
    bootstrap: str | None = None
    """A Kafka to use; None: the embedded one."""
    prefix: str | None = None
    partitions: int | None = None
    events: Path | None = None
    """None: the events of the cart."""
    records_max: int | None = None
    """Use only so many records from the start of the file."""
    per_second: float = 400.0
    """The rate of the first half."""


@dataclass
class Figures:
    """What was measured. Seconds, and records of all input topics."""

    records: int = 0
    per_second: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Of the first half without its first third, sorted: from the call of produce to the sight of the first outcome."""
    outage_s: float = 0.0
    """From SIGKILL to the next outcome."""
    drained: int = 0
    drained_events: int = 0
    drain_s: float = 0.0
    handled_when_killed: int = 0
    total_s: float = 0.0

    def latency_ms(self, share: float) -> float:
        """A percentile, in milliseconds."""
        if not self.latencies:
            return 0.0
        return 1_000 * self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


@dataclass(frozen=True, slots=True)
class Result:
    """What there is to tell."""

    ledger: Ledger
    figures: Figures
    settings: Settings
    client: Client


class Demo:
    """One run of the main job. `tell` gets the result while everything still runs."""

    def __init__(self, options: Options, say: Say) -> None:
        self._options, self._say = options, say
        self._codec = Codec.load()
        self._begun = time.perf_counter()

    def run(self, stage: Stage) -> Result:
        """Do it all. Raises HalterError when something of it cannot be done."""
        options = self._options
        events = options.events or resource("examples/cart/events.jsonl")
        read_feed(events, self._codec)  # a file that cannot be used is found before anything is started
        settings = self._settings(stage)
        topics = settings.topics()
        self._say(f"making {len(topics.all)} topics")
        admin = AdminClient(settings.admin())
        with settings.explaining("making topics", admin):
            topic_admin.make_so(topics, admin, replication="auto")
        stage.use(settings.bootstrap, settings.prefix, topics.partitions)
        self._say("starting a worker and a task worker")
        stage.start_worker()
        stage.start_task_worker()
        client = Client(settings, topics, self._codec)
        records = read_feed(events, self._codec, self._register(client))[: options.records_max]
        watcher = Watcher(settings, topics, self._codec)
        watcher.start()
        figures = Play(stage, watcher, Feeder(settings, topics), self._say).run(records, options.per_second)
        watcher.stop()
        self._say("reading all topics again, and checking")
        ledger = LedgerReader(client.reader, topics, self._codec).read()
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
            # On somebody's Kafka, apart from everything else there.
            prefix = f"halter-demo-{new_id()[-12:]}-"
        return Settings.load(None, {}, {"bootstrap.servers": bootstrap}, prefix=prefix, partitions=options.partitions)

    def _register(self, client: Client) -> int:
        """Return the position of `definitions` from which on the cart can be run."""
        commands = read_definition_file(resource("examples/cart/cart.yaml")).commands
        self._say(f"registering the cart: {len(commands)} definitions")
        return max(client.put(command).position for command in commands)


class Play:
    """Feeds, kills, restarts and waits."""

    def __init__(self, stage: Stage, watcher: Watcher, feeder: Feeder, say: Say) -> None:
        self._stage, self._watcher, self._feeder, self._say = stage, watcher, feeder, say
        self._figures = Figures()

    def run(self, records: Sequence[FeedRecord], per_second: float) -> Figures:
        """Return what was measured when all that was fed has an outcome and no task is out."""
        first, second = halves(records)
        self._figures.records = len(records)
        self._steadily(first, per_second)
        self._burst(second)
        return self._figures

    def _steadily(self, records: Sequence[FeedRecord], per_second: float) -> None:
        self._say(f"feeding {len(records):,} records at {per_second:,.0f}/s")
        self._feeder.feed_at(records, per_second)
        self._wait_until_handled()
        seen, produced = self._watcher.seen_at, self._feeder.produced_at
        self._figures.per_second = per_second
        # A Java and three Pythons that have just been started are not what a latency is asked of.
        warm = sorted(produced, key=produced.__getitem__)[len(produced) // 3 :]
        self._figures.latencies = sorted(seen[place] - produced[place] for place in warm)

    def _burst(self, records: Sequence[FeedRecord]) -> None:
        figures, watcher = self._figures, self._watcher
        self._say(f"feeding {len(records):,} records as one burst, and killing the worker in the middle of it")
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
        # What was committed before the kill may still have been on its way to us: the outage is the largest silence.
        silences = [(later - earlier, later) for earlier, later in zip([killed_at, *after], after, strict=False)]
        figures.outage_s, resumed_at = max(silences, default=(0.0, killed_at))
        drained = [at for at in after if at >= resumed_at]
        figures.drained, figures.drained_events = len(drained), watcher.entries - entries
        # The first turn is large: counting from its commit would leave its time out.
        figures.drain_s = watcher.moved_at - min(ready_at, resumed_at)

    def _handled(self) -> int:
        return len(self._feeder.produced_at) - len(self._missing())

    def _missing(self) -> list[Place]:
        seen = self._watcher.seen_at
        return [place for place in self._feeder.produced_at if place not in seen]

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
            f"({examples or 'none'}) and {len(self._watcher.tasks_out)} tasks out; the worker's last words:\n"
            + self._stage.actors["worker"].log_end()
        )
