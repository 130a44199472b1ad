"""A view beside the workers: it is killed again and again, and has to equal the fold of the log in the end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from halter.client import Client
from halter.view.place import open_view
from processors.kafka.settings import Settings
from tests.chaos.findings import Finding, Kind
from tests.support.view_check import differences

CATCH_UP_SECONDS: Final = 120


class ViewUnderAttack:
    """A process `halter view`. If it keeps masked values, its state can be compared byte for byte."""

    def __init__(
        self, bootstrap: str, environment: Mapping[str, str], folder: Path, name: str, *, with_masked: bool
    ) -> None:
        self.file = folder / f"{name}.db"
        self._log = folder / f"{name}.log"
        self._options = ["--with-masked"] if with_masked else []
        self._environment = {**os.environ, **environment, "KAFKA_BOOTSTRAP_SERVERS": bootstrap}
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def keep(self) -> None:
        """Start it, unless it runs."""
        if self._process is None or self._process.poll() is not None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(self._command(), env=self._environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """Kill it, and start another one."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(20)
            self.kills += 1
        self.keep()

    def end(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def findings(self, settings: Settings) -> Iterator[Finding]:
        """Let it read the rest, and yield where it differs from the fold of the log, if it keeps all values."""
        with self._log.open("ab") as log:
            done = subprocess.run(
                self._command("--once"),
                env=self._environment,
                stdout=log,
                stderr=log,
                timeout=CATCH_UP_SECONDS,
                check=False,
            )
        if done.returncode:
            said = self._log.read_text(errors="replace").strip().splitlines()[-1]
            yield Finding(Kind.LOST, f"the view could not be read to the end: {said}")
        elif self._options:
            yield from self._against_the_log(settings)

    def _against_the_log(self, settings: Settings) -> Iterator[Finding]:
        with Client.of(settings) as client:
            for difference in differences(client, open_view(str(self.file))):
                yield Finding(Kind.STATE, f"the view: {difference}")

    def _command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "halter", "view", "--url", str(self.file), *self._options, *options]
