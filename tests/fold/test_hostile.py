"""Whatever producers and WfSpecs do, each record has an outcome, the partition goes on, and other WfRuns do not notice.

`make fuzz` tries far more than the checks do.
"""

import gc
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.codec import Codec
from processors.core.records.commands import (
    DeleteWfRun,
    ExternalEvent,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    QuarantineWfRun,
    ReleaseWfRun,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    StopWfRun,
    TimerFired,
)
from processors.core.records.events import LogEntry, Rejected, ThreadFailed, WfRunDeleted, WfRunEnded
from processors.core.records.failures import LINKS_MAX
from processors.core.records.model import Status, TaskStatus, TimerKind
from processors.core.records.values import TIME_MS_MAX, to_json
from processors.core.rules.context import Limits
from processors.fold.inputs import HEADER_PREFIX, INPUT_TOPICS, VALUE_BYTES_MAX, InputRecord
from tests.support.records import records
from tests.support.shard_rig import START_MS, ShardRig

EXAMPLES = int(os.environ.get("HALTER_EXAMPLES", "150"))
MANY = int(os.environ.get("HALTER_MANY", "12000"))
"""Number of things, where there may be very many."""
hostile = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CODEC = Codec.load()
BROKER_BYTES_MAX = 1_048_588
"""A larger record cannot come in uncompressed."""
DAY_MS = 24 * 3600 * 1000

SPEC: dict[str, Any] = {
    "name": "s",
    "entrypoint": "main",
    "threads": {
        "main": {
            "variables": {
                "any": {"type": "JSON_ARR"},
                "text": {"type": "STR", "default": ""},
                "when": {"type": "INT", "default": 0},
            },
            "interrupts": [{"event": "stop", "handler": "on-stop"}],
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {
                    "kind": "EXTERNAL_EVENT",
                    "event": "go",
                    "timeout_s": 60,
                    "next": {"to": "work", "set": [{"var": "text", "op": "ADD", "value": {"output": "wait"}}]},
                },
                "work": {"kind": "TASK", "task": "work", "input": {"any": {"var": "any"}}, "next": "until"},
                "until": {"kind": "SLEEP", "until": {"var": "when"}, "next": "done"},
                "done": {"kind": "EXIT"},
            },
        },
        "on-stop": {
            "variables": {"INPUT": {"type": "STR"}},
            "nodes": {"start": {"kind": "ENTRYPOINT", "next": "done"}, "done": {"kind": "EXIT"}},
        },
    },
}


def rig_with(*specs: dict[str, Any], limits: Limits | None = None) -> ShardRig:
    rig = RigWithoutWaiting(limits)
    accepted = rig.turn(
        PutExternalEventDef("go"),
        PutExternalEventDef("stop"),
        PutTaskDef("work"),
        *(PutWfSpec(spec["name"], to_json(spec)) for spec in (SPEC, *specs)),
    )
    assert not [it for it in accepted if type(it).__name__ == "DefinitionRejected"], accepted
    return rig


def one_thread(nodes: dict[str, Any], **variables: Any) -> dict[str, Any]:
    return {"name": "x", "entrypoint": "main", "threads": {"main": {"variables": variables, "nodes": nodes}}}


class RigWithoutWaiting(ShardRig):
    """A rig in which a position of `definitions` never comes: the record is folded without it."""

    awaits_definitions = False


class Outcomes:
    """Folds records, and checks that each has at least one outcome."""

    def __init__(self, rig: ShardRig) -> None:
        self.rig = rig

    def fold(self, *given: InputRecord) -> None:
        before = len(self.rig.outputs)
        self.rig.turn(*given)
        causes = set()
        for output in self.rig.outputs[before:]:
            headers = dict(output.headers)
            if output.topic == "dead-letters":
                causes.add((headers["halter.topic"].decode(), int(headers["halter.offset"])))
            elif output.topic in ("wf-events", "definition-events", "correlation-events"):
                assert output.value is not None
                entry = self.rig.codec.decode(output.value)
                causes.add((entry.cause.topic, entry.cause.offset))  # type: ignore[union-attr]
        missing = [it for it in given if (it.topic, it.offset) not in causes]
        assert not missing, missing

    def goes_on(self) -> None:
        """Check that an innocent WfRun runs to its end, also after a restart."""
        rig = self.rig
        rig.now_ms = max(START_MS, min(rig.now_ms, TIME_MS_MAX - DAY_MS))
        assert "TaskAttemptRequested" in rig.events(RunWf("good", "s"), ExternalEvent("good", "go", "1", "x"))
        rig.crash()
        incarnation = rig.shard.wf_runs["good"].incarnation
        done = ReportTaskRun("good", incarnation, 0, 2, 1, TaskStatus.SUCCESS)
        assert rig.events(done)[-1] == "WfRunEnded"


ODD_IDS = [
    "",
    "w",
    "a/b",
    "\x00",
    "é",
    "🦊" * 40,
    "x" * 129,
    "x" * 100_000,
    "-",
    "..",
    "a\nb",
    "partition/0",
    "w" * 128,
]
ids = st.sampled_from(ODD_IDS) | st.text(max_size=12)
event_names = st.sampled_from(["go", "stop", "work", ""]) | st.text(max_size=6)
LONGS = st.sampled_from([0, 1, -1, 2**31, 2**63 - 1, -(2**63), START_MS]) | st.integers(-3, 5)
SIZED = [[0] * 20_000, {"k" * 1_000: [None] * 500}, "x" * 200_000, b"\xff" * 1_000, 2**63 - 1, float("inf"), True]
contents: st.SearchStrategy[Any] = st.sampled_from(SIZED) | st.none() | st.text() | st.binary() | LONGS
wf_run_ids = st.just("w") | ids
commands: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        RunWf,
        wf_run_ids,
        st.just("s") | ids,
        st.dictionaries(st.sampled_from(["any", "text", "when", "x"]), contents, max_size=3),
    ),
    st.builds(ExternalEvent, wf_run_ids, event_names, ids, contents, st.none() | st.integers(-5, 5)),
    st.builds(
        ReportTaskRun,
        wf_run_ids,
        LONGS,
        st.integers(-2, 3),
        st.integers(-2, 3),
        st.integers(-2, 3),
        st.sampled_from(TaskStatus),
        contents,
        st.none() | ids,
        st.none() | st.text(),
        contents,
    ),
    st.builds(TimerFired, wf_run_ids, LONGS, st.integers(-2, 2), st.integers(-2, 3), st.sampled_from(TimerKind), LONGS),
    st.builds(StopWfRun, wf_run_ids, st.integers(-2, 3)),
    st.builds(ResumeWfRun, wf_run_ids, st.integers(-2, 3)),
    st.builds(RescueThreadRun, wf_run_ids, st.integers(-2, 3), st.booleans()),
    st.builds(DeleteWfRun, wf_run_ids),
    st.builds(QuarantineWfRun, wf_run_ids),
    st.builds(ReleaseWfRun, wf_run_ids),
    st.sampled_from(sorted(name for takes in INPUT_TOPICS.values() for name in takes.records)).flatmap(records),
)
TIMES = [0, -1, 1, START_MS - DAY_MS, 2**63 - 1, -(2**63), 9_220_000_000_000_000_000, TIME_MS_MAX, TIME_MS_MAX + 1]
times = st.just(START_MS) | st.sampled_from(TIMES)


def record_of(rig: ShardRig, command: Any) -> InputRecord:
    """Return a command as its producer sends it: to its topic, under its key."""
    name = type(command).__name__
    topic = next(topic for topic, takes in INPUT_TOPICS.items() if name in takes.records)
    key = INPUT_TOPICS[topic].key_of(command)
    return rig.record(topic, key.encode(errors="surrogatepass"), rig.codec.encode(command))


# (rule every-input-has-outcome)
@hostile
@given(given=st.lists(st.tuples(commands, times), max_size=12))
def test_whatever_a_command_says_it_has_an_outcome_and_the_partition_goes_on(given: list[tuple[Any, int]]) -> None:
    outcomes = Outcomes(rig_with())
    outcomes.rig.turn(RunWf("w", "s"))
    for command, outcomes.rig.now_ms in given:
        record = record_of(outcomes.rig, command)
        if len(record.value or b"") < BROKER_BYTES_MAX:
            outcomes.fold(record)
    outcomes.rig.now_ms = START_MS
    outcomes.rig.fire_due()
    outcomes.goes_on()


NAMES = sorted(name for takes in INPUT_TOPICS.values() for name in takes.records if name != "SkipRecord")


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes | None, bytes | None]:
    """Return a record whose bytes are almost right: cut, changed or doubled; or right, but for another topic or key."""
    name = draw(st.sampled_from(NAMES))
    command = draw(records(name))
    topic = draw(
        st.sampled_from(
            [topic for topic, takes in INPUT_TOPICS.items() if name in takes.records] * 3 + sorted(INPUT_TOPICS)
        )
    )
    value = CODEC.encode(command)
    at = draw(st.integers(0, len(value)))
    byte = draw(st.binary(min_size=1, max_size=3))
    body = draw(st.binary(max_size=40))
    changed = {
        "as it is": value,
        "cut": value[:at],
        "longer": value + byte,
        "another byte": value[:at] + byte + value[at + len(byte) :],
        "a byte more": value[:at] + byte + value[at:],
        "a part twice": value[:at] + value[max(0, at - 5) :],
        "right fingerprint, wrong bytes": value[:10] + body,
        "unknown schema": value[:2] + body[:8].ljust(8, b"x") + value[10:],
        "any bytes": body,
        "lengths without end": value[:10] + b"\xff" * 9 + b"\x01" + body,
    }
    key: bytes | None = (
        INPUT_TOPICS[next(t for t, takes in INPUT_TOPICS.items() if name in takes.records)]
        .key_of(command)
        .encode(errors="replace")
    )
    return (
        topic,
        draw(st.sampled_from([key, key, key, b"", None, b"\xff\x00", b"w"])),
        draw(st.sampled_from(list(changed.values()))),
    )


@hostile
@given(
    given=st.lists(
        mutated() | st.tuples(st.sampled_from(sorted(INPUT_TOPICS)), st.binary() | st.none(), st.binary() | st.none()),
        max_size=8,
    )
)
def test_whatever_the_bytes_are_they_have_an_outcome_and_the_partition_goes_on(
    given: list[tuple[str, bytes | None, bytes | None]],
) -> None:
    outcomes = Outcomes(rig_with())
    for topic, key, value in given:
        outcomes.fold(outcomes.rig.record(topic, key, value))
    outcomes.goes_on()


def dead_letters(rig: ShardRig) -> list[str]:
    found = [dict(output.headers) for output in rig.outputs if output.topic == "dead-letters"]
    return [headers[f"{HEADER_PREFIX}reason"].decode() for headers in found]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"value": None}, "NO_VALUE"),
        ({"value": bytes(1024 * 1024)}, "TOO_LARGE"),
        ({"value": b"\xc3\x01" + bytes(1024 * 1024)}, "TOO_LARGE"),
        ({"value": bytes(VALUE_BYTES_MAX)}, "UNDECODABLE"),
        ({"value": b""}, "UNDECODABLE"),
        ({"value": b"\xc3\x01" + b"x" * 8}, "UNKNOWN_SCHEMA"),
        ({"key": None}, "EMPTY_KEY"),
        ({"key": b""}, "EMPTY_KEY"),
        ({"key": b"another"}, "KEY_MISMATCH"),
        ({"partition": 3}, "WRONG_PARTITION"),
        ({"timestamp_ms": -1}, "WRONG_TIME"),
        ({"timestamp_ms": TIME_MS_MAX + 1}, "WRONG_TIME"),
        ({"timestamp_ms": 2**63 - 1}, "WRONG_TIME"),
        ({"topic": "task-reports"}, "WRONG_RECORD"),
    ],
)
def test_what_cannot_be_taken_is_a_dead_letter_with_its_reason(given: dict[str, Any], reason: str) -> None:
    rig = rig_with()
    rig.turn(rig.command(ExternalEvent("w", "go", "1"))._replace(**given))
    assert dead_letters(rig) == [reason]
    assert rig.events(ExternalEvent("w", "go", "2")) == ["ExternalEventPosted"]


@pytest.mark.parametrize("wf_run_id", [it for it in ODD_IDS if it not in ("w", "", "w" * 128)])
def test_an_odd_id_is_rejected_with_a_sentence(wf_run_id: str) -> None:
    rig = rig_with()
    (entry,) = rig.log(RunWf(wf_run_id, "s"))
    assert isinstance(entry.event, Rejected)
    assert "expected an id of 1 to 128 letters" in entry.event.message
    assert len(entry.event.message) < 200_500


# Time.


@pytest.mark.parametrize("when", [0, -1, -(2**63), 2**63 - 1, TIME_MS_MAX + 1, 9_220_000_000_000_000_000])
def test_a_time_far_away_is_waited_for_or_over(when: int) -> None:
    rig = rig_with()
    rig.turn(RunWf("w", "s", {"when": when}), ExternalEvent("w", "go", "1", "x"))
    events = rig.events(ReportTaskRun("w", rig.shard.wf_runs["w"].incarnation, 0, 2, 1, TaskStatus.SUCCESS))
    assert events[-1] == ("TimerArmed" if when > START_MS else "WfRunEnded")
    rig.crash()
    assert rig.fire_due() == []
    Outcomes(rig).goes_on()


# ExternalEvents that nobody claims.


def seconds_of(action: Callable[[], object]) -> float:
    """Return the processor time of a call. Other processes take time too, so a clock on the wall would not do."""
    gc.collect()  # else what other tests have left is looked through meanwhile
    begun = time.process_time()
    action()
    return time.process_time() - begun


def test_very_many_unclaimed_events_of_one_id_are_bounded_and_later_ones_do_not_cost_more() -> None:
    limits = Limits(unclaimed_events=MANY // 2)
    rig = rig_with(limits=limits)
    step = MANY // 10
    costs = []
    for first in range(0, MANY, step):
        events = [ExternalEvent("w", "go", str(number)) for number in range(first, first + step)]
        costs.append(seconds_of(lambda events=events: rig.turn(*events)))  # type: ignore[misc]
    assert len(rig.shard.wf_runs["w"].external_events) == limits.unclaimed_events
    assert max(costs[1:]) < 5 * min(costs[:3]) + 0.5, costs
    assert isinstance(rig.log(ExternalEvent("w", "go", "one more"))[0].event, Rejected)


# (rule unclaimed-events-bounded)
def test_unclaimed_events_are_bounded_in_bytes_too() -> None:
    rig = rig_with(limits=Limits(unclaimed_bytes=500_000))
    events = [ExternalEvent("w", "go", str(number), "x" * 100_000) for number in range(6)]
    assert rig.events(*events) == ["ExternalEventPosted"] * 5 + ["Rejected"]
    rig.crash()
    assert rig.events(RunWf("w", "s"), ExternalEvent("w", "go", "7", "x" * 100_000))[-1] == "ExternalEventPosted"


def test_events_of_very_many_ids_that_never_start_are_forgotten_after_their_time() -> None:
    rig = rig_with()
    for first in range(0, MANY, 1_000):
        rig.turn(*(ExternalEvent(f"w{number}", "go", "1") for number in range(first, first + 1_000)))
    assert len(rig.tables["wf-run-external-events"]) == MANY
    rig.now_ms += Limits().unstarted_ms - 1
    assert not rig.shard.due_timers(rig.now_ms, 10)
    rig.now_ms += 1
    while rig.fire_due():
        pass
    assert not rig.tables["wf-run-external-events"]
    assert not rig.shard.wf_runs
    assert rig.shard.next_timer_ms() is None


# (rule unstarted-events-end)
def test_events_of_an_id_are_kept_until_none_has_come_for_a_week_and_a_restart_does_not_matter() -> None:
    rig = rig_with()
    rig.turn(ExternalEvent("w", "go", "1"))
    rig.now_ms += 4 * DAY_MS
    rig.turn(ExternalEvent("w", "go", "2"))
    rig.crash()
    rig.now_ms += 4 * DAY_MS
    assert rig.fire_due() == []
    rig.now_ms += 3 * DAY_MS
    (deleted,) = rig.fire_due()
    reason = "it was not started, and its latest ExternalEvent came at 2026-01-05T00:00:00.000Z"
    assert deleted.event == WfRunDeleted(reason)
    assert (deleted.seq, deleted.incarnation) == (0, -1)


def test_a_timer_of_an_id_that_was_started_meanwhile_does_nothing() -> None:
    rig = rig_with()
    rig.turn(ExternalEvent("w", "go", "1", "x"))
    rig.now_ms += Limits().unstarted_ms
    (timer,) = rig.shard.due_timers(rig.now_ms, 10)
    rig.turn(RunWf("w", "s"))
    assert rig.events(rig.record("wf-commands", timer.key, timer.value)) == ["Ignored"]
    assert rig.shard.wf_runs["w"].status is Status.RUNNING


def test_a_timer_of_an_id_for_which_another_event_came_is_put_off() -> None:
    rig = rig_with()
    rig.turn(ExternalEvent("w", "go", "1"))
    rig.now_ms += Limits().unstarted_ms
    (timer,) = rig.shard.due_timers(rig.now_ms, 10)
    rig.turn(ExternalEvent("w", "go", "2"))
    assert rig.events(rig.record("wf-commands", timer.key, timer.value)) == ["Ignored"]
    rig.now_ms += Limits().unstarted_ms
    assert [type(entry.event) for entry in rig.fire_due()] == [WfRunDeleted]


def test_an_id_in_quarantine_keeps_its_events() -> None:
    rig = rig_with()
    rig.turn(ExternalEvent("w", "go", "1"), QuarantineWfRun("w"))
    rig.now_ms += 2 * Limits().unstarted_ms
    assert rig.fire_due() == []
    rig.turn(ReleaseWfRun("w"))
    assert [type(entry.event) for entry in rig.fire_due()] == [WfRunDeleted]


# WfSpecs that work, or write, without end.


def failures(log: list[LogEntry]) -> list[str]:
    return [f"{it.event.failure.name}: {it.event.failure.message}" for it in log if isinstance(it.event, ThreadFailed)]


def test_thousands_of_comparisons_of_large_lists_fail_their_wf_run_before_they_have_cost_a_second() -> None:
    same = {"eq": [{"var": "any"}, {"var": "any"}]}
    when: Any = {"and": [{"and": [same] * 60}] * 60}
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": [{"to": "done", "when": when}, {"to": "done"}]},
        "done": {"kind": "EXIT"},
    }
    rig = rig_with(one_thread(nodes, any={"type": "JSON_ARR"}))
    run = RunWf("w", "x", {"any": [0] * 30_000})
    log: list[LogEntry] = []
    assert seconds_of(lambda: log.extend(rig.log(run))) < 5
    assert failures(log) == ["VAR_SUB_ERROR: node 'start': more steps of computing than a command may take"]
    assert isinstance(log[-1].event, WfRunEnded)
    Outcomes(rig).goes_on()


# (rules computing-is-counted, commands-are-bounded)
def test_work_that_is_spread_over_many_nodes_is_bounded_as_well_and_no_handler_can_hide_it() -> None:
    copy = {"var": "any", "op": "EXTEND", "value": 1}
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "again"},
        "again": {
            "kind": "NOP",
            "next": {"to": "more", "set": [copy]},
            "on_failure": [{"handler": "on-failure"}],
        },
        "more": {"kind": "NOP", "next": [{"to": "done", "when": False}, {"to": "again"}]},
        "done": {"kind": "EXIT"},
    }
    spec = one_thread(nodes, any={"type": "JSON_ARR"})
    spec["threads"]["on-failure"] = {
        "nodes": {"start": {"kind": "ENTRYPOINT", "next": "done"}, "done": {"kind": "EXIT"}}
    }
    limits = Limits(steps_per_command=50_000)
    rig = rig_with(spec, limits=limits)
    log = rig.log(RunWf("w", "x", {"any": [0] * 1_000}))
    assert failures(log)[-1].startswith("INTERNAL_ERROR: did not settle: more than 50000 steps of computing in one")
    assert rig.shard.wf_runs["w"].status is Status.ERROR


def test_a_wf_spec_that_loops_over_claimed_events_ends_as_well() -> None:
    spin: dict[str, Any] = {"kind": "NOP", "next": "wait"}
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "wait"},
        "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "spin"},
        "spin": {**spin, "next": [{"to": "done", "when": False}, {"to": "wait"}]},
        "done": {"kind": "EXIT"},
    }
    rig = rig_with(one_thread(nodes), limits=Limits(events_in_all=100))
    rig.turn(*(ExternalEvent("w", "go", str(number)) for number in range(200)))
    log = rig.log(RunWf("w", "x"))
    assert len(log) < 150
    assert failures(log)[0].startswith("INTERNAL_ERROR: did not settle: 101 events of ")
    Outcomes(rig).goes_on()


def test_a_wf_spec_that_loops_for_ever_costs_its_wf_run_and_others_next_to_nothing() -> None:
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "a"},
        "a": {"kind": "NOP", "next": [{"to": "done", "when": False}, {"to": "b"}]},
        "b": {"kind": "NOP", "next": "a"},
        "done": {"kind": "EXIT"},
    }
    rig = rig_with(one_thread(nodes))
    log: list[LogEntry] = []
    assert seconds_of(lambda: log.extend(rig.log(RunWf("w", "x")))) < 10
    assert failures(log)[0].startswith("INTERNAL_ERROR: did not settle: 10000 events in one command")
    Outcomes(rig).goes_on()


# (rule children-start-all-or-none)
def test_threads_whose_variables_are_too_much_together_start_all_or_none() -> None:
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "many"},
        "many": {
            "kind": "START_MULTIPLE_THREADS",
            "thread": "child",
            "over": {"var": "any"},
            "input": {"big": {"var": "text"}},
            "next": "done",
        },
        "done": {"kind": "EXIT"},
    }
    spec = one_thread(nodes, any={"type": "JSON_ARR"}, text={"type": "STR"})
    spec["threads"]["child"] = {
        "variables": {"big": {"type": "STR"}},
        "nodes": {"start": {"kind": "ENTRYPOINT", "next": "done"}, "done": {"kind": "EXIT"}},
    }
    rig = rig_with(spec)
    log = rig.log(RunWf("w", "x", {"any": [0] * 100, "text": "x" * 100_000}))
    assert failures(log) == [
        "INTERNAL_ERROR: node 'many': the Variables of 100 threads take 10000000 bytes, expected at most 4194304"
    ]
    assert rig.shard.wf_runs["w"].greatest_thread_number == 0


# Failures that carry failures.


def nested(depth: int) -> dict[str, Any]:
    """Return failure handlers below failure handlers. Each one's task fails, and fails its parent."""
    threads: dict[str, Any] = {}
    for level in range(depth):
        nodes = {
            "start": {"kind": "ENTRYPOINT", "next": "work"},
            "work": {
                "kind": "TASK",
                "task": "work",
                "on_failure": [{"handler": f"level{level + 1}"}] if level + 1 < depth else [],
                "next": "done",
            },
            "done": {"kind": "EXIT"},
        }
        threads[f"level{level}"] = {"nodes": nodes}
    return {"name": "x", "entrypoint": "level0", "threads": threads}


# (rule chains-are-bounded)
@pytest.mark.parametrize("depth", [12, LINKS_MAX + 8])
def test_a_failure_that_many_handlers_pass_up_is_whole_and_every_record_of_it_can_be_written(depth: int) -> None:
    rig = rig_with(nested(depth))
    rig.turn(RunWf("w", "x"))
    incarnation = rig.shard.wf_runs["w"].incarnation
    log: list[LogEntry] = []
    for thread in range(depth):
        report = ReportTaskRun(
            "w", incarnation, thread, 1, 1, TaskStatus.EXCEPTION, None, "no-stock", "m" * 20_000, "x" * 200_000
        )
        log = rig.log(report)
    assert [it.event.thread for it in log if isinstance(it.event, ThreadFailed)] == list(range(depth - 1, -1, -1))
    assert isinstance(log[-1].event, WfRunEnded)
    failure = next(it.event for it in log if isinstance(it.event, ThreadFailed) and it.event.thread == 0).failure
    names = [link.name for link in failure.chain()]
    assert len(names) == min(depth, LINKS_MAX)
    assert names[-1] == "no-stock"
    assert max(len(output.value or b"") for output in rig.outputs) < 2 * 1024 * 1024
    assert sum(len(output.value or b"") for output in rig.outputs if output.topic == "wf-events") < 80 * 1024 * 1024
    rig.crash()
    assert rig.shard.wf_runs["w"].status is Status.EXCEPTION
    Outcomes(rig).goes_on()


# Trees of threads.


# (rule live-threads-are-capped)
def test_a_tree_of_threads_at_the_cap_halts_and_resumes_as_a_whole() -> None:
    most = 300
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "many"},
        "many": {"kind": "START_MULTIPLE_THREADS", "thread": "child", "over": {"var": "any"}, "next": "done"},
        "done": {"kind": "EXIT"},
    }
    spec = one_thread(nodes, any={"type": "JSON_ARR"})
    spec["threads"]["child"] = {
        "nodes": {
            "start": {"kind": "ENTRYPOINT", "next": "wait"},
            "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "done"},
            "done": {"kind": "EXIT"},
        }
    }
    rig = rig_with(spec, limits=Limits(live_threads=most))
    rig.turn(RunWf("w", "x", {"any": [0] * (most - 1)}))
    assert failures(rig.log(RunWf("v", "x", {"any": [0] * most})))[0].startswith("INTERNAL_ERROR")

    def statuses() -> set[Status]:
        threads = rig.shard.wf_runs["w"].threads
        assert len(threads) == most
        return {thread.status for thread in threads.values()}

    for _ in range(2):
        assert seconds_of(lambda: rig.turn(StopWfRun("w", 0))) < 5
        assert statuses() == {Status.HALTED}
        rig.crash()
        assert seconds_of(lambda: rig.turn(ResumeWfRun("w", 0))) < 5
        assert statuses() == {Status.RUNNING}
        rig.crash()


# Other WfRuns do not notice.


def test_other_wf_runs_do_not_notice_what_is_hostile() -> None:
    """Their records cost the same beside hostile ones, which cost time of their own."""
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "a"},
        "a": {"kind": "NOP", "next": [{"to": "done", "when": False}, {"to": "b"}]},
        "b": {"kind": "NOP", "next": "a"},
        "done": {"kind": "EXIT"},
    }
    rig = rig_with(one_thread(nodes), limits=Limits(events_per_command=500))

    def others(number: int) -> float:
        records = [rig.command(RunWf(f"o{number}-{i}", "s")) for i in range(100)]
        records += [rig.command(ExternalEvent(f"o{number}-{i}", "stop", "1", "x")) for i in range(100)]
        return seconds_of(lambda: rig.turn(*records))

    before = min(others(number) for number in range(5))
    for number in range(300):
        rig.turn(
            rig.record("external-events", b"k", os.urandom(100)),
            rig.record("wf-commands", None, None),
            rig.record("task-reports", b"k", bytes(1024 * 1024)),
            ExternalEvent("hoard", "go", str(number), "x" * 10_000),
        )
    for number in range(10):
        rig.turn(RunWf(f"loop{number}", "x"))
    beside = min(others(number) for number in range(5, 10))
    print(f"200 records of others: {before * 1000:.1f} ms before, {beside * 1000:.1f} ms beside")
    assert beside < 2 * before + 0.01


# Masked Variables.

SECRET = "hunter2-hunter2"


def masked(nodes: dict[str, Any]) -> dict[str, Any]:
    spec = one_thread(nodes, secret={"type": "STR", "masked": True, "required": True}, n={"type": "INT"})
    spec["threads"]["child"] = {
        "variables": {"INPUT": {"type": "INT"}, "other": {"type": "INT"}},
        "nodes": {"start": {"kind": "ENTRYPOINT", "next": "done"}, "done": {"kind": "EXIT"}},
    }
    return spec


def leaving(**edge: Any) -> dict[str, Any]:
    return {"start": {"kind": "ENTRYPOINT", "next": {"to": "done", **edge}}, "done": {"kind": "EXIT"}}


READ = {"var": "secret"}


# (rule masked-value-not-told)
@pytest.mark.parametrize(
    "nodes",
    [
        leaving(set=[{"var": "n", "op": "ASSIGN", "value": {"cast": [READ, "INT"]}}]),
        leaving(set=[{"var": "n", "op": "ASSIGN", "value": {"size_of": {"cast": [READ, "JSON_OBJ"]}}}]),
        leaving(when={"eq": [{"add": [{"cast": [READ, "DOUBLE"]}, 1]}, 1]}),
        {
            "start": {"kind": "ENTRYPOINT", "next": "sleep"},
            "sleep": {"kind": "SLEEP", "until_iso": READ, "next": "done"},
            "done": {"kind": "EXIT"},
        },
        {
            "start": {"kind": "ENTRYPOINT", "next": "wait"},
            "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "timeout_s": {"cast": [READ, "INT"]}, "next": "done"},
            "done": {"kind": "EXIT"},
        },
        {
            "start": {"kind": "ENTRYPOINT", "next": "many"},
            "many": {
                "kind": "START_MULTIPLE_THREADS",
                "thread": "child",
                "over": {"cast": [READ, "JSON_ARR"]},
                "next": "done",
            },
            "done": {"kind": "EXIT"},
        },
        {
            "start": {"kind": "ENTRYPOINT", "next": "cond"},
            "cond": {"kind": "WAIT_FOR_CONDITION", "condition": {"cast": [READ, "BOOL"]}, "next": "done"},
            "done": {"kind": "EXIT"},
        },
    ],
)
def test_the_value_of_a_masked_variable_stands_in_no_failure(nodes: dict[str, Any]) -> None:
    rig = rig_with(masked(nodes))
    (failure, *_) = failures(rig.log(RunWf("w", "x", {"secret": SECRET})))
    assert "hunter" not in failure, failure
    assert "masked" in failure
    Outcomes(rig).goes_on()


def test_work_that_is_too_much_below_the_thread_whose_variables_it_reads_is_told() -> None:
    same = {"eq": [{"var": "any"}, {"var": "any"}]}
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "below"},
        "below": {"kind": "START_THREAD", "thread": "child", "next": "done"},
        "done": {"kind": "EXIT"},
    }
    spec = one_thread(nodes, any={"type": "JSON_ARR", "masked": True})
    when = {"and": [same] * 60}
    spec["threads"]["child"] = {
        "nodes": {
            "start": {"kind": "ENTRYPOINT", "next": [{"to": "done", "when": when}, {"to": "done"}]},
            "done": {"kind": "EXIT"},
        }
    }
    rig = rig_with(spec, limits=Limits(steps_per_command=10_000))
    log = rig.log(RunWf("w", "x", {"any": [0] * 1_000}))
    assert "more steps of computing" in failures(log)[0]
    assert isinstance(log[-1].event, WfRunEnded)


# (rule masked-value-not-told)
def test_the_value_of_a_masked_variable_stands_in_no_rejection() -> None:
    spec = one_thread(leaving(), secret={"type": "INT", "masked": True})
    (entry,) = rig_with(spec).log(RunWf("w", "x", {"secret": SECRET}))
    assert isinstance(entry.event, Rejected)
    assert "hunter" not in entry.event.message
