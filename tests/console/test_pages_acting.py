"""Forms for actions: they ask by type, show the command before it is sent, send it once, and tell the outcome."""

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from halter.console import app
from halter.console.sending import RetryDeadLetter
from processors.core.records.commands import ExternalEvent, StopWfRun
from tests.support import views
from tests.support.console_pages import Shop, shop
from tests.support.consoles import OPERATOR, READER, SETTINGS, EngineSender

ACTING = replace(SETTINGS, reader_token=READER, operator_token=OPERATOR, allow_actions=True)
TEMPLATES = Path(app.__file__).parent / "templates"
POST = "/wf-runs/cart-waits/act/post"


@pytest.fixture(scope="module")
def sender() -> EngineSender:
    return EngineSender(views.shop())


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory, sender: EngineSender) -> Iterator[Shop]:
    settings = replace(ACTING, sender=lambda: sender, letters=sender.letter)
    with shop(tmp_path_factory.mktemp("acting"), settings, sender.engine) as made:
        yield made


@pytest.fixture
def operator(it: Shop) -> httpx.Client:
    return it.console.logged_in()


def hidden(page: str) -> dict[str, str]:
    """Return the hidden fields of the form of a page that is no logout."""
    form = page[re.search(r'action="/(wf-runs|dead-letters)/', page).start() :]  # type: ignore[union-attr]
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    return {name: html.unescape(value) for name, value in found}


def seen(client: httpx.Client, address: str, **fields: str) -> str:
    """Fill the form of an address, and return the page that shows the command."""
    answer = client.post(address, data=hidden(client.get(address).text) | fields)
    assert answer.status_code == 200, answer.text[:1000]
    return answer.text


def test_a_command_is_shown_before_it_is_sent_and_then_its_outcome(
    it: Shop, operator: httpx.Client, sender: EngineSender
) -> None:
    before = len(sender.sent)
    shown = seen(operator, POST, external_event_def="page-seen", content_text="/mugs", reason="a test")
    assert "halter send cart-waits page-seen /mugs" in shown
    assert len(sender.sent) == before, "nothing is sent before somebody says so"
    done = operator.post(POST, data=hidden(shown)).text
    assert "Done." in done
    assert "ExternalEventPosted" in done
    command = sender.sent[-1]
    assert isinstance(command, ExternalEvent)
    assert (command.content, command.operator, command.reason) == ("/mugs", "operator by token", "a test")


@pytest.mark.parametrize(
    ("event_def", "typed", "content"),
    [
        ("item-added", '{\r\n  "sku": "mug-01",\r\n\t"quantity": 2\r\n}', {"sku": "mug-01", "quantity": 2}),
        ("address-changed", "12\t\N{ZERO WIDTH NON-JOINER}Mill Lane", "12\t\N{ZERO WIDTH NON-JOINER}Mill Lane"),
        ("address-changed", "\U0001f469\N{ZERO WIDTH JOINER}\U0001f4bb", "\U0001f469\N{ZERO WIDTH JOINER}\U0001f4bb"),
        ("address-changed", "\\u200d \"'<&>&amp;\r", "\\u200d \"'<&>&amp;\r"),
    ],
)
def test_what_was_typed_is_sent_to_the_last_character(
    it: Shop, operator: httpx.Client, sender: EngineSender, event_def: str, typed: str, content: object
) -> None:
    shown = seen(operator, POST, external_event_def=event_def, content_text=typed)
    assert hidden(shown)["content_text"] == typed
    assert "Done." in operator.post(POST, data=hidden(shown)).text
    command = sender.sent[-1]
    assert isinstance(command, ExternalEvent)
    assert command.content == content


def test_a_form_that_is_shown_again_has_what_was_typed(operator: httpx.Client) -> None:
    fields = hidden(operator.get(POST).text)
    typed = "\r\n{\r\n\t\N{ZERO WIDTH JOINER}"
    again = operator.post(POST, data=fields | {"external_event_def": "item-added", "content_text": typed})
    assert again.status_code == 400
    area = re.search(r"<textarea[^>]*>(.*?)</textarea>", again.text, re.DOTALL)
    assert area is not None
    assert html.unescape(area[1]) == "\n" + typed, "a browser takes the first line's end away"


def test_every_field_of_a_form_keeps_what_was_typed() -> None:
    for template in TEMPLATES.glob("*.html"):
        values = re.findall(r'value="\{\{ (.*?) \}\}"', template.read_text())
        assert [it for it in values if not it.endswith("| typed")] == [], template.name


def test_a_double_submit_is_one_action(it: Shop, operator: httpx.Client, sender: EngineSender) -> None:
    shown = seen(operator, "/wf-runs/order-reserves/act/stop", thread="0")
    before = len(sender.sent)
    answers = [operator.post("/wf-runs/order-reserves/act/stop", data=hidden(shown)) for _ in range(2)]
    assert all("Done." in answer.text for answer in answers)
    assert [type(it) for it in sender.sent[before:]] == [StopWfRun]


def test_a_dead_letter_is_retried_from_its_page_once(it: Shop, operator: httpx.Client, sender: EngineSender) -> None:
    sender.letters[0, 0] = ExternalEvent("cart-waits", "page-sen", "misspelt-2", "/pages")
    address = "/dead-letters/0/0/act/retry"
    for page in ("/dead-letters/0/0", address):
        told = html.unescape(operator.get(page).text)
        assert '"external_event_def": "page-sen"' in told, "the record is shown"
        assert "/pages" not in told, "without the values of WfRuns"
    with capture_logs() as logs:
        assert '"/pages"' in html.unescape(operator.get("/dead-letters/0/0?unmask=1").text)
    assert [(entry["dead_letter"], entry["user"]) for entry in logs] == [("0@0", "operator by token")]
    assert it.console.logged_in(READER).get("/dead-letters/0/0?unmask=1").status_code == 403
    assert f'href="{address}"' in operator.get("/dead-letters/0/0").text
    refused = operator.post(address, data=hidden(operator.get(address).text) | {"corrections": "page-seen"})
    assert refused.status_code == 400
    assert "expected a JSON object" in refused.text
    unknown = operator.post(address, data=hidden(operator.get(address).text) | {"corrections": '{"evnt": 1}'})
    assert (unknown.status_code, "ExternalEvent has no field" in unknown.text) == (409, True), "before it is sent"
    shown = seen(operator, address, corrections='{"external_event_def": "page-seen"}', reason="a typo")
    assert '"external_event_def": "page-seen"' in html.unescape(shown), "the record as it will be sent"
    assert "halter dead-letters retry 0@0 --set external_event_def=page-seen" in shown
    answers = [operator.post(address, data=hidden(shown)).text for _ in range(2)]
    assert all("Done." in answer and "ExternalEventPosted" in answer for answer in answers)
    asked = RetryDeadLetter(0, 0, {"external_event_def": "page-seen"}, "operator by token", "a typo")
    assert sender.sent.count(asked) == 1
    again = operator.post(address, data=hidden(seen(operator, address)))
    assert again.status_code == 409
    assert "retried before" in again.text


def test_an_action_is_for_what_its_address_is_of(it: Shop, operator: httpx.Client) -> None:
    for address in ("/wf-runs/cart-waits/act/retry", "/dead-letters/0/0/act/stop"):
        assert operator.get(address).status_code == 404
        posted = operator.post(address, data=hidden(operator.get(POST).text) | {"step": "send"})
        assert posted.status_code == 404


def test_content_is_asked_for_by_its_type_and_what_is_not_of_it_is_said(it: Shop, operator: httpx.Client) -> None:
    form = operator.get(f"{POST}?external_event_def=address-changed").text
    assert "Its type is STR." in form
    form = operator.get(f"{POST}?external_event_def=item-added").text
    assert "<textarea" in form
    fields = hidden(form) | {"external_event_def": "item-added", "content_text": '{"sku": mug}'}
    refused = operator.post(POST, data=fields)
    assert refused.status_code == 400
    assert "mug}" in refused.text, "what was written stays in the form"
    assert "Not so." in refused.text


def test_what_the_engine_refuses_is_said(it: Shop, operator: httpx.Client) -> None:
    shown = seen(operator, "/wf-runs/order-done/act/rescue", thread="0")
    answer = operator.post("/wf-runs/order-done/act/rescue", data=hidden(shown)).text
    assert "Refused: nothing has changed." in answer
    assert "FAILED_PRECONDITION" in answer


def test_what_cannot_be_taken_back_is_confirmed(it: Shop, operator: httpx.Client) -> None:
    form = operator.get("/wf-runs/cart-waits/act/fork").text
    last = re.search(r'name="at" value="(\d+)"', form)
    assert last is not None, "the form begins with the last event"
    shown = seen(operator, "/wf-runs/cart-waits/act/fork", at=last[1], new_id="cart-waits-2")
    assert "Think twice." in shown
    assert re.search(r'<input type="checkbox" required>', shown)


def test_only_what_fits_a_wf_run_is_offered(it: Shop, operator: httpx.Client) -> None:
    def offered(wf_run_id: str) -> set[str]:
        return set(re.findall(rf'/wf-runs/{wf_run_id}/act/(\w+)"', operator.get(f"/wf-runs/{wf_run_id}/act").text))

    assert offered("cart-stopped") == {"post", "stop", "resume", "fork", "quarantine"}
    assert offered("order-failed") == {"post", "rescue", "fork", "quarantine"}
    assert offered("cart-quarantined") == {"post", "release", "fork"}


def test_a_reader_sees_no_action_and_may_not_ask_for_one(it: Shop) -> None:
    reader = it.console.logged_in(READER)
    assert "/act" not in reader.get("/wf-runs/cart-waits").text
    assert "Release" not in reader.get("/partitions").text
    assert "/act" not in reader.get("/dead-letters/0/0").text
    for answer in (
        reader.get("/dead-letters/0/0/act/retry"),
        reader.get(POST),
        reader.get("/wf-runs/cart-waits/act"),
        reader.post(POST, data={"step": "send"}),
    ):
        assert answer.status_code == 403


def test_a_hostile_reason_and_a_hostile_field_show_as_text(it: Shop, operator: httpx.Client) -> None:
    payload = "<img src=x onerror=alert(1)>\"'"
    for page in (seen(operator, POST, external_event_def="page-seen", content_text=payload, reason=payload),
                 operator.get("/wf-runs/cart-waits/act/fork", params={"new_id": payload}).text,
                 operator.get(f"/wf-runs/{'a' * 2000}/act/stop").text):  # fmt: skip
        assert "<img" not in page
