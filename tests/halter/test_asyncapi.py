"""`halter topics asyncapi`: topics.yaml and the schemas as a document of AsyncAPI, which its own parser takes."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from halter.cli.topics import app
from halter.topics.acls import UnknownService
from processors.kafka.topics_file import load_topics
from tests.support import asyncapi_parser
from tests.support.records import SCHEMAS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "asyncapi.yaml"
PREFIX = "shop-"
GPU = """\
  task-requests-gpu:
    kind: tasks
    description: Task attempts for the machines that have a GPU.
    key: wf_run_id
    values: [TaskRequest]
    configs: *tasks
"""


def printed(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["asyncapi", *arguments])


def described(*arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(printed("--json", *arguments).output)
    return document


@pytest.fixture(scope="module")
def its_own(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Yield the options of an installation with a prefix, a queue and brokers of its own."""
    text = (ROOT / "topics.yaml").read_text(encoding="utf-8")
    file = tmp_path_factory.mktemp("own") / "topics.yaml"
    file.write_text(text.replace("  dead-letters:\n", f"{GPU}  dead-letters:\n", 1), encoding="utf-8")
    where = ["--prefix", PREFIX, "--topics-file", str(file), "--partitions", "3", "-b", "a:1,[::1]:2,SSL://c"]
    return [*where, "-X", "security.protocol=SSL"]


@pytest.fixture(scope="module")
def said(its_own: list[str]) -> dict[str, Any]:
    """Yield what AsyncAPI's own parser says to documents that are right, and to some that are not."""
    if (reason := asyncapi_parser.missing()) is not None:
        pytest.skip(reason)
    own = described(*its_own, "--service", "event-producer")
    no_schema, no_setting = copy.deepcopy(own), copy.deepcopy(own)
    no_schema["components"]["messages"]["ExternalEvent"]["payload"]["schema"]["fields"] = 3
    no_setting["channels"]["wf-events"]["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] = "for ever"
    documents = {
        "docs": PAGE.read_text(encoding="utf-8"),
        "own": json.dumps(own),
        "no schema": json.dumps(no_schema),
        "no setting": json.dumps(no_setting),
    }
    return dict(zip(documents, asyncapi_parser.check(*documents.values()), strict=True))


def test_the_document_in_docs_is_the_one_that_the_command_prints() -> None:
    text = printed().output
    assert PAGE.read_text(encoding="utf-8") == text, "run `halter topics asyncapi > docs/asyncapi.yaml`"
    assert yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) == described()


def test_the_parser_of_asyncapi_takes_it(said: dict[str, Any]) -> None:
    assert {name: said[name]["wrong"] for name in ("docs", "own")} == {"docs": [], "own": []}
    assert said["docs"]["channels"] == [it.declared_name for it in load_topics().all]


def test_the_parser_of_asyncapi_would_not_take_anything(said: dict[str, Any]) -> None:
    assert any("messages.ExternalEvent.payload" in it for it in said["no schema"]["wrong"])
    assert any("wf-events.bindings" in it for it in said["no setting"]["wrong"])


def test_every_topic_record_and_right_is_in_it() -> None:
    document, topics = described(), load_topics()
    assert list(document["channels"]) == [it.declared_name for it in topics.all]
    messages = document["components"]["messages"]
    assert set(messages) == {*SCHEMAS.records, "DeadLetter"}
    assert all(messages[name]["payload"]["schema"] == it.schema for name, it in SCHEMAS.records.items())
    rights = {(it["tags"][0]["name"], it["action"], it["channel"]["$ref"]) for it in document["operations"].values()}
    names = {it.name: it.declared_name for it in topics.all}
    assert rights == {
        (service.name, action, f"#/channels/{names[name]}")
        for service in topics.services
        for action, its_topics in (("receive", service.consumes), ("send", service.produces))
        for name in its_topics
    }


def test_an_installation_of_its_own_has_its_names_queues_partitions_and_brokers(its_own: list[str]) -> None:
    own = described(*its_own)
    commands, gpu = own["channels"]["wf-commands"], own["channels"]["task-requests-gpu"]
    assert commands["address"] == "{prefix}wf-commands"
    assert commands["parameters"]["prefix"]["default"] == PREFIX
    assert commands["bindings"]["kafka"]["topic"] == f"{PREFIX}wf-commands"
    assert commands["bindings"]["kafka"]["partitions"] == 3
    assert list(gpu["messages"]) == ["TaskRequest"]
    assert "task-worker-receive-task-requests-gpu" in own["operations"]
    variables = [{name: it["default"] for name, it in its["variables"].items()} for its in own["servers"].values()]
    assert [f"{it['host']}:{it['port']}" for it in variables] == ["a:1", "[::1]:2", "c:9092"]
    assert {its["protocol"] for its in own["servers"].values()} == {"kafka-secure"}


def test_only_workers_fire_timers() -> None:
    operations = described()["operations"]
    sent = {name: {it["$ref"].rpartition("/")[2] for it in operations[name]["messages"]} for name in
            ("worker-send-wf-commands", "client-send-wf-commands")}  # fmt: skip
    assert sent["worker-send-wf-commands"] == {"TimerFired"}
    assert "TimerFired" not in sent["client-send-wf-commands"]
    assert "RunWf" in sent["client-send-wf-commands"]


def test_a_service_is_described_alone() -> None:
    document = described("--service", "event-producer")
    of_keys = {"correlated-events", "correlation-events"}
    assert set(document["channels"]) == {"external-events", "wf-events", "dead-letters", "fold-positions"} | of_keys
    assert {it["tags"][0]["name"] for it in document["operations"].values()} == {"event-producer"}


def test_a_service_that_is_not_there_is_told() -> None:
    error = printed("--service", "cleint").exception
    assert isinstance(error, UnknownService)
    assert "there are: acting-console, bindings, client, console, definer" in str(error)
