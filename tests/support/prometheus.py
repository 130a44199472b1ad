"""Prometheus and its promtool for tests: those on the machine, or Debian's, unpacked where apt and root are at hand.

The package is unpacked and not installed, so that no server is started with the machine.
"""

import contextlib
import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.debian import UPDATE, is_root, one_at_a_time, run
from tests.support.waiting import wait_until

PACKAGE = "prometheus"
UNPACKED = Path(tempfile.gettempdir(), "halter-prometheus")


def program(name: str) -> str:
    """Return the path of `promtool` or `prometheus`. Skips the test where none can be had."""
    if found := shutil.which(name):
        return found
    path = UNPACKED / "usr" / "bin" / name
    with one_at_a_time():
        if not path.exists():
            _unpack()
    return str(path)


def _unpack() -> None:
    if not is_root():
        pytest.skip("no promtool is on the PATH, and only root can get one, with apt-get")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)  # apt-get fetches as a user of its own
        run(*UPDATE)
        run("apt-get", "download", "-q", PACKAGE, folder=Path(folder))
        (package,) = Path(folder).glob("*.deb")
        unpacked = Path(folder) / "unpacked"
        run("dpkg", "-x", str(package), str(unpacked))
        shutil.move(unpacked, UNPACKED)


class Prometheus:
    """A Prometheus that scrapes each second."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer. A query that Prometheus does not take is an error with its sentence."""
        address = f"{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def samples(self, query: str) -> list[tuple[Mapping[str, str], float]]:
        """Return labels and values of a query, as of now."""
        return [(it["metric"], float(it["value"][1])) for it in self.ask("query", query=query)["result"]]

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._address}/-/ready", timeout=10):
                return True
        except OSError:
            return False


@contextlib.contextmanager
def scraping(folder: Path, port: int, targets: Sequence[str], rules: Path) -> Iterator[Prometheus]:
    """Run a Prometheus over these targets, as the manual has it but each second, with the alert rules."""
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "halter", "static_configs": [{"targets": list(targets)}]}],
    }
    file, log = folder / "prometheus.yml", folder / "prometheus.log"
    file.write_text(json.dumps(configuration), encoding="utf-8")  # JSON is YAML
    command = [
        program("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            prometheus = Prometheus(port)

            def is_ready() -> bool:
                assert process.poll() is None, log.read_text(encoding="utf-8")
                return prometheus.is_ready()

            wait_until("Prometheus", is_ready)
            yield prometheus
        finally:
            process.kill()
