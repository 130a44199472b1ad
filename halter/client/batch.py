"""A batch of ExternalEvents on its way to Kafka, in its order. Knows what of it has arrived, and what has not and why.

A batch may be a generator of millions. What Kafka has is let go of at once, but for its place; and if too much is on
its way, `send` waits for the oldest.

librdkafka is woken for each record that it is given while it has none. If we make records one by one, that is for
each, and costs more than making them. So of a list, hundreds are made and then given to it in one go. A generator may
be slow: what it yields is sent before the next is asked for.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from halter.client.errors import PartlyPosted
from halter.client.log_ends import LogEnds
from halter.client.outcomes import Outcomes, Posted
from halter.client.sending import Sender, Sending
from processors.core.records.commands import ExternalEvent
from processors.core.records.errors import HalterError
from processors.core.records.topic_names import EXTERNAL_EVENTS
from processors.kafka.partitioner import partition_of
from processors.kafka.topics import Topics

IN_FLIGHT_MAX: Final = 10_000
IN_FLIGHT_BYTES_MAX: Final = 32 * 1024 * 1024
"""Most events, and bytes of their records, that are on their way at a time."""
AT_ONCE: Final = 256
"""Most events of a list that are made before they are given to librdkafka: a hundredth of a second."""
LOOK_EVERY: Final = 100
"""Number of events of a generator after which the batch looks what has arrived."""
WHAT_LENGTH_MAX: Final = 200


class OnItsWay(NamedTuple):
    """An event that librdkafka has."""

    number: int
    wf_run_id: str
    event_id: str
    name: str
    sending: Sending
    size: int
    log_end: int


class Batch:
    """What became of each event so far."""

    def __init__(
        self,
        sender: Sender,
        outcomes: Outcomes,
        log_ends: LogEnds,
        topics: Topics,
        events: Iterable[object],
    ) -> None:
        self._sender, self._outcomes, self._log_ends, self._topics = sender, outcomes, log_ends, topics
        self._at_once = AT_ONCE if isinstance(events, Sequence) else 1
        self._made: list[tuple[int, ExternalEvent, bytes]] = []
        """Events, with their index and bytes, that librdkafka does not have yet."""
        self._posted: list[Posted | None] = []
        self._failures: dict[int, tuple[HalterError, str]] = {}
        """Why an event was not posted, and what it is, by its index."""
        self._on_their_way: deque[OnItsWay] = deque()
        self._bytes = 0
        """Bytes of what is made and of what is on its way."""
        self._has_sent = False
        self.broken: HalterError | None = None
        """Why Kafka takes no more events, once it has taken some."""

    def send(self, event: ExternalEvent, value: bytes) -> None:
        """Send the next event, soon. Raises why Kafka cannot be reached, if no event was sent before."""
        index = len(self._posted)
        self._posted.append(None)
        self._made.append((index, event, value))
        self._bytes += len(value)
        if len(self._made) >= self._at_once or self._bytes > IN_FLIGHT_BYTES_MAX:
            self._send_made()
            if self._at_once > 1 or index % LOOK_EVERY == 0 or self._bytes > IN_FLIGHT_BYTES_MAX:
                self._look()

    def _send_made(self) -> None:
        """Give to librdkafka what is made."""
        if not self._made:
            return
        made, self._made, given = self._made, [], 0
        try:
            for index, event, value in made:
                log_end = self._log_ends.of(partition_of(event.wf_run_id.encode(), self._topics.partitions))
                sending = self._sender.begin(event, value)
                given, self._has_sent = given + 1, True
                self._on_their_way.append(
                    OnItsWay(
                        index,
                        event.wf_run_id,
                        event.external_event_id,
                        event.external_event_def,
                        sending,
                        len(value),
                        log_end,
                    )
                )
        except HalterError as error:
            if not self._has_sent:
                raise
            self.broken = error
            for index, event, value in made[given:]:
                self._failures[index] = error, _in_words(event.external_event_id, event.wf_run_id)
                self._bytes -= len(value)

    def _look(self) -> None:
        """Take what has arrived, and wait while too much is on its way."""
        self._sender.poll(0)
        while self._on_their_way and (self._on_their_way[0].sending.message is not None or self._is_too_much):
            self._take_oldest()

    @property
    def _is_too_much(self) -> bool:
        return len(self._on_their_way) > IN_FLIGHT_MAX or self._bytes > IN_FLIGHT_BYTES_MAX

    def fail(self, error: HalterError, event: object) -> None:
        """Note that the next event is not posted."""
        self._failures[len(self._posted)] = error, _named(event)
        self._posted.append(None)

    def _take_oldest(self) -> None:
        number, wf_run_id, event_id, name, sending, size, log_end = self._on_their_way.popleft()
        self._bytes -= size
        try:
            place = self._sender.until_placed(sending)
        except HalterError as lost:
            self._failures[number] = lost, _in_words(event_id, wf_run_id)
        else:
            self._posted[number] = Posted(
                self._outcomes, wf_run_id, EXTERNAL_EVENTS, *place, log_end, event_id, event_id, name
            )

    def end(self) -> list[Posted]:
        """Wait until Kafka has all, and return it. Raises PartlyPosted, or as `send`."""
        self._send_made()
        while self._on_their_way:
            self._take_oldest()
        if self._failures:
            failures = dict(sorted(self._failures.items()))
            _, what = next(iter(failures.values()))
            raise PartlyPosted(self._posted, {index: error for index, (error, _) in failures.items()}, what)
        return [it for it in self._posted if it is not None]


def _named(event: object) -> str:
    """Return what an event is in a sentence, as far as its caller has said it."""
    event_id, wf_run_id = getattr(event, "event_id", None), getattr(event, "wf_run_id", None)
    return _in_words(event_id, wf_run_id)


def _in_words(event_id: object, wf_run_id: object) -> str:
    found = [f"event '{event_id}'"] if isinstance(event_id, str) else []
    found += [f"of WfRun '{wf_run_id}'"] if isinstance(wf_run_id, str) else []
    return " ".join(found)[:WHAT_LENGTH_MAX]
