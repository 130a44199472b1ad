"""Rules of what a worker shows: ready file, probes, log."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from processors.observability import PortTaken, Probes, ReadyFile, metrics
from processors.runtime.readiness import Readiness, Snapshot, State


async def read(port: int, path: str) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body.decode()


async def get(port: int, path: str) -> tuple[int, dict[str, object]]:
    head, body = await read(port, path)
    return int(head.split()[1]), json.loads(body)


def test_probes_answer_ready_and_live_and_metrics_and_nothing_else(unused_port: int) -> None:
    readiness = Readiness()

    def state() -> dict[str, object]:
        return readiness.snapshot.as_dict()

    async def ask() -> None:
        probes = Probes(state, unused_port)
        await probes.start()
        assert (await get(unused_port, "/ready"))[0] == 503
        assert (await get(unused_port, "/live"))[0] == 200
        readiness.lives(State.FOLDING)
        status, answer = await get(unused_port, "/ready")
        assert (status, answer["state"]) == (200, "folding")
        head, body = await read(unused_port, "/metrics")
        assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
        assert "\nhalter_ready 1\n" in body
        assert (await get(unused_port, "/secrets"))[0] == 404
        with pytest.raises(PortTaken, match=str(unused_port)):
            await Probes(dict, unused_port).start()
        await probes.stop()

    asyncio.run(ask())


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_a_ready_file_is_there_while_the_worker_is_ready(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    path.write_text("left by a worker that was killed", encoding="utf-8")
    ready_file = ReadyFile(path)
    assert not path.exists()
    readiness = Readiness(lambda snapshot: ready_file.write(snapshot.as_dict()))
    readiness.lives(State.FOLDING)
    assert json.loads(path.read_text(encoding="utf-8"))["state"] == "folding"
    readiness.owns((1, 2), {3: 0.5})
    assert not path.exists()
    readiness.owns((1, 2, 3), {})
    assert json.loads(path.read_text(encoding="utf-8"))["shards"] == [1, 2, 3]
    readiness.waits_for_kafka(True)
    assert not path.exists()


def test_metrics_say_for_each_partition_whether_it_is_paused_and_how_many_wf_runs_are_in_quarantine() -> None:
    readiness = Readiness()
    readiness.lives(State.FOLDING)
    readiness.owns((1, 2), {5: 0.5})
    readiness.pauses({2: "a rule broke"})
    readiness.keeps({1: 3})
    samples = [line for line in metrics(readiness.snapshot.as_dict()).splitlines() if not line.startswith("#")]
    assert samples == [
        "halter_ready 0",
        'halter_partition_restoring{partition="1"} 0',
        'halter_partition_restoring{partition="2"} 0',
        'halter_partition_restoring{partition="5"} 1',
        'halter_partition_paused{partition="1"} 0',
        'halter_partition_paused{partition="2"} 1',
        'halter_partition_paused{partition="5"} 0',
        'halter_quarantined_wf_runs{partition="1"} 3',
        'halter_quarantined_wf_runs{partition="2"} 0',
    ]


def test_readiness_is_the_worst_of_what_its_parts_report() -> None:
    seen: list[Snapshot] = []
    readiness = Readiness(seen.append)
    readiness.lives(State.JOINING)
    readiness.lives(State.FOLDING)
    readiness.owns((), {0: 0.0})
    readiness.pauses({3: "a rule broke"})
    readiness.waits_for_kafka(True)
    readiness.waits_for_kafka(False)
    readiness.pauses({})
    readiness.owns((0,), {})
    readiness.owns((0,), {})
    assert [str(snapshot.state) for snapshot in seen] == [
        "joining",
        "folding",
        "restoring",
        "degraded",
        "waiting for Kafka",
        "degraded",
        "restoring",
        "folding",
    ]
    assert [snapshot.ready for snapshot in seen] == [False, True, False, False, False, False, False, True]


def test_the_log_is_one_json_object_per_line_on_stderr_also_for_libraries() -> None:
    code = """
import logging, structlog
from processors.observability import configure_logging
configure_logging("json", "info", worker="slot-1")
structlog.get_logger("halter.test").info("restored", rows=3)
logging.getLogger("some.library").warning("it %s", "happened")
logging.getLogger("some.library").info("not worth a line")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["level"], line["worker"]) for line in lines] == [
        ("restored", "info", "slot-1"),
        ("it happened", "warning", "slot-1"),
    ]
    assert lines[0]["rows"] == 3
