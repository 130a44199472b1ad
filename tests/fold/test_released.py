"""Upgrades: records of a released version are read, mean what they meant, and their WfRuns go on.

The released code itself made the recordings (`tests/released`); see `tests/support/released.py`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from _pytest.mark import ParameterSet

from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import read_yaml
from halter.scenarios.comparison import difference
from halter.show.wf_run_text import data
from processors.codec import Codec, Schemas, Unencodable, UnknownRelease
from processors.codec.dropped import is_default
from processors.codec.schemas import RecordSchema
from processors.core.records.commands import (
    ExternalEvent,
    PutExternalEventDef,
    PutWfSpec,
    RunWf,
    StopWfRun,
)
from processors.core.records.events import Event, LogEntry
from processors.core.records.model import TaskStatus
from processors.core.records.values import VariableType
from processors.core.rules.context import Context
from processors.core.rules.engine import attach, new_run, replay
from processors.fold.stores import BrokenState
from tests.support.released import Output, ReleasedRun, recording, versions
from tests.support.shard_rig import ShardRig

DECIDED_OTHERWISE_SINCE: dict[tuple[str, str], str] = {
    ("0.1.0", "N14-preemptive-all-earlier-events-in-order-of-arrival"): (
        "of early events of a `latest` interrupt only the newest is accepted; the others are superseded without it"
    ),
}
"""Release and scenario -> the reason why today's rules decide other events for the same inputs.

A WfRun of an old log stays as it was.
"""


SCENARIOS = Path(__file__).parent.parent / "scenarios"
HALTED_AT_ITS_ARRIVAL = "S3.2-a-time-that-cannot-be-computed-at-arrival-fails-the-node-when-the-thread-runs"


class Upgraded(ShardRig):
    """Today's fold, on the topics that an old one has written."""

    def learn(self, outputs: Sequence[Output]) -> None:
        """Take the definitions that the old version accepted."""
        for output in outputs:
            if output.topic == "definitions":
                assert output.key is not None
                self.view.apply(output.key, output.value, self.view.position + 1)

    def wrote(self, outputs: Sequence[Output]) -> None:
        """Take the outputs of the old version as the content of the state topics."""
        for output in outputs:
            assert output.key is not None
            if output.topic in self.tables:
                table = self.tables[output.topic]
                table.pop(output.key, None) if output.value is None else table.update({output.key: output.value})


def events_of(outputs: Sequence[Output], rig: ShardRig) -> list[LogEntry]:
    return [rig.codec.decode(it.value) for it in outputs if it.topic == "wf-events" and it.value is not None]  # type: ignore[misc]


SAID_BESIDES_SINCE = {
    ("0.1.0", "ExternalEventPosted", "keeps_outcomes"): "an ExternalEvent's row has its outcome in each thread",
}
"""Release and field that its records lack -> the reason why today's records always have it."""


def sentences_aside(value: Any, version: str) -> Any:
    """Return records as nested tuples, without newer fields, and without sentences for people, which may get better."""
    if is_dataclass(value):
        kind = type(value).__name__
        names = [it.name for it in fields(value) if it.name != "message"]
        compared = [name for name in names if (version, kind, name) not in SAID_BESIDES_SINCE]
        return kind, *((name, sentences_aside(getattr(value, name), version)) for name in compared)
    if isinstance(value, list | tuple):
        return tuple(sentences_aside(item, version) for item in value)
    if isinstance(value, dict):
        return {key: sentences_aside(item, version) for key, item in value.items()}
    return value


RELEASED = [run for version in versions() for run in recording(version)]


def cases(runs: Iterable[ReleasedRun]) -> list[ParameterSet]:
    return [pytest.param(run, id=f"{run.version}-{run.scenario}") for run in runs]


SAID_OTHERWISE_SINCE: dict[tuple[str, str], str] = dict.fromkeys(
    (
        ("0.1.0", "E06-a-typed-event"),
        ("0.1.0", "N18-codes-of-rejections"),
        ("0.1.0", "S2.6-an-output-of-the-wrong-type-is-not-retried"),
        ("0.1.0", "S4.1-VAR_MUTATION_ERROR-for-a-wrong-output"),
        ("0.1.0", "S7-a-refused-command-changes-nothing"),
    ),
    "a sentence no longer quotes the value, which may be masked",
)
"""Release and scenario -> the reason why a sentence for people differs. All else is the same."""

UNCHANGED = [run for run in RELEASED if (run.version, run.scenario) not in DECIDED_OTHERWISE_SINCE]


def test_every_release_is_recorded() -> None:
    assert versions() == list(ShardRig().codec.schemas.versions)


@pytest.mark.parametrize("run", cases(RELEASED))
def test_an_old_log_gives_the_old_state(run: ReleasedRun) -> None:
    rig = Upgraded(run.limits, run.queues)
    log: dict[str, list[LogEntry]] = {}
    for turn in run.turns:
        rig.learn(turn.outputs)
        rig.wrote(turn.outputs)
        for entry in events_of(turn.outputs, rig):
            log.setdefault(entry.wf_run_id, []).append(entry)
    context = Context(rig.view, run.limits)
    restored = rig.restored().wf_runs
    for wf_run_id, entries in log.items():
        replayed = attach(replay(entries, new_run(wf_run_id)), context)
        if wf_run_id in restored:
            assert difference(attach(restored[wf_run_id], context), replayed) is None
        else:
            assert not replayed.exists
            assert not replayed.external_events


@pytest.mark.parametrize("version", versions())
def test_what_is_said_besides_is_in_no_field_of_the_release(version: str) -> None:
    codec = Codec.load(release=version)
    newer = [(record, field) for release, record, field in SAID_BESIDES_SINCE if release == version]
    assert [it for it in newer if codec.writes(*it)] == []


NOT_EMITTED_BESIDE: dict[str, dict[str, str]] = {
    "0.1.0": {
        "ArrivalFailed": "Context.arrival_failures",
        "ExternalEventDropped": "Context.binds_event_defs",
        **dict.fromkeys(
            ("WfRunQuarantined", "InputKept", "WfRunReleased", "SkipAccepted", "SkipLapsed", "RecordSkipped"),
            "operator commands are not read",
        ),
        "WfRunForked": "Context.forks",
        "TaskAttemptStarted": "Context.attempt_starts",
        "TaskAttemptProgressed": "Context.attempt_starts",
        "WfRunMigrated": "Context.migrations",
        "CorrelationKeyChanged": "Context.correlations",
    },
    "0.2.0": {
        "WfRunForked": "Context.forks",
        "TaskAttemptStarted": "Context.attempt_starts",
        "TaskAttemptProgressed": "Context.attempt_starts",
        "WfRunMigrated": "Context.migrations",
        "CorrelationKeyChanged": "Context.correlations",
    },
}
"""Release -> the events that it does not know, and what keeps them off the log while its workers run."""


@pytest.mark.parametrize("version", versions())
def test_no_event_is_emitted_that_a_release_beside_does_not_know(version: str) -> None:
    codec = Codec.load(release=version)
    unknown = {event.__name__ for event in get_args(Event) if not codec.knows(event.__name__)}
    assert unknown == NOT_EMITTED_BESIDE.get(version, {}).keys()


@pytest.mark.parametrize("run", cases(UNCHANGED))
def test_a_worker_upgraded_at_any_moment_goes_on_as_the_old_one_did(run: ReleasedRun) -> None:
    rig = Upgraded(run.limits, run.queues)
    for turn in run.turns:
        rig.shard = rig.restored()
        entries = rig.log(*turn.inputs)
        was = events_of(turn.outputs, rig)
        assert sentences_aside(entries, run.version) == sentences_aside(was, run.version)
        rig.wrote(turn.outputs)


@pytest.mark.parametrize(
    "run", cases(run for run in UNCHANGED if (run.version, run.scenario) not in SAID_OTHERWISE_SINCE)
)
def test_told_to_write_a_release_a_worker_writes_what_that_release_did_byte_for_byte(run: ReleasedRun) -> None:
    rig = Upgraded(run.limits, run.queues, release=run.version)
    for turn in run.turns:
        rig.shard = rig.restored()
        written = len(rig.outputs)
        rig.turn(*turn.inputs)
        assert [Output(it.topic, it.key, it.value) for it in rig.outputs[written:]] == turn.outputs
        rig.wrote(turn.outputs)


class AsOf(Schemas):
    """The schemas that a release knows."""

    def __init__(self, version: str) -> None:
        super().__init__(Schemas.load().folder)
        self._known = {
            schema.fingerprint
            for earlier in self.versions[: self.versions.index(version) + 1]
            for schema in self.released(earlier).values()
        }

    def find(self, fingerprint: bytes) -> RecordSchema | None:
        return super().find(fingerprint) if fingerprint in self._known else None


def taken_over(rig: ShardRig, other: ShardRig) -> ShardRig:
    """Return the other rig with a shard that is loaded from the topics of the first."""
    other.tables, other.logs, other.log_records, other._ends = rig.tables, rig.logs, rig.log_records, rig._ends
    for position, value in enumerate(rig.tables["definitions"].items(), 1):
        other.view.apply(*value, position)
    other.crash()
    return other


def nap_with_rows_behind() -> ShardRig:
    """Return a rig with a WfRun and an early ExternalEvent, whose rows have only the WfRun's beginning."""
    nodes = {"a": {"kind": "ENTRYPOINT", "next": "b"}, "b": {"kind": "SLEEP", "seconds": 9, "next": "c"}}
    threads = {"main": {"nodes": {**nodes, "c": {"kind": "EXIT"}}}}
    rig = ShardRig()
    document = json.dumps({"name": "nap", "entrypoint": "main", "threads": threads})
    rig.turn(PutExternalEventDef("add"), PutWfSpec("nap", document))
    rig.turn(RunWf("w", "nap"))
    rig.turn(StopWfRun("w"), ExternalEvent("early", "add", "e1"), rows=False)
    assert rig.shard.unwritten == 2
    return rig


LAST_WITH_ALL_ROWS = "0.2.0"
"""The last release whose rows have everything that the log has."""


@pytest.mark.parametrize("behind", [True, False])
def test_a_worker_of_a_release_does_not_go_on_from_rows_that_follow_the_log(behind: bool) -> None:
    rig = nap_with_rows_behind()
    if not behind:
        rig.turn()
    with pytest.raises(BrokenState, match=r"fold-positions\[0\].*fingerprint"):
        taken_over(rig, old_rig())


def old_rig() -> ShardRig:
    return ShardRig(codec=Codec.load(AsOf(LAST_WITH_ALL_ROWS), release=LAST_WITH_ALL_ROWS))


@pytest.mark.parametrize("behind", [True, False])
def test_rows_that_follow_the_log_are_made_whole_for_a_worker_of_a_release(behind: bool) -> None:
    rig = nap_with_rows_behind()
    state = {wf_run_id: data(run) for wf_run_id, run in rig.shard.wf_runs.items()}
    if not behind:
        rig.turn()
    beside = taken_over(rig, ShardRig(release=LAST_WITH_ALL_ROWS))
    assert beside.shard.unwritten, "without anything to fold"
    beside.turn()
    assert not beside.shard.unwritten
    old = taken_over(beside, old_rig())
    assert {wf_run_id: data(run) for wf_run_id, run in old.shard.wf_runs.items()} == state
    assert old.shard.offsets == rig.shard.offsets


def test_after_an_upgrade_the_first_turn_writes_all_rows() -> None:
    """The position of the release does not name the log, so nothing may be on the log alone."""
    beside = taken_over(nap_with_rows_behind(), ShardRig(release=LAST_WITH_ALL_ROWS))
    beside.turn()
    rig = taken_over(beside, ShardRig())
    rig.turn(StopWfRun("w"), rows=False)
    state, offsets = {wf_run_id: data(run) for wf_run_id, run in rig.shard.wf_runs.items()}, rig.shard.offsets
    rig.crash()
    assert rig.shard.offsets == offsets
    assert {wf_run_id: data(run) for wf_run_id, run in rig.shard.wf_runs.items()} == state


def test_a_wf_run_of_a_release_keeps_the_external_event_defs_that_there_were_at_the_upgrade() -> None:
    threads = {
        "main": {
            "interrupts": [{"event": "add", "handler": "on-add"}],
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "done"},
                "done": {"kind": "EXIT"},
            },
        },
        "on-add": {
            "variables": {"INPUT": {"type": "INT"}},
            "nodes": {"start": {"kind": "ENTRYPOINT", "next": "done"}, "done": {"kind": "EXIT"}},
        },
    }
    document = json.dumps({"name": "cart", "entrypoint": "main", "threads": threads})
    old, new = ShardRig(release="0.1.0"), Upgraded()
    for command in (
        PutExternalEventDef("add", VariableType.STR),
        PutExternalEventDef("add", VariableType.INT),
        PutExternalEventDef("go"),
        PutWfSpec("cart", document),
        RunWf("w", "cart"),
        ExternalEvent("later", "add", "e0", 0),
    ):
        old.turn(command)
    assert list(old.tables["definitions"]) == [
        b"EXTERNAL_EVENT_DEF/add/0.0",
        b"EXTERNAL_EVENT_DEF/add/1.0",
        b"EXTERNAL_EVENT_DEF/go/0.0",
        b"WF_SPEC/cart/0.0",
    ]
    new.tables, new._ends = old.tables, old._ends
    for key, value in old.tables["definitions"].items():
        new.view.apply(key, value, new.view.position + 1)
    new.crash()
    new.turn(PutExternalEventDef("add", VariableType.STR))
    assert b"EXTERNAL_EVENT_DEF/add/1.1" in new.tables["definitions"]
    assert new.events(ExternalEvent("w", "add", "e1", "text")) == ["Rejected"]
    assert "Resume" in new.events(ExternalEvent("w", "add", "e1", 7))
    assert new.events(ExternalEvent("later", "add", "e1", "text")) == ["ExternalEventPosted"]
    assert new.events(RunWf("later", "cart"))[:2] == ["WfRunStarted", "ExternalEventDropped"]
    assert [event.status for event in new.shard.wf_runs["later"].external_events.values()] == ["UNCLAIMED", "DROPPED"]


def test_what_a_release_has_no_field_for_is_refused_and_not_dropped() -> None:
    codec = Codec.load(release="0.1.0")
    run = new_run("w")
    codec.encode(run)
    run.quarantined_ms = 1
    with pytest.raises(
        Unencodable, match=r"schemas of 0.1.0 have a field for, found WfRun.quarantined_ms = 1: .*HALTER_SCHEMAS"
    ):
        codec.encode(run)


@pytest.mark.parametrize("release", [None, "0.1.0"])
def test_an_event_that_a_release_does_not_know_is_not_decided_while_it_is_written(release: str | None) -> None:
    """A thread is halted in the same command in which it comes to a SLEEP whose time cannot be computed."""
    document = read_yaml(SCENARIOS / f"{HALTED_AT_ITS_ARRIVAL}.yaml").data
    scenario, _ = read_scenario(document, lambda name: name)
    assert scenario is not None
    rig = ShardRig(release=release)
    rig.turn(*scenario.definitions)
    happened = rig.events(RunWf("w", "s"), ExternalEvent("w", "k", "1"), ExternalEvent("w", "rf", "1"))
    assert ("ArrivalFailed" in happened) == rig.codec.knows("ArrivalFailed") == (release is None)
    # The handler has mended the Variable by the time the thread runs, which is when 0.1.0 looks at it.
    assert ("TimerArmed" in happened) == (release is not None)


def test_a_release_that_never_was_cannot_be_written() -> None:
    with pytest.raises(UnknownRelease, match=r"expected a released version \(0.1.0, 0.2.0\), found '9'"):
        Codec.load(release="9")


@pytest.mark.parametrize(
    ("value", "default", "same"),
    [
        (None, None, True),
        (0, None, False),
        (False, False, True),
        ([], [], True),
        ((), [], True),
        (None, [], False),
        ({"a": 1}, {}, False),
        (b"", "", True),
        (b"\xff", "\u00ff", True),
        (TaskStatus.SUCCESS, "SUCCESS", True),
    ],
)
def test_a_default_is_recognised_whatever_its_type(value: object, default: object, same: bool) -> None:
    assert is_default(value, default) is same
