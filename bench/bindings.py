"""Measures a binding, and correlation, on the embedded broker: python -m bench.bindings [--records 60000] [--runs 3]

A binding reads JSON from a topic of one program's own. It posts an ExternalEvent for each record, or a CorrelatedEvent,
which a worker then gives to the WfRun that has the key, and folds. All records are there before the process starts. The
rate is by the broker's times of the first and the last ExternalEvent; the CPU is that of the whole process, its start
included. Each run has an installation of its own.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from halter.broker import EmbeddedBroker
from halter.client import Client
from halter.topics import admin
from processors.kafka.settings import Settings

PARTITIONS, KEYS = 8, 200
SOURCE = "shop.payments"
ORDER = {
    "name": "order",
    "entrypoint": "main",
    "correlated_events": {"paid": {"var": "order"}},
    "threads": {
        "main": {
            "variables": {"order": {"type": "STR"}},
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "shipped", "next": "pay"},
                "pay": {"kind": "EXTERNAL_EVENT", "event": "paid", "next": "done"},
                "done": {"kind": "EXIT"},
            },
        }
    },
}
"""It waits for something else, so a payment is taken and changes nothing."""
BINDING = """
name: {name}
bindings:
  - name: payments
    topic: {source}
    when: value.type == "paid"
    {to}
    event: paid
    content: {{fields: {{cents: value.cents, by: value.by}}}}
"""


@contextmanager
def halter(variables: Mapping[str, str], folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the block ends."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "halter", *command], env=os.environ | variables, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def fill(bootstrap: str, records: int) -> None:
    """Write the records of the shop."""
    client = AdminClient({"bootstrap.servers": bootstrap})
    for made in client.create_topics([NewTopic(SOURCE, PARTITIONS, 1)]).values():
        made.result(30)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50})
    for number in range(records):
        order = f"order-{number % KEYS}"
        value = {"type": "paid", "order": order, "cents": number, "by": "card", "shop": "Harbour Street"}
        producer.produce(SOURCE, key=order, value=json.dumps(value))
        producer.poll(0)
    producer.flush(60)


def start(variables: Mapping[str, str], folder: Path, settings: Settings) -> None:
    """Make an installation whose WfRuns have their keys."""
    admin.make_so(settings.topics(), AdminClient(settings.admin()), replication="auto")
    with halter(variables, folder, "worker"), Client.of(settings) as client:
        client.put_external_event_def("paid")
        client.put_external_event_def("shipped")
        client.put_wf_spec(ORDER)
        for number in range(KEYS):
            client.run("order", {"order": f"order-{number}"}, wf_run_id=f"order-{number}", wait=True)
        for number in range(KEYS):
            while (known := client.correlation(f"order-{number}", "paid")) is None or not known.wf_runs:
                time.sleep(0.1)


def wait_for(settings: Settings, topic: str, records: int) -> list[int]:
    """Wait for committed records of a topic. Return the broker's times of them in milliseconds."""
    consumer = Consumer(settings.consumer(**{"group.id": "unused", "enable.auto.commit": False}))
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    times: list[int] = []
    while len(times) < records:
        for message in consumer.consume(1_000, 1.0):
            assert message.error() is None, message.error()
            times.append(message.timestamp()[1])
    consumer.close()
    return times


def used() -> float:
    """CPU seconds of processes that have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def main() -> None:
    """Measure, and print a line for each case."""
    parser = argparse.ArgumentParser(description="Measure bindings and correlation.")
    parser.add_argument("--records", type=int, default=60_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name, EmbeddedBroker(Path(name) / "kafka") as kafka:
        folder = Path(name)
        fill(kafka.bootstrap, options.records)
        for run in range(options.runs):
            for what, to in (("binding", "wf_run_id: value.order"), ("correlation", "correlate: value.order")):
                prefix = f"bench-{what}-{run}-"
                overrides: dict[str, str | None] = {"bootstrap.servers": kafka.bootstrap}
                settings = Settings.load(None, {}, overrides, prefix=prefix, partitions=PARTITIONS)
                variables = {
                    "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "HALTER_PREFIX": prefix,
                    "HALTER_PARTITIONS": str(PARTITIONS),
                }  # fmt: skip
                start(variables, folder, settings)
                document = folder / "bindings.yaml"
                document.write_text(BINDING.format(name=what, source=SOURCE, to=to), encoding="utf-8")
                command = ["bind", "run", str(document)]
                if what == "correlation":
                    with halter(variables, folder, *command):
                        wait_for(settings, settings.topics().correlated_events, options.records)
                    command = ["worker"]
                before = used()
                with halter(variables, folder, *command):
                    times = wait_for(settings, settings.topics().external_events, options.records)
                rate = options.records * 1e3 / (max(times) - min(times))
                found.setdefault(what, []).append((rate, (used() - before) * 1e6 / options.records))
    for what, figures in found.items():
        rates = sorted(rate for rate, _ in figures)
        cpu = median(cpu for _, cpu in figures)
        spread = f"{rates[0]:,.0f} … {rates[-1]:,.0f}"
        print(f"{what}: {median(rates):,.0f} records/s ({spread}), {cpu:,.0f} µs of CPU for each")


if __name__ == "__main__":
    main()
