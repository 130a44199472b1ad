"""A log that is read slowly takes some of the threads and not all: lists answer, and who has to come again is told."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from halter.console.turns import READERS_MAX, WAITING_MAX, LogBusy, Turns
from tests.support import views
from tests.support.consoles import SETTINGS, served
from tests.support.memory_source import MemorySource
from tests.support.waiting import wait_until

ASKING = 60
"""More than the threads that all pages share."""


def test_while_histories_are_read_slowly_lists_answer_and_whoever_comes_too_late_is_told(tmp_path: Path) -> None:
    engine, reading, goes_on = views.shop(), [], threading.Event()
    views.filled(str(tmp_path / "view.db"), engine).close()

    @contextmanager
    def slow() -> Iterator[MemorySource]:
        reading.append(1)
        assert goes_on.wait(60)
        yield MemorySource(engine)

    settings = replace(SETTINGS, view_url=str(tmp_path / "view.db"), source=slow)
    with served(settings) as console, console.client() as client, ThreadPoolExecutor(ASKING) as asking:

        def history() -> httpx.Response:
            with console.client({"Accept": "application/json"}) as own:
                return own.get("/api/wf-run/history?wf_run_id=cart-waits")

        asked = [asking.submit(history) for _ in range(ASKING)]
        wait_until("some are told", lambda: sum(it.done() for it in asked) >= ASKING - READERS_MAX - WAITING_MAX, 30)
        assert len(reading) == READERS_MAX
        assert client.get("/wf-runs").status_code == 200
        away = client.get("/wf-runs/cart-waits/events")
        assert (away.status_code, "<code>503 LOG_BUSY</code>" in away.text) == (503, True)
        assert '<a class="button first" href="/wf-runs/cart-waits/events">Try again</a>' in away.text
        page = client.get("/wf-runs/cart-waits/threads")
        assert page.status_code == 200, "what the view has is shown"
        assert "others read the log now" in page.text
        goes_on.set()
        statuses = Counter(it.result().status_code for it in asked)
        assert client.get("/wf-runs/cart-waits/events").status_code == 200
    assert statuses.keys() == {200, 503}
    assert statuses[200] >= READERS_MAX


def test_a_turn_is_waited_for_and_given_back_whatever_happens_in_it() -> None:
    turns = Turns(readers=1, waiting=1, patience_s=0.05)
    with turns.turn(), pytest.raises(LogBusy, match=r"none has ended within 0\.05 s"), turns.turn():
        pass
    with pytest.raises(ZeroDivisionError), turns.turn():
        _ = 1 / 0
    with turns.turn():
        pass
