"""The JSON API: every answer has the form that the OpenAPI document says, and every endpoint is in it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from halter.console.api import ENDPOINTS, Endpoint, document
from processors.core.records.commands import ExternalEvent
from tests.support.consoles import OPERATOR, SETTINGS, Served, of_engine, served
from tests.support.views import filled, shop

DOCUMENT = document(ENDPOINTS, "")
SAMPLES: dict[str, tuple[str, ...]] = {
    "/api/wf-runs": ("", "status=HALTED&status=RUNNING", "text=order&sort=id&limit=2", "halted-for=any&reverse=1"),
    "/api/wf-runs/count": ("", "wf-spec=cart&status=RUNNING"),
    "/api/wf-run": ("wf_run_id=order-halted",),
    "/api/stats": ("",),
    "/api/wf-specs": ("",),
    "/api/wf-spec/nodes": ("wf_spec=cart", "wf_spec=order&version=0.0", "wf_spec=none"),
    "/api/external-events": ("status=UNCLAIMED", "wf_run_id=cart-waits&limit=1"),
    "/api/dead-letter/record": ("partition=3&offset=41", "partition=3&offset=41&unmask=true"),
    "/api/dead-letters": ("", "reason=UNKNOWN_SCHEMA&retried=false"),
    "/api/partitions": ("",),
    "/api/wf-run/timeline": ("wf_run_id=cart-waits", "wf_run_id=order-killed&unmask=true"),
    "/api/wf-run/state": ("wf_run_id=cart-waits", "wf_run_id=order-halted&at=3", "wf_run_id=order-done&at=-2&unmask=1"),
    "/api/wf-run/history": ("wf_run_id=cart-waits", "wf_run_id=order-done&after=2&limit=3"),
    "/api/wf-run/why": ("wf_run_id=cart-waits", "wf_run_id=order-halting", "wf_run_id=order-done&at=4"),
    "/api/wf-run/cause": ("wf_run_id=cart-waits&seq=1", "wf_run_id=order-halted&seq=5"),
}
"""Queries for each endpoint, whose answers are looked at."""
ON_KAFKA = {"/api/workers", "/api/folding", "/api/dead-letter"}
"""Endpoints whose answers a real Kafka gives (tests/broker/test_console.py)."""
CASES = [(path, query) for path, queries in SAMPLES.items() for query in queries]


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    engine = shop()
    file: Path = tmp_path_factory.mktemp("api") / "view.db"
    filled(str(file), engine).close()
    settings, sender = of_engine(
        engine, replace(SETTINGS, operator_token=OPERATOR, allow_actions=True, view_url=str(file))
    )
    sender.letters[3, 41] = ExternalEvent("cart-waits", "page-sen", "misspelt-1", "/pages")
    with served(settings) as it:
        yield it


@pytest.fixture(scope="module")
def program(console: Served) -> httpx.Client:
    return console.client({"Authorization": f"Bearer {OPERATOR}"})


def fits(schema: dict[str, Any], data: object) -> None:
    """Check an answer against its schema in the document."""
    whole = {**schema, "components": DOCUMENT["components"]}
    problems = [f"{list(it.absolute_path)}: {it.message[:300]}" for it in Draft202012Validator(whole).iter_errors(data)]
    assert problems == []


def schema_of(path: str, method: str = "get", status: str = "200") -> dict[str, Any]:
    content = DOCUMENT["paths"][path][method]["responses"][status]["content"]
    schema: dict[str, Any] = next(iter(content.values()))["schema"]
    return schema


def test_the_document_is_served_and_names_every_endpoint(console: Served, program: httpx.Client) -> None:
    assert program.get("/api/openapi.json").json() == document(ENDPOINTS, console.settings.cookie)
    assert {it.path for it in ENDPOINTS} <= DOCUMENT["paths"].keys()


def test_every_endpoint_has_samples() -> None:
    assert {it.path for it in ENDPOINTS} == SAMPLES.keys() | ON_KAFKA


def test_every_schema_in_the_document_is_one() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema["description"], name


@pytest.mark.parametrize(("path", "query"), CASES)
def test_an_answer_has_the_form_that_the_document_says(program: httpx.Client, path: str, query: str) -> None:
    answer = program.get(f"{path}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    fits(schema_of(path), answer.json())


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/wf-run/state?wf_run_id=nobody", 404, "NO_SUCH_WF_RUN"),
        ("/api/wf-run/state?wf_run_id=cart-waits&at=9999", 404, "NO_SUCH_MOMENT"),
        ("/api/wf-run/state?wf_run_id=cart-waits&at=noon", 404, "NO_SUCH_MOMENT"),
        ("/api/wf-run/state", 400, "BAD_QUERY"),
        ("/api/wf-run/state?wf_run_id=", 400, "BAD_QUERY"),
        ("/api/wf-run/state?wf_run=cart-waits", 400, "BAD_QUERY"),
        ("/api/wf-run/history?wf_run_id=cart-waits&limit=1001", 400, "BAD_QUERY"),
        ("/api/wf-run/history?wf_run_id=cart-waits&after=-1", 400, "BAD_QUERY"),
        ("/api/wf-run/history?wf_run_id=cart-waits&after=%D9%A1", 400, "BAD_QUERY"),
        ("/api/wf-run/state?wf_run_id=cart-waits&unmask=yes", 400, "BAD_QUERY"),
        ("/api/wf-run/cause?wf_run_id=cart-waits&seq=9999", 404, "NOT_THERE"),
        ("/api/wf-runs?status=WALKING", 400, "BAD_FILTER"),
        ("/api/wf-runs?stats=HALTED", 400, "BAD_FILTER"),
        ("/api/wf-runs?after=nowhere", 400, "BAD_CURSOR"),
        ("/api/wf-runs?sort=size", 400, "BAD_FILTER"),
        (f"/api/wf-runs?after={'9' * 5_000}", 400, "BAD_CURSOR"),
        (f"/api/wf-runs?unchanged-for={'9' * 5_000}h", 400, "BAD_FILTER"),
        (f"/api/wf-runs?var=customer%3D{'9' * 5_000}", 400, "BAD_FILTER"),
        ("/api/external-events?status=LOST", 400, "BAD_FILTER"),
        ("/api/wf-run?wf_run_id=nobody", 404, "NOT_THERE"),
        ("/api/dead-letter?partition=0&offset=7", 404, "NOT_THERE"),
        ("/api/workers", 503, "OUT_OF_REACH"),
        ("/api/nothing", 404, "NO_SUCH_PAGE"),
        ("/api/wf-run/state/", 404, "NO_SUCH_PAGE"),
    ],
)
def test_an_error_is_a_problem_with_a_code_and_a_sentence(
    program: httpx.Client, path: str, status: int, code: str
) -> None:
    answer = program.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    fits(schema_of("/api/me", status="default"), answer.json())
    assert answer.json()["status"] == status


def test_a_misspelt_parameter_is_not_passed_over(program: httpx.Client) -> None:
    assert "did you mean wf_run_id?" in program.get("/api/wf-run/state?wf_run=cart-waits").json()["title"]


def test_an_action_answers_as_the_document_says(program: httpx.Client) -> None:
    asked = {"fields": {"wf_run_id": "cart-waits"}}
    for path, status in (("/api/actions/stop", "200"), ("/api/actions/stop/preview", "200")):
        fits(schema_of(path, "post", status), program.post(path, json=asked).json())
    of_letter = {"fields": {"dead_letter": "3@41", "corrections": {"thread": 0}}}
    shown = program.post("/api/actions/retry/preview", json=of_letter)
    fits(schema_of("/api/actions/retry/preview", "post"), shown.json())
    answer = program.post("/api/actions/rescue", json=asked)
    fits(schema_of("/api/actions/rescue", "post", "409"), answer.json())
    for name, given in (("stop", asked), ("retry", of_letter)):
        body = DOCUMENT["paths"][f"/api/actions/{name}"]["post"]["requestBody"]["content"]["application/json"]
        fits(body["schema"], given)


def test_without_kafka_a_history_is_refused_with_a_sentence() -> None:
    with served(SETTINGS) as console:
        answer = console.client().get("/api/wf-run/state?wf_run_id=cart-waits")
    assert (answer.status_code, answer.json()["code"]) == (503, "OUT_OF_REACH")
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=[it.path for it in ENDPOINTS])
def test_what_shows_values_can_mask_them(endpoint: Endpoint) -> None:
    if endpoint.path.startswith("/api/wf-run/"):
        assert "unmask" in {it.name for it in endpoint.parameters}
