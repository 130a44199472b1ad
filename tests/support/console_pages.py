"""A console with the shop of `tests.support.views`, without Kafka: its view is a file, its log an engine in memory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from halter.console.settings import ConsoleSettings
from halter.scenarios.memory import MemoryEngine
from halter.view import tables
from halter.view.keeping import Keeper, Source
from halter.view.place import View, open_view
from processors.kafka.errors import KafkaUnavailable
from tests.support import views
from tests.support.consoles import SETTINGS, Served, served
from tests.support.memory_source import MemorySource

SCHEMA_UNKNOWN = "expected a record of a known schema, found schema id 4711"


@dataclass
class Shop:
    """The console of a shop, and what it reads."""

    console: Served
    engine: MemoryEngine
    url: str
    kafka_is_away: bool = False
    _seen: int = 0

    def catch_up(self) -> None:
        """Bring the view up to date with the engine, and let it be current."""
        log = views.log_of(self.engine)
        view = open_view(self.url, writable=True)
        keeper = Keeper(view, views.CODEC)
        keeper.begin(Source(partitions=1, cluster="in-memory"), views.START_MS)
        keeper.write(views.news_of(log[self._seen :], self._seen))
        view.close()
        self._seen = len(log)
        self.be_current()

    def be_current(self) -> None:
        """Let the view have heard of Kafka a moment ago."""
        with self.writing() as connection:
            connection.execute(tables.partitions.update().values(seen_ms=time.time_ns() // 1_000_000 + 3_600_000))

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection that changes the view."""
        view = open_view(self.url, writable=True)
        with view.write() as connection:
            yield connection
        view.close()


@contextmanager
def shop(folder: Path, settings: ConsoleSettings = SETTINGS, engine: MemoryEngine | None = None) -> Iterator[Shop]:
    """Serve a console over a view that is current. Two dead letters are in it, one of them retried."""
    engine = views.shop() if engine is None else engine
    url = str(folder / "view.db")
    view: View = views.filled(url, engine)
    view.close()
    made = Shop(None, engine, url, _seen=len(views.log_of(engine)))  # type: ignore[arg-type]
    made.be_current()

    def source() -> nullcontext[MemorySource]:
        if made.kafka_is_away:
            raise KafkaUnavailable("Kafka at 127.0.0.1:9 does not answer; start it, or correct KAFKA_BOOTSTRAP_SERVERS")
        return nullcontext(MemorySource(made.engine))

    with made.writing() as connection:
        now_ms = time.time_ns() // 1_000_000
        letter = {
            "partition": 0,
            "source_topic": "external-events",
            "source_partition": 0,
            "at_ms": now_ms,
            "mapping": None,
        }
        connection.execute(tables.dead_letters.insert(), [
            letter | {"letter_offset": 0, "reason": "UNKNOWN_SCHEMA", "message": SCHEMA_UNKNOWN, "source_offset": 41,
                      "wf_run_id": None, "retries": 0, "last_outcome": None},
            letter | {"letter_offset": 1, "reason": "WRONG_PARTITION", "message": "expected it on partition 3",
                      "source_offset": 42, "wf_run_id": "cart-waits", "retries": 1, "last_outcome": "DONE"},
        ])  # fmt: skip
    with served(replace(settings, view_url=url, source=source)) as console:
        made.console = console
        yield made
