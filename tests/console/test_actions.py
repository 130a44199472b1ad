"""Actions: each sends one command, shows it and its outcome, once for each submit; an engine in memory decides."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import httpx
import pytest
from structlog.testing import capture_logs

from halter.console.sending import RetryDeadLetter
from halter.history.logged import Logged
from halter.scenarios.memory import MemoryEngine
from processors.core.records.commands import (
    Command,
    ExternalEvent,
    ForkWfRun,
    RescueThreadRun,
    ResumeWfRun,
    StopWfRun,
)
from processors.core.records.model import Status
from processors.kafka.errors import KafkaUnavailable
from tests.support.consoles import OPERATOR, READER, SETTINGS, EngineSender, Served, of_engine, served
from tests.support.memory_source import MemorySource
from tests.support.views import log_of, shop

WHO = "operator by token"


class At(NamedTuple):
    """A console, the engine behind it, and an operator's program."""

    console: Served
    sender: EngineSender
    operator: httpx.Client

    @property
    def engine(self) -> MemoryEngine:
        return self.sender.engine

    def act(self, name: str, action_id: str | None = None, **fields: Any) -> httpx.Response:
        """Act as the operator."""
        named = {} if action_id is None else {"action_id": action_id}
        return self.operator.post(f"/api/actions/{name}", json={"fields": fields, **named})


@pytest.fixture(scope="module")
def at() -> Iterator[At]:
    settings = replace(SETTINGS, reader_token=READER, operator_token=OPERATOR, allow_actions=True)
    settings, sender = of_engine(shop(), settings)
    with served(settings) as console:
        yield At(console, sender, console.client({"Authorization": f"Bearer {OPERATOR}"}))


@pytest.mark.parametrize(
    ("name", "fields", "command"),
    [
        ("stop", {"wf_run_id": "cart-charges"}, StopWfRun("cart-charges", 0, "action-1", WHO)),
        ("stop", {"wf_run_id": "cart-charges", "thread": "0"}, StopWfRun("cart-charges", 0, "action-1", WHO)),
        (
            "resume",
            {"wf_run_id": "cart-stopped", "thread": 0, "reason": "all is well"},
            ResumeWfRun("cart-stopped", 0, "action-1", WHO, "all is well"),
        ),
        (
            "rescue",
            {"wf_run_id": "order-failed", "skip_current_node": "on"},
            RescueThreadRun("order-failed", 0, True, "action-1", WHO),
        ),
        (
            "post",
            {"wf_run_id": "cart-waits", "external_event_def": "page-seen", "content": "/mugs"},
            ExternalEvent("cart-waits", "page-seen", "action-1", "/mugs", operator=WHO),
        ),
        (
            "post",
            {
                "wf_run_id": "cart-waits",
                "external_event_def": "page-seen",
                "content_text": "42",
                "external_event_id": "e9",
            },
            ExternalEvent("cart-waits", "page-seen", "e9", "42", operator=WHO),
        ),
        (
            "post",
            {"wf_run_id": "cart-waits", "external_event_def": "not-registered", "content_text": '{"a": [1]}'},
            ExternalEvent("cart-waits", "not-registered", "action-1", {"a": [1]}, operator=WHO),
        ),
    ],
)
def test_an_action_makes_one_command_with_who_and_why(
    at: At, name: str, fields: dict[str, Any], command: Command
) -> None:
    before = len(at.sender.sent)
    shown = at.operator.post(f"/api/actions/{name}/preview", json={"fields": fields, "action_id": "action-1"})
    assert shown.status_code == 200, shown.text
    assert shown.json()["command"]["name"] == type(command).__name__
    assert len(at.sender.sent) == before, "a preview sends nothing"
    at.act(name, **fields, action_id=f"new-{before:05d}-{name}")
    sent = at.sender.sent[-1]
    assert len(at.sender.sent) == before + 1
    for field in ("command_id", "external_event_id"):
        if getattr(command, field, None) == "action-1":
            sent = replace(sent, **{field: "action-1"})  # type: ignore[arg-type]
    assert sent == command


def test_an_action_tells_its_command_its_outcome_and_the_events(at: At) -> None:
    told = at.act("stop", "stop-and-tell", wf_run_id="order-reserves", reason="it's late").json()
    assert told["outcome"] == "done"
    assert told["command"]["fields"]["operator"] == WHO
    assert told["shell"] == """halter stop order-reserves --reason 'it'"'"'s late'"""
    assert next(it["event"] for it in told["events"]) == "Halt"
    assert told["record"]["topic"] == "wf-commands"
    assert at.engine.runs["order-reserves"].threads[0].status is Status.HALTING


def test_what_the_engine_refuses_is_told_and_changes_nothing(at: At) -> None:
    answer = at.act("rescue", wf_run_id="cart-waits")
    told = answer.json()
    assert (answer.status_code, told["outcome"], told["code"]) == (409, "refused", "FAILED_PRECONDITION")
    assert "FAILED_PRECONDITION" in told["sentence"]


def test_a_second_submit_sends_nothing_and_gets_the_first_outcome(at: At) -> None:
    before = len(at.sender.sent)

    def submit(_: int) -> dict[str, Any]:
        fields = {"wf_run_id": "cart-waits", "external_event_def": "page-seen", "content": "/twice"}
        told: dict[str, Any] = at.act("post", "double-submit", **fields).json()
        return told

    with ThreadPoolExecutor(4) as threads:
        first, *others = threads.map(submit, range(4))
    assert len(at.sender.sent) == before + 1
    assert others == [first] * 3


def test_an_id_belongs_to_one_action(at: At) -> None:
    assert at.act("stop", "of-one-action", wf_run_id="cart-waits").status_code == 200
    answer = at.act("stop", "of-one-action", wf_run_id="cart-stopped")
    assert (answer.status_code, answer.json()["code"]) == (409, "ACTION_ID")
    assert at.act("resume", wf_run_id="cart-waits").status_code == 200


def test_an_id_whose_command_was_not_sent_is_free_for_the_corrected_form(at: At) -> None:
    before = len(at.sender.sent)
    for fields in ({"thread": -1}, {"thread": "x"}, {"reason": "x" * 501}):
        assert at.act("stop", "corrected-action", wf_run_id="cart-waits", **fields).status_code == 400
    assert len(at.sender.sent) == before
    assert at.act("stop", "corrected-action", wf_run_id="cart-waits").json()["outcome"] == "done"
    assert at.act("stop", "corrected-action", wf_run_id="cart-stopped").json()["code"] == "ACTION_ID"
    assert at.act("resume", wf_run_id="cart-waits").status_code == 200
    at.sender.letters[3, 43] = ExternalEvent("cart-waits", "page-sen", "misspelt-3", "/retried")
    fields = {"dead_letter": "3@43", "corrections": {"external_event_deff": "page-seen"}}
    assert at.act("retry", "corrected-retry", **fields).status_code == 409
    fields["corrections"] = {"external_event_def": "page-seen"}
    assert at.act("retry", "corrected-retry", **fields).json()["outcome"] == "done"


def test_what_was_sent_stays_done_though_its_events_cannot_be_read(at: At) -> None:
    class Away(MemorySource):
        def events(self, wf_run_id: str, *, previous: bool = False) -> Iterator[Logged]:
            if sender.sent:
                raise KafkaUnavailable("Kafka does not answer")
            return super().events(wf_run_id, previous=previous)

    engine = shop()
    sender = EngineSender(engine)
    settings = replace(at.console.settings, source=lambda: nullcontext(Away(engine)), sender=lambda: sender)
    with served(settings) as console, capture_logs() as logs:
        operator = console.client({"Authorization": f"Bearer {OPERATOR}"})
        asked = {"fields": {"wf_run_id": "cart-waits"}, "action_id": "stop-and-away"}
        answers = [operator.post("/api/actions/stop", json=asked) for _ in range(2)]
    told = answers[0].json()
    assert (answers[0].status_code, told["outcome"], told["events"]) == (200, "done", [])
    assert "Kafka does not answer" in told["sentence"]
    assert answers[1].json() == told
    assert len(sender.sent) == 1
    assert [it["event"] for it in logs if it.get("action_id")] == ["action_begun", "action_ended"]


def test_little_is_kept_of_what_was_asked(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halter.console.actions.REMEMBERED_BYTES_MAX", 5_000)
    begun = at.console.server._app.state.actions._begun
    fields = {"wf_run_id": "cart-waits", "external_event_def": "page-seen"}
    for number in range(4):
        assert at.act("post", f"refused-{number}", **fields, content="x" * 2_000, thread=-1).status_code == 400
        assert at.act("post", f"kept-long-{number}", **fields, content="x" * 2_000).status_code == 200
    kept = [action_id for _, action_id in begun]
    assert kept == ["kept-long-2", "kept-long-3"]
    assert at.act("post", "kept-long-3", **fields, content="x" * 2_000).status_code == 200
    assert at.act("post", "kept-long-3", **fields, content="y" * 2_000).json()["code"] == "ACTION_ID"


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("path", ["post/preview", "post", "retry/preview", "retry"])
@pytest.mark.parametrize("value", [nested(900), nested(100_000), "NaN", "-Infinity", "1e999", "9" * 5_000, '"\\ud800"'])
def test_json_that_no_record_can_hold_is_refused_before_it_is_sent(at: At, path: str, value: str) -> None:
    before = len(at.sender.sent)
    fields = (
        f'{{"wf_run_id": "cart-waits", "external_event_def": "page-seen", "content": {value}}}'
        if path.startswith("post")
        else f'{{"dead_letter": "3@41", "corrections": {{"content": {value}}}}}'
    )
    body = f'{{"fields": {fields}}}'
    answer = at.operator.post(f"/api/actions/{path}", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_QUERY"), answer.text
    assert len(at.sender.sent) == before


def test_the_log_has_no_content_of_events(at: At) -> None:
    at.sender.letters[3, 44] = ExternalEvent("cart-waits", "page-sen", "misspelt-4", "/4111")
    event = {"wf_run_id": "cart-waits", "external_event_def": "page-seen"}
    letter = {"dead_letter": "3@44", "corrections": {"external_event_def": "page-seen", "content": "4111-1111"}}
    with capture_logs() as logs:
        assert at.act("post", **event, content="4111-1111").status_code == 200
        assert at.act("post", **event, content_text="4111-1111").status_code == 200
        mistyped = event | {"external_event_def": "not-registered", "content_text": '{"4111-1111'}
        assert at.act("post", **mistyped).status_code == 400
        assert at.act("retry", **letter).status_code == 200
    assert [it["event"] for it in logs].count("action_begun") == 3
    assert "4111-1111" not in repr(logs)
    assert "halter send cart-waits page-seen '[content]'" in repr(logs)


def test_a_fork_starts_another_wf_run_from_a_moment_and_shows_no_state(at: At) -> None:
    fields = {"wf_run_id": "order-done", "at": "6", "new_id": "order-again", "reason": "lost parcel"}
    answer = at.act("fork", **fields)
    assert answer.status_code == 200, answer.text
    assert isinstance(at.sender.sent[-1], ForkWfRun)
    assert "order-again" in at.engine.runs
    assert answer.json()["command"]["fields"]["snapshot"] == {"wf_run_id": "order-done", "at": "6"}
    refused = at.act("fork", wf_run_id="order-done", at="100000", new_id="order-never")
    assert refused.status_code == 404


def test_a_dead_letter_is_retried_once_as_it_was_or_corrected(at: At) -> None:
    at.sender.letters[3, 41] = ExternalEvent("cart-waits", "page-sen", "misspelt-1", "/retried")
    fields = {"dead_letter": "3@41", "corrections": {"external_event_def": "page-seen"}, "reason": "a typo"}
    before = len(at.sender.sent)
    shown = at.operator.post("/api/actions/retry/preview", json={"fields": fields}).json()
    assert shown["shell"] == "halter dead-letters retry 3@41 --set external_event_def=page-seen --reason 'a typo'"
    assert shown["command"]["fields"]["sends"]["record"] == "ExternalEvent"
    sends = shown["command"]["fields"]["sends"]["fields"]
    assert (sends["external_event_def"], sends["content"]) == ("page-seen", "[redacted]")
    typo = {**fields, "corrections": {"evnt": "page-seen"}}
    refused = at.operator.post("/api/actions/retry/preview", json={"fields": typo})
    assert (refused.status_code, refused.json()["code"]) == (409, "CANNOT_RETRY")
    assert "ExternalEvent has no field 'evnt'" in refused.json()["title"]
    assert len(at.sender.sent) == before, "a preview sends nothing"
    first, again = (at.act("retry", "retry-of-3-41", **fields) for _ in range(2))
    assert (first.status_code, first.json()["outcome"]) == (200, "done"), first.text
    assert again.json() == first.json()
    assert at.sender.sent[before:] == [RetryDeadLetter(3, 41, {"external_event_def": "page-seen"}, WHO, "a typo")]
    assert ("page-seen", "misspelt-1") in at.engine.runs["cart-waits"].external_events
    other = at.act("retry", **fields)
    assert (other.status_code, other.json()["code"]) == (409, "RETRIED_BEFORE")
    assert "retried before" in other.json()["title"]


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({}, 400, "expected dead_letter"),
        ({"dead_letter": "3"}, 400, "PARTITION@OFFSET"),
        ({"dead_letter": "3@-1"}, 400, "PARTITION@OFFSET"),
        ({"dead_letter": "3@1", "wf_run_id": "cart-waits"}, 400, "expected fields of"),
        ({"dead_letter": "3@1", "corrections": "[1]"}, 400, "expected a JSON object"),
        ({"dead_letter": "3@1", "corrections": [1]}, 400, "expected a JSON object"),
        ({"dead_letter": "3@999"}, 404, "there is no dead letter 3@999"),
    ],
)
def test_a_retry_that_cannot_be_is_refused_with_a_sentence(
    at: At, fields: dict[str, Any], status: int, said: str
) -> None:
    answer = at.act("retry", **fields)
    assert answer.status_code == status
    assert said in answer.json()["title"]


def test_masked_values_are_not_in_what_an_action_tells(at: At) -> None:
    last = [it.seq for it in log_of(at.engine) if it.wf_run_id == "cart-stopped"][-1]
    answer = at.act("fork", wf_run_id="cart-stopped", at=str(last), new_id="cart-forked")
    assert answer.status_code == 200, answer.text
    assert "4111111111111111" not in answer.text


def test_an_action_that_is_not_there_is_named(at: At) -> None:
    answer = at.act("explode", wf_run_id="cart-waits")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_THERE")


def test_content_that_is_no_json_is_said_before_it_is_sent(at: At) -> None:
    before = len(at.sender.sent)
    fields = {"wf_run_id": "cart-waits", "external_event_def": "not-registered", "content_text": '{"a": '}
    answer = at.act("post", **fields)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_QUERY")
    assert "expected JSON" in answer.json()["title"]
    assert len(at.sender.sent) == before


def test_the_log_says_who_did_what_from_where_and_what_came_of_it(at: At) -> None:
    with capture_logs() as logs:
        at.act("resume", "audited-action", wf_run_id="cart-waits", reason="try")
    told = [it for it in logs if it.get("action_id") == "audited-action"]
    assert [it["event"] for it in told] == ["action_begun", "action_ended"]
    assert {"user": WHO, "role": "operator", "address": "127.0.0.1", "reason": "try"}.items() <= told[-1].items()
    assert told[-1]["outcome"] in ("done", "refused")


def test_actions_have_a_rate(at: At) -> None:
    bounds = replace(at.console.settings.bounds, actions=3)
    with served(replace(at.console.settings, bounds=bounds)) as console:
        operator = console.client({"Authorization": f"Bearer {OPERATOR}"})
        asked = {"fields": {"wf_run_id": "cart-stopped"}}
        statuses = [operator.post("/api/actions/stop", json=asked).status_code for _ in range(5)]
    assert 429 not in statuses[:3]
    assert statuses[3:] == [429, 429]


def test_figures_count_actions_by_their_outcome(at: At) -> None:
    at.act("rescue", wf_run_id="cart-waits")
    text = at.console.server._app.state.figures.text().decode()
    assert 'halter_console_actions_total{action="rescue",outcome="refused"}' in text
