"""Halter in a Faust application: its codec and transport are found by name, and say what is wrong with a record."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import faust
import pytest
from faust.exceptions import ValueDecodeError
from faust.transport.drivers import aiokafka as driver
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from halter import commands
from halter.faust.codec import HalterCodec
from halter.faust.transport import CommittedThread, CommittedTransport, UnfitFaust
from processors.codec import Codec
from processors.core.records.commands import Command, CorrelatedEvent, TimerFired
from processors.fold.inputs import VALUE_BYTES_MAX
from tests.support.records import SCHEMAS, comparable, records
from tests.support.schema_registry import SchemaRegistry

PAGE = Path(__file__).parents[2] / "docs" / "interop.md"
LISTED = """
import sys
from faust.serializers.codecs import get_codec
get_codec("halter")
print(*sys.modules)
"""


def app(broker: str = "kafka+committed://localhost:1") -> Any:
    return faust.App("interop", broker=broker)


def app_of_the_page() -> str:
    [program] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return program


SERIALIZERS, CODEC = app().serializers, Codec.load(SCHEMAS)


@settings(max_examples=30)
@given(st.sampled_from(["ExternalEvent", "RunWf", "Halt", "WfRunEnded", "TaskCancellation"]).flatmap(records))
def test_a_record_comes_back_as_it_was(record: Any) -> None:
    assume(getattr(record, "wf_run_id", "the key of no command") != "")
    data = SERIALIZERS.dumps_value(None, record, serializer="halter")
    assert data == CODEC.encode(record)
    back = SERIALIZERS.loads_value(None, data, serializer="halter")
    assert (type(back), comparable(back)) == (type(record), comparable(record))


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (None, "expected a record of the schemas, found NoneType"),
        ({"wf_run_id": "w"}, "expected a record of the schemas, found dict"),
        (commands.ExternalEvent("w", "e", "1", {"a": float("inf")}), r"content\['a'\]: expected a finite number"),
        (commands.ExternalEvent("w", "e", None), "external_event_id: expected text, found None"),  # type: ignore[arg-type]
        (commands.CorrelatedEvent("k", "e", None), "external_event_id: expected text, found None"),  # type: ignore[arg-type]
        (commands.ExternalEvent("", "e", "1"), "expected the key of a record, found an empty text"),
        (commands.ExternalEvent("w", "e", "1", "x" * VALUE_BYTES_MAX), "ExternalEvent: expected at most"),
    ],
)
def test_what_is_no_record_is_not_sent(record: Any, told: str) -> None:
    with pytest.raises(Exception, match=told):
        app().serializers.dumps_value(None, record, serializer="halter")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"wf_run_id": "w"}', "expected Avro single-object encoding"),
        (b"\0\0\0\0\1x", "if that is a Schema Registry's wire format, set schema.registry.url"),
        (b"\xc3\x0112345678", "expected the fingerprint of a schema of this version or an earlier one, found 3132"),
    ],
)
def test_bytes_of_somebody_else_are_told(data: bytes, told: str) -> None:
    with pytest.raises(ValueDecodeError, match=told):
        app().serializers.loads_value(None, data, serializer="halter")


def test_the_variables_of_the_process_name_a_schema_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    start = commands.RunWf("w", "cart")
    with SchemaRegistry() as registry:
        monkeypatch.setenv("KAFKA_SCHEMA_REGISTRY_URL", registry.url)
        monkeypatch.setenv("HALTER_FRAMING", "confluent")
        codec = HalterCodec()
        assert codec.dumps(start)[:1] == b"\0"
        assert codec.loads(codec.dumps(start)) == codec.loads(CODEC.encode(start)) == start


def test_variables_that_give_no_codec_end_the_program_and_pass_over_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust makes a ValueDecodeError of any Exception, tells it, and goes on with the next record."""
    monkeypatch.setenv("HALTER_FRAMING", "confluentt")
    with pytest.raises(SystemExit, match=r"^halter: .*HALTER_FRAMING"):
        HalterCodec().loads(CODEC.encode(commands.RunWf("w", "cart")))
    with pytest.raises(SystemExit, match=r"^halter: .*HALTER_FRAMING"):
        HalterCodec().dumps(commands.RunWf("w", "cart"))


def test_variables_that_give_no_codec_are_told_when_the_first_agent_is_made() -> None:
    program = f"{app_of_the_page()}\nraise SystemExit('made')"
    environment = os.environ | {"HALTER_FRAMING": "confluentt"}
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert "SettingsError: " in ended.stderr.splitlines()[-1]
    assert "HALTER_FRAMING" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(("scheme", "level"), [("kafka", "read_uncommitted"), ("kafka+committed", "read_committed")])
def test_only_the_transport_of_halter_reads_committed_records_alone(scheme: str, level: str) -> None:
    async def consumer() -> Any:
        it = app(f"{scheme}://localhost:1")
        return it.consumer._new_consumer_thread()._create_worker_consumer(it.transport)

    assert asyncio.run(consumer())._isolation_level == level


def test_a_faust_that_cannot_be_told_to_read_committed_records_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_create_worker_consumer", lambda *_: object())
    with pytest.raises(UnfitFaust, match="expected a Faust that can read committed records only"):
        CommittedThread._create_worker_consumer(object.__new__(CommittedThread), app().transport)


def test_programs_that_do_not_use_it_load_next_to_nothing() -> None:
    ended = subprocess.run([sys.executable, "-c", LISTED], capture_output=True, text=True, check=True, timeout=60)
    imported = set(ended.stdout.split())
    assert "halter.faust.codec" in imported
    assert imported.isdisjoint({"halter.faust.transport", "confluent_kafka", "fastavro", "processors.codec"})


def test_the_program_of_the_page_is_an_application() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    exec(app_of_the_page(), names)
    assert list(names["app"].agents) == ["page.tell_the_report"]
    assert type(names["app"].transport) is CommittedTransport


def test_every_command_of_a_client_is_in_halter_commands() -> None:
    reports = {"StartTaskRun", "ReportTaskProgress", "ReportTaskRun"}
    ours = {it.__name__ for it in get_args(Command)} - reports - {TimerFired.__name__}
    assert set(commands.__all__) == ours | {CorrelatedEvent.__name__}
