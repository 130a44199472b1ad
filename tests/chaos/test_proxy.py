"""The proxies in front of brokers end with all that they have begun."""

import gc
import socket

import pytest

from tests.chaos.proxy import HOST, Proxies
from tests.support.ports import free_port


def test_a_proxy_that_stops_leaves_no_task_behind(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server((HOST, 0)) as broker:
        port = free_port()
        proxies = Proxies({port: broker.getsockname()[1]})
        with socket.create_connection((HOST, port), timeout=10) as client:
            client.sendall(b"asked")
            beyond, _ = broker.accept()
            with beyond:
                assert beyond.recv(100) == b"asked"
                proxies.stop()
    del proxies
    gc.collect()
    assert [it.getMessage() for it in caplog.records if it.name == "asyncio"] == []
