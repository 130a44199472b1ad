"""Live events: what comes to a browser that waits, what it missed, and what becomes of one that does not read."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from halter.console.settings import Bounds
from halter.view.keeping import Keeper, Source
from halter.view.place import open_view
from processors.core.records.commands import ExternalEvent
from tests.support.consoles import READER, SETTINGS, Served, served
from tests.support.views import CODEC, START_MS, log_of, news_of, shop
from tests.support.waiting import wait_until

BOUNDS = Bounds(live_clients=6, live_clients_of_address=3, live_buffer=4, live_kept=8, live_poll_s=0.02, send_s=2)


LONG = "x" * 1_000_000


class Shop:
    """A view that is kept current from an engine, as `halter view` keeps one from Kafka."""

    def __init__(self, file: Path) -> None:
        self.file, self.engine = file, shop()
        self._view = open_view(str(file), writable=True)
        self._keeper = Keeper(self._view, CODEC)
        self._keeper.begin(Source(partitions=1, cluster="in-memory"), START_MS)
        self._seen = self._number = 0
        self.catch_up()
        self._keeper.ready()

    def post(self, wf_run_id: str) -> None:
        """Post an ExternalEvent, and bring the view up to date."""
        self._number += 1
        self.engine.put(ExternalEvent(wf_run_id, "page-seen", f"p{self._number}", "/"))
        self.catch_up()

    def catch_up(self) -> None:
        """Bring the view up to date."""
        log = log_of(self.engine)
        self._keeper.write(news_of(log[self._seen :], self._seen))
        self._seen = len(log)

    def close(self) -> None:
        """Let go of the view."""
        self._view.close()


class Reader:
    """A browser that waits for live events."""

    def __init__(self, console: Served, query: str = "", last_id: str | None = None) -> None:
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        self._client = console.client(headers)
        self._context = self._client.stream("GET", f"/live{query}")
        self.answer = self._context.__enter__()
        self._lines = self.answer.iter_lines()
        self.last_id = ""

    def next(self) -> tuple[str, str]:
        """Return the name and the data of the next event."""
        name = ""
        for line in self._lines:
            field, _, value = line.partition(": ")
            match field:
                case "id":
                    self.last_id = value
                case "event":
                    name = value
                case "data":
                    return name, value
        return "end", ""

    def until_it_waits(self) -> None:
        """Wait until it would hear of a change."""
        assert self.next()[0] == "hello"

    def close(self) -> None:
        """Go away."""
        self._context.__exit__(None, None, None)
        self._client.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    it = Shop(tmp_path_factory.mktemp("live") / "view.db")
    yield it
    it.close()


@contextmanager
def console_of(kept: Shop, bounds: Bounds = BOUNDS, file: Path | None = None) -> Iterator[Served]:
    with served(replace(SETTINGS, view_url=str(file or kept.file), bounds=bounds)) as console:
        yield console


def test_a_change_comes_to_everybody_who_waits_and_names_its_wf_run(kept: Shop) -> None:
    with console_of(kept) as console:
        both = [Reader(console), Reader(console)]
        for reader in both:
            reader.until_it_waits()
        kept.post("cart-waits")
        for reader in both:
            name, data = reader.next()
            assert name == "change"
            assert '"wf_runs": ["cart-waits"]' in data
            reader.close()


def test_who_waits_for_one_wf_run_hears_of_no_other(kept: Shop) -> None:
    with console_of(kept) as console:
        all_of_it, one = Reader(console), Reader(console, "?wf_run=cart-stopped")
        all_of_it.until_it_waits()
        one.until_it_waits()
        kept.post("cart-waits")
        assert '"wf_runs": ["cart-waits"]' in all_of_it.next()[1]
        kept.post("cart-stopped")
        assert '"wf_runs": ["cart-stopped"]' in one.next()[1]
        all_of_it.close()
        one.close()


def test_a_page_that_is_older_than_the_view_is_told_to_load_again(kept: Shop) -> None:
    with console_of(kept) as console:
        first = Reader(console)
        name, data = first.next()
        position = json.loads(data)["position"]
        assert (name, position) == ("hello", console.server._app.state.readings.view.position())
        assert Reader(console, f"?since={position}").next()[0] == "hello"
        kept.post("cart-waits")
        first.next()
        assert Reader(console, f"?since={position}").next()[0] == "reset"
        first.close()


def test_who_comes_back_gets_what_it_missed_and_a_reset_if_that_is_not_kept(kept: Shop) -> None:
    with console_of(kept) as console:
        first, other = Reader(console), Reader(console)
        first.until_it_waits()
        other.until_it_waits()
        kept.post("cart-waits")
        first.next()
        other.next()
        first.close()
        kept.post("cart-stopped")
        other.next()
        again = Reader(console, last_id=first.last_id)
        assert '"wf_runs": ["cart-stopped"]' in again.next()[1]
        again.close()
        for strange in ("0-1", "x", first.last_id + "0000", "-"):
            reader = Reader(console, last_id=strange)
            assert reader.next()[0] == "reset", strange
            reader.close()
        other.close()


def test_there_is_a_bound_on_who_may_wait(kept: Shop) -> None:
    with console_of(kept) as console:
        readers = [Reader(console) for _ in range(BOUNDS.live_clients_of_address)]
        for reader in readers:
            reader.until_it_waits()
        answer = console.client().get("/live")
        assert (answer.status_code, answer.json()["code"]) == (503, "TOO_MANY_CLIENTS")
        readers.pop().close()
        live = console.server._app.state.live
        wait_until("the server has seen that one is gone", lambda: len(live._clients) < 3, 10)
        readers.append(Reader(console))
        readers[-1].until_it_waits()
        for reader in readers:
            reader.close()


def test_who_does_not_read_is_dropped_and_the_others_hear_everything(kept: Shop) -> None:
    bounds = replace(BOUNDS, live_buffer=2, send_s=0.3, live_heartbeat_s=0.01)
    with console_of(kept, bounds) as console:
        figures = console.server._app.state.figures
        reads = Reader(console)
        reads.until_it_waits()
        with socket.socket() as sleepy:
            sleepy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sleepy.connect(console.where)
            sleepy.sendall(f"GET /live HTTP/1.1\r\nHost: {console.url[7:]}\r\n\r\n".encode())
            live = console.server._app.state.live
            wait_until("both wait", lambda: len(live._clients) == 2, 10)
            loop = live._task.get_loop()

            def tell(number: int) -> None:
                loop.call_soon_threadsafe(live._tell, "change", {"wf_runs": [LONG], "has_more": False, "n": number})

            for number in range(1, 200):
                tell(number)
                name, data = reads.next()
                assert (name, f'"n": {number}}}' in data) == ("change", True)
                if len(live._clients) == 1:
                    break
            wait_until("it is dropped", lambda: len(live._clients) == 1, 10)
        assert b"halter_console_live_clients 1.0" in figures.text()
        reads.close()


def test_a_view_that_is_away_is_told_and_that_it_is_back(kept: Shop) -> None:
    place = kept.file.with_name("elsewhere.db")
    with console_of(kept, file=place) as console:
        reader = Reader(console)
        name, data = reader.next()
        assert name == "away"
        assert "halter view" in data
        place.symlink_to(kept.file)
        assert reader.next()[0] == "back"
        assert reader.next()[0] == "hello"
        kept.post("cart-waits")
        assert reader.next()[0] == "change"
        reader.close()


def test_a_stream_ends_when_its_session_does(kept: Shop) -> None:
    settings = replace(SETTINGS, view_url=str(kept.file), reader_token=READER)
    with served(replace(settings, bounds=replace(BOUNDS, live_heartbeat_s=0.05))) as console:
        client = console.logged_in(READER)
        with client.stream("GET", "/live") as answer:
            lines = answer.iter_lines()
            assert "hello" in next(it for it in lines if it.startswith("event:"))
            csrf = client.get("/api/me").json()["csrf"]
            client.post("/logout", data={"csrf": csrf})
            assert [it for it in lines if it.startswith("event:")] == []


def test_the_console_ends_at_once_though_somebody_waits(kept: Shop) -> None:
    with console_of(kept) as console:
        reader = Reader(console)
        reader.until_it_waits()
        ended = threading.Event()
        threading.Thread(target=lambda: (reader.next(), ended.set()), daemon=True).start()
        console.server.should_exit = True
        assert ended.wait(10), "the stream ends"
    reader.close()


def test_nobody_looks_at_the_view_while_nobody_waits(kept: Shop) -> None:
    with console_of(kept) as console:
        live = console.server._app.state.live
        assert live._task is None
