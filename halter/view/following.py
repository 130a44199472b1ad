"""The work of `halter view`: fills a view where there is none, and keeps it current until it is told to end.

Figures of it may be asked for at any time, by another thread.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Final

import structlog

from halter.client.client import Client
from halter.view.kafka import KafkaReader, LogTruncated, now_ms, source_of
from halter.view.keeping import Keeper, News
from halter.view.place import View, ViewTaken, ViewUnavailable, analyze, another_generation, replace
from processors.fold.log_tail import LogBroken
from processors.kafka.errors import KafkaUnavailable

FRESH_MS: Final = 15_000
"""Kafka has to have answered within this time for a view to count as current."""


REBUILDS_MAX: Final = 3
"""How often a view is built anew, at most, before it has come to where the topics end."""
PAUSE_SECONDS: Final = 1.0
PAUSE_SECONDS_MAX: Final = 30.0
"""How long it waits, at first and at most, before it goes on with a database or a Kafka that was away."""
PRUNE_SECONDS: Final = 300.0
"""How often a view drops what the log has no more."""
STATUS_SECONDS: Final = 10.0
"""How often a line says how far a view is that is behind."""


@dataclass(slots=True)
class Figures:
    """How the work is going."""

    state: str = "starting"
    """starting, building, following, waiting (for the database or Kafka) or stopped."""
    records: int = 0
    """Records that were read, of the log and of dead letters."""
    rows: int = 0
    """Rows that were written."""
    transactions: int = 0
    rebuilds: int = 0
    lag: dict[int, int] = field(default_factory=dict)
    """Partition -> offsets that are not read yet."""
    seen_ms: int = 0
    """When Kafka answered last."""

    @property
    def live(self) -> bool:
        """Say whether it still works."""
        return self.state != "stopped"

    @property
    def ready(self) -> bool:
        """Say whether the view is current: filled, and Kafka has answered lately."""
        return self.state == "following" and now_ms() - self.seen_ms < FRESH_MS

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "state": self.state,
            "live": self.live,
            "ready": self.ready,
            "lag": sum(self.lag.values()),
            "records": self.records,
            "rows": self.rows,
            "transactions": self.transactions,
            "rebuilds": self.rebuilds,
        }


class Following:
    """Keeps one view current."""

    def __init__(
        self,
        client: Client,
        view: View,
        *,
        with_masked: bool = False,
        stopped: Event | None = None,
        log: Any = None,
    ) -> None:
        """`log` is a logger of structlog."""
        self._client, self._view, self._with_masked = client, view, with_masked
        self._stopped, self._log = stopped or Event(), log or structlog.get_logger("halter.view")
        self.figures = Figures()
        self._rebuilds = 0
        """How often it was built anew since it was current."""
        self._was_current = False
        self._when_current: Callable[[], object] = lambda: None

    def when_current(self, call: Callable[[], object]) -> None:
        """Have this called each time that the view has come to where the topics end."""
        self._when_current = call

    def run(self, *, once: bool = False, rebuild: bool = False) -> None:
        """Keep the view current until it is stopped; with `once`, until it has everything that there was at the start.

        Where the database or Kafka goes away while it follows, it waits for it.

        Raises ViewUnavailable, OtherSource, KafkaUnavailable, LaterRelease.
        """
        pause_s = PAUSE_SECONDS
        try:
            while not self._stopped.is_set():
                try:
                    self._run_taken(once=once, rebuild=rebuild)
                    return
                except ViewTaken:
                    raise
                except (ViewUnavailable, KafkaUnavailable) as error:
                    if once or not self._was_current:
                        raise
                    away = "database" if isinstance(error, ViewUnavailable) else "kafka"
                    self._log.warning(f"waiting_for_{away}", reason=str(error), seconds=pause_s)
                    pause_s = (
                        PAUSE_SECONDS if self.figures.state == "following" else min(pause_s * 2, PAUSE_SECONDS_MAX)
                    )
                    self.figures.state, rebuild = "waiting", False
                    self._view.close()
                    self._stopped.wait(pause_s)
        finally:
            self.figures.state = "stopped"

    def _run_taken(self, *, once: bool, rebuild: bool) -> None:
        with self._view.taken():
            if rebuild:
                self._rebuild("asked for")
            while not self._stopped.is_set() and not self._run(once=once):
                pass

    def _run(self, *, once: bool) -> bool:
        """Do the same. Return False if the view was built anew on the way and has to be opened again."""
        keeper = Keeper(self._view, self._client.codec, with_masked=self._with_masked)
        reader = KafkaReader(self._client, keeper, self._stopped.is_set)
        try:
            if keeper.begin(source_of(self._client), now_ms()):
                self._build(keeper, reader)
                if self._stopped.is_set():
                    return True
            else:
                keeper.write(News(definitions=reader.definitions()))
                reader.expect_there()
            self._follow(keeper, reader, once=once)
        except (LogTruncated, LogBroken) as error:
            if self._rebuilds >= REBUILDS_MAX:
                raise  # it does not help, so whoever started this has to know
            self._rebuild(str(error))
            return False
        return True

    def _build(self, keeper: Keeper, reader: KafkaReader) -> None:
        """Fill an empty view."""
        self.figures.state = "building"
        partitions = self._client.topics.partitions
        self._log.info("filling", partitions=partitions)
        begun = time.monotonic()
        keeper.write(News(definitions=reader.definitions()))
        for partition in range(partitions):
            for rows in reader.build(partition):
                self.figures.rows += rows
                self.figures.transactions += 1
                if self._stopped.is_set():
                    return
        keeper.ready()
        analyze(keeper.view)
        self._log.info("filled", rows=self.figures.rows, seconds=round(time.monotonic() - begun, 1))

    def _rebuild(self, why: str) -> None:
        """Build the view anew beside itself, and put the new one in its place. Readers see the old one until then."""
        self.figures.rebuilds += 1
        self._rebuilds += 1
        self._log.warning("building_anew", reason=why, hint="others read the old view until the new one is there")
        with another_generation(self._view) as beside:
            keeper = Keeper(beside, self._client.codec, with_masked=self._with_masked)
            keeper.begin(source_of(self._client), now_ms())
            self._build(keeper, KafkaReader(self._client, keeper, self._stopped.is_set))
            if not self._stopped.is_set():
                replace(self._view, beside)
                analyze(self._view)
                self._log.info("built_anew")

    def _follow(self, keeper: Keeper, reader: KafkaReader, *, once: bool) -> None:
        """Write what comes, until stopped or, with `once`, until nothing is left."""
        figures = self.figures
        figures.state = "following"
        said = pruned = time.monotonic()
        is_current = False
        for news in reader.news():
            figures.rows += keeper.write(news)
            figures.transactions += 1
            figures.records += sum(map(len, news.entries.values())) + len(news.dead_letters)
            figures.lag = {partition: ends.lag for partition, ends in news.ends.items()}
            figures.seen_ms = min(ends.seen_ms for ends in news.ends.values())
            lag = sum(figures.lag.values())
            if (lag == 0) != is_current or time.monotonic() - said > STATUS_SECONDS:
                if lag or not is_current:
                    self._log.info("following", lag=lag, records=figures.records, rows=figures.rows)
                if lag == 0:
                    self._rebuilds, self._was_current = 0, True
                    self._when_current()
                said, is_current = time.monotonic(), lag == 0
            if time.monotonic() - pruned > PRUNE_SECONDS:
                keeper.prune(reader.firsts())
                pruned = time.monotonic()
            if self._stopped.is_set() or (once and reader.has_read_what_was_there(news.ends)):
                return
