"""Rules of records that a client cannot read whole, or nobody can take, on a real Kafka."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from confluent_kafka import Producer

from halter.client import Client
from processors.core.records.events import WfRunEnded
from tests.support.halter_processes import Halter
from tests.support.installation import Installation

# Kafka takes any bytes for a header's name, but few clients write any: this one can be talked into it.
WRITE = """
import asyncio, sys
from aiokafka import AIOKafkaProducer

class Latin1(str):
    def encode(self, *_):
        return b"na\\xefve"

async def write():
    async with AIOKafkaProducer(bootstrap_servers=sys.argv[1]) as producer:
        for _ in range(2):
            await producer.send_and_wait(sys.argv[2], b"{}", b"key", partition=0, headers=[(Latin1("x"), b"1")])

asyncio.run(write())
"""


@pytest.fixture
def installation(bootstrap: str, prefix: str, tmp_path: Path) -> Iterator[Installation]:
    with Installation(bootstrap, prefix, tmp_path, partitions=1) as it:
        yield it


def test_a_header_whose_name_is_not_utf8_does_not_keep_its_record_from_being_folded(
    installation: Installation,
) -> None:
    # Its compiled part takes nothing but plain strings.
    pure = {**os.environ, "AIOKAFKA_NO_EXTENSIONS": "1"}
    command = [sys.executable, "-c", WRITE, installation.bootstrap, installation.topics.wf_commands]
    subprocess.run(command, env=pure, check=True)
    worker = installation.worker("one")
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict
    assert verdict.inputs == 2
    assert worker.log.count("headers_unreadable") == 1


LOOPING = {
    "start": {"kind": "ENTRYPOINT", "next": "a"},
    "a": {"kind": "NOP", "next": [{"to": "done", "when": False}, {"to": "b"}]},
    "b": {"kind": "NOP", "next": "a"},
    "done": {"kind": "EXIT"},
}
PLAIN = {"start": {"kind": "ENTRYPOINT", "next": "done"}, "done": {"kind": "EXIT"}}


def put_wf_spec(client: Client, name: str, nodes: dict[str, Any]) -> None:
    client.put_wf_spec({"name": name, "entrypoint": "main", "threads": {"main": {"nodes": nodes}}})


def latency_s(client: Client, times: int) -> float:
    """Half of the WfRuns have their outcome within so many seconds."""
    taken = []
    for _ in range(times):
        begun = time.monotonic()
        entries = client.run("plain").outcome(timeout_s=60)
        taken.append(time.monotonic() - begun)
        assert isinstance(entries[-1].event, WfRunEnded), entries
    return median(taken)


def test_other_wf_runs_do_not_notice_records_that_nobody_can_take(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    halter = Halter(bootstrap, prefix, tmp_path, partitions=1)
    with halter.worker(), halter.client() as client:
        put_wf_spec(client, "plain", PLAIN)
        put_wf_spec(client, "looping", LOOPING)
        before = latency_s(client, 10)
        producer = Producer(halter.settings.producer(**{"message.max.bytes": 2_000_000, "linger.ms": 0}))
        hostile = [b"", b"\xc3\x01", os.urandom(200), b"\xc3\x01" + os.urandom(500), bytes(1_000_000), None]
        taken = []
        for _ in range(10):
            for value in hostile:
                for topic in halter.topics.inputs[:3]:
                    producer.produce(topic, value, os.urandom(4), partition=0)
            client.run("looping")
            taken.append(latency_s(client, 1))
        assert producer.flush(60) == 0
        after = latency_s(client, 10)
        print(f"latency p50 {before:.3f} s before, {median(taken):.3f} s beside, {after:.3f} s after")
        # Some tenths of a second are the loop's own: what stands before a record in its partition is folded first.
        assert median(taken) < before + 5
        assert after < before + 2
