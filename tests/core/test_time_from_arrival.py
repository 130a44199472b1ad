"""The time of a SLEEP and of a time-out counts from arrival, whatever happens to the thread in that command
(rule time-counts-from-arrival).

Each kind of node that waits for a time, and each way to come to it and be halted at once.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from processors.core.records.events import (
    ArrivalFailed,
    Halt,
    NodeCompleted,
    NodeFailed,
    Resume,
    ThreadFailed,
    ThreadRetired,
    TimerArmed,
)
from processors.core.records.model import HaltedByParent, ParentHalted, Status, Timer, TimerKind
from processors.core.rules import advance
from tests.support.compiled_core import replaces_a_rule
from tests.support.scenario import RUN, START_MS, History, event, given, like, rescue, resume, stop

KID = 2
DURATION_S = 10
ARRIVAL_MS = START_MS + 3_000
DUE_MS = ARRIVAL_MS + DURATION_S * 1000
"""The bound on durations, and on the moments that follow from them."""
MOMENT = "2026-01-01T00:00:13Z"

TIMED: dict[str, dict[str, Any]] = {
    "SLEEP seconds": {"kind": "SLEEP", "seconds": DURATION_S},
    "SLEEP seconds of a Variable": {"kind": "SLEEP", "seconds": {"var": "ten"}},
    "SLEEP until": {"kind": "SLEEP", "until": {"var": "moment"}},
    "SLEEP until_iso": {"kind": "SLEEP", "until_iso": MOMENT},
    "EXTERNAL_EVENT": {"kind": "EXTERNAL_EVENT", "event": "awaited", "timeout_s": DURATION_S},
    "EXTERNAL_EVENT of a Variable": {"kind": "EXTERNAL_EVENT", "event": "awaited", "timeout_s": {"var": "ten"}},
}
FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "SLEEP seconds": ({"kind": "SLEEP", "seconds": {"divide": [1, {"var": "v"}]}}, "VAR_SUB_ERROR"),
    "SLEEP until": ({"kind": "SLEEP", "until": {"divide": [1, {"var": "v"}]}}, "VAR_SUB_ERROR"),
    "SLEEP until_iso": ({"kind": "SLEEP", "until_iso": {"cast": [{"var": "v"}, "STR"]}}, "VAR_SUB_ERROR"),
    "EXTERNAL_EVENT": (
        {"kind": "EXTERNAL_EVENT", "event": "awaited", "timeout_s": {"divide": [1, {"var": "v"}]}},
        "VAR_ERROR",
    ),
}
END = {"end": {"kind": "EXIT"}}
ZERO = [{"var": "v", "op": "ASSIGN", "value": 0}]
V_IS_NOT_ZERO = {"eq": [{"divide": [1, {"var": "v"}]}, 2]}
"""Does not hold, and cannot be evaluated where `v` is 0: whoever waits for it fails in the command that makes it so."""


def spec_of(timed: dict[str, Any], *, main: dict[str, Any], mid: dict[str, Any]) -> str:
    """main -> mid -> kid, which waits for `k`, makes `v` 0 and comes to the node."""
    variables = {
        "v": {"type": "INT", "default": 1},
        "ten": {"type": "INT", "default": DURATION_S},
        "moment": {"type": "TIMESTAMP", "default": MOMENT},
    }
    start = {"kind": "ENTRYPOINT", "next": "spawn"}
    kid = {
        "start": {"kind": "ENTRYPOINT", "next": "wait"},
        "wait": {"kind": "EXTERNAL_EVENT", "event": "k", "next": {"to": "timed", "set": ZERO}},
        "timed": {**timed, "next": "end"},
    }
    spawn = {"kind": "START_THREAD", "next": "at"}
    mends = {"to": "end", "set": [{**ZERO[0], "value": 2}]}
    fix = {
        "start": {"kind": "ENTRYPOINT", "next": "wait"},
        "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": mends},
    }
    threads = {
        "main": {
            "variables": variables,
            "nodes": {"start": start, "spawn": spawn | {"thread": "mid"}, "at": main} | END,
        },
        "mid": {"nodes": {"start": start, "spawn": spawn | {"thread": "kid"}, "at": mid} | END},
        "kid": {"nodes": kid | END},
        "fix": {"nodes": fix | END},
    }
    events = {name: {} for name in ("k", "go", "awaited", "never")}
    wf_spec = {"name": "small", "entrypoint": "main", "threads": threads}
    text: str = yaml.safe_dump({"external_events": events, "wf_specs": [wf_spec]})
    return text


GATE = {"kind": "EXTERNAL_EVENT", "event": "never", "next": "end"}
FAILS = {"kind": "WAIT_FOR_CONDITION", "condition": V_IS_NOT_ZERO, "next": "end"}
IS_HANDLED = {**FAILS, "on_failure": [{"handler": "fix"}]}

ABOVE: dict[str, dict[str, Any]] = {
    "its parent fails and is handled": {"main": GATE, "mid": IS_HANDLED},
    "a thread above its parent fails and is handled": {"main": IS_HANDLED, "mid": GATE},
    "both fail and are handled": {"main": IS_HANDLED, "mid": IS_HANDLED},
}


def arrived(timed: dict[str, Any], above: dict[str, Any]) -> History:
    """The thread has come to its node, and a thread above it has halted it in the same command."""
    history = given(spec_of(timed, **above), RUN)
    history.after(3_000)
    history.when(event("k"))
    assert history.status(KID) == "HALTED"
    assert history.thread(KID).node.node == "timed"
    return history


def armed(history: History, number: int = KID) -> Timer | None:
    return history.thread(number).node.timer


# (rule time-counts-from-arrival)
@pytest.mark.parametrize("above", ABOVE)
@pytest.mark.parametrize("timed", TIMED)
def test_a_timer_is_armed_in_the_command_that_took_a_thread_there_halted_or_not(timed: str, above: str) -> None:
    history = arrived(TIMED[timed], ABOVE[above])
    kind = TimerKind.SLEEP if timed.startswith("SLEEP") else TimerKind.EXTERNAL_EVENT_TIMEOUT
    history.then_among_others(TimerArmed(KID, 2, Timer(kind, DUE_MS)))
    history.after(DURATION_S * 1000 - 1)
    assert armed(history) == Timer(kind, DUE_MS)
    history.after(1).then_among_others("TimerMatured")
    assert history.status(KID) == "HALTED"


@pytest.mark.parametrize("above", ABOVE)
@pytest.mark.parametrize("timed", [it for it in TIMED if it.startswith("SLEEP")])
def test_a_sleep_that_is_over_when_the_thread_resumes_is_not_waited_for_again(timed: str, above: str) -> None:
    history = arrived(TIMED[timed], ABOVE[above]).after(100_000)
    while history.run.threads[KID].status is Status.HALTED:
        history.when(event("go"))
        if KID not in history.run.threads:
            break
    assert history.status(KID) == "COMPLETED"


def test_a_thread_that_resumes_before_the_time_waits_for_the_rest_of_it() -> None:
    history = arrived(TIMED["SLEEP seconds"], ABOVE["its parent fails and is handled"]).after(4_000)
    history.when(event("go"))
    assert (history.status(KID), armed(history)) == ("RUNNING", Timer(TimerKind.SLEEP, DUE_MS))
    history.after(5_999)
    assert history.status(KID) == "RUNNING"
    history.after(1)
    assert history.status(KID) == "COMPLETED"


@pytest.mark.parametrize(("after_ms", "becomes"), [(9_999, "COMPLETED"), (10_000, "ERROR")])
def test_an_event_is_in_time_by_the_deadline_that_counts_from_arrival(after_ms: int, becomes: str) -> None:
    history = arrived(TIMED["EXTERNAL_EVENT"], ABOVE["its parent fails and is handled"])
    history.after(after_ms).when(event("awaited"))
    history.after(50_000).when(event("go"))
    assert history.status(KID) == becomes


def test_an_event_from_before_the_wf_run_is_in_time_whatever_its_records_time() -> None:
    """The clock of its broker was ahead; a thread that is not halted takes it without looking at the time."""
    history = given(spec_of(TIMED["EXTERNAL_EVENT"], **ABOVE["its parent fails and is handled"]))
    history.engine.time_ms += 60_000
    history.when(event("awaited"))
    history.engine.time_ms -= 60_000
    history.when(RUN).when(event("k")).when(event("go"))
    assert history.status(KID) == "COMPLETED"


# (rule arrival-failure-waits)
@pytest.mark.parametrize("timed", FAILING)
def test_what_cannot_be_computed_at_arrival_fails_the_node_when_the_thread_runs(timed: str) -> None:
    """Also if it could be computed by then: the failure handler has mended the Variable."""
    node, failure_name = FAILING[timed]
    history = arrived(node, ABOVE["its parent fails and is handled"])
    history.then_among_others(like(ArrivalFailed, thread=KID, position=2, node="timed"))
    history.then_not("TimerArmed", like(ThreadFailed, thread=KID), like(NodeFailed, thread=KID))
    failure = history.thread(KID).node.arrival_failure
    assert failure is not None
    assert failure.name == failure_name
    history.when(event("awaited"))
    history.when(event("go")).then_among_others(like(Resume, thread=KID), ThreadFailed(KID, failure))


def test_an_event_that_was_there_at_arrival_counts_though_the_time_out_cannot_be_computed() -> None:
    node, _ = FAILING["EXTERNAL_EVENT"]
    history = given(spec_of(node, **ABOVE["its parent fails and is handled"]), RUN, event("awaited"))
    history.when(event("k")).then_among_others(like(ArrivalFailed, thread=KID))
    history.when(event("go"))
    assert history.status(KID) == "COMPLETED"


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("timed", TIMED)
def test_a_thread_below_a_failed_one_gets_its_time_from_arrival_when_that_one_is_rescued(
    timed: str, number: int
) -> None:
    """Below what has failed there is nothing to wait for: it may never go on."""
    above = {"main": FAILS, "mid": GATE} if number == 0 else {"main": GATE, "mid": FAILS}
    history = arrived(TIMED[timed], above)
    assert armed(history) is None
    history.after(2_000).when(stop(KID))
    history.when(rescue(number, skip_current_node=True))
    timer = armed(history)
    assert timer is not None
    assert timer.due_ms == DUE_MS


def test_a_rescue_is_an_arrival_also_below_a_thread_that_is_stopped() -> None:
    history = given(spec_of(TIMED["EXTERNAL_EVENT"], main=GATE, mid=GATE), RUN, event("k")).after(DURATION_S * 1000)
    assert history.status(KID) == "ERROR"
    history.when(stop()).when(rescue(KID)).then_among_others(
        like(Halt, thread=KID, reason=ParentHalted(1)),
        TimerArmed(KID, 3, Timer(TimerKind.EXTERNAL_EVENT_TIMEOUT, START_MS + 2 * DURATION_S * 1000)),
    )


# (rule loser-waits-for-no-time)
@pytest.mark.parametrize("timed", TIMED)
def test_who_has_lost_waits_for_no_time_nor_does_anybody_below(timed: str) -> None:
    """`other` ends in the command in which the kid comes to its node, and the wait for ANY has no use for it."""
    text = spec_of(TIMED[timed], main=GATE, mid=GATE)
    document = yaml.safe_load(text)
    threads = document["wf_specs"][0]["threads"]
    threads["other"] = {
        "nodes": {
            "start": {"kind": "ENTRYPOINT", "next": "until"},
            "until": {"kind": "WAIT_FOR_CONDITION", "condition": {"eq": [{"var": "v"}, 0]}, "next": "end"},
        }
        | END
    }
    threads["main"]["nodes"]["at"] = {"kind": "START_THREAD", "thread": "other", "next": "any"}
    threads["main"]["nodes"]["any"] = {
        "kind": "WAIT_FOR_THREADS",
        "threads": [{"output": "spawn"}, {"output": "at"}],
        "strategy": "ANY",
        "next": "gate",
    }
    threads["main"]["nodes"]["gate"] = GATE
    kid = threads["kid"]["nodes"]
    kid["wait"]["next"]["to"] = "one"  # so long does it take the other to end
    kid |= {"one": {"kind": "NOP", "next": "two"}, "two": {"kind": "NOP", "next": "timed"}}
    history = given(yaml.safe_dump(document), RUN, event("k"))
    history.then_among_others(like(NodeCompleted, next_node="timed"), like(Halt, reason=HaltedByParent(0, 3)))
    history.then_among_others(like(ThreadRetired, thread=1)).then_not("TimerArmed")


@pytest.fixture
def old_rules(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Those of 0.1.0: a thread that is halted gets its timer when it runs."""
    with monkeypatch.context() as old:
        old.setattr(advance, "arrive_halted", lambda *_: iter(()))
        yield old


@replaces_a_rule
@pytest.mark.parametrize("timed", TIMED)
def test_a_thread_that_0_1_0_left_without_a_timer_gets_it_with_the_next_command(
    timed: str, old_rules: pytest.MonkeyPatch
) -> None:
    history = arrived(TIMED[timed], ABOVE["its parent fails and is handled"])
    assert armed(history) is None
    old_rules.undo()
    history.after(50_000).when(event("k", id="for nobody"))
    timer = armed(history)
    assert timer is not None
    assert timer.due_ms == DUE_MS


@replaces_a_rule
@pytest.mark.parametrize("timed", TIMED)
def test_a_thread_that_0_1_0_left_without_a_timer_may_resume_at_once(timed: str, old_rules: pytest.MonkeyPatch) -> None:
    history = arrived(TIMED[timed], ABOVE["its parent fails and is handled"])
    history.when(stop(KID)).when(event("go"))
    assert (history.status(KID), armed(history)) == ("HALTED", None)
    old_rules.undo()
    history.after(50_000).when(resume(KID)).after(0)
    assert history.status(KID) == ("COMPLETED" if timed.startswith("SLEEP") else "ERROR")


@pytest.fixture
def beside_0_1_0() -> History:
    """The log must be one that 0.1.0 can read."""
    history = given(spec_of(TIMED["SLEEP seconds"], **ABOVE["its parent fails and is handled"]), RUN)
    history.engine.context = replace(history.engine.context, arrival_failures=False)
    return history.after(3_000)


def test_as_long_as_0_1_0_reads_it_a_halted_thread_gets_its_time_when_it_runs(beside_0_1_0: History) -> None:
    beside_0_1_0.when(event("k")).then_not("TimerArmed")
    beside_0_1_0.after(4_000).when(event("go"))
    assert armed(beside_0_1_0) == Timer(TimerKind.SLEEP, DUE_MS)


@pytest.mark.parametrize("timed", FAILING)
def test_as_long_as_0_1_0_reads_it_a_time_is_computed_when_the_thread_runs(timed: str) -> None:
    history = given(spec_of(FAILING[timed][0], **ABOVE["its parent fails and is handled"]), RUN)
    history.engine.context = replace(history.engine.context, arrival_failures=False)
    history.when(event("k")).then_not("TimerArmed", "ArrivalFailed")
    history.when(event("go")).then_among_others(like(Resume, thread=KID))
    assert history.thread(KID).node.arrival_failure is None
