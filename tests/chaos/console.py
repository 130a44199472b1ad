"""A console beside the workers: it is asked all the time, and has to show what the log says in the end.

While brokers are away it may say so (503), and nothing else may go wrong: no error of its own, no silence, no end.
"""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import select

from halter.view import tables
from halter.view.place import open_view
from tests.chaos.findings import Finding, Kind
from tests.chaos.reading import wait_for
from tests.support.ports import free_port

OF_ALL: Final = (
    "/",
    "/wf-runs",
    "/wf-runs?status=ERROR",
    "/wf-specs",
    "/external-events",
    "/dead-letters",
    "/partitions",
    "/api/stats",
    "/api/folding",
    "/api/workers",
)
OF_ONE: Final = (
    "/wf-runs/{}",
    "/wf-runs/{}/events",
    "/wf-runs/{}/threads",
    "/api/wf-run/state?wf_run_id={}",
    "/api/wf-run/why?wf_run_id={}",
)
TOLD: Final = (200, 404, 503)
"""What it may answer. 404: a WfRun was deleted meanwhile. 503: the view or a broker is away, as its sentence says."""
ANSWER_SECONDS: Final = 45.0
"""Whoever asks gives up after this. A question to the view ends after 30 s, and so does one to Kafka."""
WHY_LENGTH_MAX: Final = 80
MOST_COMMON: Final = 8
PAUSE_SECONDS: Final = 0.2
READY_SECONDS: Final = 60.0


class ConsoleUnderAttack:
    """A process `halter console`, and somebody who looks at one page after the other."""

    def __init__(self, bootstrap: str, environment: Mapping[str, str], folder: Path, view: Path) -> None:
        self._view, self._log = view, folder / "console.log"
        self._environment = {**os.environ, **environment, "KAFKA_BOOTSTRAP_SERVERS": bootstrap}
        self._url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._asking = [threading.Thread(target=it, daemon=True) for it in (self._look, self._listen)]
        self._is_over = threading.Event()
        self._findings: list[Finding] = []
        self._slowest = 0.0, ""
        self.answers: Counter[str] = Counter()
        """Status, and why if it is away -> so many answers."""
        self.live = 0
        """Lines that the stream of changes has sent."""

    def begin(self) -> None:
        """Start it, and ask from when its view is filled. Raises TimeoutError."""
        port = self._url.rpartition(":")[2]
        command = [sys.executable, "-m", "halter", "console", "--view", str(self._view), "--port", port]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        with self._client() as client:
            wait_for("the first answer of the console", lambda: self._is_served(client), READY_SECONDS)
        for thread in self._asking:
            thread.start()

    @property
    def figures(self) -> dict[str, Any]:
        """What it answered."""
        seconds, path = self._slowest
        return {
            "console: answers": dict(self.answers.most_common(MOST_COMMON)),
            "console: slowest answer": f"{seconds:.1f} s ({path})",
            "console: lines of the stream of changes": self.live,
        }

    def findings(self, right: Path) -> Iterator[Finding]:
        """Ask no more, end it, and yield what was wrong and where it shows something else than a view that is right.

        Who does not come so far calls `end`.
        """
        self._is_over.set()
        for thread in self._asking:
            if thread.ident is not None:
                thread.join(ANSWER_SECONDS)
        yield from self._findings
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            yield Finding(Kind.CONSOLE, f"it ended with {code}")
            return
        try:
            yield from self._against(right)
        except (httpx.HTTPError, KeyError) as error:
            yield Finding(Kind.CONSOLE, f"all is still, and it does not answer: {error!r}")
        if code := self.end():
            yield Finding(Kind.CONSOLE, f"it ended with {code} on SIGTERM")

    def end(self) -> int | None:
        """End it, if it runs. Return its exit code; None if it was never started."""
        if self._process is None:
            return None
        self._process.terminate()
        return self._process.wait(30)

    def _against(self, right: Path) -> Iterator[Finding]:
        with open_view(str(right)).read() as connection:
            rows = connection.execute(select(tables.wf_runs.c.wf_run_id, tables.wf_runs.c.status, tables.wf_runs.c.seq))
            expected = {(row.wf_run_id, row.status, row.seq) for row in rows}
        shown: set[tuple[str, str | None, int]] = set()
        with self._client() as client:
            after = None
            while True:
                page = client.get("/api/wf-runs", params={"limit": 500, **({"after": after} if after else {})}).json()
                shown |= {(it["wf_run_id"], it["status"], it["seq"]) for it in page["wf_runs"]}
                after = page["after"]
                if after is None:
                    break
            for one in sorted(expected ^ shown, key=str):
                yield Finding(Kind.CONSOLE, f"{one} is {'not shown' if one in expected else 'shown'}")
            for path in (*OF_ALL, *(it.format(min(expected)[0]) for it in OF_ONE)):
                if (answer := client.get(path)).status_code != 200:
                    yield Finding(
                        Kind.CONSOLE, f"all is still, and {path} is {answer.status_code}: {answer.text[:300]}"
                    )

    def _look(self) -> None:
        some: list[str] = []
        with self._client() as client:
            for turn in cycle(range(len(OF_ALL) + len(OF_ONE))):
                if self._is_over.wait(PAUSE_SECONDS):
                    return
                if turn < len(OF_ALL):
                    self._ask(client, OF_ALL[turn])
                elif turn == len(OF_ALL):
                    answer = self._ask(client, "/api/wf-runs?limit=20")
                    some = [it["wf_run_id"] for it in answer.json()["wf_runs"]] if answer else some
                if some and turn >= len(OF_ALL):
                    self._ask(client, OF_ONE[turn - len(OF_ALL)].format(some[turn % len(some)]))

    @staticmethod
    def _is_served(client: httpx.Client) -> bool:
        try:
            return client.get("/api/stats").status_code == 200
        except httpx.HTTPError:
            return False

    def _ask(self, client: httpx.Client, path: str) -> httpx.Response | None:
        """Ask once. Return the answer if it is one."""
        begun = time.monotonic()
        try:
            answer = client.get(path)
        except httpx.HTTPError as error:
            if not self._is_over.is_set():
                self._findings.append(Finding(Kind.CONSOLE, f"{path} had no answer: {error!r}"))
            return None
        self._slowest = max(self._slowest, (time.monotonic() - begun, path))
        why = "" if answer.status_code == 200 else f" {answer.json()['title'][:WHY_LENGTH_MAX]}"
        self.answers[f"{answer.status_code}{why}"] += 1
        if answer.status_code not in TOLD:
            self._findings.append(Finding(Kind.CONSOLE, f"{path} is {answer.status_code}: {answer.text[:300]}"))
        return answer if answer.status_code == 200 else None

    def _listen(self) -> None:
        """Listen to what has changed, and again when that ends."""
        while not self._is_over.wait(PAUSE_SECONDS):
            try:
                with self._client() as client, client.stream("GET", "/live") as stream:
                    for _ in stream.iter_lines():
                        self.live += 1
                        if self._is_over.is_set():
                            return
            except httpx.HTTPError as error:
                if not self._is_over.is_set():
                    self._findings.append(Finding(Kind.CONSOLE, f"/live broke off: {error!r}"))

    def _client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self._url, headers={"Accept": "application/json"}, timeout=ANSWER_SECONDS, trust_env=False
        )
