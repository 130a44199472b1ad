"""`halter why | why-not | cause` on an export: what they print, and what bad input gets."""

import json
from pathlib import Path
from typing import Any

import pytest

from halter.history.export import export
from processors.core.records.commands import (
    ExternalEvent,
    ReportTaskRun,
    RunWf,
    StopWfRun,
)
from processors.core.records.model import TaskStatus
from tests.halter.test_export import CARD, cart
from tests.support import recorded
from tests.support.command_line import halter
from tests.support.memory_source import MemorySource

Captured = pytest.CaptureFixture[str]
MUG = {"sku": "mug", "name": "Mug", "quantity": 2, "price_cents": 1450}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An export, in clear, of a cart that has ended and of one that cleans up after a cancellation, and is stopped."""
    source = cart()
    engine = source.engine
    engine.put(RunWf("c2", "cart", {"customer": "Bob", "card": CARD}))
    engine.put(ExternalEvent("c2", "item-added", "e1", MUG))
    engine.put(ExternalEvent("c2", "cancelled", "e2", "too dear"))
    engine.put(ExternalEvent("c2", "slot-chosen", "e3", "noon"))
    engine.put(StopWfRun("c2", 1))
    path = tmp_path_factory.mktemp("exports") / "x"
    export(MemorySource(engine), ["c1", "c2"], path, recorded.START_MS, clear=True)
    return str(path)


def said(capsys: Captured, *words: str) -> str:
    code, out, err = halter(capsys, *words)
    assert (code, err, CARD in out) == (0, "", False), err
    return out


def asked(capsys: Captured, *words: str) -> Any:
    return json.loads(said(capsys, *words, "--json"))


def test_why_tells_each_thread_down_to_what_frees_it(capsys: Captured, file: str) -> None:
    first, *threads = said(capsys, "why", "c2", "--file", file).splitlines()
    assert first.startswith("c2 is RUNNING, started 2026-")
    assert [line.split()[0] for line in threads] == ["#0", "#1", "#3"]
    assert " because ExternalEvent cancelled e2 (external-events[0]@" in threads[0]
    assert " started handler #3 cancel, which waits for task release-stock, attempt 1 of 1, out since " in threads[0]
    assert "stopped it, until `halter resume c2 --thread 1`" in threads[1]
    told = asked(capsys, "why", "c2", "--thread", "0", "--file", file)
    assert list(told["threads"]) == ["0"]
    (leaf,) = told["threads"]["0"]["leaves"]
    assert leaf["thread"] == 3
    whole = asked(capsys, "why", "c2", "--file", file)["threads"]
    frees = whole["3"]["holds"][leaf["hold"]]["frees"]
    assert [it["input"] for it in frees] == ["ReportTaskRun", "TimerFired"]
    assert whole["3"]["holds"][leaf["hold"]]["at_latest"] == frees[1]["due"]


def test_why_tells_of_any_moment_and_of_the_end(capsys: Captured, file: str) -> None:
    assert "waits for ExternalEvent checkout" in said(capsys, "why", "c2", "--at", "5", "--thread", "0", "--file", file)
    (line,) = said(capsys, "why", "c1", "--file", file).splitlines()
    assert line.startswith("c1 is COMPLETED since 2026-")
    assert asked(capsys, "why", "c1", "--file", file)["stage"] == "ENDED"


def test_why_not_tells_what_became_of_an_event(capsys: Captured, file: str) -> None:
    assert "which ended: COMPLETED" in said(capsys, "why-not", "c2", "e1", "--file", file)
    assert "which has not ended" in said(capsys, "why-not", "c2", "e2", "--file", file)
    unclaimed = said(capsys, "why-not", "c2", "e3", "--file", file)
    assert "is unclaimed, posted at " in unclaimed
    assert "#1 delivery takes it at node choose when it runs again" in unclaimed
    told = asked(capsys, "why-not", "c2", "e3", "--file", file)
    assert [(it["fate"], it["hindrances"][0]["obstacle"]) for it in told["became"]] == [("UNCLAIMED", "HALTED_THERE")]


def test_cause_tells_what_a_record_did_and_which_record_did_something(capsys: Captured, file: str) -> None:
    by_event = asked(capsys, "cause", "--wf-run", "c2", "--event", "1", "--file", file)
    assert (by_event["command"], by_event["fields"]["variables"]["card"]) == ("RunWf", "[redacted]")
    place = (str(it) for it in by_event["record"].values())
    by_place = asked(capsys, "cause", *place, "--file", file)
    assert by_place == by_event
    assert {it["cause"]["offset"] for it in by_place["events"]} == {by_place["record"]["offset"]}
    lines = said(capsys, "cause", "--wf-run", "c2", "--event", "1", "--file", file).splitlines()
    assert "RunWf c2" in lines[0]
    assert lines[1] == f"it caused {len(by_place['events'])} events of c2:"


def test_cause_shows_masked_values_only_if_asked_to(capsys: Captured, file: str) -> None:
    _, out, _ = halter(capsys, "cause", "--wf-run", "c2", "--event", "1", "--file", file, "--unmask")
    assert CARD in out


def test_cause_tells_what_came_back_and_what_asked_for_it(capsys: Captured, tmp_path: Path) -> None:
    source = cart()
    engine = source.engine
    engine.put(RunWf("c2", "cart", {"customer": "Bob", "card": CARD}))
    (request,) = [it.event for it in engine.put(ExternalEvent("c2", "cancelled", "e2", "too dear"))
                  if type(it.event).__name__ == "TaskAttemptRequested"]  # fmt: skip
    run = engine.runs["c2"]
    at = (run.incarnation, request.thread, request.position, request.attempt)
    (*_, ended) = engine.put(ReportTaskRun("c2", *at, TaskStatus.SUCCESS))
    file = tmp_path / "x"
    export(MemorySource(engine), ["c2"], file, recorded.START_MS, clear=True)
    asked_for = asked(capsys, "cause", "--wf-run", "c2", "--event", str(ended.seq), "--file", str(file))
    assert asked_for["asked_for_by"]["event"] == "TaskAttemptRequested"
    seq = asked_for["asked_for_by"]["seq"]
    words = ("cause", "--wf-run", "c2", "--event", str(seq), "--file", str(file))
    caused = asked(capsys, *words)
    assert [(it["effect"], it["event"]["event"]) for it in caused["answers"]] == [(seq, "TaskAttemptEnded")]
    assert "what came back for these:" in said(capsys, *words)


BAD: list[tuple[list[str], str]] = [
    (["why", "c"], "did you mean 'c1', 'c2'?"),
    (["why"], "expected WF_RUN, one of 'c1', 'c2'"),
    (["why", "c2", "--thread", "9"], "thread 9 of WfRun 'c2' was never started; threads that do not move: 0, 1, 3"),
    (["why", "c2", "--thread", "2"], "thread 2 of WfRun 'c2' has completed, and left"),
    (["why", "c2", "--at", "4711"], "has no event 4711"),
    (["why", "c2", "--at", "noon"], "expected a seq (57)"),
    (["why-not", "c2", "e9"], "ExternalEvent e9 is unknown: the log of c2 has no event about it"),
    (["why-not", "c2", "e1", "--event", "checkout"], "checkout e1 is unknown"),
    (["why-not", "other", "e1"], "there is no event of a WfRun 'other'"),
    (["cause"], "expected TOPIC PARTITION OFFSET of a record, or --wf-run and --event"),
    (["cause", "external-events", "0"], "expected TOPIC PARTITION OFFSET, found only external-events 0"),
    (["cause", "external-events", "0", "0", "--wf-run", "c2", "--event", "1"], "or --wf-run and --event"),
    (["cause", "--wf-run", "c2"], "or --wf-run and --event"),
    (["cause", "--wf-run", "c2", "--event", "4711"], "WfRun 'c2' has no event 4711 on the log: it has 1 to "),
    (["cause", "--wf-run", "other", "--event", "1"], "there is no event of a WfRun 'other'"),
    (["cause", "external-events", "0", "4711"], "expected a record external-events[0]@4711 in "),
    (["cause", "wf-events", "0", "0"], "an export has no records of wf-events, only inputs"),
    (["cause", "nowhere", "0", "0"], "an export has no records of nowhere, only inputs"),
]


@pytest.mark.parametrize(("words", "sentence"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_gets_a_sentence(words: list[str], sentence: str, capsys: Captured, file: str) -> None:
    code, out, err = halter(capsys, *words, "--file", file)
    assert (code in (1, 2), out) == (True, ""), out
    assert err.startswith("halter: ")
    assert err.count("\n") == 1, "one sentence"
    assert sentence in err
