"""An export says all that the log says and keeps masked values to itself. A bad one gets a sentence."""

import gzip
import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halter.files.definition_files import read_definition_file
from halter.history import export_form as form
from halter.history.difference import facts
from halter.history.export import export
from halter.history.export_file import BadExport, ExportFile
from halter.history.moments import Moments, moments_of
from halter.history.source import NoSuchWfRun
from halter.history.tokens import Tokens
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.show.redaction import REDACTED, Redactor
from processors.core.records.commands import (
    DeleteWfRun,
    ExternalEvent,
    QuarantineWfRun,
    ReportTaskRun,
    RunWf,
)
from processors.core.records.errors import HalterError
from processors.core.records.events import LogEntry, TaskAttemptRequested
from processors.core.records.model import TaskStatus
from processors.core.records.values import Timestamp, Value, type_of
from processors.core.rules.context import Context
from tests.support import recorded
from tests.support.memory_source import MemorySource

CART = Path(__file__).parents[2] / "examples" / "cart"
CARD = "card-12345678"


def exported(source: Any, path: Path, ids: list[str] | None = None, **options: bool) -> ExportFile:
    export(source, list(source.wf_run_ids()) if ids is None else ids, path, recorded.START_MS, **options)
    return ExportFile(path)


@pytest.mark.parametrize("name", recorded.documents()[::2])
def test_an_export_says_what_its_source_says(name: str, tmp_path: Path) -> None:
    engine = recorded.engine_of(name)
    source = MemorySource(engine)
    ids = [wf_run_id for wf_run_id, log in recorded.logs_of(engine) if log]
    with exported(source, tmp_path / "x", ids, clear=True, previous=True) as found:
        assert list(found.wf_run_ids()) == ids
        assert found.limits == source.limits
        for wf_run_id in ids:
            log = list(source.events(wf_run_id, previous=True))
            assert list(found.events(wf_run_id, previous=True)) == log
            assert list(found.events(wf_run_id)) == list(source.events(wf_run_id))
            for cause in {logged.entry.cause for logged in log}:
                place = (cause.topic, cause.partition, cause.offset)
                assert found.record(*place) == source.record(*place)
            assert moments_of(found, wf_run_id).log == moments_of(source, wf_run_id).log
        for definition in found.definitions().all():
            assert source.definitions().holds(definition)
        for wf_spec_id in {run.wf_spec for run in engine.runs.values() if run.wf_spec is not None}:
            assert found.definitions().wf_spec(wf_spec_id) == source.definitions().wf_spec(wf_spec_id)
            assert found.definitions().bindings(wf_spec_id) == source.definitions().bindings(wf_spec_id)


def cart(card: str = CARD) -> MemorySource:
    """Return a cart that was checked out: its card is masked, and goes to a task."""
    definitions, refused = register(read_definition_file(CART / "cart.yaml").commands)
    assert not refused
    engine = MemoryEngine(Context(definitions), recorded.START_MS)
    engine.put(RunWf("c1", "cart", {"customer": "Ann", "card": card}))
    engine.put(RunWf("c1", "cart", {"customer": "Bob", "card": card}))
    engine.put(ExternalEvent("c1", "slot-chosen", "s1", "tomorrow"))
    for entry in engine.put(ExternalEvent("c1", "checkout", "k1")):
        if isinstance(event := entry.event, TaskAttemptRequested):
            at = ("c1", entry.incarnation, event.thread, event.position, event.attempt)
            engine.put(ReportTaskRun(*at, TaskStatus.SUCCESS, "receipt-1"))
    engine.put(DeleteWfRun("nobody"))
    engine.put(RunWf("nobody", "no-such-spec", {"card": card}))
    return MemorySource(engine)


def unpacked(path: Path) -> bytes:
    """Return everything in an export, with what stands in base64 in clear."""
    lines = lines_of(path)
    packed = [form.unpacked(line.get("value")) or b"" for line in lines if line["kind"] != form.SCHEMA]
    return gzip.decompress(path.read_bytes()) + b"".join(packed)


def test_masked_values_are_in_no_byte_of_an_export_unless_it_is_clear(tmp_path: Path) -> None:
    source = cart()
    with exported(source, tmp_path / "masked") as masked, exported(source, tmp_path / "clear", clear=True) as clear:
        assert CARD.encode() in unpacked(tmp_path / "clear")
        assert CARD.encode() not in unpacked(tmp_path / "masked")
        assert b"Ann" in unpacked(tmp_path / "masked")
        assert (masked.is_masked, clear.is_masked) == (True, False)
        for wf_run_id in ("c1", "nobody"):
            shown = [
                Redactor(it.definitions()).entries(logged.entry for logged in it.events(wf_run_id))
                for it in (source, masked, clear)
            ]
            assert shown[0] == shown[1] == shown[2]


def values_in(found: ExportFile) -> list[Value]:
    """Return the card wherever the export has it: in the command, the event and the request of the task."""
    run_wf = found.record("wf-commands", 0, 0)
    assert run_wf is not None
    assert run_wf.value is not None
    command: Any = found.codec.decode(run_wf.value)
    events: list[Any] = [logged.entry.event for logged in found.events("c1")]
    (request,) = (event for event in events if isinstance(event, TaskAttemptRequested))
    return [command.variables["card"], events[0].variables["card"], request.input["card"]]


def test_a_token_is_the_same_for_the_same_value_in_one_export_and_in_no_other(tmp_path: Path) -> None:
    with exported(cart(), tmp_path / "one") as one, exported(cart(), tmp_path / "other") as other:
        tokens = {json.dumps(value) for value in values_in(one)}
        assert len(tokens) == 1
        assert tokens.isdisjoint(json.dumps(value) for value in values_in(other))


values = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(),
    st.binary(),
    st.integers(0, 2**40).map(Timestamp),
    st.dictionaries(st.text(), st.integers()),
    st.lists(st.text()),
)


@given(values, values)
def test_a_token_has_the_type_of_its_value_and_different_values_have_different_ones(one: Value, other: Value) -> None:
    tokens = Tokens()
    assert type_of(tokens(one)) is type_of(one)
    assert (repr(tokens(one)) == repr(tokens(other))) == (type(one) is type(other) and repr(one) == repr(other))


def test_equal_objects_have_equal_tokens_whatever_the_order_of_their_keys() -> None:
    tokens = Tokens()
    assert tokens({"a": 1, "b": 2}) == tokens({"b": 2, "a": 1})
    assert (tokens(True), tokens(False)) == (False, False)


def test_what_a_quarantine_keeps_is_masked_too(tmp_path: Path) -> None:
    source = cart()
    engine = source.engine
    assert not any(isinstance(command, QuarantineWfRun) for command, _ in engine.log)
    # The engine in memory has no operator commands, so the event is made of the record that it would keep.
    from processors.core.records.events import Cause, InputKept

    record = source.record("wf-commands", 0, 0)
    assert record is not None
    assert record.value is not None
    last = engine.log_of("c1")[-1]
    kept = LogEntry(
        "c1", last.incarnation, last.seq + 1, last.time_ms, Cause("wf-commands", 0, 99, None, 0),
        InputKept(1, record.key or b"", record.value),
    )  # fmt: skip
    engine.log.append((RunWf("c1", "cart"), [kept]))
    with exported(source, tmp_path / "x") as found:
        assert CARD.encode() not in unpacked(tmp_path / "x")
        event: Any = list(found.events("c1"))[-1].entry.event
        command: Any = found.codec.decode(event.value)
        # Nothing says which WfSpec it would have started, so nothing of it is shown.
        assert command.variables["customer"].startswith(REDACTED[:-1])


def test_an_export_of_an_export_is_that_export(tmp_path: Path) -> None:
    with exported(cart(), tmp_path / "one") as one, exported(one, tmp_path / "two", clear=True) as two:
        assert list(two.events("c1")) == list(one.events("c1"))
        assert two.record("wf-commands", 0, 0) == one.record("wf-commands", 0, 0)


def test_nothing_is_written_for_a_wf_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoSuchWfRun, match="c2"):
        export(cart(), ["c1", "c2"], tmp_path / "x", 0)
    assert list(tmp_path.iterdir()) == []


def lines_of(path: Path) -> list[dict[str, Any]]:
    return list(map(json.loads, gzip.decompress(path.read_bytes()).splitlines()))


def written(path: Path, lines: list[Any]) -> Path:
    with gzip.open(path, "wb") as packed:
        for line in lines:
            packed.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
    return path


def changed(kind: str, **fields: Any) -> Callable[[list[Any]], list[Any]]:
    """Change fields of the first line of a kind."""

    def change(lines: list[Any]) -> list[Any]:
        at = next(number for number, line in enumerate(lines) if line["kind"] == kind)
        return [*lines[:at], lines[at] | fields, *lines[at + 1 :]]

    return change


HOSTILE: dict[str, tuple[Callable[[list[Any]], list[Any]], str]] = {
    "empty": (lambda _: [], "empty"),
    "another JSON": (lambda _: [{"kind": "invoice"}], "halter-export"),
    "no JSON": (lambda lines: [*lines[:2], b"\xff\xfe", *lines[3:]], "line 3"),
    "no object": (lambda lines: [*lines[:2], [1], *lines[3:]], "object"),
    "too deep": (lambda lines: [*lines[:2], b"[" * 100_000, *lines[3:]], "nested"),
    "too long a line": (lambda lines: [*lines[:2], b'"' + b"x" * form.LINE_BYTES_MAX, *lines[3:]], "longer"),
    "a later format": (changed(form.HEADER, format=form.FORMAT + 1), "later"),
    "no end": (lambda lines: lines[:-1], "cut off"),
    "a line taken out": (lambda lines: [*lines[:5], *lines[6:]], "changed"),
    "more behind the end": (lambda lines: [*lines, {"kind": "event"}], "behind"),
    "an event before its WfRun": (lambda lines: [it for it in lines if it["kind"] != form.WF_RUN], "before"),
    "an event of another WfRun": (changed(form.WF_RUN, id="c2"), "c2"),
    "an order to the terminal": (changed(form.WF_RUN, id="\x1b[2J"), "expected the id"),
    "a WfRun twice": (lambda lines: [*lines[:2], *lines[1:]], "again"),
    "another record": (changed(form.DEFINITION, value=form.packed(b"\xc3\x01" + b"\0" * 8)), "fingerprint"),
    "no record": (changed(form.EVENT, value=None), "expected"),
    "no base64": (changed(form.INPUT, value="*"), "base64"),
    "no topic": (changed(form.INPUT, topic="../../etc/passwd"), "topic"),
    "a huge number": (changed(form.INPUT, offset=2**70), "offset"),
    "headers": (changed(form.INPUT, headers=[["one"]]), "headers"),
    "partitions": (changed(form.HEADER, partitions=0), "partitions"),
    "limits": (changed(form.HEADER, limits={"events_per_command": "many"}), "events_per_command"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_export_gets_a_sentence(what: str, tmp_path: Path) -> None:
    exported(cart(), tmp_path / "x").close()
    change, said = HOSTILE[what]
    with pytest.raises(BadExport, match=said):
        ExportFile(written(tmp_path / "y", change(lines_of(tmp_path / "x"))))


def test_a_bomb_is_given_up_within_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "FILE_BYTES_MAX", 10_000_000)
    exported(cart(), tmp_path / "x").close()
    first, *rest = lines_of(tmp_path / "x")
    with pytest.raises(BadExport, match="fewer WfRuns"):
        ExportFile(written(tmp_path / "y", [first, *[{"kind": "schema", "name": " " * 1_000_000}] * 20, *rest]))


def test_a_file_that_is_no_export_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("order-1\n")
    for path, said in (("x", "gzip"), ("none", "No such file"), (".", "directory")):
        with pytest.raises(BadExport, match=said):
            ExportFile(tmp_path / path)


def test_a_file_that_is_cut_off_or_damaged_anywhere_gets_a_sentence(tmp_path: Path) -> None:
    exported(cart(), tmp_path / "x").close()
    whole = (tmp_path / "x").read_bytes()
    chance = random.Random(1)
    for _ in range(60):
        at = chance.randrange(len(whole))
        (tmp_path / "y").write_bytes(whole[:at])
        with pytest.raises(BadExport):
            ExportFile(tmp_path / "y")
        (tmp_path / "y").write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        with suppress(BadExport):  # some bits of the header of gzip mean nothing
            ExportFile(tmp_path / "y").close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6), st.booleans())
def test_events_in_any_order_are_shown_or_get_a_sentence(numbers: list[int], twice: bool) -> None:
    log = list(cart().events("c1"))
    for number in numbers:
        at = number % len(log)
        log = [*log[:at], *log[at + 1 :], *([log[at], log[at]] if twice else [log[at]])]
    with suppress(HalterError):  # any other exception would end a command with a sentence that helps nobody
        for step in Moments.of("c1", log).steps():
            facts(step.run)
