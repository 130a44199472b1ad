"""Rules of records that a client cannot read whole, on a real Kafka, with the counting fold in a worker process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
