"""The pages as they are read without JavaScript: each link leads somewhere, every state is said, nothing is markup."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from sqlalchemy import update

from halter.console.pages.formats import Formats
from halter.console.pages.marks import marks_of
from halter.console.pages.specs_of import spec_of
from halter.console.pages.wf_run import way_of
from halter.console.settings import ConsoleSettings
from halter.doctor.standing import Folding, Waiting
from halter.history.logged import Logged
from halter.scenarios.memory import MemoryEngine
from halter.show.drawing import drawings
from halter.timeline import recording
from halter.view import tables, totals
from processors.core.records.commands import ExternalEvent, RunWf
from processors.core.rules.context import Context, Limits
from tests.support import views
from tests.support.console_pages import Shop, shop
from tests.support.consoles import OPERATOR, SETTINGS, EngineSender, served
from tests.support.timelines import definitions_of

PAYLOAD = "<img src=x onerror=alert(1)>'\"`&lt;\u202e</script><script>alert(2)</script>"
PAGES_MAX = 400
THREADS = 1_000
MEGABYTE = 1_000_000
API_NAMES = {
    "external-events?def=chekout": "external-events?external_event_def=chekout",
    "external-events?def=checkout&wf-run=cart-9": "external-events?external_event_def=checkout&wf_run_id=cart-9",
}
"""Addresses of pages whose filters have other names in the API."""


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("pages")) as made:
        yield made


class Read(HTMLParser):
    """What a page has: its links, its ids, its text, and what the policy forbids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.tags: list[str] = []
        self.forbidden: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self._in_script = tag == "script"
        self.forbidden += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if given.get("id"):
            self.ids.append(str(given["id"]))

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.forbidden.append(f"inline script {data[:40]}")
        self.text += data + " "


def read(client: httpx.Client, address: str, status: int = 200) -> Read:
    answer = client.get(address)
    assert answer.status_code == status, (address, answer.text[:2000])
    return Read(answer.text)


def said(page: Read) -> str:
    return re.sub(r"\s+", " ", page.text)


def walked(client: httpx.Client) -> dict[str, Read]:
    """All pages to which links lead from the first one. Of filters and events one each is followed."""
    found: dict[str, Read] = {}
    todo = ["/"]
    while todo:
        address = todo.pop()
        parts = urlsplit(address)
        path = re.sub(r"/events/\d+$", "/events/N", parts.path)
        key = f"{path}?{'&'.join(sorted(it.partition('=')[0] for it in parts.query.split('&')))}"
        if key in found or parts.path == "/find":
            continue
        assert len(found) < PAGES_MAX, "links go on for ever"
        found[key] = page = read(client, address)
        for link in page.links:
            there = urlsplit(urljoin(address, link))
            assert not there.scheme, f"{link} on {address} leads away"
            todo.append(there._replace(fragment="").geturl())
    return found


def test_every_link_leads_to_a_page_and_no_page_needs_what_the_policy_forbids(it: Shop) -> None:
    pages = walked(it.console.client())
    paths = {key.partition("?")[0] for key in pages}
    for path in ("/wf-runs", "/wf-specs/cart", "/external-events", "/dead-letters/0/0", "/partitions",
                 "/wf-runs/order-killed", "/wf-runs/order-killed/threads", "/wf-runs/order-killed/diagram",
                 "/wf-runs/order-killed/inputs"):  # fmt: skip
        assert path in paths
    for address, page in pages.items():
        assert not page.forbidden, address
        assert len(page.ids) == len(set(page.ids)), address


def test_the_first_page_says_what_is_wrong_and_leads_there(it: Shop) -> None:
    page = read(it.console.client(), "/")
    assert re.search(r"\d+ things to look at", said(page))
    assert "1 WfRun is in quarantine" in said(page)
    assert "1 dead letter with UNKNOWN_SCHEMA, not retried" in said(page)
    assert "WRONG_PARTITION" not in said(page), "it was retried"
    assert "/dead-letters?reason=UNKNOWN_SCHEMA" in page.links


def test_the_link_below_the_newest_failures_leads_to_all_of_them(it: Shop) -> None:
    client = it.console.client()
    failed = {link.partition("#")[0] for link in read(client, "/").links if "#e" in link}
    assert failed
    listed = read(client, "/wf-runs?failed-with=ANY")
    assert "/wf-runs?failed-with=ANY" in read(client, "/").links
    assert failed <= set(listed.links)


def test_filters_are_in_the_address_and_each_can_be_taken_away(it: Shop) -> None:
    client = it.console.client()
    page = read(client, "/wf-runs?status=RUNNING&wf-spec=cart&text=waits")
    assert "/wf-runs/cart-waits" in page.links
    assert not [link for link in page.links if link.startswith("/wf-runs/order")]
    assert "/wf-runs?status=RUNNING&wf-spec=cart" in page.links, "without the text"
    assert "/wf-runs?wf-spec=cart&text=waits" in page.links, "without the status"
    assert "No WfRun is like that" in said(read(client, "/wf-runs?text=nothing-has-this"))


def test_a_filter_that_cannot_be_is_said_with_what_may_be_meant(it: Shop) -> None:
    page = read(it.console.client(), "/wf-runs?halted-for=MANUEL_HALT", 400)
    assert "MANUAL_HALT" in said(page)
    assert read(it.console.client(), "/wf-runs?after=nonsense", 400)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("wf-runs?wf-spec=Carts", "the view knows no WfSpec 'Carts'; did you mean 'cart'?"),
        ("wf-runs?wf-spec=cart&version=7", "the view knows no version 7 of WfSpec 'cart'; the newest are 0.0"),
        ("wf-runs?failed-with=order-kiled", "ever failed with 'order-kiled'; did you mean 'order-killed'?"),
        (
            "wf-runs?waits-for=EXTERNAL_EVENT:chekout",
            "the view knows no ExternalEventDef 'chekout'; did you mean 'checkout'?",
        ),
        ("external-events?def=chekout", "the view knows no ExternalEventDef 'chekout'; did you mean 'checkout'?"),
        ("external-events?def=checkout&wf-run=cart-9", "the view has no WfRun 'cart-9'"),
        ("dead-letters?reason=UNKNOWN_SHEMA", "has the reason 'UNKNOWN_SHEMA'; did you mean 'UNKNOWN_SCHEMA'?"),
    ],
)
def test_a_name_of_a_filter_that_the_view_never_saw_is_said_with_what_may_be_meant(
    it: Shop, address: str, sentence: str
) -> None:
    client = it.console.client()
    assert sentence in said(read(client, f"/{address}"))
    if "version" not in address:
        (told,) = client.get(f"/api/{API_NAMES.get(address, address)}").json()["unknown"]
        assert told.endswith(sentence)


def test_a_name_that_there_is_and_a_page_that_has_rows_are_not_called_unknown(it: Shop) -> None:
    client = it.console.client()
    for address in ("wf-runs?wf-spec=cart", "wf-runs?wf-spec=cart&status=ERROR", "external-events", "dead-letters"):
        assert "the view knows no" not in said(read(client, f"/{address}"))
        assert client.get(f"/api/{address}").json()["unknown"] == []


def test_a_status_of_external_events_that_cannot_be_is_said_above_the_list(it: Shop) -> None:
    page = read(it.console.client(), "/external-events?status=UNCLAIMD", 400)
    assert "status: 'UNCLAIMD' is none; did you mean 'UNCLAIMED'?" in said(page)
    assert "/external-events" in page.links
    assert read(it.console.client(), "/external-events?after=nonsense", 400)


def test_a_wf_spec_that_there_is_not_is_said_with_the_one_that_may_be_meant(it: Shop) -> None:
    page = read(it.console.client(), "/wf-specs/Carts", 404)
    assert "the view knows no WfSpec 'Carts'; did you mean 'cart'?" in said(page)


def test_pages_of_a_list_have_each_wf_run_once(it: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halter.console.pages.wf_runs.LIMIT", 3)
    client, address, seen = it.console.client(), "/wf-runs?sort=id", list[str]()
    for _ in range(10):
        page = read(client, address)
        seen += [link.removeprefix("/wf-runs/") for link in page.links if re.fullmatch(r"/wf-runs/[-\w]+", link)]
        following = [link for link in page.links if "after=" in link]
        if not following:
            break
        address = following[0]
    assert seen == sorted(run.wf_run_id for run in it.engine.runs.values() if run.status is not None)


def test_a_search_for_an_id_leads_to_its_wf_run_and_another_to_the_list(it: Shop) -> None:
    client = it.console.client()
    assert client.get("/find?q=cart-waits").headers["location"] == "/wf-runs/cart-waits"
    assert client.get("/find", params={"q": "12 Harbour"}).headers["location"] == "/wf-runs?text=12+Harbour"


def test_a_wf_run_tells_why_it_is_where_it_is(it: Shop) -> None:
    text = said(read(it.console.client(), "/wf-runs/order-halted"))
    assert "#0 main is HALTED since" in text
    assert "started handler #1 clean-up" in text


def test_threads_are_a_tree_with_what_holds_them_and_their_variables(it: Shop) -> None:
    text = said(read(it.console.client(), "/wf-runs/order-halted/threads"))
    assert "INTERRUPTED #1" in text
    assert "INTERRUPT of #0 by order-killed k2" in text
    assert "TASK_REPORT release-order" in text
    assert '"3 Mill Lane"' in text
    assert "card-1" not in text, "masked"


def test_no_page_of_an_event_shows_a_masked_value(it: Shop) -> None:
    client = it.console.client()
    for wf_run_id in it.engine.runs:
        for seq in {entry.cause: entry.seq for entry in it.engine.log_of(wf_run_id) if entry.seq}.values():
            text = client.get(f"/wf-runs/{wf_run_id}/events/{seq}").text
            assert f"e{seq} of {wf_run_id}" in text
            assert [secret for secret in ("4111111111111111", "card-1") if secret in text] == [], (wf_run_id, seq)


def test_a_view_that_has_masked_values_is_shown_to_nobody(tmp_path: Path) -> None:
    url = str(tmp_path / "view.db")
    views.filled(url, with_masked=True).close()
    with served(ConsoleSettings(view_url=url)) as console:
        client = console.client()
        for address in ("/wf-runs?text=4111", "/wf-runs/cart-waits/threads", "/api/wf-runs", "/api/wf-run?wf_run_id=x"):
            answer = client.get(address)
            assert answer.status_code == 503, address
            assert "--with-masked" in answer.text
            assert "4111111111111111" not in answer.text


def test_the_state_after_any_event_is_read_without_javascript(it: Shop) -> None:
    client = it.console.client()
    page = read(client, "/wf-runs/order-killed/events?at=3")
    assert "State after e3" in said(page)
    assert '"status": "RUNNING"' in said(page)
    assert "/wf-runs/order-killed/events/3" in page.links
    cause = said(read(client, "/wf-runs/order-killed/events/1"))
    assert "RunWf" in cause
    assert "wf-commands" in cause
    last = it.engine.log_of("order-killed")[-1].seq
    assert f"/wf-runs/order-killed/events/{last + 1}" not in read(client, f"/wf-runs/order-killed/events/{last}").links
    assert read(client, f"/wf-runs/order-killed/events/{last + 1}", 404)


def test_a_diagram_shows_the_way_that_a_wf_run_went(it: Shop) -> None:
    answer = it.console.client().get("/wf-runs/order-killed/diagram").text
    main = answer[answer.index('id="spec-main"') : answer.index('id="spec-clean-up"')]
    went = re.findall(r'<g class="node \w+ went.*?class="name"[^>]*>([^<]+)', main, re.DOTALL)
    assert went == ["start", "reserve", "charge"]
    data = recording("order-killed", [Logged(None, entry) for entry in it.engine.log_of("order-killed")],
                     it.engine.context.definitions)  # fmt: skip
    way = way_of(data)["clean-up"]
    assert dict(way.visits) == {"start": 1, "release": 1, "refund": 1, "killed": 1}
    assert ("release", "refund") in way.steps
    assert way.now == {}


def test_a_diagram_counts_the_threads_at_each_node(it: Shop) -> None:
    page = read(it.console.client(), "/wf-specs/cart")
    assert "1 thread HALTED at wait" in said(page)
    assert re.search(r"\d+ threads? RUNNING at choose", said(page))


def test_threads_with_error_are_not_called_live(it: Shop) -> None:
    page = said(read(it.console.client(), "/wf-specs/order"))
    assert re.search(r"\d live threads and 1 thread with ERROR now: .* red for ERROR\.", page)


def test_a_diagram_is_as_wide_as_all_that_stands_at_its_nodes(it: Shop) -> None:
    with it.writing() as connection:
        spec, _ = spec_of(connection, "cart", None)
    assert spec is not None
    drawing = drawings(spec)[0]
    node = max(drawing.nodes, key=lambda it: it.x + it.width)
    assert marks_of(drawing, {}, {}, {}).width == drawing.width
    counted = marks_of(drawing, {node.name: {"HALTED": 1_000, "RUNNING": 33}}, {}, {})
    assert [(it.words, it.title) for it in counted.pills[node.name]] == [
        ("1,000", f"1,000 threads HALTED at {node.name}"),
        ("33", f"33 threads RUNNING at {node.name}"),
    ]
    first, last = counted.pills[node.name]
    assert first.x + first.width < last.x
    assert last.x + last.width <= counted.width
    assert marks_of(drawing, {}, {}, {node.name: 1_000}).width > drawing.width
    (named,) = marks_of(drawing, {}, {node.name: [1, 2, 3, 4]}, {}).pills[node.name]
    assert (named.words, named.title) == ("#1 2 3", f"threads 1, 2, 3, 4 are at {node.name}")


def test_what_became_of_external_events_is_told(it: Shop) -> None:
    client = it.console.client()
    assert "interrupts #0 ; handler #1" in said(read(client, "/wf-runs/order-killed/inputs"))
    early = said(read(client, "/external-events?status=UNCLAIMED"))
    assert "a2 cart-early UNCLAIMED kept for the WfRun that starts with this id: there is none yet" in early


def test_an_external_event_that_nobody_takes_any_more_says_so(it: Shop) -> None:
    client = it.console.client()
    for wf_run_id in ("order-done", "order-killed", "order-failed"):
        it.engine.put(ExternalEvent(wf_run_id, "order-killed", f"late-{wf_run_id}"))
    it.catch_up()
    listed = said(read(client, "/external-events?status=UNCLAIMED"))
    assert "order-done UNCLAIMED nobody takes it any more: its WfRun is COMPLETED" in listed
    assert "order-killed UNCLAIMED nobody takes it any more: its WfRun is EXCEPTION" in listed
    assert "order-failed UNCLAIMED nobody takes it while its WfRun is ERROR" in listed
    assert "nobody takes it any more" in said(read(client, "/wf-runs/order-done/inputs"))


def test_a_wf_run_that_there_is_not_is_not_found_and_cannot_be_acted_on(tmp_path: Path) -> None:
    settings = replace(SETTINGS, operator_token=OPERATOR, allow_actions=True, sender=lambda: EngineSender(views.shop()))
    with shop(tmp_path, settings) as it:
        client = it.console.logged_in()
        for address in ("/wf-runs/nope-1", "/wf-runs/nope-1/events", "/wf-runs/nope-1/events/1"):
            page = read(client, address, 404)
            assert "there is no WfRun 'nope-1': the log has no event of it; check the id" in said(page)
            assert "Act …" not in said(page)
        assert "Act …" in said(read(client, "/wf-runs/cart-early")), "an ExternalEvent came before it"
        it.kafka_is_away = True
        away = said(read(client, "/wf-runs/nope-1"))
        assert "The log cannot be read now." in away, "it is not known whether there is one"
        assert "Act …" not in away


def test_a_wf_run_that_the_view_has_not_may_come_while_there_is_something_left_to_read(it: Shop) -> None:
    client = it.console.client()
    addresses = ("/wf-runs/nope-1/threads", "/wf-runs/nope-1/diagram", "/api/wf-run?wf_run_id=nope-1")

    def told() -> set[str]:
        """What the pages say, and the API."""
        texts = [re.sub(r"\d\S+Z", "TIME", said(read(client, address, 404))) for address in addresses]
        return {
            found.group()
            for text in texts
            for found in re.finditer("the view has no WfRun 'nope-1'.*?(?= 404|\")", text)
        }

    nothing = "the view has no WfRun 'nope-1'"
    it.be_current()
    assert told() == {f"{nothing}, and has read all of its partition 0 up to TIME; check the id"}
    with it.writing() as connection:
        connection.execute(tables.partitions.update().values(lag=2))
    (behind,) = told()
    assert behind.startswith(f"{nothing}: it has read its partition 0 up to TIME, and 2 records of it are still")
    assert behind.strip().endswith("so this WfRun may come")
    with it.writing() as connection:
        connection.execute(tables.partitions.update().values(lag=0, seen_ms=views.START_MS))
    stale = told()
    assert stale
    assert all(it.startswith(f"{nothing}, and has not heard of Kafka since TIME: it may come once") for it in stale)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({("wf-commands", 0): 3}, "and at most 3 records wait on its partition 0: what came for it may be one of them"),
        ({("wf-commands", 0): 0}, "check the id"),
    ],
)
def test_the_first_page_of_a_console_knows_whether_something_waits_for_a_wf_run(
    tmp_path: Path, found: dict[tuple[str, int], int], says: str
) -> None:
    """Its first look takes a moment. The page of a WfRun of which there is nothing else waits for it."""
    asked = threading.Event()

    def look() -> Folding:
        assert asked.wait(30)
        return Folding(found)

    with shop(tmp_path, replace(SETTINGS, folding=look)) as it, ThreadPoolExecutor() as others:
        first = others.submit(lambda: said(read(it.console.client(), "/wf-runs/nope-1", 404)))
        asked.set()
        assert says in first.result(30)


def test_what_is_not_known_of_a_wf_run_at_first_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halter.console.standing.PATIENCE_S", 0.05)
    looking, goes_on = threading.Event(), threading.Event()

    def look() -> Folding:
        looking.set()
        assert goes_on.wait(30)
        return Folding({})

    with shop(tmp_path, replace(SETTINGS, folding=look)) as it, ThreadPoolExecutor() as others:
        first = others.submit(lambda: read(it.console.client(), "/wf-runs/nope-1", 404))
        assert looking.wait(30)
        page = said(read(it.console.client(), "/wf-runs/nope-2", 404))
        goes_on.set()
        assert (
            "nothing is folded of a WfRun 'nope-2' so far, and it is not known whether something waits for it" in page
        )
        assert "check the id" not in page
        assert "check the id" in said(first.result(30))


def test_a_wf_run_that_only_the_view_still_has_is_shown_as_the_view_has_it(tmp_path: Path) -> None:
    with shop(tmp_path) as it:
        del it.engine.runs["order-killed"]
        page = said(read(it.console.client(), "/wf-runs/order-killed"))
        assert "The log has no event of it any more." in page
        assert "CHILD_FAILED" in page


def test_task_attempts_are_counted_and_say_how_long_they_took(it: Shop) -> None:
    page = said(read(it.console.client(), "/wf-runs/order-reserves/inputs"))
    assert re.search(r"ExternalEvents and tasks [1-9]", page)
    assert re.search(r" after \d+ m?s ", said(read(it.console.client(), "/wf-runs/order-killed/inputs")))
    assert [Formats().took(it) for it in (120, 16_000, 0)] == ["120 ms", "16 s", "0 ms"]


def test_the_wrong_key_of_a_dead_letter_is_no_wf_run_to_go_to(it: Shop) -> None:
    client = it.console.client()
    with it.writing() as connection:
        letter = dict(connection.execute(tables.dead_letters.select().limit(1)).mappings().one())
        wrong = {"letter_offset": 3, "reason": "KEY_MISMATCH", "wf_run_id": "shop-1"}
        connection.execute(tables.dead_letters.insert(), letter | wrong)
    for address in ("/dead-letters?reason=KEY_MISMATCH", "/dead-letters/0/3"):
        page = read(client, address)
        assert "shop-1 as its key says, wrongly" in said(page)
        assert not [link for link in page.links if "shop-1" in link]


def test_dead_letters_say_what_was_wrong_and_the_way_out(it: Shop) -> None:
    client = it.console.client()
    assert "not yet" in said(read(client, "/dead-letters?reason=UNKNOWN_SCHEMA"))
    page = said(read(client, "/dead-letters/0/0"))
    assert "schema id 4711" in page
    assert "halter dead-letters retry 0@0" in page
    with it.writing() as connection:
        of_binding = tables.dead_letters.insert().values(
            partition=0, letter_offset=2, reason="UNCOMPUTABLE", message="no value at value.order", wf_run_id=None,
            source_topic="shop.orders", source_partition=0, source_offset=9, at_ms=views.START_MS,
            origin="BINDING", mapping="cancellations", retries=0, last_outcome=None,
        )  # fmt: skip
        connection.execute(of_binding)
    assert "binding cancellations" in said(read(client, "/dead-letters?reason=UNCOMPUTABLE"))
    assert "Binding cancellations" in said(read(client, "/dead-letters/0/2"))
    assert read(client, "/dead-letters/0/99", 404)
    assert read(client, f"/dead-letters/0/{10**30}", 404)


def test_if_kafka_is_away_the_page_says_so_and_shows_what_the_view_has(it: Shop) -> None:
    it.kafka_is_away = True
    try:
        client = it.console.client()
        page = said(read(client, "/wf-runs/order-killed"))
        assert "The log cannot be read now." in page
        assert "does not answer" in page
        assert "CHILD_FAILED" in page
        assert "Threads" in said(read(client, "/wf-runs/order-killed/threads"))
        assert "without the way that it went" in said(read(client, "/wf-runs/order-killed/diagram"))
        assert client.get("/wf-runs/order-killed/timeline.json").status_code == 503
        assert "Away for the moment" in said(read(client, "/wf-runs/order-killed/events", 503))
    finally:
        it.kafka_is_away = False


def test_what_there_is_is_counted_once_for_each_change_of_the_view(it: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, count = list[int](), totals.stats
    monkeypatch.setattr(totals, "stats", lambda connection: counted.append(1) or count(connection))
    client = it.console.client()
    for address in ("/", "/", "/wf-specs", "/dead-letters", "/api/stats"):
        assert client.get(address).status_code == 200
    assert len(counted) <= 1
    counted.clear()
    it.engine.put(RunWf("one-more", "cart", {"customer": "Ann", "card": "4111111111111111"}))
    it.catch_up()
    tiles = [client.get("/api/stats").json()["by_wf_spec"]["cart"]["number"] for _ in range(2)]
    assert (tiles, len(counted)) == ([5, 5], 1)


def test_a_partition_that_stands_still_is_said_everywhere_with_the_way_out(tmp_path: Path) -> None:
    """What is found by looking is on a real Kafka in tests/broker/test_console.py."""
    still = Waiting(("p-wf-commands", 2), "wf-commands", 17, b"cart-waits", views.START_MS)
    other = Waiting(("p-definition-commands", 0), "definition-commands", 3, b"../x", views.START_MS)
    found = Folding({still.place: 5, other.place: 1}, [still, other], {2: still, 0: other}, owners={2: "halter-one"})
    with shop(tmp_path, replace(SETTINGS, folding=lambda: found)) as it:
        client = it.console.client()
        page = said(read(client, "/partitions"))
        assert "wf-commands[2]@17 of cart-waits has waited" in page
        assert "though halter-one has the partition" in page
        assert (
            "halter quarantine cart-waits or pass over this one record for good: halter skip wf-commands 2 17" in page
        )
        assert "halter quarantine ../x" not in page
        assert "2 partitions stand still Their WfRuns wait" in said(read(client, "/"))
        assert "Partitions 3 to look at" in said(read(client, "/wf-runs")), "beside one WfRun in quarantine"
        told = client.get("/api/folding").json()
    assert (told["behind"], [it["partition"] for it in told["standing"]]) == ({"0": 1, "2": 5}, [0, 2])


def test_without_a_worker_the_first_page_says_that_nothing_is_folded(tmp_path: Path) -> None:
    waits = Waiting(("wf-commands", 0), "wf-commands", 0, b"cart-waits", views.START_MS)
    found = Folding({waits.place: 1}, [waits], is_unmanned=True)
    with shop(tmp_path, replace(SETTINGS, folding=lambda: found)) as it:
        client = it.console.client()
        assert "Nothing is folded." in said(read(client, "/partitions"))
        assert "1 record waits, and no worker is running" in said(read(client, "/"))


def test_a_wf_run_of_which_nothing_is_folded_says_what_waits(tmp_path: Path) -> None:
    waits = Waiting(("wf-commands", 0), "wf-commands", 7, b"cart-new", views.START_MS)
    for number, (found, words) in enumerate({
        "still": (
            Folding({waits.place: 2}, [waits], {0: waits}),
            {"cart-new": "partition 0 stands still, because a rule broke or a worker restores; the record "
                         "wf-commands[0]@7 waits for it since 2026-01-01T00:00:00.000Z",
             "cart-other": "the record wf-commands[0]@7 waits there, and what came for it may too"},
        ),
        "unmanned": (
            Folding({waits.place: 2}, [waits], is_unmanned=True),
            {"cart-new": "and 2 records wait on its partition 0: no worker is running; halter worker starts one"},
        ),
    }.values()):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        with shop(folder, replace(SETTINGS, folding=lambda found=found: found)) as it:
            client = it.console.client()
            read(client, "/partitions")
            for wf_run_id, told in words.items():
                page = read(client, f"/wf-runs/{wf_run_id}", 404)
                assert "Not folded yet" in said(page)
                assert told in said(page)
                assert any("/partitions" in it for it in page.links)


def test_a_wf_run_that_nobody_started_or_that_is_in_quarantine_says_so(it: Shop) -> None:
    client = it.console.client()
    early = said(read(client, "/wf-runs/cart-early"))
    assert "Not started yet. cart-early was not started yet: 1 ExternalEvent waits for its RunWf" in early
    assert "In quarantine. cart-quarantined is QUARANTINED since" in said(read(client, "/wf-runs/cart-quarantined"))
    assert "Not started yet" not in said(read(client, "/wf-runs/cart-waits"))


def test_a_view_that_is_behind_says_how_far(it: Shop) -> None:
    with it.writing() as connection:
        connection.execute(update(tables.partitions).values(lag=12_345))
    text = said(read(it.console.client(), "/wf-runs"))
    with it.writing() as connection:
        connection.execute(update(tables.partitions).values(lag=0))
    assert "The view is catching up. It has 12,345 records still to read." in text


def test_a_console_without_a_view_says_how_to_start_one() -> None:
    with served(ConsoleSettings(view_url="/nonexistent/view.db")) as console:
        first = console.client().get("/")
        assert first.status_code == 200
        assert "There is no view yet" in said(Read(first.text))
        answer = console.client().get("/wf-runs")
        assert answer.status_code == 503
        assert "halter view" in said(Read(answer.text))


def test_an_empty_view_says_what_fills_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    nothing = MemoryEngine(Context(definitions_of("external_events: {}"), Limits()), views.START_MS)
    with shop(tmp_path_factory.mktemp("empty"), engine=nothing) as made:
        client = made.console.client()
        assert "No WfRun yet" in said(read(client, "/"))
        assert "No WfRun yet" in said(read(client, "/wf-runs"))
        assert "No WfSpec is registered" in said(read(client, "/wf-specs"))
        assert "No ExternalEvents" in said(read(client, "/external-events"))
        assert "No WfRun is in quarantine" in said(read(client, "/partitions"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A view in which every text that can be free has a payload, with threads and values beyond measure."""
    with shop(tmp_path_factory.mktemp("hostile")) as made:
        keys = {"wf_run_id", "wf_spec_name", "wf_spec_version", "status", "document", "version", "kind"}
        with made.writing() as connection:
            for table in tables.metadata.sorted_tables:
                free = [c for c in table.c if isinstance(c.type, tables.PlainText) and not c.primary_key]
                names = [c.name for c in free if c.name not in keys]
                if names and table.name not in ("source", "state"):
                    connection.execute(update(table).values(dict.fromkeys(names, PAYLOAD)))
            e = tables.external_events
            posted = dict(connection.execute(e.select().limit(1)).mappings().first() or {})
            connection.execute(e.insert(), posted | {"external_event_id": PAYLOAD, "status": "UNCLAIMED"})
            t = tables.thread_runs
            connection.execute(update(t).values(variables={PAYLOAD: [PAYLOAD, "x" * MEGABYTE]}))
            row = dict(connection.execute(t.select().where(t.c.wf_run_id == "cart-waits")).mappings().first() or {})
            deep = [row | {"thread": n, "parent": n - 1 if n else None, "variables": {}} for n in range(5, THREADS)]
            connection.execute(t.insert(), deep)
        yield made


@pytest.mark.parametrize(
    "address",
    ["/", "/wf-runs", "/wf-runs/cart-waits/threads", "/wf-runs/order-killed/inputs", "/external-events",
     "/dead-letters", "/dead-letters/0/0", "/wf-runs?text=%3Cimg%20src=x%3E"],
)  # fmt: skip
def test_a_hostile_text_shows_as_what_it_is(hostile: Shop, address: str) -> None:
    answer = hostile.console.client().get(address)
    page = Read(answer.text)
    assert "&lt;img src=x" in answer.text, "the text is there"
    assert "img" not in page.tags
    assert not page.forbidden
    assert "\u202e" not in answer.text, "a character that turns lines around is escaped"
    assert len(answer.content) < 2 * MEGABYTE, "a value of 1 MB is cut"


def test_a_thousand_threads_one_below_the_other_are_some_pages(hostile: Shop) -> None:
    client = hostile.console.client()
    page = client.get("/wf-runs/cart-waits/threads")
    assert page.status_code == 200
    assert "all by number" in page.text
    numbers, address = list[str](), "/wf-runs/cart-waits/threads?from=0"
    while address:
        every = client.get(address)
        numbers += re.findall(r'<tr id="t(\d+)"', every.text)
        following = re.search(r'href="([^"]+)" rel="next"', every.text)
        address = following[1] if following else ""
    assert len(numbers) == len(set(numbers)), "each on one page"
    assert {str(it) for it in range(5, THREADS)} < set(numbers)


def test_assets_are_kept_for_good_and_nothing_else_is_served(it: Shop) -> None:
    client = it.console.client()
    page = client.get("/").text
    found = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert len(found) >= 4
    for address in found:
        answer = client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    digest = found[0].split("/")[2]
    for name in ("page.py", "../pages/frame.py", "main.js", "recording.py"):
        assert client.get(f"/static/{digest}/{name}").status_code in (400, 404)
    assert client.get("/static/0000000000000000/console.css").status_code == 404


def test_a_login_is_a_page_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    with shop(tmp_path_factory.mktemp("login"), ConsoleSettings(reader_token="reader-token-0123456789")) as made:
        client = made.console.client()
        assert client.get("/wf-runs?status=RUNNING").headers["location"].startswith("/login?next=")
        text = client.get("/login").text
        assert "Log in" in text
        assert "<nav" not in text, "it tells nothing of what is inside"
