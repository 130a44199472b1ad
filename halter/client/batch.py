"""A batch of ExternalEvents on its way to Kafka, in its order. Knows what of it has arrived, and what has not and why.

A batch may be a generator of millions. What Kafka has is let go of at once, but for its place; and if too much is on
its way, `send` waits for the oldest.
"""

from collections import deque
from typing import Final, NamedTuple

from halter.client.errors import PartlyPosted
from halter.client.outcomes import Outcomes, Posted
from halter.client.sending import Sender, Sending
from processors.core.records.commands import ExternalEvent
from processors.core.records.errors import HalterError
from processors.core.records.topic_names import EXTERNAL_EVENTS

IN_FLIGHT_MAX: Final = 10_000
IN_FLIGHT_BYTES_MAX: Final = 32 * 1024 * 1024
"""Most events, and bytes of their records, that are on their way at a time."""
LOOK_EVERY: Final = 100
"""Number of events after which the batch looks what has arrived."""
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

    def __init__(self, sender: Sender, outcomes: Outcomes) -> None:
        self._sender, self._outcomes = sender, outcomes
        self._posted: list[Posted | None] = []
        self._failures: dict[int, tuple[HalterError, str]] = {}
        """Why an event was not posted, and what it is, by its index."""
        self._on_their_way: deque[OnItsWay] = deque()
        self._bytes = 0
        self.has_sent = False
        """True once one event was sent."""

    def send(self, command: ExternalEvent, value: bytes, log_end: int) -> None:
        """Send the next event. Raises what `Sender.begin` does; the event is then not in the batch yet."""
        sending = self._sender.begin(command, value)
        index = len(self._posted)
        self._posted.append(None)
        self.has_sent = True
        self._on_their_way.append(
            OnItsWay(
                index,
                command.wf_run_id,
                command.external_event_id,
                command.external_event_def,
                sending,
                len(value),
                log_end,
            )
        )
        self._bytes += len(value)
        if index % LOOK_EVERY == 0 or self._bytes > IN_FLIGHT_BYTES_MAX:
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
        """Wait until Kafka has all, and return it. Raises PartlyPosted."""
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
