"""What `python -m tests.chaos.bindings` attacks: bindings, bindings by correlation key, sinks, and the loop alone.

A subject knows which program it is, what its source is and how a record of it is made, and how a reader tells from an
output which record of the source it is of, without the engine's codec. It knows no fault.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but the hints lack it

from processors.codec import Codec
from processors.core.records.commands import ExternalEvent
from processors.core.records.topic_names import DEAD_LETTERS, EXTERNAL_EVENTS, WF_EVENTS
from processors.core.records.values import VariableType
from processors.kafka.headers import headers_of
from processors.kafka.partitioner import partition_of
from tests.chaos.avro import decode
from tests.support.halter_processes import Halter
from tests.support.waiting import wait_until

PREFIX, PARTITIONS, SOURCE_PARTITIONS = "chaos-bindings-", 3, 6
KEYS: Final = 50
CODEC: Final = Codec.load()
IN_EVENT_ID: Final = re.compile(r"(.+)/(\d+)/(\d+)/0(?:\.(\d+))?")
IN_LOG: Final = re.compile(r".*wf-events\[(\d+)\]@(\d+)")


class Effect(NamedTuple):
    """What an output says: the record that it is of, and which of that record's outputs it is."""

    partition: int
    offset: int
    number: int


class Found(NamedTuple):
    """An output as a reader understands it."""

    source: str
    effect: Effect
    among: str
    """Those among which the order of the source holds: an output's partition, or its WfRun."""


def value_of(number: int) -> bytes:
    """Return the value of a record. Some are empty, some are bad."""
    if number % 41 == 0:
        return b""
    return b"bad %d" % number if number % 37 == 0 else b'{"number": %d}' % number


class Subject:
    """What is attacked. `command` is of Python, with {source} and {folder}."""

    command: Sequence[str]
    destination = PREFIX + EXTERNAL_EVENTS
    source_partitions = SOURCE_PARTITIONS
    per_record = 2
    """Effects of most records."""
    runs_workers = False
    """Whether workers are attacked as well."""

    def register(self, client: Any) -> None:
        """Register what is needed, once."""
        client.put_external_event_def("noted", VariableType.INT)

    def prepare(self, halter: Halter, fault: str, admin: AdminClient) -> None:  # noqa: ARG002
        """Make what one fault needs: the source."""
        make_topics(admin, {self.source_of(fault): SOURCE_PARTITIONS})

    def source_of(self, fault: str) -> str:
        """Return the topic whose records have effects."""
        return f"source-{fault}"

    def destination_of(self, fault: str) -> str:
        """Return the topic with the effects."""
        return self.destination.format(source=self.source_of(fault), fault=fault)

    def produce(self, producer: Producer, fault: str, number: int) -> None:
        """Write a record to the source, or what makes the engine write one."""
        producer.produce(self.source_of(fault), key=f"key-{number % KEYS}".encode(), value=value_of(number))

    def found(self, message: Message) -> Found | None:
        """Understand an output; None if it is of no record of a source."""
        raise NotImplementedError

    def expected(self, message: Message) -> int:
        """Return the number of effects that a record of the source has."""
        return 2 if (message.value() or b"").startswith(b"{") else 1


def make_topics(admin: AdminClient, partitions: Mapping[str, int]) -> None:
    for made in admin.create_topics([NewTopic(name, count, 1) for name, count in partitions.items()]).values():
        made.result(30)


def dead_letter_in(message: Message) -> Found | None:
    headers = dict(headers_of(message) or ())
    if "halter.mapping" not in headers:
        return None
    effect = Effect(int(headers["halter.partition"]), int(headers["halter.offset"]), 0)
    return Found(headers["halter.topic"].decode(), effect, place_of(message))


def place_of(message: Message) -> str:
    return f"{message.topic()}[{message.partition()}]"


class Bindings(Subject):
    """`halter bind run`: each record becomes two ExternalEvents."""

    command = ("-m", "halter", "bind", "run", "{folder}/{source}.yaml")
    document = """\
name: {source}
bindings:
  - name: numbers
    topic: {source}
    wf_run_id: key
    events:
      - {{event: noted, content: value.number}}
      - {{event: noted, content: value.number + 1}}
"""

    def prepare(self, halter: Halter, fault: str, admin: AdminClient) -> None:
        super().prepare(halter, fault, admin)
        source = self.source_of(fault)
        (halter.folder / f"{source}.yaml").write_text(self.document.format(source=source))

    def found(self, message: Message) -> Found | None:
        if message.topic() != PREFIX + EXTERNAL_EVENTS:
            return dead_letter_in(message)
        name, event = decode(message.value() or b"")
        assert name == "ExternalEvent"
        place = IN_EVENT_ID.fullmatch(event["external_event_id"])
        assert place is not None
        source, partition, offset, number = place.groups()
        return Found(source, self.effect_of(event, int(partition), int(offset), int(number or 0)), self.among(message))

    def effect_of(self, event: Mapping[str, Any], partition: int, offset: int, number: int) -> Effect:  # noqa: ARG002
        return Effect(partition, offset, number)

    def among(self, message: Message) -> str:
        return place_of(message)


class CorrelatedBindings(Bindings):
    """`halter bind run` by correlation key, and the workers that give the events to WfRuns: two have each key."""

    runs_workers = True
    document = """\
name: {source}
bindings:
  - name: numbers
    topic: {source}
    correlate: key
    event: noted
    content: value.number
"""

    def register(self, client: Any) -> None:
        super().register(client)
        client.put_external_event_def("ended")
        done = {"done": {"kind": "EXIT"}}
        main = {
            "variables": {"key": {"type": "STR"}},
            "interrupts": [{"event": "noted", "handler": "on-noted"}],
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "ended", "next": "done"},
                **done,
            },
        }
        handler = {"nodes": {"start": {"kind": "ENTRYPOINT", "next": "done"}, **done}}
        threads = {"main": main, "on-noted": handler}
        keys = {"noted": {"var": "key"}}
        spec = {"name": "noting", "entrypoint": "main", "correlated_events": keys, "threads": threads}
        client.put_wf_spec(spec)
        posted = [
            client.run("noting", {"key": f"key-{number}"}, wf_run_id=f"key-{number}-{which}")
            for number in range(KEYS)
            for which in (0, 1)
        ]
        for it in posted:
            it.outcome()
        for number in range(KEYS):
            wait_until("two WfRuns with the key", lambda key=f"key-{number}": len(who_has(client, key)) == 2, 30)  # type: ignore[misc]

    def effect_of(self, event: Mapping[str, Any], partition: int, offset: int, number: int) -> Effect:  # noqa: ARG002
        return Effect(partition, offset, int(event["wf_run_id"].rpartition("-")[2]))

    def among(self, message: Message) -> str:
        return (message.key() or b"").decode()  # events of two keys come through two partitions


def who_has(client: Any, key: str) -> list[Any]:
    found = client.correlation(key, "noted")
    return [] if found is None else found.wf_runs


class Sinks(Subject):
    """`halter sink run`: each event on the log becomes a JSON record. The workers that write it are attacked, too."""

    runs_workers = True
    command = ("-m", "halter", "sink", "run", "{folder}/{fault}.yaml", "--from", "now")
    destination = "changes-{fault}"
    source_partitions = PARTITIONS
    per_record = 1

    def prepare(self, halter: Halter, fault: str, admin: AdminClient) -> None:
        topic = self.destination_of(fault)
        make_topics(admin, {topic: PARTITIONS})
        (halter.folder / f"{fault}.yaml").write_text(f"name: {fault}\ntopic: {topic}\nevents: [all]\n")

    def source_of(self, fault: str) -> str:  # noqa: ARG002
        return PREFIX + WF_EVENTS

    def produce(self, producer: Producer, fault: str, number: int) -> None:
        wf_run_id = f"key-{number % KEYS}"
        value = CODEC.encode(ExternalEvent(wf_run_id, "noted", f"{fault}-{number}", number))
        key = wf_run_id.encode()
        producer.produce(PREFIX + EXTERNAL_EVENTS, key=key, value=value, partition=partition_of(key, PARTITIONS))

    def found(self, message: Message) -> Found | None:
        if message.topic() == PREFIX + DEAD_LETTERS:
            return None
        place = IN_LOG.fullmatch(dict(headers_of(message) or ())["source"].decode())
        assert place is not None
        return Found(PREFIX + WF_EVENTS, Effect(int(place[1]), int(place[2]), 0), place_of(message))

    def expected(self, message: Message) -> int:  # noqa: ARG002
        return 1


class Copying(Subject):
    """The loop with a mapping of this test's own."""

    command = ("-m", "tests.support.copying_loop", "{source}", "{destination}", "--group", "{source}")
    destination = "{source}-copies"

    def prepare(self, halter: Halter, fault: str, admin: AdminClient) -> None:
        super().prepare(halter, fault, admin)
        make_topics(admin, {self.destination_of(fault): PARTITIONS})

    def found(self, message: Message) -> Found | None:
        if (letter := dead_letter_in(message)) is not None:
            return letter
        number, place = (message.value() or b"").decode().split()[:2]
        source, _, at = place.partition("[")
        partition, offset = at.split("]@")
        return Found(source, Effect(int(partition), int(offset), int(number)), place_of(message))

    def expected(self, message: Message) -> int:
        value = message.value() or b""
        return 0 if not value else 1 if value.startswith(b"bad") else 2


SUBJECTS: Final[Mapping[str, Callable[[], Subject]]] = {
    "bindings": Bindings,
    "correlated": CorrelatedBindings,
    "sinks": Sinks,
    "loop": Copying,
}
