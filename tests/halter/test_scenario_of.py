"""A history becomes a scenario document that has its verdict, and the same log event by event."""

from pathlib import Path

import pytest

from halter.history.export import export
from halter.history.scenario_check import judged
from halter.history.scenario_of import Wanted, scenario_of
from halter.history.turns import NoScenario
from processors.core.records.commands import ExternalEvent
from processors.core.records.events import WfRunForked
from tests.core.test_attempts import WORK
from tests.halter.test_export import CARD, cart
from tests.support import recorded
from tests.support.command_line import halter
from tests.support.memory_source import MemorySource, source_of
from tests.support.scenario import RUN, RUN_ID, given, started, stop

INCIDENTS = Path(__file__).parents[2] / "docs" / "incidents"


CHANGED = ("S7-MigrateWfRun-goes-on", "V20-a-TaskDef-that-changes")
"""Definitions change while the WfRun lives."""


@pytest.mark.parametrize("name", sorted({*recorded.documents()[::3], *CHANGED}))
def test_the_history_of_every_scenario_gives_a_document_with_the_same_log(name: str) -> None:
    source = source_of(recorded.SCENARIOS / f"{name}.yaml")
    if source is None:
        return
    for wf_run_id in source.wf_run_ids():
        if any(isinstance(it.entry.event, WfRunForked) for it in source.events(wf_run_id)):
            with pytest.raises(NoScenario, match="is a fork of"):
                scenario_of(source, wf_run_id)
            continue
        draft = scenario_of(source, wf_run_id, Wanted(by_event=True))
        verdict, _ = judged(draft)
        assert verdict.ok, (verdict.problem, draft.text)


@pytest.mark.parametrize("name", recorded.documents()[::9])
def test_up_to_any_event_a_history_gives_a_document_with_the_same_log(name: str) -> None:
    source = source_of(recorded.SCENARIOS / f"{name}.yaml")
    for wf_run_id in () if source is None else source.wf_run_ids():
        assert source is not None
        entries = [it.entry for it in source.events(wf_run_id)]
        if any(isinstance(it.event, WfRunForked) for it in entries):
            continue
        for seq in range(1, entries[-1].seq + 1, 3):
            draft = scenario_of(source, wf_run_id, Wanted(by_event=True, to=str(seq)))
            verdict, _ = judged(draft)
            assert verdict.ok, (seq, verdict.problem, draft.text)


def test_a_start_that_was_judged_by_an_earlier_time_is_noted_because_a_document_cannot_say_it() -> None:
    history = given(WORK, RUN).after(15_000).when(stop())
    history.engine.time_ms -= 10_000
    history.when(started())
    assert [it for it in scenario_of(MemorySource(history.engine), RUN_ID).notes if it.startswith("starts of attempts")]


Captured = pytest.CaptureFixture[str]


def written(capsys: Captured, source: MemorySource, folder: Path, *options: str) -> tuple[int, str, str]:
    """Export the WfRun c1 in clear, and make a document of it."""
    file = folder / "x.halter"
    export(source, ["c1"], file, recorded.START_MS, clear=True)
    return halter(capsys, "scenario", "from-history", "--file", str(file), *options)


def test_an_incident_becomes_a_test_without_its_masked_values(capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / "c1.yaml"
    code, out, err = written(capsys, cart(), tmp_path, "-o", str(file))
    assert (code, out) == (0, ""), err
    text = file.read_text(encoding="utf-8")
    assert CARD not in text
    assert "[redacted STR " in text
    assert "expect_rejected: {code: ALREADY_EXISTS}" in text
    assert halter(capsys, "scenario", "run", str(file))[0] == 0
    code, clear, _ = written(capsys, cart(), tmp_path, "--unmask")
    assert (code, CARD in clear) == (0, True)


def test_what_does_not_matter_for_what_is_kept_is_dropped(capsys: Captured, tmp_path: Path) -> None:
    source = cart()
    source.engine.put(ExternalEvent("c1", "page-seen", "p1", "/"))
    code, out, err = written(
        capsys, MemorySource(source.engine), tmp_path, "--shrink", "--keep", "thread 0 is COMPLETED"
    )
    assert code == 0, err
    assert "on-page" not in out
    assert "address-changed" not in out
    steps = out[out.index("steps:") :].splitlines()[1:]
    kinds = [line.split(":")[0].strip(" -") for line in steps]
    assert kinds == ["run", "event", "event", "report", "expect"]


def test_a_document_may_end_with_an_earlier_input(capsys: Captured, tmp_path: Path) -> None:
    code, whole, _ = written(capsys, cart(), tmp_path)
    code, out, err = written(capsys, cart(), tmp_path, "--to", "1")
    assert code == 0, err
    assert len(out) < len(whole)
    kinds = [line.split(":")[0].strip(" -") for line in out[out.index("steps:") :].splitlines()[1:]]
    assert set(kinds) <= {"run", "clock", "event", "expect"}
    assert kinds.count("run") == 1
    assert "status: RUNNING" in out


def test_two_inputs_that_can_go_together_only_are_dropped(capsys: Captured) -> None:
    file = str(INCIDENTS / "sensor-3.halter")
    keep = ("--keep", "thread 0 is ERROR TIMEOUT", "--keep", "h1 is UNCLAIMED")
    code, out, err = halter(capsys, "scenario", "from-history", "--file", file, "--shrink", *keep)
    assert code == 0, err
    steps = out[out.index("steps:") :].splitlines()[1:]
    assert [line.split(":")[0].strip(" -") for line in steps] == ["run", "clock", "event", "expect", "expect"]


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["nobody"], 1, "there is no event of a WfRun 'nobody'"),
        (["--keep", "thread 0 is ERROR"], 1, "--keep: expected something that is so at the end"),
        (["--keep", "e9 is UNCLAIMED"], 1, "expected an ExternalEvent that is UNCLAIMED at the end"),
        (["--keep", "[1, 2]"], 1, "--keep: expected 'thread 0 is ERROR CHILD_FAILED'"),
        (["--keep", "{nothing: 1}"], 1, "--keep: expected something that is so at the end"),
        (["--to", "9999"], 1, "WfRun 'c1' has no event 9999: there are"),
        (["--to", "0"], 1, "--to 0: expected a moment behind an input"),
        (["--to", "noon"], 1, "expected a seq (57), a number of events back (-3) or a time"),
        (["--shrink", "--by-event"], 2, "--shrink: expected no --by-event beside it"),
        (["-o", "/nowhere/x.yaml"], 1, "expected to write /nowhere/x.yaml"),
    ],
)
def test_what_is_wrong_gets_a_sentence(
    capsys: Captured, tmp_path: Path, options: list[str], code: int, sentence: str
) -> None:
    ended, out, err = written(capsys, cart(), tmp_path, *options)
    assert (ended, out) == (code, "")
    assert sentence in err
