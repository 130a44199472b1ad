"""Deciding recorded inputs again gives the recorded events, and what differs is found."""

import os
import random
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, reject, settings
from hypothesis import strategies as st

from halter.files.scenario_document import read_scenario
from halter.history.checking_state import RowDifference, RowKind, RowsRead, StateReport, check_state
from halter.history.export import export
from halter.history.export_file import ExportFile
from halter.history.found import Reason
from halter.history.recorded_in_source import recordings
from halter.history.recording import Recorded
from halter.history.source import NoSuchWfRun
from halter.history.verify import verified as by_source
from halter.history.verify_text import state_data, state_lines
from processors.codec import Codec
from processors.core.records.commands import (
    DeleteWfRun,
    QuarantineWfRun,
    ReleaseWfRun,
    RunWf,
    SkipRecord,
    StopWfRun,
    TimerFired,
)
from processors.core.records.events import LogEntry
from processors.core.records.fold_position import FoldPosition
from processors.core.records.model import ThreadRun
from processors.core.records.topic_names import (
    DEFINITIONS,
    EXTERNAL_EVENTS,
    FOLD_POSITIONS,
    OPERATOR_COMMANDS,
    SHARD_STATE,
    TASK_REPORTS,
    WF_COMMANDS,
)
from processors.core.rules.engine import new_run
from tests.core.test_properties import FEW_THREADS, STEPS_MS, numbers, small
from tests.core.test_search_finds import BROKEN
from tests.fold.test_quarantine import OPERATED, seen_ahead
from tests.fold.test_rows_follow import TURNS, Turn, play
from tests.support import random_specs
from tests.support.compiled_core import reads_types_of_fields, replaces_a_rule
from tests.support.random_commands import RUN_ID, Producers
from tests.support.recordings import RigSource, log_of, of_release, recorded, verified, with_another_byte
from tests.support.records import filled
from tests.support.released import ReleasedRun, recording
from tests.support.shard_rig import START_MS, ShardRig
from tests.support.small_specs import document_of

EXAMPLES = int(os.environ.get("HALTER_EXAMPLES", "20"))
some = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.generate),
)


def history_of(document: dict[str, Any], choices: list[int]) -> ShardRig:
    """Return a shard that folded what producers sent who do what some numbers say."""
    scenario, problems = read_scenario({**document, "steps": []}, lambda name: name)
    assert scenario is not None, problems
    rig = ShardRig(FEW_THREADS)
    accepted = rig.turn(*scenario.definitions)
    refused = [it for it in accepted if type(it).__name__ == "DefinitionRejected"]
    if refused:
        reject()
    producers = Producers(list(document["external_events"]))
    for number in choices:
        run = rig.shard.wf_runs.get(RUN_ID) or new_run(RUN_ID)
        command = producers.choose(run, number // len(STEPS_MS))
        step_ms = STEPS_MS[number % len(STEPS_MS)]
        rig.now_ms += step_ms
        if isinstance(command, TimerFired) and step_ms >= 0:
            rig.now_ms = max(rig.now_ms, command.due_ms)
        rig.turn(command, rows=number % 3 == 0)
    return rig


@some
@given(document=small | random_specs.documents(), choices=numbers)
def test_whatever_was_folded_verifies(document: dict[str, Any], choices: list[int]) -> None:
    rig = history_of(document, choices)
    report = verified(recorded(rig), rig, FEW_THREADS)
    assert (report.differences, report.unverified) == ({}, {})
    assert report.events == len(rig.log_records)


@some
@given(TURNS)
def test_what_operators_did_and_dead_letters_verify_too(turns: list[Turn]) -> None:
    rig = play(ShardRig(), turns, follow=True)
    report = verified(recorded(rig), rig)
    assert (report.differences, report.unverified) == ({}, {})
    assert report.events == len(rig.log_records)


SKIPPED_FROM_BEHIND = SkipRecord("operator-commands", 0, 1, START_MS)


@some
@given(st.lists(OPERATED, max_size=14), st.frozensets(st.integers(1, 13)))
@example([SKIPPED_FROM_BEHIND, QuarantineWfRun("c1"), SKIPPED_FROM_BEHIND], frozenset())
def test_operator_commands_that_were_skipped_verify_too(items: list[Any], ends: frozenset[int]) -> None:
    rig = seen_ahead(items, ends, frozenset())
    report = verified(recorded(rig), rig)
    assert (report.differences, report.unverified) == ({}, {})


INPUTS = (WF_COMMANDS, EXTERNAL_EVENTS, TASK_REPORTS, OPERATOR_COMMANDS)


@some
@given(TURNS, st.dictionaries(st.sampled_from(INPUTS), st.integers(1, 8)))
def test_from_where_inputs_are_there_the_log_verifies(turns: list[Turn], begins: dict[str, int]) -> None:
    rig = play(ShardRig(), turns, follow=True)
    report = verified(recorded(rig, begins), rig)
    assert report.differences == {}
    assert report.events + report.taken_over == len(rig.log_records)


@some
@given(TURNS, st.integers(0, 40))
def test_of_a_log_that_is_cut_the_wf_runs_that_begin_in_it_verify(turns: list[Turn], begins: int) -> None:
    rig = play(ShardRig(), turns, follow=True)
    report = verified(recorded(rig, log_begins=begins), rig)
    assert report.differences == {}
    assert set(report.unverified.values()) <= {Reason.BEGINNING_GONE, Reason.MAYBE_OLDER}


@some
@given(document=small, choices=numbers, at=st.integers(0, 10_000), byte=st.integers(0, 200))
def test_one_changed_byte_of_one_event_is_found(
    document: dict[str, Any], choices: list[int], at: int, byte: int
) -> None:
    rig = history_of(document, choices)
    log = log_of(rig)
    at %= len(log)
    log[at] = with_another_byte(log[at], byte)
    report = verified(recorded(rig, log=log), rig, FEW_THREADS)
    assert report.differences or is_elsewhere_decided(rig, log_of(rig)[at], log[at])


def is_elsewhere_decided(rig: ShardRig, before: Recorded, after: Recorded) -> bool:
    """Return True if all that was changed is the position of `definitions`: that is what an input is decided at."""
    entries = [rig.codec.decode(it.value) for it in (before, after)]
    one, other = (
        replace(entry, cause=replace(entry.cause, definitions_position=0))
        for entry in entries
        if isinstance(entry, LogEntry)
    )
    return one == other


def state_of(rig: ShardRig) -> StateReport:
    """Check the rows of a rig. They must have been written."""
    rows = {(topic, key): value for topic, table in rig.tables.items() for key, value in table.items()}
    rows = {row: value for row, value in rows.items() if row[0] not in (DEFINITIONS, FOLD_POSITIONS)}
    position = rig.codec.decode(rig.tables[FOLD_POSITIONS][b"0"])
    assert isinstance(position, FoldPosition)
    return check_state(0, RowsRead(rows, position, position), log_of(rig), rig.codec)


@some
@given(TURNS)
def test_rows_are_what_the_log_says(turns: list[Turn]) -> None:
    rig = play(ShardRig(), turns, follow=True)
    report = state_of(rig)
    assert report.differences == []
    assert report.rows == sum(len(rig.tables[topic]) for topic in SHARD_STATE if topic != FOLD_POSITIONS)


PLANTED = [
    "halts before its children",
    "resumes before its handler has ended",
    "lets time begin when a halted thread goes on",
    "overlooks an ExternalEvent",
    "never starts a handler",
    "handles side by side what is serial",
    "keeps every heartbeat",
    "lets retention begin while something still moves",
]


@replaces_a_rule
@pytest.mark.parametrize("wrong", PLANTED)
def test_a_rule_that_is_changed_is_found_in_a_history_that_exercises_it(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_it, name, _ = BROKEN[wrong]
    chooses = random.Random(wrong)
    rigs = [history_of(document_of(name), [chooses.randrange(20_000) for _ in range(60)]) for _ in range(12)]
    change_it(monkeypatch)
    reports = [verified(recorded(rig), rig, FEW_THREADS) for rig in rigs]
    assert any(report.differences for report in reports)
    for report in reports:
        assert sum(report.ends.values()) == len(report.differences)


STARTED_BY_A_RELEASE = [
    RunWf("c1", "cart"), QuarantineWfRun("c1"), DeleteWfRun("c1"), RunWf("c1", "cart"), RunWf("c2", "cart"),
    ReleaseWfRun("c1"), StopWfRun("c1", 0),
]  # fmt: skip
"""One release deletes a WfRun and starts the next. Inputs of another WfRun were decided before those that it kept."""


@some
@given(TURNS, st.booleans())
@example([([SkipRecord("wf-commands", 0, 0, START_MS), RunWf("c1", "cart")], False, 0)], False)
@example([(STARTED_BY_A_RELEASE, False, 0)], False)
def test_wf_runs_of_a_source_verify_and_those_of_its_export(turns: list[Turn], clear: bool) -> None:
    source = RigSource(play(ShardRig(), turns, follow=True))
    ids = list(source.wf_run_ids())
    if not ids:
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "w.halter"
        export(source, ids, file, START_MS, clear=clear)
        with ExportFile(file) as exported:
            for it in (source, exported):
                for recording in recordings(it, ids, NoSuchWfRun):
                    report = by_source(recording, it.codec, limits=it.limits)
                    assert (report.differences, report.unverified) == ({}, {})


@pytest.mark.parametrize("run", list(recording("0.2.0")), ids=lambda run: run.scenario)
def test_what_a_release_wrote_verifies_with_its_schemas(run: ReleasedRun) -> None:
    report = by_source(of_release(run), Codec.load(), limits=run.limits)
    assert (report.differences, report.unverified) == ({}, {})


@reads_types_of_fields
def test_rows_that_are_not_as_the_log_says_are_told_without_values() -> None:
    secret, codec = "4111-1111", Codec.load()
    row = replace(filled(ThreadRun, secret), variables={"card": {secret: secret}, "name": secret}, output=[secret])
    other = replace(row, variables={"card": {"none": 1}}, output=None)
    value, expected = codec.encode(row), codec.encode(other)
    found = [RowDifference("w", "thread-runs", b"w/0", kind, *sides)
             for kind, sides in ((RowKind.OTHER, (expected, value)), (RowKind.MISSING, (value, None)))]  # fmt: skip
    report = StateReport(differences=found)
    told = "\n".join(state_lines(report, codec, 10))
    assert "variables.card" in told
    assert secret not in told + repr(state_data(report))
    assert secret in "\n".join(state_lines(report, codec, 10, unmask=True))
