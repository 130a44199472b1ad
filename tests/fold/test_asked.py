"""Who asks for a command and why: the events say it in headers of their records, and nothing else is different."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, get_args

import pytest
from confluent_kafka import Message

from halter.show.history import asked_text, entry_data
from processors.codec import Codec, Unencodable
from processors.core.records.commands import (
    Command,
    DeleteWfRun,
    ExternalEvent,
    PutExternalEventDef,
    PutWfSpec,
    QuarantineWfRun,
    ReleaseWfRun,
    RunWf,
    StopWfRun,
)
from processors.core.records.events import Asked, LogEntry
from processors.core.records.topic_names import WF_EVENTS
from processors.fold.inputs import DeadLetterReason
from processors.fold.outputs import OutputRecord, asked_headers, asked_of
from tests.support.shard_rig import ShardRig

DOCUMENT = """{"name": "wait", "entrypoint": "main", "threads": {"main": {"nodes": {
    "start": {"kind": "ENTRYPOINT", "next": "go"},
    "go": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "done"},
    "done": {"kind": "EXIT"}}}}}"""
ANNA = Asked("anna", "the customer called, ünïcode 🙂")
SAYING = [it for it in get_args(Command) if {"operator", "reason"} <= {field.name for field in fields(it)}]


def rig(release: str | None = None) -> ShardRig:
    made = ShardRig(release=release)
    made.turn(PutExternalEventDef("go"), PutWfSpec("wait", DOCUMENT))
    return made


def happened(rig: ShardRig, *commands: Any) -> list[OutputRecord]:
    """Fold commands in one turn, and return the records of the log."""
    before = len(rig.outputs)
    rig.turn(*commands)
    return [it for it in rig.outputs[before:] if it.topic == WF_EVENTS]


def asked(command: Any, who: Asked = ANNA) -> Any:
    return replace(command, operator=who.operator, reason=who.reason)


COMMANDS = [RunWf("w", "wait"), StopWfRun("w"), ExternalEvent("w", "go", "e1"), StopWfRun("w", 7), DeleteWfRun("w")]
"""An effect of each kind: a start, a halt, an event, a refusal, a deletion."""


# (rule events-say-who-asked)
def test_events_say_who_asked_in_headers_and_nothing_else_differs() -> None:
    silent, told = rig(), rig()
    for command in COMMANDS:
        without, with_them = happened(silent, command), happened(told, asked(command))
        assert [(it.topic, it.key, it.value, it.timestamp_ms) for it in with_them] == [
            (it.topic, it.key, it.value, it.timestamp_ms) for it in without
        ]
        assert {asked_of(it.headers) for it in with_them} == {ANNA}
        assert {asked_of(it.headers) for it in without} == {None}
        assert [it.headers for it in with_them] == [(*it.headers, *asked_headers(ANNA)) for it in without]
    assert silent.tables == told.tables


def test_all_commands_that_people_send_can_say_who_asks() -> None:
    assert {it.__name__ for it in SAYING} == {
        "RunWf",
        "RunWfAndPost",
        "ForkWfRun",
        "StopWfRun",
        "ResumeWfRun",
        "RescueThreadRun",
        "MigrateWfRun",
        "DeleteWfRun",
        "ExternalEvent",
    }


@pytest.mark.parametrize("who", [Asked("anna"), Asked(None, "why"), Asked("", "why")])
def test_who_alone_and_why_alone_are_said(who: Asked) -> None:
    told = happened(rig(), asked(RunWf("w", "wait"), who))
    assert asked_of(told[0].headers) == Asked(who.operator or None, who.reason)


def test_what_is_kept_in_quarantine_says_it_again_when_it_is_decided() -> None:
    made = rig()
    made.turn(RunWf("w", "wait"), QuarantineWfRun("w", "look", None, "ben"))
    (kept,) = happened(made, asked(StopWfRun("w")))
    released, *decided = happened(made, ReleaseWfRun("w", None, "done", "ben"))
    assert asked_of(kept.headers) == ANNA
    assert {asked_of(it.headers) for it in decided} == {ANNA}
    assert asked_of(released.headers) is None, "the event has fields for it"
    assert asked_of(happened(made, ReleaseWfRun("w", None, "again", "ben"))[0].headers) == Asked("ben", "again")


@pytest.mark.parametrize("release", ["0.1.0", "0.2.0"])
def test_beside_workers_of_a_release_it_is_decided_and_not_repeated(release: str) -> None:
    made, today = rig(release), Codec.load()
    record = replace_value(made, asked(StopWfRun("w")), today)
    made.turn(RunWf("w", "wait"))
    log = happened(made, record)
    assert [dict(it.headers)["event"] for it in log] == [b"Halt", b"ThreadHalted"]
    assert {asked_of(it.headers) for it in log} == {None}
    with pytest.raises(Unencodable, match=r"found StopWfRun\.operator = 'anna'.*HALTER_SCHEMAS"):
        made.codec.encode(asked(StopWfRun("w")))


def replace_value(made: ShardRig, command: Any, codec: Codec) -> Any:
    return made.record("wf-commands", command.wf_run_id.encode(), codec.encode(command))


def test_a_command_that_says_nothing_is_written_as_the_last_release_writes_it() -> None:
    today, before = Codec.load(), Codec.load(release="0.2.0")
    for command in COMMANDS:
        assert today.encode(command) == before.encode(command)
        assert today.decode(today.encode(asked(command))) == asked(command)


@pytest.mark.parametrize("who", [Asked("a" * 257), Asked(None, "a" * 1_001)])
def test_too_long_a_text_is_a_dead_letter(who: Asked) -> None:
    made = rig()
    assert not happened(made, asked(RunWf("w", "wait"), who))
    (letter,) = (it for it in made.outputs if it.topic == "dead-letters")
    assert dict(letter.headers)["halter.reason"] == DeadLetterReason.TOO_LARGE.encode()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [((), None), ((("event", b"Halt"),), None), ((("operator", b"\xff"),), Asked("\ufffd"))],
)
def test_headers_of_others_are_read_as_they_are(headers: tuple[tuple[str, bytes], ...], expected: Asked | None) -> None:
    assert asked_of(headers) == expected


class Record:
    """What is read of a message of `wf-events`."""

    def __init__(self, output: OutputRecord) -> None:
        self._output = output

    def value(self) -> bytes | None:
        return self._output.value

    def headers(self) -> list[tuple[str, bytes]]:
        return list(self._output.headers)


@pytest.fixture
def entry() -> Callable[[Any], LogEntry]:
    def of(command: Any) -> LogEntry:
        from halter.client.log_records import log_entry

        made = rig()
        record: Message = Record(happened(made, command)[0])  # type: ignore[assignment]  # what is read of one
        return log_entry(made.codec, record)

    return of


def test_people_and_programs_see_who_asked(entry: Callable[[Any], LogEntry]) -> None:
    told, silent = entry(asked(RunWf("w", "wait"))), entry(RunWf("w", "wait"))
    assert asked_text(told) == " by anna: the customer called, ünïcode 🙂"
    assert entry_data(told)["cause"] == entry_data(silent)["cause"] | {"operator": "anna", "reason": ANNA.reason}
    assert asked_text(silent) == ""
