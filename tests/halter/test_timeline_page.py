"""The page of a timeline, in a real Chromium: the state at each event, by mouse, keys, address, and on paper."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect

from halter.timeline import html, recording
from processors.core.records.commands import ExternalEvent, RunWf
from tests.support.chromium import browser
from tests.support.timelines import after, definitions_of, engine_of, heartbeats, log

pytestmark = pytest.mark.timeout(600)  # the first test may install the browser, or wait while another one does

USE_CASES = {"01-update-contact-info": "order-1", "05-heartbeats-latest": "d1", "06-kill-with-cleanup": "order-1"}
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
MANY = 10_000
PATIENCE_MS = 120_000
"""How long a busy machine may take for what a page does at once."""
DEEP = 90
TEXTS = """
external_events: {poke: {type: STR}}
wf_specs:
  - name: s
    entrypoint: main
    threads:
      main:
        variables: {text: {type: STR}, json: {type: JSON_OBJ}, whole: {type: INT}}
        interrupts: [{event: poke, handler: h}]
        nodes:
          start: {kind: ENTRYPOINT, next: wait}
          wait: {kind: SLEEP, seconds: 60, next: done}
          done: {kind: EXIT}
      h:
        variables: {INPUT: {type: STR}}
        nodes:
          start: {kind: ENTRYPOINT, next: {to: done, set: [{var: text, op: ASSIGN, value: {var: INPUT}}]}}
          done: {kind: EXIT}
"""


CORRELATED = """
external_events: {paid: {type: INT}}
wf_specs:
  - name: s
    entrypoint: main
    correlated_events: {paid: {var: order}}
    threads:
      main:
        variables: {order: {type: STR}}
        nodes:
          start: {kind: ENTRYPOINT, next: wait}
          wait: {kind: EXTERNAL_EVENT, event: paid, next: done}
          done: {kind: EXIT}
"""


expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of the use cases, and of a history of 10,000 events."""
    folder = tmp_path_factory.mktemp("timelines")
    engines = {document: after(document) for document in USE_CASES}
    engines["many"] = heartbeats(MANY)
    files = {}
    for name, engine in engines.items():
        wf_run_id = USE_CASES.get(name, "d1")
        data = recording(wf_run_id, log(engine, wf_run_id), engine.context.definitions)
        files[name] = folder / f"{name}.html"
        files[name].write_text(html(data), encoding="utf-8")
    return files


class Opened:
    """A page that is open. Whatever it logs, and whatever it asks of a network, is kept."""

    def __init__(self, chromium: Browser, **settings: Any) -> None:
        self._context = chromium.new_context(**({"viewport": WIDE} | settings))
        self._context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self._context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def close(self) -> None:
        self._context.close()


@pytest.fixture
def opened(chromium: Browser) -> Iterator[Any]:
    """A function that opens a file. At the end, no page may have complained or asked for more than its file."""
    all_opened: list[Opened] = []

    def open_file(file: Path, address: str = "", **settings: Any) -> Page:
        one = Opened(chromium, **settings)
        all_opened.append(one)
        one.page.goto(file.as_uri() + address)
        expect(one.page.locator("#details h2")).to_be_visible()
        return one.page

    yield open_file
    for one in all_opened:
        said, asked = one.said, {url.partition("#")[0] for url in one.asked}
        one.close()
        assert said == []
        assert all(url.startswith("file://") for url in asked)
        assert len(asked) == 1


def at(page: Page) -> str:
    """Return the id of the event at which the page is."""
    return page.locator("#details .permalink").inner_text()


def event_of(file: Path, kind: str, occurrence: int = 0) -> str:
    """Return the id of an event of a page's data, by its kind."""
    found = re.search(r'id="data">(.*?)</script>', file.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    return [f"e{it[0]}" for it in data["events"] if data["kinds"][it[2]][0] == kind][occurrence]


def card(page: Page, thread: int) -> Any:
    return page.get_by_role("article", name=f"Thread {thread}", exact=True)


def test_a_wf_run_that_has_ended_opens_at_its_end_and_not_at_what_is_tidied_up_behind_it(
    opened: Any, tmp_path: Path
) -> None:
    definitions = definitions_of(CORRELATED)
    engine = engine_of(definitions)
    engine.put(RunWf("w1", "s", {"order": "A7"}))
    engine.put(ExternalEvent("w1", "paid", "p1", 1250))
    file = tmp_path / "ended.html"
    file.write_text(html(recording("w1", log(engine, "w1"), definitions)), encoding="utf-8")
    page = opened(file)
    assert at(page) == event_of(file, "ThreadCompleted")
    assert "COMPLETED" in card(page, 0).inner_text()
    page.locator("#last").click()
    assert at(page) == event_of(file, "CorrelationKeyChanged", -1)
    engine.put(ExternalEvent("w1", "paid", "p2", 1250))
    file.write_text(html(recording("w1", log(engine, "w1"), definitions)), encoding="utf-8")
    assert opened(file).locator("#next").is_disabled(), "what another record has brought since is no tidying up"


def test_an_address_leads_to_an_event_with_the_state_then(opened: Any, pages: dict[str, Path]) -> None:
    file = pages["06-kill-with-cleanup"]
    page = opened(file, f"#{event_of(file, 'TaskAttemptRequested')}")
    assert "HALTED" in card(page, 0).inner_text()
    assert "RUNNING" in card(page, 1).inner_text()
    assert "because ExternalEvent kill k1" in card(page, 0).inner_text(), "the sentence that says why it is there"
    assert '"out of stock"' in card(page, 0).inner_text()
    page.evaluate(f"location.hash = '#{event_of(file, 'WfRunStarted')}'")
    expect(page.locator("#details h2")).to_contain_text("WfRunStarted")
    assert card(page, 1).count() == 0, "the handler has not started then"


def test_an_event_that_is_not_there_is_said_and_the_end_is_shown(opened: Any, pages: dict[str, Path]) -> None:
    page = opened(pages["01-update-contact-info"], "#e999")
    expect(page.locator("#notice")).to_contain_text("e999")
    assert "COMPLETED" in card(page, 0).inner_text()


def test_what_an_event_changed_is_shown_by_path(opened: Any, pages: dict[str, Path]) -> None:
    file = pages["01-update-contact-info"]
    page = opened(file, f"#{event_of(file, 'NodeCompleted', 1)}")
    row = page.locator(".changes tr", has_text="address")
    assert [cell.inner_text() for cell in row.locator("td").all()] == ['"unknown"', '"12 Harbour Street"']


def test_keys_and_buttons_step_through_the_events_and_the_address_follows(opened: Any, pages: dict[str, Path]) -> None:
    page = opened(pages["01-update-contact-info"], "#e1")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert at(page) == "e3"
    page.keyboard.press("ArrowLeft")
    assert (at(page), page.evaluate("location.hash")) == ("e2", "#e2")
    page.get_by_role("button", name="Next event").click()
    assert at(page) == "e3"
    assert "Event 3 of" in page.locator("#said").inner_text()
    page.keyboard.press("End")
    assert page.get_by_role("button", name="Last event").is_disabled()
    page.keyboard.press("Home")
    assert at(page) == "e1"
    page.keyboard.press("]")
    assert at(page) == "e3", "the first event of the next record"


def test_the_scrubber_is_a_slider_that_says_where_it_is(opened: Any, pages: dict[str, Path]) -> None:
    page = opened(pages["05-heartbeats-latest"], "#e1")
    slider = page.get_by_role("slider", name="Event")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert at(page) == "e2"
    assert re.match(r"Event 2 of \d+: ", slider.get_attribute("aria-valuetext") or "")
    assert page.locator("#said").text_content() == "", "it is not said twice"


def test_what_has_not_happened_yet_is_dimmed(opened: Any, pages: dict[str, Path]) -> None:
    page = opened(pages["06-kill-with-cleanup"], "#e3")
    later = page.locator(".row.later")
    assert later.first.get_attribute("id") == "row-e4"
    assert page.locator(".veil").bounding_box()["width"] > 300
    assert page.locator(".lane-name.later").text_content() == "#1 clean-up"
    page.keyboard.press("End")
    expect(later).to_have_count(0)
    expect(page.locator(".lane-name.later")).to_have_count(0)


def test_two_moments_are_compared_and_the_address_names_both(opened: Any, pages: dict[str, Path]) -> None:
    file = pages["05-heartbeats-latest"]
    page = opened(file, "#e2")
    page.keyboard.press("c")
    page.keyboard.press("End")
    row = page.locator(".changes tr", has_text="last-seen")
    assert [cell.inner_text() for cell in row.locator("td").all()] == ["0", "103"]
    address = page.evaluate("location.hash")
    assert re.fullmatch(r"#e2\.\.e\d+", address)
    again = opened(file, address)
    expect(again.locator(".changes tr", has_text="last-seen")).to_be_visible()
    again.keyboard.press("Escape")
    assert ".." not in again.evaluate("location.hash")


def test_the_list_is_filtered_and_searched_and_steps_keep_to_it(opened: Any, pages: dict[str, Path]) -> None:
    page = opened(pages["05-heartbeats-latest"], "#e1")
    page.get_by_label("Kind of event").select_option("g:ExternalEvents")
    assert page.locator(".row", has_text="heartbeat").count() == 3
    page.keyboard.press("Tab")
    page.get_by_role("listbox").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#details h2").inner_text().endswith("ExternalEventPosted")
    page.keyboard.press("/")
    page.keyboard.type("h3")
    page.keyboard.press("Enter")
    assert "h3" in page.locator("#details .said").inner_text()
    assert page.locator("#count").inner_text().startswith("1 of ")
    page.keyboard.press("Escape")
    assert " of " not in page.locator("#count").inner_text()


def test_a_click_into_the_lanes_goes_to_the_event_there(opened: Any, pages: dict[str, Path]) -> None:
    page = opened(pages["06-kill-with-cleanup"], "#e1")
    box = page.locator(".ended.EXCEPTION").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator("#details h2").inner_text().endswith("ThreadFailed")


def test_lanes_are_scaled_by_event_or_by_time_and_zoomed(opened: Any, pages: dict[str, Path]) -> None:
    page = opened(pages["many"], "#e100")
    wide = page.locator("#sizer").bounding_box()["width"]
    page.get_by_role("button", name="Zoom in").click()
    assert page.locator("#sizer").bounding_box()["width"] > wide
    page.get_by_role("button", name="Fit").click()
    expect(page.locator("#sizer")).to_have_css("width", f"{page.locator('#stage').evaluate('it => it.clientWidth')}px")
    page.get_by_role("button", name="Scale by time").click()
    expect(page.get_by_role("button", name="Scale by time")).to_have_attribute("aria-pressed", "true")
    assert at(page) == "e100"


def test_ten_thousand_events_are_as_quick_and_small_as_ten(opened: Any, pages: dict[str, Path]) -> None:
    page = opened(pages["many"])
    assert int(page.locator("#scrubber").get_attribute("max")) >= MANY - 1
    most = 0
    for address in ("#e1", "#e5000", "#e9990"):
        page.evaluate(f"location.hash = '{address}'")
        expect(page.locator("#details .permalink")).to_have_text(address[1:])
        most = max(most, page.evaluate("document.querySelectorAll('*').length"))
    page.keyboard.press("0")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    most = max(most, page.evaluate("document.querySelectorAll('*').length"))
    assert most < 6000
    took = page.evaluate(
        """async () => {
          const begin = performance.now();
          for (let step = 0; step < 20; step += 1) {
            document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowLeft", bubbles: true}));
            await new Promise(done => requestAnimationFrame(done));
          }
          return performance.now() - begin;
        }"""
    )
    assert took < 20 * 2000, "a step takes a twentieth of that, and more only on a busy machine"


@pytest.mark.parametrize(
    "text", ["</script><script>document.title='hit'</script>", "<!--<script>", "<img src=x onerror=alert(1)>"]
)
def test_a_hostile_payload_is_shown_and_does_nothing(opened: Any, tmp_path: Path, text: str) -> None:
    engine = engine_of(definitions_of(TEXTS))
    engine.put_all([RunWf("w", "s", {"text": text}), ExternalEvent("w", "poke", "p1", text)])
    file = tmp_path / "hostile.html"
    file.write_text(html(recording("w", log(engine, "w"), engine.context.definitions)), encoding="utf-8")
    page = opened(file)
    assert card(page, 0).locator("code", has_text=text).first.inner_text() == json.dumps(text)
    assert page.title() == "w: timeline"
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2


def test_values_are_shown_whole_however_deep_large_or_exact_they_are(opened: Any, tmp_path: Path) -> None:
    deep: Any = "\u202eend"
    for _ in range(DEEP):
        deep = {"in": deep}
    engine = engine_of(definitions_of(TEXTS))
    engine.put(RunWf("w", "s", {"whole": 2**63 - 1, "json": deep, "text": "y" * 300_000}))
    file = tmp_path / "values.html"
    file.write_text(html(recording("w", log(engine, "w"), engine.context.definitions)), encoding="utf-8")
    page = opened(file)
    assert "9223372036854775807" in card(page, 0).inner_text()
    page.locator("tr", has_text="json").locator("summary").last.click()
    shown = card(page, 0).locator("pre").first.inner_text()
    assert shown.count('"in"') == DEEP
    assert "\\u202eend" in shown
    assert "\u202e" not in page.content()
    summary = page.locator("tr", has_text="text").locator("summary").last
    expect(summary).to_have_text(f'"{"y" * 79}…')
    inside = "it => it.closest('.card').getBoundingClientRect().right - it.getBoundingClientRect().right"
    assert summary.evaluate(inside) >= 0, "it stays in its card"
    summary.click()
    expect(card(page, 0)).to_contain_text("300,002 characters")


def test_the_policy_of_the_page_forbids_what_it_does_not_need(chromium: Browser, pages: dict[str, Path]) -> None:
    one = Opened(chromium)
    one.page.goto(pages["01-update-contact-info"].as_uri())
    refused = one.page.evaluate(
        """() => new Promise(done => {
          const found = [];
          document.addEventListener("securitypolicyviolation", it => {
            found.push(it.effectiveDirective);
            if (it.effectiveDirective === "img-src") done(found);
          });
          try { document.body.innerHTML += "<p>"; } catch { found.push("innerHTML"); }
          const script = document.createElement("script");
          script.append("document.title = 'ran'");
          document.body.append(script);
          const image = new Image();
          image.src = "http://127.0.0.1:9/x.png";
          document.body.append(image);
        })"""
    )
    assert {"innerHTML", "img-src"} <= set(refused)
    assert one.page.title() != "ran"
    one.close()


@pytest.mark.parametrize(
    ("document", "viewport", "theme"),
    [
        ("01-update-contact-info", NARROW, "light"),
        ("05-heartbeats-latest", WIDE, "dark"),
        ("06-kill-with-cleanup", WIDE, "light"),
        ("06-kill-with-cleanup", NARROW, "dark"),
    ],
    ids=lambda it: f"{it['width']} px" if isinstance(it, dict) else it,
)
def test_axe_finds_nothing_and_nothing_sticks_out(
    opened: Any, pages: dict[str, Path], document: str, viewport: Any, theme: Any
) -> None:
    page = opened(pages[document], "#e4", viewport=viewport, color_scheme=theme)
    page.get_by_role("button", name="Legend and keys").click()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    problems = [(it["id"], [node["html"][:120] for node in it["nodes"]]) for it in found["violations"]]
    assert problems == []
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_the_keyboard_reaches_every_control_in_the_order_of_the_page(opened: Any, pages: dict[str, Path]) -> None:
    page = opened(pages["05-heartbeats-latest"], "#e4")
    page.locator("body").focus()
    reached = []
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached[:16] == [
        "skip", "legend-button", "theme", "first", "previous", "next", "last", "axis", "out", "in", "fit",
        "stage", "scrubber", "search", "group", "thread",
    ]  # fmt: skip
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "list"
    active = page.get_by_role("listbox").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"


def test_a_theme_can_be_chosen(opened: Any, pages: dict[str, Path]) -> None:
    page = opened(pages["01-update-contact-info"], color_scheme="light")
    light = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Theme").click()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != light


def test_paper_has_all_lanes_and_all_events(opened: Any, pages: dict[str, Path]) -> None:
    page = opened(pages["06-kill-with-cleanup"], "#e4")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("#printed tbody tr").count() == int(page.locator("#count").text_content() or "")
    assert page.locator("#printed").is_visible()
    assert not page.locator("#list").is_visible()
    assert page.pdf()[:4] == b"%PDF"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("#printed tbody tr").count() == 0
