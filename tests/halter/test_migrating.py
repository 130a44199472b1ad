"""What tools say of a WfRun that went over to another version, before and after. Without Kafka."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from halter.client import CommandRejected
from halter.client.migrating import tried
from halter.history.difference import differences
from halter.history.export import export
from halter.history.export_file import ExportFile
from halter.history.forking import fork_point
from halter.history.moments import moments_of
from halter.history.scenario_check import judged
from halter.history.scenario_of import Wanted, scenario_of
from halter.history.why_not import Obstacle, Outside, why_not
from halter.history.why_not_text import why_not_sentences
from halter.otlp.trace import traces
from halter.scenarios.memory import MemoryEngine
from halter.show.log_text import event_line
from halter.show.redaction import Redactor
from halter.show.wf_run_text import understood
from halter.timeline.recording import recording
from processors.core.records.commands import (
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    ReportTaskRun,
    RescueThreadRun,
    RunWf,
)
from processors.core.records.events import WfRunMigrated
from processors.core.records.model import TERMINAL, Status, TaskStatus
from processors.core.rules.context import Context
from processors.core.rules.versions import RULES
from tests.support import recorded
from tests.support.memory_source import OnTopic, SourceOnTopic
from tests.support.recordings import recorded as recording_of
from tests.support.recordings import verified
from tests.support.shard_rig import ShardRig

SECRET = "card-4111"
DEFINITIONS = [PutExternalEventDef("go"), PutExternalEventDef("note"), PutTaskDef("charge"), PutTaskDef("charge-card")]


def version(task: str, note: str, **main: Any) -> PutWfSpec:
    """An order whose task is one or another, with a Variable of that name."""
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "wait"},
        "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "charge"},
        "charge": {"kind": "TASK", "task": task, "next": "done"},
        "done": {"kind": "EXIT"},
    }
    variables = {
        "card": {"type": "STR", "masked": True},
        note: {"type": "STR", "default": SECRET, "masked": note == "hidden"},
    }
    threads = {"main": {"variables": variables, "nodes": nodes, **main}}
    if "interrupts" in main:
        threads["h"] = {"nodes": {"start": {"kind": "ENTRYPOINT", "next": "done"}, "done": {"kind": "EXIT"}}}
    return PutWfSpec("order", json.dumps({"name": "order", "entrypoint": "main", "threads": threads}))


OLD = version("charge", "hidden")
MENDED = version("charge-card", "shown", interrupts=[{"event": "note", "handler": "h"}])


def engine() -> MemoryEngine:
    definitions = OnTopic()
    assert not definitions.register([*DEFINITIONS, OLD])
    made = MemoryEngine(Context(definitions), recorded.START_MS)
    made.put(RunWf("o", "order", {"card": SECRET}))
    made.put(ExternalEvent("o", "note", "n1"))
    return made


def report(made: MemoryEngine, status: TaskStatus) -> None:
    run = made.runs["o"]
    node = run.threads[0].node
    assert node.task is not None
    made.put(ReportTaskRun("o", run.incarnation, 0, node.position, node.task.attempt, status))


@pytest.fixture
def source() -> SourceOnTopic:
    """An order that failed by the old version, was migrated and rescued, and has its task out."""
    made = engine()
    made.time_ms += 1_000
    made.put(ExternalEvent("o", "go", "g1"))
    report(made, TaskStatus.FAILED)
    assert not made.register([MENDED])
    made.time_ms += 1_000
    [migrated] = made.put(MigrateWfRun("o", 1, 0))
    assert isinstance(migrated.event, WfRunMigrated), migrated
    made.put(RescueThreadRun("o"))
    return SourceOnTopic(made)


def migrated_at(source: SourceOnTopic) -> int:
    """The index of the migration."""
    return next(i for i, it in enumerate(moments_of(source, "o").log) if isinstance(it.entry.event, WfRunMigrated))


def test_a_state_is_told_by_the_version_of_its_moment(source: SourceOnTopic) -> None:
    moments, index = moments_of(source, "o"), migrated_at(source)
    before, after = (understood(moments.state(it), source.definitions()) for it in (index - 1, moments.last))
    assert [str(it.wf_spec) for it in (before, after)] == ["order:0.0", "order:1.0"]
    assert [sorted(it.threads[0].variables) for it in (before, after)] == [["card", "hidden"], ["card", "shown"]]
    assert before.spec is not None
    assert after.spec is not None
    assert [it.spec.external_event_defs for it in (before, after)] == [{"go"}, {"go", "note"}]  # type: ignore[union-attr]
    assert "order:1.0" in repr(differences(before, after))


def test_it_can_be_forked_from_before_and_from_after(source: SourceOnTopic) -> None:
    log = moments_of(source, "o").log
    forkable = 0
    for it in log:
        run = moments_of(source, "o").state(log.index(it))
        if it.entry.seq and run.status not in TERMINAL and it.entry in [turn[-1] for _, turn in source.engine.log]:
            point = fork_point(source, "o", str(it.entry.seq), recorded.START_MS + 10**10)
            entries = source.engine.put(ForkWfRun(f"fork-{it.entry.seq}", point.snapshot))
            assert entries[0].event.wf_spec == run.wf_spec, entries  # type: ignore[union-attr]
            forkable += 1
    assert forkable >= 3


def test_its_history_becomes_a_scenario_with_the_migration_in_it(source: SourceOnTopic) -> None:
    draft = scenario_of(source, "o", Wanted(by_event=True))
    assert '- migrate: {wf: o, version: "1.0"}' in draft.text.replace("'", '"')
    verdict, end = judged(draft)
    assert verdict.ok, (verdict.problem, draft.text)
    assert end is not None
    assert end.status is Status.RUNNING


def test_it_is_verified_by_the_definitions_of_then() -> None:
    rig = ShardRig()
    rig.turn(*DEFINITIONS, OLD)
    rig.turn(RunWf("o", "order", {"card": SECRET}), ExternalEvent("o", "go", "g1"))
    rig.turn(MENDED)
    rig.turn(MigrateWfRun("o", 1, 0))
    run = rig.shard.wf_runs["o"]
    rig.turn(MigrateWfRun("o", 0, 7), ReportTaskRun("o", run.incarnation, 0, 2, 1, TaskStatus.FAILED))
    rig.turn(MigrateWfRun("o", 1, 0), RescueThreadRun("o"))
    rig.crash()
    assert str(rig.shard.wf_runs["o"].wf_spec) == "order:1.0"
    report_ = verified(recording_of(rig), rig)
    assert not report_.differences, report_.differences
    assert (report_.wf_runs, report_.events) == (1, len(rig.log_records))


def test_an_event_that_came_before_is_told_to_have_come_before(source: SourceOnTopic) -> None:
    run = understood(moments_of(source, "o").state(moments_of(source, "o").last), source.definitions())
    told = why_not(run, source.events("o"), "n1", Outside())
    [became] = told.became
    assert [it.obstacle for it in became.hindrances] == [Obstacle.MIGRATED_SINCE]
    (said,) = why_not_sentences(told, run)
    assert "the WfRun went over to order:1.0 after it had come" in said.replace("\u00a0", " ")


def lines(source: SourceOnTopic) -> Iterator[str]:
    shown = Redactor(source.definitions()).entries(it.entry for it in source.events("o"))
    return (event_line(it.event) for it in shown)


# (rule migration-uncovers-nothing)
def test_each_event_is_masked_by_the_version_by_which_it_happened(source: SourceOnTopic) -> None:
    """`hidden` is masked, and `shown` is not; `card` is in both versions."""
    told = list(lines(source))
    started = next(line for line in told if "WfRunStarted" in line)
    [line] = [line for line in told if "WfRunMigrated" in line]
    assert SECRET not in started
    assert (
        f"order:0.0 -> order:1.0; #0 shown = {json.dumps(SECRET)}, no hidden, its visit of the node forgotten" in line
    )
    following = Redactor(source.definitions()).following()
    assert [event_line(following(it.entry).event) for it in source.events("o")][1:] == told[1:]
    # Of the events before a migration, all that is known is that they are of another version than the present state's.
    entries = [it.entry for it in source.events("o")]
    newest = Redactor(source.definitions()).entries_of(source.engine.runs["o"], entries)
    assert SECRET not in repr(newest[: migrated_at(source)])


def test_a_trace_and_a_timeline_name_the_version(source: SourceOnTopic) -> None:
    [trace] = traces("o", list(source.events("o")))
    assert trace.spans[0].attributes["halter.wf_spec"] == "order:1.0"
    data = recording("o", source.events("o"), source.definitions())
    assert any("order:0.0 -> order:1.0" in json.dumps(it).replace("\\u003e", ">") for it in [data])


def test_an_export_has_both_versions(source: SourceOnTopic, tmp_path: Path) -> None:
    export(source, ["o"], tmp_path / "o", recorded.START_MS)
    with ExportFile(tmp_path / "o") as found:
        assert [it.rules for it in found.events("o")] == [RULES] * len(moments_of(source, "o").log)
        state = understood(moments_of(found, "o").state(migrated_at(source)), found.definitions())
    assert str(state.wf_spec) == "order:1.0"
    assert state.spec is not None


# Trying it.


def test_trying_says_what_would_happen_and_changes_nothing() -> None:
    made = engine()
    assert not made.register([MENDED])
    definitions = made.context.definitions
    command = MigrateWfRun("o", 1)
    would = tried(command, made.replayed("o"), definitions, SourceOnTopic.codec)  # type: ignore[arg-type]
    did = made.put(command)
    assert [it.event for it in would] == [it.event for it in did]
    assert [it.seq for it in would] == [it.seq for it in did]


def test_trying_says_all_that_is_in_the_way() -> None:
    made = engine()
    made.put(ExternalEvent("o", "go", "g1"))
    assert not made.register([MENDED])
    definitions: Any = made.context.definitions
    with pytest.raises(CommandRejected) as refused:
        tried(MigrateWfRun("o", 1), made.replayed("o"), definitions, SourceOnTopic.codec)
    assert refused.value.code == "FAILED_PRECONDITION"
    assert "is a TASK of 'charge-card', and an attempt is out of 'charge'" in str(refused.value)
    with pytest.raises(CommandRejected, match="NOT_FOUND"):
        tried(MigrateWfRun("nobody", 1), None, definitions, SourceOnTopic.codec)
