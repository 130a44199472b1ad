"""The fixtures for a real Kafka: one broker for the session, a worker and a client for each test, task workers."""

import re
import shutil
from pathlib import Path

from tests.testing.running import CART, blocks_of_page, run_pytest

ALSO = """
import os
import time

import pytest

from halter import TaskWorker, WorkerNotStarted


@pytest.fixture(autouse=True)
def addresses(request):
    name = "shop" if "shop" in request.fixturenames else "halter_kafka"
    it = request.getfixturevalue(name)
    with open(os.environ["ADDRESSES"], "a") as addresses:
        print(it.bootstrap, it.prefix, file=addresses)


def test_shared(shop):
    assert shop.partitions == 3
    shop.client.run("cart", {"customer": "Ann", "card": "card-4111"}, wf_run_id="ann", wait=True)
    empty = TaskWorker()
    empty.task("no-such-task")(lambda: None)
    with pytest.raises(WorkerNotStarted, match="no-such-task"):
        shop.work(empty)
    shop.work(Lost())
    deadline = time.monotonic() + 10
    while "a task worker has ended: OSError: it is lost" not in shop.report():
        assert time.monotonic() < deadline


class Lost(TaskWorker):
    is_ready = True

    def run(self, *_, **__):
        raise OSError("it is lost")
"""


def test_each_test_has_a_worker_of_its_own_on_one_kafka_for_all_processes(tmp_path: Path) -> None:
    cart = Path(shutil.copytree(CART, tmp_path / "cart", ignore=shutil.ignore_patterns("__pycache__", "test_*")))
    blocks = blocks_of_page()
    (cart / "conftest.py").write_text(blocks["conftest.py"])
    # The test of the page, which fails at its end.
    (cart / "test_page.py").write_text(blocks["test_kafka.py"].replace('== "COMPLETED"', '== "FAILED"') + ALSO)
    addresses = tmp_path / "addresses"
    printed = run_pytest(cart, "-n", "2", "test_page.py", ADDRESSES=str(addresses))
    assert re.search(r"\b1 failed, 1 passed in", printed), printed
    assert re.search(r"^E .*'COMPLETED'.* == 'FAILED'", printed, re.MULTILINE), printed
    (kafka, prefix), (other_kafka, other_prefix) = (line.split() for line in addresses.read_text().splitlines())
    assert kafka == other_kafka
    assert prefix != other_prefix
    told = printed.partition("halter on Kafka: what happened to the WfRuns")[2]
    assert f"prefix {prefix}" in told or f"prefix {other_prefix}" in told
    assert "WfRunEnded" in told
    assert "[redacted]" in told
    assert "card-1234" not in told
    assert "the end of the worker's log" in told
