"""Consoles for tests: the real application on a real uvicorn, in a thread of the test's process."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import httpx

from halter.client.dead_letters import WORKER, DeadLetterRead, NoDeadLetter, RetriedBefore, corrected
from halter.client.errors import CommandRejected
from halter.console.app import console
from halter.console.sending import ConsoleCommand, RetryDeadLetter, Sent
from halter.console.serving import Server, listening
from halter.console.settings import ConsoleSettings
from halter.scenarios.memory import MemoryEngine
from processors.codec import Codec
from processors.core.records.commands import ExternalEvent, QuarantineWfRun, ReleaseWfRun
from processors.core.records.events import Rejected
from tests.support.memory_source import MemorySource
from tests.support.ports import free_port
from tests.support.waiting import wait_until

CODEC = Codec.load()
READER, OPERATOR = "reader-token-0123456789", "operator-token-0123456789"
SETTINGS = ConsoleSettings()
Headers = Mapping[str, str | bytes] | Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True)
class Served:
    """A console that is served."""

    settings: ConsoleSettings
    server: Server

    @property
    def url(self) -> str:
        """Where it is."""
        return self.settings.url

    @property
    def where(self) -> tuple[str, int]:
        """The address and port at which it listens."""
        return self.settings.host, self.settings.port

    def figures(self) -> bytes:
        """Return its figures, as Prometheus reads them."""
        return self.server.figures.text()

    def client(self, headers: Headers = ()) -> httpx.Client:
        """Return a browser without a login, which does not follow redirects. Its own headers give way to these."""
        given = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        names = {name.lower() for name, _ in given}
        own = {"Origin": self.url, "Accept": "text/html"}
        sent = [(name, it) for name, it in own.items() if name.lower() not in names] + given
        return httpx.Client(base_url=self.url, headers=sent, timeout=30, trust_env=False, verify=False)  # type: ignore[arg-type]

    def logged_in(self, token: str = OPERATOR) -> httpx.Client:
        """Return a browser that has logged in by a token."""
        client = self.client()
        answer = client.post("/login", data={"token": token})
        assert answer.status_code == 303, answer.text
        return client


@contextmanager
def served(settings: ConsoleSettings = SETTINGS) -> Iterator[Served]:
    """Serve a console at a free port of the loopback address."""
    settings = replace(settings, port=free_port())
    listener = listening(settings)
    server = Server(console(settings), settings)
    thread = threading.Thread(target=server.run, args=([listener],), name="console")
    thread.start()
    try:
        wait_until("the console is served", lambda: server.started, 30)
        yield Served(settings, server)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive(), "the console has not ended"


class EngineSender:
    """Sends commands to an engine in memory, which decides them by the real rules."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        self.sent: list[ConsoleCommand] = []
        self.letters: dict[tuple[int, int], ExternalEvent] = {}
        """The records of dead letters that are to be retried."""
        self.retried: set[tuple[int, int]] = set()

    async def reach(self) -> None:
        """Return at once."""

    def letter(self, partition: int, offset: int) -> tuple[DeadLetterRead, ExternalEvent]:
        """Read a dead letter, as a console does from Kafka."""
        if (partition, offset) not in self.letters:
            raise NoDeadLetter(f"there is no dead letter {partition}@{offset}")
        event = self.letters[partition, offset]
        value, where = CODEC.encode(event), ("external-events", partition, offset)
        read = DeadLetterRead(
            partition, offset, 0, b"key", value, (), "REASON", "it was wrong", *where, None, WORKER, False
        )
        return read, event

    async def send(self, command: ConsoleCommand, timeout_s: float) -> Sent:
        """Let the engine decide a command."""
        assert timeout_s > 0
        assert not isinstance(command, QuarantineWfRun | ReleaseWfRun), "those need a worker (tests/broker)"
        self.sent.append(command)
        if isinstance(command, RetryDeadLetter):
            command = self._record_of(command)
        entries = self.engine.put(command)
        first, cause = entries[0], entries[0].cause
        problem = CommandRejected(first, first.event) if isinstance(first.event, Rejected) else None
        return Sent(cause.topic, cause.partition, cause.offset, entries, problem)

    def _record_of(self, asked: RetryDeadLetter) -> ExternalEvent:
        """Return the record that a retry sends, once, as `halter.client.dead_letters` does on Kafka."""
        place = asked.partition, asked.offset
        _, event = self.letter(*place)
        if place in self.retried:
            raise RetriedBefore(f"dead letter {asked.partition}@{asked.offset} was retried before")
        command = corrected(event, asked.corrections)
        assert isinstance(command, ExternalEvent)
        self.retried.add(place)
        return replace(command, operator=asked.operator, reason=asked.reason)


def of_engine(engine: MemoryEngine, settings: ConsoleSettings = SETTINGS) -> tuple[ConsoleSettings, EngineSender]:
    """Return the settings of a console that reads and sends to an engine in memory, and what sends."""
    sender = EngineSender(engine)
    source = lambda: nullcontext(MemorySource(engine))  # noqa: E731
    return replace(settings, source=source, sender=lambda: sender, letters=sender.letter), sender
