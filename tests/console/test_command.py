"""`halter console` as a process: how it begins, what it says if it cannot, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from halter.view.place import open_view
from tests.support.command_line import halter
from tests.support.consoles import SETTINGS, served
from tests.support.ports import free_port
from tests.support.views import filled
from tests.support.waiting import wait_until

NOWHERE = ("--bootstrap", "127.0.0.1:1")


@contextmanager
def running(folder: Path, port: int, *options: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run the command until the block ends; yield the process and the file with what it says."""
    said = folder / "said.txt"
    command = [sys.executable, "-m", "halter", "console", "--port", str(port), *NOWHERE, *options]
    with said.open("w") as to:
        process = subprocess.Popen(
            command, stdout=to, stderr=to, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
    try:
        wait_until("it listens", lambda: process.poll() is not None or can_connect(port), 60)
        assert process.poll() is None, said.read_text()
        yield process, said
    finally:
        process.kill()
        process.wait()


def can_connect(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_ends_at_a_signal_though_somebody_listens(
    tmp_path: Path, unused_port: int, number: signal.Signals
) -> None:
    filled(str(tmp_path / "view.db")).close()
    options = ("--view", str(tmp_path / "view.db"), "--allow-actions")
    with running(tmp_path, unused_port, *options) as (process, said):
        url = f"http://127.0.0.1:{unused_port}"
        with httpx.Client(base_url=url, trust_env=False, verify=False) as client:
            wait_until("it says where it is", lambda: "token=" in said.read_text(), 30)
            link = re.findall(r"http://\S+/login\?token=\S+", said.read_text())
            assert len(link) == 1, "the start-up token is printed once"
            assert client.get("/api/me").json()["role"] == "reader"
            assert client.get("/api/wf-runs").json()["wf_runs"]
            assert client.get(link[0]).status_code == 303
            assert client.get("/api/me").json()["may_act"] is True
            with client.stream("GET", "/live") as stream:
                next(stream.iter_lines())
                begun = time.monotonic()
                process.send_signal(number)
                assert process.wait(15) == 0, said.read_text()
            assert time.monotonic() - begun < 8
    assert "Traceback" not in said.read_text()
    assert "Warning" not in said.read_text(), "what a library warns of is no business of the operator's"


def test_a_view_with_masked_values_is_named_at_the_start(tmp_path: Path, unused_port: int) -> None:
    file = tmp_path / "view.db"
    filled(str(file), with_masked=True).close()
    with running(tmp_path, unused_port, "--view", str(file)) as (_, said):
        wait_until("it has begun", lambda: "Halter console:" in said.read_text(), 30)
        assert "every reader would see" in " ".join(said.read_text().split())


def test_without_view_and_kafka_it_says_so_and_goes_on_when_the_view_is_there(tmp_path: Path, unused_port: int) -> None:
    file = tmp_path / "view.db"
    with running(tmp_path, unused_port, "--view", str(file), "--health-port", str(free_port())) as (_, said):
        url = f"http://127.0.0.1:{unused_port}"
        with httpx.Client(base_url=url, trust_env=False, verify=False, timeout=20) as client:
            away = client.get("/api/wf-runs")
            assert (away.status_code, away.json()["code"]) == (503, "VIEW_UNAVAILABLE")
            assert f"there is no file {file}" in said.read_text()
            filled(str(file)).close()
            assert client.get("/api/wf-runs").status_code == 200
            begun = time.monotonic()
            history = client.get("/api/wf-run/state?wf_run_id=cart-waits")
            assert time.monotonic() - begun < 8
            assert (history.status_code, history.json()["code"]) == (503, "KAFKA_UNAVAILABLE")
            assert "127.0.0.1:1" in history.json()["title"]
            port = re.findall(r"--health-port (\d+)", " ".join(_.args))[0]
            metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, verify=False).text
            assert 'halter_console_requests_total{status="503"} 2.0' in metrics


def test_a_view_of_a_newer_release_is_said(tmp_path: Path) -> None:
    file = tmp_path / "view.db"
    filled(str(file)).close()
    writable = open_view(str(file), writable=True)
    with writable.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    writable.close()
    with served(replace(SETTINGS, view_url=str(file))) as console:
        answer = console.client().get("/api/wf-runs")
    assert (answer.status_code, answer.json()["code"]) == (503, "VIEW_UNAVAILABLE")
    assert "a newer release of Halter made" in answer.json()["title"]


def test_a_port_that_is_taken_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, out, err = halter(capsys, "console", "--port", port, "--view", str(tmp_path), *NOWHERE)
    assert (code, out) == (1, "")
    assert "something else listens there; choose another --port" in err


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--host", "0.0.0.0"), 1, "expected a login"),
        (("--host", "no-such-host.invalid", "--token-file", "{token}"), 1, "expected an address of this machine"),
        (("--token-file", "{none}"), 1, "expected a file with a secret"),
        (("--token-file", "{short}"), 1, "at least 16 characters"),
        (("--token-file", "{two}"), 1, "expected one line with a secret"),
        (("--oidc-issuer", "https://issuer.example.com"), 2, "--oidc-client and --oidc-secret-file"),
        (("--oidc-client", "x"), 2, "--oidc-issuer"),
        (("--groups-header", "X-Groups"), 2, "--user-header"),
        (("--user-header", "X-User"), 1, "--trusted-proxy"),
        (("--user-header", "X-User", "--trusted-proxy", "everywhere"), 1, "expected an address or a network"),
        (("--token-file", "{token}", "--allow-actions"), 1, "expected somebody who may act"),
        (("--health-host", "127.0.0.1"), 2, "--health-port"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: int, says: str
) -> None:
    secrets = {"token": "a-token-0123456789", "short": "short", "two": "two words\nand lines"}
    files = {name: tmp_path / name for name in secrets}
    for name, text in secrets.items():
        files[name].write_text(text + "\n")
    typed = [it.format(**files, none=tmp_path / "none") for it in options]
    ended, out, err = halter(capsys, "console", *typed, "--port", "1", *NOWHERE)
    assert (ended, out) == (code, ""), err
    assert says in err
    assert "Traceback" not in err
