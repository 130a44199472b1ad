"""A customer without Halter: starts a cart and interrupts it with confluent-kafka and fastavro, from the schemas alone.

    python cart.py SCHEMAS WF_RUN_ID

SCHEMAS is a folder that `halter schemas export` has written. Kafka is at KAFKA_BOOTSTRAP_SERVERS, else at
localhost:9092; HALTER_PREFIX is the prefix of the installation, if it has one.
"""

import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from fastavro.schema import fingerprint, to_parsing_canonical_form

BOOTSTRAP = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
PREFIX = os.environ.get("HALTER_PREFIX", "")
MARKER = b"\xc3\x01"
"""Avro's single-object encoding begins with this. The fingerprint of the schema follows, then the record."""
PATIENCE_S = 30.0


class Schemas:
    """The schemas of a folder: by name to write with, by fingerprint to read what was written with any of them."""

    def __init__(self, folder: Path) -> None:
        self.by_fingerprint: dict[bytes, Any] = {}
        self.headers: dict[str, bytes] = {}
        for file in sorted(folder.rglob("*.avsc")):
            schema = json.loads(file.read_text(encoding="utf-8"))
            mark = bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
            self.by_fingerprint[mark] = fastavro.parse_schema(schema)
            if file.parent == folder:  # `released` has those of earlier releases, only to read
                self.headers[file.stem] = MARKER + mark

    def encode(self, name: str, record: dict[str, Any]) -> bytes:
        """Return the value of a Kafka record. Fields that are left out take the default of the schema."""
        header = self.headers[name]
        body = io.BytesIO()
        fastavro.schemaless_writer(body, self.by_fingerprint[header[2:]], record)
        return header + body.getvalue()

    def decode(self, value: bytes) -> tuple[str, dict[str, Any]]:
        """Return the name of the record, and its fields."""
        assert value.startswith(MARKER), "not Avro's single-object encoding"
        schema = self.by_fingerprint[value[2:10]]
        record: Any = fastavro.schemaless_reader(io.BytesIO(value[10:]), schema, None)
        return schema["name"].removeprefix("halter."), record


def produce(producer: Producer, topic: str, key: str, value: bytes) -> tuple[str, int, int]:
    """Produce one record, wait until Kafka has it, and return its topic (without the prefix), partition and offset."""
    reports: list[tuple[KafkaError | None, Message]] = []
    producer.produce(PREFIX + topic, value, key.encode(), on_delivery=lambda *report: reports.append(report))
    producer.flush(PATIENCE_S)
    if not reports:
        sys.exit(f"not delivered within {PATIENCE_S:.0f} s")
    [(error, message)] = reports
    if error is not None:
        sys.exit(f"not delivered: {error}")
    return topic, message.partition() or 0, message.offset() or 0


def main(folder: str, wf_run_id: str) -> None:
    """Start a cart, change its address, and follow it until it goes on."""
    schemas = Schemas(Path(folder))
    # librdkafka's default partitioner is CRC-32. Halter's is Java's, murmur2: a record elsewhere is a dead letter.
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "partitioner": "murmur2_random", "enable.idempotence": True})
    consumer = Consumer(
        {"bootstrap.servers": BOOTSTRAP, "group.id": "halter-reader", "isolation.level": "read_committed"}
    )
    # The log from a moment ago, so that nothing of what follows is missed. Nothing is committed.
    log = f"{PREFIX}wf-events"
    since = int(time.time() * 1000) - 60_000
    partitions = consumer.list_topics(log, 3.0).topics[log].partitions
    if not partitions:
        sys.exit(f"there is no topic {log} at {BOOTSTRAP}: run `halter topics apply`, or correct HALTER_PREFIX")
    consumer.assign(consumer.offsets_for_times([TopicPartition(log, it, since) for it in partitions], PATIENCE_S))

    cart = {"wf_run_id": wf_run_id, "wf_spec_name": "cart", "variables": {"customer": "Ann", "card": "card-12345678"}}
    ours = {produce(producer, "wf-commands", wf_run_id, schemas.encode("RunWf", cart)): "RunWf"}
    moved = {"wf_run_id": wf_run_id, "external_event_def": "address-changed", "external_event_id": "move-1",
             "content": "12 Harbour Street"}  # fmt: skip
    ours[produce(producer, "external-events", wf_run_id, schemas.encode("ExternalEvent", moved))] = "ExternalEvent"

    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is None or message.error() or message.key() != wf_run_id.encode():
            continue
        name, event = schemas.decode(message.value() or b"")
        cause = event["cause"]
        what = ours.get((cause["topic"], cause["partition"], cause["offset"]))
        print(f"{event['seq']:>3} {name}" + (f" by our {what}" if what else ""))
        if what and name == "Rejected":
            sys.exit(f"{event['code']}: {event['message']}")
        if what and name == "Resume" and event["thread"] == 0:
            return
    sys.exit(f"{wf_run_id} did not go on within {PATIENCE_S:.0f} s: is `halter worker` running, and `cart` registered?")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python cart.py SCHEMAS WF_RUN_ID")
    try:
        main(*sys.argv[1:])
    except KafkaException as error:
        sys.exit(f"{BOOTSTRAP}: {error.args[0].str()}")
