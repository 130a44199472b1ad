"""From which moments a WfRun can be forked, what is told of a fork, and what bad input gets. Without Kafka."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from halter.client import CannotFork, CommandRejected, History, RecordTooLarge
from halter.client.forking import fork_to_reset, reset_id
from halter.files.scenario_document import read_scenario
from halter.history.cause_text import traced_lines
from halter.history.export import export
from halter.history.export_file import ExportFile
from halter.history.forking import ForkPoint, check_is_clear, check_means_the_same, fork_point
from halter.history.moments import moments_of
from halter.history.origins import Origins
from halter.history.source import Source
from halter.history.tracing import traced
from halter.history.why import why
from halter.history.why_not import Fate, Outside, why_not
from halter.history.why_not_text import why_not_sentences
from halter.history.why_text import sentences, stage_text
from halter.scenarios.definitions import DefinitionsInMemory, register
from halter.scenarios.memory import MemoryEngine
from halter.show.history import text
from halter.show.wf_run_text import understood
from processors.core.records.commands import (
    DeleteWfRun,
    ExternalEvent,
    ForkWfRun,
    ReportTaskRun,
    RunWf,
    TimerFired,
)
from processors.core.records.events import (
    Cause,
    LogEntry,
    Rejected,
    RejectionCode,
    TaskAttemptRequested,
    WfRunEnded,
    WfRunForked,
    WfRunStarted,
)
from processors.core.records.model import TERMINAL, TaskStatus
from processors.core.records.names import check_wf_run_id
from processors.core.rules.context import Context
from processors.core.rules.snapshots import run_of
from processors.core.wf_spec.definitions import Definitions
from processors.fold.inputs import VALUE_BYTES_MAX
from tests.halter.test_client_arguments import Sender
from tests.halter.test_debugging_commands import refused
from tests.halter.test_export import CARD, cart
from tests.support import recorded
from tests.support.command_line import halter
from tests.support.memory_source import MemorySource

Captured = pytest.CaptureFixture[str]
LATER_MS = recorded.START_MS + 10**10


def point_of(source: Source, wf_run_id: str, at: str) -> ForkPoint:
    return fork_point(source, wf_run_id, at, LATER_MS)


def forkable(source: MemorySource, wf_run_id: str) -> Iterator[int]:
    """Yield the seqs after which a WfRun is at rest and not over, as the engine's own log divides its events."""
    last = [entries[-1] for _, entries in source.engine.log]
    for step in moments_of(source, wf_run_id).steps():
        if any(it is step.logged.entry for it in last) and step.run.exists and step.run.status not in TERMINAL:
            yield step.logged.entry.seq


@pytest.mark.parametrize("name", recorded.documents()[1::3])
def test_a_moment_can_be_forked_exactly_if_its_wf_run_is_at_rest_and_lives(name: str) -> None:
    source = MemorySource(recorded.engine_of(name))
    for wf_run_id, log in recorded.logs_of(source.engine):
        if not any(isinstance(it.entry.event, WfRunStarted) for it in log):
            continue
        seqs = {it.entry.seq for it in moments_of(source, wf_run_id).log if it.entry.seq}
        possible = sorted(forkable(source, wf_run_id))
        engine = MemoryEngine(source.engine.context, source.engine.time_ms)
        for seq in seqs:
            if seq in possible:
                snapshot = point_of(source, wf_run_id, str(seq)).snapshot
                assert snapshot.seq == seq
                assert isinstance(engine.put(ForkWfRun(f"fork-{seq}", snapshot))[0].event, WfRunStarted)
                continue
            with pytest.raises(CannotFork) as refused:
                point_of(source, wf_run_id, str(seq))
            near = [max((it for it in possible if it < seq), default=None),
                    min((it for it in possible if it > seq), default=None)]  # fmt: skip
            named = " and ".join(f"--at {it}" for it in near if it is not None)
            assert str(refused.value).endswith(named or "none of its moments can be forked")


def test_a_moment_before_the_wf_run_or_behind_its_deletion_is_refused_as_such() -> None:
    source = cart()
    with pytest.raises(CannotFork, match="was not started by then: the nearest moment that can be forked is --at"):
        point_of(source, "c1", "0")
    source.engine.put(DeleteWfRun("c1"))
    with pytest.raises(CannotFork, match="was deleted by then"):
        point_of(MemorySource(source.engine), "c1", "-0")


# What a fork starts from, and what is told of it.


def document(sleep_s: int = 60) -> dict[str, Any]:
    """Return a scenario document with the WfSpec of an order: a child sleeps while it is paid and checked."""
    nap = {
        "start": {"kind": "ENTRYPOINT", "next": "sleep"},
        "sleep": {"kind": "SLEEP", "seconds": sleep_s, "next": "note"},
        "note": {"kind": "EXTERNAL_EVENT", "event": "note", "next": "done"},
        "done": {"kind": "EXIT"},
    }
    check = {
        "start": {"kind": "ENTRYPOINT", "next": "check"},
        "check": {"kind": "TASK", "task": "check", "timeout_s": 1000, "next": "done"},
        "done": {"kind": "EXIT"},
    }
    main = {
        "variables": {"total": {"type": "INT"}, "card": {"type": "STR", "masked": True}},
        "interrupts": [{"event": "changed", "handler": "on-changed"}],
        "nodes": {
            "start": {"kind": "ENTRYPOINT", "next": "spread"},
            "spread": {"kind": "START_THREAD", "thread": "nap", "next": "charge"},
            "charge": {"kind": "TASK", "task": "charge", "timeout_s": 1000, "next": "done"},
            "done": {"kind": "EXIT"},
        },
    }
    threads = {"main": main, "nap": {"nodes": nap}, "on-changed": {"nodes": check}}
    return {
        "name": "an order, at which somebody sleeps while a task is out",
        "external_events": {"changed": {}, "note": {}},
        "tasks": {"charge": {}, "check": {}},
        "wf_specs": [{"name": "order", "entrypoint": "main", "threads": threads}],
        "steps": [],
    }


def definitions(sleep_s: int = 60) -> DefinitionsInMemory:
    """Return the definitions of that document."""
    scenario, problems = read_scenario(document(sleep_s), str)
    assert scenario is not None, problems
    registered, refused_ones = register(scenario.definitions)
    assert not refused_ones
    return registered


def order() -> MemoryEngine:
    """Return an engine with an order: handler 2, whose task is out, halts it; thread 1 still has 48 s to sleep."""
    engine = MemoryEngine(Context(definitions()), recorded.START_MS)
    engine.put(RunWf("o1", "order", {"total": 5, "card": CARD}))
    engine.time_ms += 10_000
    engine.put(ExternalEvent("o1", "changed", "e1"))
    engine.time_ms += 2_000
    report(engine, "o1", 0)
    return engine


def report(engine: MemoryEngine, wf_run_id: str, number: int) -> list[LogEntry]:
    """Report success for the attempt of a thread that is out."""
    run = engine.runs[wf_run_id]
    node = run.threads[number].node
    assert node.task is not None
    at = (wf_run_id, run.incarnation, number, node.position, node.task.attempt)
    return engine.put(ReportTaskRun(*at, TaskStatus.SUCCESS))


def test_timers_of_a_moment_that_is_a_time_have_what_was_left_then_and_never_less_than_now() -> None:
    source = MemorySource(order())
    last_ms = recorded.START_MS + 12_000
    for at, expected_ms in [
        ("-0", last_ms),
        ("2026-01-01T00:00:15Z", last_ms + 3_999),
        ("2026-01-01T00:00:15.250Z", last_ms + 3_250),
        ("2036-01-01", LATER_MS),
    ]:
        assert point_of(source, "o1", at).snapshot.at_ms == expected_ms
    assert fork_point(source, "o1", "2036-01-01", last_ms - 5_000).snapshot.at_ms == last_ms, "a clock that is behind"


def test_a_time_that_is_not_over_is_told_from_one_that_is() -> None:
    source, noon_ms = MemorySource(order()), recorded.START_MS + 15_000
    for at, now_ms, expected in [
        ("2026-01-01T00:00:15Z", noon_ms + 999, True),
        ("2026-01-01T00:00:15Z", noon_ms + 1_000, False),
    ]:
        assert fork_point(source, "o1", at, now_ms).is_to_come is expected
    assert not fork_point(source, "o1", "-0", 0).is_to_come


@pytest.fixture
def forked() -> MemorySource:
    """An order and its fork, 100 s later, which took over a halted thread, a task and a timer."""
    engine = order()
    seq = engine.runs["o1"].seq
    point = point_of(MemorySource(engine), "o1", str(seq))
    engine.time_ms += 100_000
    entries = engine.put(ForkWfRun("o2", point.snapshot))
    assert [type(it.event) for it in entries] == [WfRunStarted, WfRunForked, TaskAttemptRequested]
    return MemorySource(engine)


def test_the_history_says_of_what_a_wf_run_is_a_fork(forked: MemorySource) -> None:
    log = moments_of(forked, "o2").log
    title = next(text(History.of("o2", [it.entry for it in log])))
    seq = forked.engine.runs["o1"].seq
    assert title.startswith(f"o2, started by wf-commands@1 as a fork of o1 after event {seq}, from ")


def test_why_leads_from_what_came_along_to_the_source(forked: MemorySource) -> None:
    run = understood(moments_of(forked, "o2").state(2), forked.definitions())
    told = why(run, Origins(forked.events("o2")))
    seq = forked.engine.runs["o1"].seq
    said = {number: it.replace("\u00a0", " ") for number, it in sentences(told, run, None)}
    before = f"because a record of o1 up to its event {seq}, where this fork begins, started handler #2 on-changed"
    assert before in said[0]
    assert "which waits for task check, attempt 1 of 1" in said[0]
    assert "ForkWfRun of o1" in stage_text(told, run)


def test_an_external_event_that_came_along_is_told_as_such(forked: MemorySource) -> None:
    run = understood(moments_of(forked, "o2").state(2), forked.definitions())
    told = why_not(run, forked.events("o2"), "e1", Outside())
    assert [it.fate for it in told.became] == [Fate.CAME_ALONG]
    (said,) = why_not_sentences(told, run)
    assert "came along" in said
    assert "from o1, where it was CLAIMED in #0\u00a0main: " in said
    assert "`halter why-not o1 e1`" in said


def test_one_that_nothing_has_taken_is_unclaimed_in_the_fork_too() -> None:
    engine = order()
    engine.put(ExternalEvent("o1", "note", "n1"))
    engine.put(ForkWfRun("o2", point_of(MemorySource(engine), "o1", "-0").snapshot))
    source = MemorySource(engine)
    run = understood(moments_of(source, "o2").state(2), source.definitions())
    told = why_not(run, source.events("o2"), "n1", Outside())
    assert [it.fate for it in told.became] == [Fate.UNCLAIMED]
    report(engine, "o2", 2)
    wake(engine, "o2")
    assert isinstance(engine.log[-1][1][-1].event, WfRunEnded)
    told = why_not(engine.runs["o2"], MemorySource(engine).events("o2"), "n1", Outside())
    assert [it.fate for it in told.became] == [Fate.CLAIMED]


def wake(engine: MemoryEngine, wf_run_id: str) -> TimerFired:
    """Let the time come at which thread 1 has slept."""
    run = engine.runs[wf_run_id]
    node = run.threads[1].node
    assert node.timer is not None
    engine.time_ms = node.timer.due_ms
    fired = TimerFired(wf_run_id, run.incarnation, 1, node.position, node.timer.kind, node.timer.due_ms)
    engine.put(fired)
    return fired


def test_the_cause_of_a_fork_and_of_its_timers_is_traced_to_its_source(forked: MemorySource) -> None:
    seq = forked.engine.runs["o1"].seq
    told = list(traced_lines(traced(forked, ("wf-commands", 0, 1))))
    assert f"it goes on from event {seq} of o1: `halter cause --wf-run o1 --event {seq}`" in told
    due_ms = forked.engine.time_ms + 48_000
    assert wake(forked.engine, "o2").due_ms == due_ms, "60 s, of which 12 had passed"
    cause = forked.engine.log[-1][1][0].cause
    asked = traced(MemorySource(forked.engine), (cause.topic, cause.partition, cause.offset)).asked
    assert asked is not None
    assert isinstance(asked.entry.event, WfRunForked)


def test_a_fork_can_be_forked_at_any_of_its_own_moments(forked: MemorySource) -> None:
    point = point_of(forked, "o2", "3")
    assert (point.snapshot.wf_run_id, point.snapshot.seq) == ("o2", 3)
    with pytest.raises(CannotFork, match=r"found event 2 of the events 1 to 3 .*: the nearest .* is --at 3$"):
        point_of(forked, "o2", "2")
    assert isinstance(forked.engine.put(ForkWfRun("o3", point.snapshot))[1].event, WfRunForked)


# Exports.


def exported(source: Source, path: Path, *, clear: bool) -> ExportFile:
    export(source, ["o1"], path, recorded.START_MS, clear=clear)
    return ExportFile(path)


def test_tokens_in_the_place_of_masked_values_are_refused(tmp_path: Path) -> None:
    source = MemorySource(order())
    with exported(source, tmp_path / "masked", clear=False) as masked:
        with pytest.raises(CannotFork, match=r"made with --clear, found that .*masked has tokens in the place of a ma"):
            check_is_clear(masked, point_of(masked, "o1", "-0").snapshot)
        # It says of itself that it is clear, and has the tokens of the file that it was made of.
        with exported(masked, tmp_path / "again", clear=True) as again, pytest.raises(CannotFork, match="tokens"):
            check_is_clear(again, point_of(again, "o1", "-0").snapshot)
    with exported(source, tmp_path / "clear", clear=True) as clear:
        found = point_of(clear, "o1", "-0").snapshot
        check_is_clear(clear, found)
        assert found == point_of(source, "o1", "-0").snapshot


def test_an_export_without_a_masked_value_in_this_state_need_not_be_clear(tmp_path: Path) -> None:
    engine = order()
    engine.put(RunWf("o1b", "order", {"total": 5}))
    export(MemorySource(engine), ["o1b"], tmp_path / "x", recorded.START_MS)
    with ExportFile(tmp_path / "x") as masked:
        assert masked.is_masked
        check_is_clear(masked, point_of(masked, "o1b", "-0").snapshot)


def test_a_version_that_is_another_wf_spec_here_is_refused() -> None:
    source = MemorySource(order())
    ours, theirs, missing = source.definitions(), definitions(sleep_s=5), Definitions()
    snapshot = point_of(source, "o1", "-0").snapshot
    check_means_the_same(snapshot, ours, ours, "in x")
    check_means_the_same(snapshot, ours, missing, "in x")
    with pytest.raises(CannotFork, match=r"WfSpec order:0.0 to be the one that the WfRun ran in x, found another"):
        check_means_the_same(snapshot, ours, theirs, "in x")


# The command.


def test_a_state_that_is_too_large_is_refused_with_what_makes_it_so() -> None:
    engine = order()
    for number, size in enumerate([150_000, 120_000, 10]):
        engine.put(ExternalEvent("o1", "note", f"n{number}", "x" * size))
    snapshot = point_of(MemorySource(engine), "o1", "-0").snapshot
    with Sender() as client, pytest.raises(RecordTooLarge) as refused:
        client.fork(snapshot, "o2")
    said = str(refused.value)
    assert f"at most {VALUE_BYTES_MAX:,} bytes, found that of WfRun 'o1' after event {snapshot.seq} to take 27" in said
    assert "ExternalEvent note n0 takes 150,0" in said
    assert "ExternalEvent note n1 takes 120,0" in said
    assert not client.sent


def test_the_command_id_follows_from_what_is_forked_and_to_what() -> None:
    snapshot = point_of(MemorySource(order()), "o1", "-0").snapshot
    with Sender() as client:
        client.fork(snapshot, "o2")
        client.fork(replace(snapshot, at_ms=snapshot.at_ms + 1), "o2")
        client.fork(snapshot, "o3")
        client.fork(snapshot, "o2", major=1)
        client.fork(replace(snapshot, seq=3), "o2")
        commands: list[Any] = [client.codec.decode(it.value) for it in client.sent]
    first, later, other, version, event = (it.command_id for it in commands)
    assert first == later
    assert len({first, other, version, event}) == 4


def test_the_id_of_a_reset_follows_from_the_moment_and_has_to_fit() -> None:
    snapshot = point_of(MemorySource(order()), "o1", "-0").snapshot
    made = reset_id(snapshot)
    assert made == f"o1-at-{snapshot.seq}"
    check_wf_run_id(made)
    with pytest.raises(CannotFork, match=r"at most 128 characters .* name another one"):
        reset_id(replace(snapshot, wf_run_id="x" * 127))


def test_a_repeat_that_finds_another_wf_run_under_the_old_id_deletes_nothing() -> None:
    snapshot = point_of(MemorySource(order()), "o1", "-0").snapshot
    rejected = Rejected("ForkWfRun", RejectionCode.ALREADY_EXISTS, "the WfRun was started")
    entry = LogEntry(reset_id(snapshot), 0, 0, 0, Cause("wf-commands", 0, 9, None, 0), rejected)
    posted = Mock(outcome=Mock(side_effect=CommandRejected(entry, rejected)))
    client = Mock(get=Mock(return_value=run_of(snapshot)), fork=Mock(return_value=posted))
    with pytest.raises(CannotFork, match="a reset of an earlier WfRun 'o1' is done"):
        fork_to_reset(client, snapshot, None, 1)
    with pytest.raises(CommandRejected):
        fork_to_reset(client, snapshot, "o2", 1)
    client.delete.assert_not_called()


# The command line.


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an export that is masked and one in clear, each of an order and of a cart that has ended."""
    folder, engine = tmp_path_factory.mktemp("exports"), order()
    export(MemorySource(engine), ["o1"], folder / "masked", recorded.START_MS)
    export(MemorySource(engine), ["o1"], folder / "clear", recorded.START_MS, clear=True)
    export(cart(), ["c1"], folder / "ended", recorded.START_MS, clear=True)
    return folder


BAD: list[tuple[list[str], str]] = [
    (["masked", "--at", "-0", "--as", "o2"], "made with --clear, found that"),
    (["clear", "o1b", "--at", "-0", "--as", "o2"], "did you mean 'o1'?"),
    (["clear", "--at", "0", "--as", "o2"], "was not started by then: the nearest moment that can be forked is --at "),
    (["clear", "--at", "1", "--as", "o2"], "expected the last event that a record caused, found event 1 of the events"),
    (["clear", "--at", "4711", "--as", "o2"], "has no event 4711: there are 1 to "),
    (["clear", "--at", "noon", "--as", "o2"], "expected a seq (57)"),
    (["clear", "--at", "-0", "--as", "o2", "--incarnation", "4711"], "of incarnation 4711"),
    (["clear", "--at", "-0", "--as", "o2", "--spec", "new"], "--spec: expected MAJOR or MAJOR.REVISION, found 'new'"),
    (["clear", "--at", "-0", "--as", "o2", "--bootstrap", "127.0.0.1:1"], "127.0.0.1:1"),
    (["ended", "--at", "-0", "--as", "c2"], "had ended by then, it was COMPLETED: the nearest moment that can be"),
    (["nothing", "--at", "-0", "--as", "c2"], "cannot read"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_gets_a_sentence(words: list[str], said: str, capsys: Captured, files: Path) -> None:
    assert said in refused(capsys, "fork", "--file", str(files / words[0]), *words[1:])


@pytest.mark.parametrize("words", [["fork", "o1", "--as", "o2"], ["fork", "o1", "--at", "5"], ["reset", "o1"]])
def test_moment_and_new_id_have_to_be_given(words: list[str], capsys: Captured) -> None:
    code, out, err = halter(capsys, *words)
    assert (code, out) == (2, "")
    assert "Missing option" in err
