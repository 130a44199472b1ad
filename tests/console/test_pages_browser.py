"""The pages in a real Chromium: by keyboard, by axe, on a phone, in both themes, and what changes while one looks."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import update

from docs.console_pictures import BYTES_MAX, FOLDER, take
from halter.view import tables
from processors.core.records.commands import ExternalEvent, RunWf, StopWfRun
from tests.support import views
from tests.support.chromium import browser
from tests.support.console_pages import Shop, shop
from tests.support.consoles import OPERATOR, SETTINGS, EngineSender

pytestmark = pytest.mark.timeout(600)  # the first test may install the browser, or wait while another one does

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
WIDE, NARROW = {"width": 1360, "height": 850}, {"width": 360, "height": 780}
PATIENCE_MS = 60_000
"""How long a busy machine may take for what a page does at once."""
PAGES = (
    "/",
    "/wf-runs?text=a",
    "/wf-runs?halted-for=nonsense",
    "/wf-runs/order-halted",
    "/wf-runs/order-halted/threads",
    "/wf-runs/order-killed/diagram",
    "/wf-runs/cart-waits/inputs",
    "/wf-runs/cart-waits/events?at=5",
    "/wf-specs/cart",
    "/external-events",
    "/dead-letters",
    "/dead-letters/0/0",
    "/partitions",
    "/wf-runs/nobody/threads",
)

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def opened(chromium: Browser, it: Shop) -> Iterator[Any]:
    """A function that opens an address. At the end no page may have broken a policy, or raised."""
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def open_page(address: str = "/", **settings: Any) -> Page:
        context = chromium.new_context(**({"viewport": WIDE, "base_url": it.console.url} | settings))
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text) if "Policy" in message.text else None)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def asset(page: Page, name: str) -> str:
    """Return the address of a script of the page's release."""
    found: str = page.locator("link[rel=icon]").get_attribute("href") or ""
    return found.replace("mark.svg", name)


@pytest.mark.parametrize(
    ("viewport", "theme", "addresses"),
    [(WIDE, "light", PAGES), (NARROW, "dark", PAGES[::3]), (NARROW, "light", PAGES[1::4]), (WIDE, "dark", PAGES[3::4])],
    ids=["desktop light", "phone dark", "phone light", "desktop dark"],
)
def test_axe_finds_nothing_and_nothing_sticks_out(opened: Any, viewport: Any, theme: Any, addresses: Any) -> None:
    page = opened(viewport=viewport, color_scheme=theme)
    problems = []
    for address in addresses:
        page.goto(address)
        if address == "/wf-runs/order-halted":
            expect(page.locator("#details h2")).to_be_visible()
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        problems += [(address, one["id"], [n["html"][:120] for n in one["nodes"]][:3]) for one in found["violations"]]
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wider:
            problems.append((address, "sticks out", [f"{wider} px"]))
    assert not problems, "\n".join(map(str, problems))


def test_one_goes_everywhere_by_keyboard(opened: Any) -> None:
    page = opened("/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/wf-runs")
    page.keyboard.press("j")
    page.keyboard.press("j")
    focused = page.evaluate("document.activeElement.getAttribute('href')")
    assert focused == page.locator("[data-rows] [data-row-link]").nth(1).get_attribute("href")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{focused}")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    expect(page.locator("#keys")).to_contain_text("compare from here")
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()


def test_a_search_and_a_choice_of_filters_are_addresses(opened: Any) -> None:
    page = opened("/wf-runs")
    page.get_by_label("WfSpec").select_option("cart")
    page.wait_for_url("**/wf-runs?wf-spec=cart&sort=changed")
    page.keyboard.press("/")
    page.keyboard.type("order-done")
    page.keyboard.press("Enter")
    page.wait_for_url("**/wf-runs/order-done")


def test_a_form_has_what_was_typed_after_a_new_login_and_an_open_page_goes_to_the_login(
    chromium: Browser, tmp_path: Path
) -> None:
    sender = EngineSender(views.shop())
    acting = replace(SETTINGS, operator_token=OPERATOR, allow_actions=True, sender=lambda: sender)
    with shop(tmp_path, acting, sender.engine) as it, closing(chromium.new_context(base_url=it.console.url)) as context:
        context.set_default_timeout(PATIENCE_MS)
        page, other = context.new_page(), context.new_page()

        def log_in(on: Page) -> None:
            on.get_by_label("Token").fill(OPERATOR)
            on.get_by_role("button", name="Log in").click()

        page.goto("/wf-runs/cart-waits/act/post?external_event_def=page-seen")
        log_in(page)
        page.get_by_label("Content").fill('/mugs "blue"')
        page.get_by_label("Why").fill("a test")
        other.goto("/wf-runs")
        other.get_by_role("button", name="Log out").first.click()
        page.get_by_role("button", name="Show the command").click()
        expect(page.get_by_role("heading")).to_have_text("Your login has ended")
        expect(page.locator("#kept")).to_be_visible()
        page.get_by_role("link", name="Log in").click()
        log_in(page)
        expect(page.get_by_label("Content")).to_have_value('/mugs "blue"')
        expect(page.get_by_label("Why")).to_have_value("a test")
        page.get_by_role("button", name="Show the command").click()
        expect(page.locator("#sends-title")).to_be_visible()
        page.goto("/wf-runs/cart-waits/act/post?external_event_def=page-seen")
        expect(page.get_by_label("Content")).to_have_value("", timeout=PATIENCE_MS)
        page.goto("/wf-runs")
        other.goto("/wf-runs")
        other.get_by_role("button", name="Log out").first.click()
        page.wait_for_url("**/login?next=*")
    assert sender.sent == []


def test_the_theme_stays_as_it_was_chosen(opened: Any) -> None:
    page = opened("/", color_scheme="light")
    before = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    button = page.locator(".places button.theme")
    button.click()
    button.click()
    expect(button).to_have_text("Theme: dark")
    page.goto("/wf-specs")
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") != before


def test_a_wf_run_has_its_timeline_and_each_event_leads_to_its_record(opened: Any) -> None:
    page = opened("/wf-runs/order-killed#e3")
    expect(page.locator("#details h2")).to_contain_text("e3")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#details .permalink")).to_have_text("e4")
    assert page.url.endswith("#e4")
    page.get_by_role("link", name="the record that caused this event").click()
    page.wait_for_url("**/wf-runs/order-killed/events/4")


def test_if_kafka_is_away_the_timeline_can_be_asked_for_again(opened: Any, it: Shop) -> None:
    it.kafka_is_away = True
    try:
        page = opened("/wf-runs/order-killed")
        expect(page.locator("#timeline-problem")).to_contain_text("does not answer")
        assert page.locator(".notice.warn:visible").count() == 1, "it is said once"
    finally:
        it.kafka_is_away = False
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#details h2")).to_be_visible()


def test_a_history_that_is_gone_is_not_one_that_cannot_be_read_now(opened: Any, it: Shop) -> None:
    run = it.engine.runs.pop("order-failed")
    try:
        page = opened("/wf-runs/order-failed")
        expect(page.locator("#timeline-loading")).to_be_hidden()
        expect(page.locator("#why-away")).to_contain_text("The log has no event of it any more")
        expect(page.locator("#timeline-away")).to_be_hidden()
        expect(page.locator("#failure")).to_contain_text("the stock is closed")
    finally:
        it.engine.runs["order-failed"] = run


def test_without_javascript_the_pages_read_and_the_timeline_says_where_its_list_is(opened: Any) -> None:
    page = opened("/wf-runs/order-killed", java_script_enabled=False)
    page.get_by_role("link", name="The list of events").click()
    page.get_by_role("link", name="state after it").nth(2).click()
    expect(page.locator("#state-title")).to_have_text("State after e3")
    page.get_by_role("link", name="WfRuns").first.click()
    page.get_by_label("Text in the id or in a Variable").fill("harbour")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("link", name="cart-waits")).to_be_visible()


def test_an_update_changes_what_differs_and_keeps_focus_scroll_and_what_is_open(opened: Any, it: Shop) -> None:
    page = opened("/wf-runs?sort=id", viewport={"width": 1000, "height": 400})
    page.evaluate("document.querySelector('form details').open = true")
    link = page.get_by_role("link", name="order-done")
    link.focus()
    page.evaluate("window.kept = document.querySelector('tr[data-id=order-done]'); scrollTo(0, 180)")
    with it.writing() as connection:
        runs = tables.wf_runs
        connection.execute(update(runs).where(runs.c.wf_run_id == "order-done").values(status="ERROR", seq=99))
    page.evaluate(
        """async (address) => {
          const { patch } = await import(address);
          const request = new XMLHttpRequest();
          request.open("GET", location.href);
          request.responseType = "document";
          await new Promise((done) => { request.onload = done; request.send(); });
          patch(document, request.responseXML);
        }""",
        asset(page, "patch.js"),
    )
    row = page.locator("tr[data-id=order-done]")
    expect(row).to_contain_text("ERROR")
    assert row.evaluate("it => it === window.kept"), "the row is the one that was there"
    assert row.evaluate("it => it.classList.contains('changed')")
    assert page.locator("tr.changed").count() == 1, "no other row flashes"
    expect(link).to_be_focused()
    assert page.evaluate("scrollY") == 180
    assert page.evaluate("document.querySelector('form details').open")
    with it.writing() as connection:
        connection.execute(update(runs).where(runs.c.wf_run_id == "order-done").values(status="COMPLETED", seq=9))


def test_what_changed_fits_its_card_if_ids_are_long(opened: Any, it: Shop) -> None:
    long_id = "0192f3a1-7c3e-7b44-9d0e-6a5b4c3d2e1f"
    it.engine.put(ExternalEvent("order-done", "order-killed", long_id, "too late"))
    it.catch_up()
    for viewport in ({"width": 1280, "height": 850}, {"width": 390, "height": 844}):
        page = opened("/wf-runs/order-done", viewport=viewport)
        expect(page.locator(".changes tbody")).to_contain_text(long_id)
        assert page.locator(".changes .wide").evaluate("it => it.scrollWidth - it.clientWidth") == 0


def test_long_ids_and_values_leave_room_for_the_other_columns(opened: Any, it: Shop) -> None:
    it.engine.put(RunWf("cart-long", "cart", {"customer": "words of it " * 99, "card": "4111111111111111"}))
    it.engine.put(ExternalEvent("cart-long", "address-changed", "e" * 90, "W" * 3_000))
    it.catch_up()
    page = opened("/wf-runs/cart-long/threads")
    expect(page.locator("#t2")).to_contain_text("e" * 90)
    assert page.locator(".scroll").last.evaluate("it => it.scrollWidth - it.clientWidth") == 0
    page = opened("/wf-runs/cart-long", viewport={"width": 390, "height": 844})
    event = page.locator(".externals li").last
    status, name = event.locator(".external-status").bounding_box(), event.locator("b").bounding_box()
    assert status is not None
    assert name is not None
    assert status["x"] + status["width"] <= name["x"]
    expect(page.locator(".card .variables summary").first).to_contain_text("words of it words")


def test_a_phone_shows_all_places_and_a_status_stays_in_its_tile(opened: Any) -> None:
    page = opened(viewport={"width": 390, "height": 844})
    assert page.locator(".places nav").evaluate("it => it.scrollWidth - it.clientWidth") == 0
    for link in page.locator(".places nav a").all():
        box = link.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390
    for tile in page.locator(".tile").all():
        assert tile.evaluate("it => it.scrollWidth - it.clientWidth") == 0


def test_the_events_of_a_record_fit_a_phone(opened: Any) -> None:
    page = opened("/wf-runs/order-killed/events/4", viewport={"width": 390, "height": 844})
    events = page.get_by_role("group", name="events came of it")
    expect(events).to_contain_text("TaskAttemptEnded")
    assert events.evaluate("it => it.scrollWidth - it.clientWidth") == 0


def test_all_tabs_of_a_wf_run_are_seen_on_a_phone(opened: Any) -> None:
    page = opened("/wf-runs/order-killed/inputs", viewport={"width": 390, "height": 844})
    for link in page.locator(".tabs a").all():
        box = link.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390


def test_each_status_has_a_colour_of_its_own_in_a_diagram(opened: Any) -> None:
    page = opened("/wf-specs/order")
    fills = {
        status: page.locator(f"rect.here.{status}").first.evaluate("it => getComputedStyle(it).fill")
        for status in ("RUNNING", "HALTING", "HALTED", "ERROR")
    }
    assert len(set(fills.values())) == len(fills), fills


def test_a_page_prints_what_it_shows_and_no_more(opened: Any) -> None:
    page = opened("/wf-runs")
    page.emulate_media(media="print")
    expect(page.locator(".places")).to_be_hidden()
    expect(page.locator("form[data-filters]")).to_be_hidden()
    expect(page.get_by_role("link", name="order-done")).to_be_visible()


def test_an_open_wf_run_updates_by_itself_and_the_cursor_stays(opened: Any, it: Shop) -> None:
    page = opened("/wf-runs/cart-waits#e2")
    expect(page.locator("#details .permalink")).to_have_text("e2")
    before = int(page.locator("#scrubber").get_attribute("max") or 0)
    page.evaluate("window.kept = document.querySelector('h1')")
    it.engine.put(StopWfRun("cart-waits"))
    it.catch_up()
    expect(page.locator(".title .badge")).to_have_text("HALTED")
    expect(page.locator("#why")).to_contain_text("is HALTED since")
    page.wait_for_function(f"Number(document.getElementById('scrubber').max) > {before}")
    expect(page.locator("#details .permalink")).to_have_text("e2")
    assert page.evaluate("document.querySelector('h1') === window.kept"), "the page was not loaded again"


def test_the_pictures_of_the_docs_can_be_taken_again(chromium: Browser, it: Shop, tmp_path: Path) -> None:
    for path in take(chromium, it, tmp_path):
        assert path.stat().st_size <= BYTES_MAX
        assert (FOLDER / path.name).stat().st_size <= BYTES_MAX
