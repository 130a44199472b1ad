"""No command shows a masked value, of whatever event. A command and an event that are added are judged here.

Each command that tells of WfRuns reads exports in which every kind of event occurs, with a secret in the place of each
value. Their WfSpecs are not there, so every value counts as masked.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pytest

from halter.cli import COMMANDS
from halter.history.checking_state import RowDifference, RowKind, StateReport
from halter.history.export import export
from halter.history.logged import Logged
from halter.history.verify_text import state_data, state_lines
from processors.core.records.events import Definition, Event, LogEntry
from processors.core.records.model import ThreadRun
from processors.fold.inputs import InputRecord
from tests.halter.test_export import unpacked
from tests.halter.test_redaction import CLEAR
from tests.support import recorded
from tests.support.command_line import all_commands, halter
from tests.support.memory_source import CODEC, MemorySource
from tests.support.records import filled, with_values

SECRET = "4111-1111"
Arguments = Iterator[tuple[str, ...]]


@dataclass(frozen=True)
class Told:
    """What an export has, for those who choose arguments."""

    wf_run_id: str
    seqs: list[str]
    of_records: list[str]
    """The seq of an event of each record: what asked for a report or a timer is told beside it."""
    external_event_ids: list[str]


def moments(it: Told) -> Arguments:
    yield from ((it.wf_run_id, "--at", seq) for seq in it.seqs)


LOOKS: dict[str, Callable[[Told], Arguments]] = {
    "history": lambda it: iter([(it.wf_run_id, "--previous")]),
    "state": moments,
    "diff": lambda it: ((it.wf_run_id, "0", seq) for seq in it.seqs),
    "why": moments,
    "why-not": lambda it: ((it.wf_run_id, event_id) for event_id in it.external_event_ids),
    "cause": lambda it: (("--wf-run", it.wf_run_id, "--event", seq) for seq in it.of_records),
    "timeline": lambda it: iter([(it.wf_run_id, "-o", "-"), (it.wf_run_id, "--mermaid")]),
    "verify": lambda it: iter([(it.wf_run_id,)]),
    "export": lambda it: iter([(it.wf_run_id, "--previous", "-o", "again.halter")]),
    "scenario from-history": lambda it: iter([(it.wf_run_id,)]),
}
"""The commands that tell of WfRuns and can read an export, with the arguments to try."""
WITHOUT_JSON = {"timeline", "export", "scenario from-history"}
ELSEWHERE = {
    "run": "tests/halter/test_redaction.py calls it",
    "send": "tests/halter/test_redaction.py calls it",
    "show": "tests/halter/test_redaction.py calls it",
    "check-state": "a test below",
    "bind": "tests/bindings/test_bind_command.py calls it",
    "console": "its pages mask values for readers: tests/console",
    "sink": "tests/sinks and tests/broker/test_sinks.py look at what it writes",
}
NO_VALUES = {
    "demo": "the values of its example are public",
    "broker": "it knows no WfRun",
    "up": "the states of its parts, and addresses",
    "console": "addresses and log lines; tests/console look at its pages",
    "view": "how far it is, and no values; tests/view looks for masked values in what it stores",
    "spec": "WfSpecs and definitions, which have no values of WfRuns",
    "scenario": "runs documents, whose author has the values",
    "explore": "runs a WfSpec in memory, with values that the author gives",
    "bulk": "ids of WfRuns, counts, and lists as 'list' shows them",
    "dead-letters": "tests/broker/test_dead_letters.py calls it",
    "list": "a view has no masked values unless it was made with them (tests/view)",
    "stats": "numbers",
    "stop": "the outcome of a command without values",
    "correlate": "names of WfRuns, and no values",
    "correlations": "names of WfRuns and keys, which are never masked",
    "resume": "the outcome of a command without values",
    "rescue": "the outcome of a command without values",
    "migrate": "the outcome of a command, which `report` redacts: see test_redaction",
    "delete": "the outcome of a command without values",
    "fork": "the outcome of a command, of which it shows no values",
    "reset": "the outcome of a command, of which it shows no values",
    "replay": "counts of records and events",
    "task-worker": "its log names attempts, and no values",
    "topics": "it knows no WfRun",
    "doctor": "keys and places of records, and no values",
    "worker": "its log names records and WfRuns, and no values",
    "schemas": "it knows no WfRun",
    "quarantine": "the outcome of a command without values",
    "release": "the outcome of a command without values",
    "skip": "the outcome of a command without values",
}
"""The commands that show no value of a WfRun, and why. A group stands for its commands that have no line here."""


def test_every_command_is_judged() -> None:
    judged = {*LOOKS, *ELSEWHERE, *NO_VALUES}
    assert [name for name in all_commands() if name not in judged and name.partition(" ")[0] not in judged] == []
    assert judged - {*all_commands(), *COMMANDS} == set()


class WithSecrets(MemorySource):
    """What an engine in memory has, with the secret in the place of each value, and without definitions.

    `others` are put behind its log: events that no scenario has.
    """

    def __init__(self, name: str, others: list[type[Event]]) -> None:
        super().__init__(recorded.engine_of(name))
        self._others = others

    def events(self, wf_run_id: str, *, previous: bool = False) -> Iterator[Logged]:
        offset, last = 0, None
        for logged in super().events(wf_run_id, previous=previous):
            offset, last = logged.offset or 0, logged.entry
            event, kind = last.event, type(last.event)
            clear = {name: getattr(event, name) for name in CLEAR.get(kind, ())}
            yield replace(logged, entry=replace(last, event=replace(with_values(event, kind, SECRET), **clear)))
        for number, kind in enumerate(self._others if last else (), 1):
            assert last is not None
            shown = {name: b"w" if name == "key" else "clear" for name in CLEAR.get(kind, ())}
            event = replace(filled(kind, SECRET), **shown)
            yield Logged(offset + number, replace(last, seq=last.seq + number, event=event))

    def definition_records(self) -> Iterator[tuple[int, Definition]]:
        return iter(())

    def record(self, topic: str, partition: int, offset: int) -> InputRecord | None:
        found = super().record(topic, partition, offset)
        return None if found is None else self._secret(found)

    def records(self, places: Any) -> dict[Any, InputRecord]:
        return {place: self._secret(it) for place, it in super().records(places).items()}

    @staticmethod
    def _secret(found: InputRecord) -> InputRecord:
        command = CODEC.decode(found.value or b"")
        return found._replace(value=CODEC.encode(with_values(command, type(command), SECRET)))


def told_in(entries: list[LogEntry]) -> Told:
    events: list[Any] = [entry.event for entry in entries]
    ids = {getattr(event, "external_event_id", None) for event in events}
    seqs = [str(it.seq) for it in entries if it.seq]
    of_records = {it.cause: str(it.seq) for it in entries if it.seq}
    return Told(entries[0].wf_run_id, seqs[::7], list(of_records.values()), sorted(ids - {None}))


def exports(folder: Path) -> Iterator[tuple[Path, Told, set[type]]]:
    """Yield exports, in clear, of one WfRun each: what it has, and its kinds of events."""
    in_documents = set[type].union(*map(recorded.kinds_in, recorded.EVERY_KIND))
    others: list[type[Event]] = [kind for kind in get_args(Event) if kind not in in_documents]
    for name in recorded.EVERY_KIND:
        source = WithSecrets(name, others if name == recorded.EVERY_KIND[0] else [])
        for wf_run_id in source.wf_run_ids():
            entries = [logged.entry for logged in source.events(wf_run_id, previous=True)]
            if entries:
                file = folder / f"{name}-{len(entries)}.halter"
                export(source, [wf_run_id], file, recorded.START_MS, clear=True, previous=True)
                yield file, told_in(entries), {type(entry.event) for entry in entries}


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Told, set[type]]]:
    return list(exports(tmp_path_factory.mktemp("secret")))


def test_every_kind_of_event_is_there(secret: list[tuple[Path, Told, set[type]]]) -> None:
    assert set(get_args(Event)) - set[type].union(*(kinds for _, _, kinds in secret)) == set()


@pytest.mark.parametrize("name", LOOKS)
def test_a_command_shows_no_masked_value(
    secret: list[tuple[Path, Told, set[type]]],
    name: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = 0
    for file, told, _ in secret:
        for arguments in LOOKS[name](told):
            for form_of_output in ((),) if name in WITHOUT_JSON else ((), ("--json",)):
                code, out, err = halter(capsys, *name.split(), *arguments, *form_of_output, "--file", str(file))
                assert SECRET not in out + err, arguments
                assert "unexpected" not in err, (arguments, err)
                shown += code == 0
        if name == "export":
            assert SECRET.encode() not in unpacked(tmp_path / "again.halter")
    assert shown, "it tells of some of them"


def test_rows_that_are_not_as_the_log_says_are_told_without_values() -> None:
    row = replace(filled(ThreadRun, SECRET), variables={"card": {SECRET: SECRET}, "name": SECRET}, output=[SECRET])
    other = replace(row, variables={"card": {"none": 1}}, output=None)
    value, expected = CODEC.encode(row), CODEC.encode(other)
    differences = [
        RowDifference("w", "thread-runs", b"w/0", kind, *sides)
        for kind, sides in ((RowKind.OTHER, (expected, value)), (RowKind.MISSING, (value, None)))
    ]
    report = StateReport(differences=differences)
    told = "\n".join(state_lines(report, CODEC, 10))
    assert "variables.card" in told
    assert SECRET not in told + json.dumps(state_data(report))
    assert SECRET in "\n".join(state_lines(report, CODEC, 10, unmask=True))
