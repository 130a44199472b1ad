"""Every order in which registrations, removals, events and the clock can meet at correlation keys, within bounds.

The WfRuns are decided by the engine, and the keys by `correlate`. Between them are queues, as between partitions: what
a WfRun tells of its keys and what a key posts to WfRuns comes later, each queue in its order. A reader that knows the
rules of docs/rules/correlation.md alone keeps a list of who has a key and what waits.

(rules correlation-has-one-order, correlated-event-goes-to-all, kept-events-go-to-the-first, keys-end-with-the-wf-run)
"""

import os
import pickle
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from halter.files.definitions_document import read_definitions
from halter.files.yaml_files import parse_yaml
from halter.scenarios.definitions import DefinitionsInMemory
from processors.codec import Codec
from processors.core.records.commands import (
    Command,
    CorrelatedEvent,
    CorrelationCommand,
    CorrelationTimerFired,
    DeleteWfRun,
    ExternalEvent,
    RunWf,
)
from processors.core.records.events import Cause, CorrelationDecided
from processors.core.records.model import Changes, Correlation, Index, KeptCorrelatedEvent, WfRun
from processors.core.rules.context import Context, Limits
from processors.core.rules.correlating import correlate, due_ms
from processors.core.rules.engine import attach, handle, new_run
from processors.fold.output_encoder import OutputEncoder
from tests.support.states import state_key

ACTS: Final = int(os.environ.get("HALTER_CORRELATION_ACTS", "3"))
"""What producers do in all: starts, changes, ends, deletions and events. Deliveries are not counted. `make search`
tries more of it.
"""
START_MS: Final = 1_767_225_600_000
WEEK_MS: Final = 7 * 86_400_000
KEYS: Final = ("A7", "B8")
WF_RUNS: Final = ("a", "b")
ORDERS: Final = """
external_events: {paid: {}, renamed: {type: STR}, closed: {}}
wf_specs:
  - name: order
    entrypoint: main
    correlated_events: {paid: {var: order}}
    threads:
      main:
        variables: {order: {type: STR}}
        interrupts: [{event: renamed, handler: on-renamed}, {event: paid, handler: on-paid}]
        nodes:
          start: {kind: ENTRYPOINT, next: wait}
          wait: {kind: EXTERNAL_EVENT, event: closed, next: done}
          done: {kind: EXIT}
      on-renamed:
        variables: {INPUT: {type: STR}}
        nodes:
          start: {kind: ENTRYPOINT, next: {to: done, set: [order = INPUT]}}
          done: {kind: EXIT}
      on-paid:
        nodes: {start: {kind: ENTRYPOINT, next: done}, done: {kind: EXIT}}
"""


@dataclass
class Read:
    """What a reader of `correlation-events` knows of one key."""

    have: list[tuple[str, int]] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)


@dataclass
class State:
    """All WfRuns and keys, what is on its way between them, and what a reader knows."""

    acts: int = 0
    keys_used: set[str] = field(default_factory=set)
    wf_runs_used: set[str] = field(default_factory=set)
    time_ms: int = START_MS
    runs: dict[str, WfRun] = field(default_factory=lambda: {it: new_run(it) for it in WF_RUNS})
    keys: dict[str, Correlation] = field(default_factory=lambda: {it: Correlation(it, "paid") for it in KEYS})
    told: dict[str, list[CorrelationCommand]] = field(default_factory=lambda: {it: [] for it in KEYS})
    posted: dict[str, list[ExternalEvent]] = field(default_factory=lambda: {it: [] for it in WF_RUNS})
    read: dict[str, Read] = field(default_factory=lambda: {it: Read() for it in KEYS})

    def key(self) -> Any:
        """Return what tells it from others: whatever may follow is the same for two with the same key."""
        runs = tuple((state_key(it), it.incarnation, tuple(it.correlation_keys.items())) for it in self.runs.values())
        used = len(self.keys_used), len(self.wf_runs_used)
        return hash((self.acts, used, self.time_ms, runs, repr((self.keys, self.told, self.posted, self.read))))


@cache
def context() -> Context:
    definitions = DefinitionsInMemory()
    commands, _, problems = read_definitions(parse_yaml(ORDERS, "orders.yaml").data, lambda name: name)
    assert not problems
    assert not definitions.register(commands)
    return Context(definitions, Limits())


@cache
def encoder() -> OutputEncoder:
    return OutputEncoder(0, 1, Codec.load())


Move = tuple[str, Any]


def moves(state: State) -> Iterator[Move]:
    """Yield whatever may happen next."""
    yield from (("key", key) for key in KEYS if state.told[key])
    yield from (("wf_run", it) for it in WF_RUNS if state.posted[it])
    if any(due_ms(it, context().limits) is not None for it in state.keys.values()):
        yield "time", WEEK_MS
    if state.acts >= ACTS:
        return
    number = state.acts
    # Names are alike until they are used: of those that are not, the first one is enough.
    keys, wf_runs = KEYS[: 1 + len(state.keys_used)], WF_RUNS[: 1 + len(state.wf_runs_used)]
    for key in keys:
        yield "event", CorrelatedEvent(key, "paid", f"p{number}")
    for it in wf_runs:
        run = state.runs[it]
        if not run.exists:
            yield from (("command", RunWf(it, "order", {"order": key})) for key in keys)
            continue
        yield "command", DeleteWfRun(it)
        if run.final_status is None:
            yield "command", ExternalEvent(it, "closed", f"c{number}")
            yield from (("command", ExternalEvent(it, "renamed", f"r{number}", key)) for key in (*keys, ""))


def taken(before: State, move: Move) -> State:
    """Return the state after a move."""
    state: State = pickle.loads(pickle.dumps(before))
    match move:
        case ("command", command):
            state.acts += 1
            state.wf_runs_used.add(command.wf_run_id)
            if isinstance(command, RunWf):
                state.keys_used.add(str(command.variables["order"]))
            elif isinstance(command, ExternalEvent) and command.content:
                state.keys_used.add(str(command.content))
            decide(state, command)
        case ("event", command):
            state.acts += 1
            state.keys_used.add(command.correlation_key)
            decide_key(state, command)
        case ("key", key):
            decide_key(state, state.told[key].pop(0))
        case ("wf_run", wf_run_id):
            decide(state, state.posted[wf_run_id].pop(0))
        case ("time", later_ms):
            state.time_ms += later_ms
            for key, correlation in state.keys.items():
                due = due_ms(correlation, context().limits)
                if due is not None and due <= state.time_ms:
                    decide_key(state, CorrelationTimerFired(key, "paid", due))
    return state


def decide(state: State, command: Command) -> None:
    run = attach(state.runs[command.wf_run_id], context())
    keys = run.correlation_keys
    log = handle(run, command, Cause("inputs", 0, state.acts, None, 0), state.time_ms, context())
    for output in encoder().changed_keys(keys, log):
        told: Any = Codec.load().decode(output.value or b"")
        state.told[told.correlation_key].append(told)
    run.changes, run.index, run.spec = Changes(), Index(), None


def decide_key(state: State, command: CorrelationCommand) -> None:
    key, arrived, time_ms = command.correlation_key, None, state.time_ms
    if isinstance(command, CorrelatedEvent):
        arrived = KeptCorrelatedEvent(command.external_event_id, 0, time_ms, time_ms + WEEK_MS, b"")
    cause = Cause("inputs", 0, 0, None, 0)
    before = state.keys[key]
    log, state.keys[key] = correlate(before, command, arrived, cause, time_ms, context().definitions, context().limits)
    for decided in log:
        check_and_read(state.read[key], command, decided, {it.external_event_id: it for it in before.kept}, time_ms)
        if decided.outcome == "POSTED":
            for it in decided.wf_runs:
                event = ExternalEvent(it.wf_run_id, "paid", decided.external_event_id or "")
                state.posted[it.wf_run_id].append(event)


def check_and_read(
    read: Read, command: CorrelationCommand, decided: CorrelationDecided, kept: dict[str, Any], time_ms: int
) -> None:
    """Expect that a decision is right by what the log said before, and take it in."""
    event_id, wf_runs = decided.external_event_id or "", [(it.wf_run_id, it.incarnation) for it in decided.wf_runs]
    match str(decided.outcome):
        case "POSTED" if isinstance(command, CorrelatedEvent):
            assert wf_runs == read.have != [], "to all that have the key, in the order of registration"
        case "POSTED":
            assert wf_runs == read.have[-1:], "what waits goes to the first"
            assert len(read.have) == 1
            assert kept[event_id].until_ms > time_ms
            assert read.waiting.pop(0) == event_id, "in the order of arrival"
        case "KEPT":
            assert not read.have, "an event waits only if nobody has the key"
            read.waiting.append(event_id)
        case "EXPIRED":
            assert kept[event_id].until_ms <= time_ms
            read.waiting.remove(event_id)
        case "REGISTERED":
            read.have = [*(it for it in read.have if it[0] != wf_runs[0][0]), *wf_runs]
        case "REMOVED":
            read.have.remove(wf_runs[0])
        case outcome:
            assert outcome == "IGNORED"
            assert isinstance(command, CorrelationTimerFired), "each change of a key is told in its order, once"


def check(state: State) -> None:
    """Expect what must hold in every state."""
    for key, correlation in state.keys.items():
        read = state.read[key]
        assert [(it.wf_run_id, it.incarnation) for it in correlation.wf_runs] == read.have
        assert [it.external_event_id for it in correlation.kept] == read.waiting
        assert not (read.have and read.waiting)
        assert len({it for it, _ in read.have}) == len(read.have)
        if not state.told[key]:
            have = {(it, run.incarnation) for it, run in state.runs.items() if has(run, key)}
            assert set(read.have) == have, "when all was told, those have the key whose Variable says so"


def has(run: WfRun, key: str) -> bool:
    found = run.correlation_keys.get("paid")
    return found is not None and found.key == key


def search() -> tuple[int, set[str]]:
    """Take every move in every state. Return the number of states, and the kinds of moves."""
    first = State()
    seen, waiting = {first.key()}, deque([(first, ())])
    kinds: set[str] = set()
    while waiting:
        state, path = waiting.popleft()
        for move in moves(state):
            kinds.add(move[0])
            way = (*path, move)
            try:
                after = taken(state, move)
                check(after)
            except AssertionError as error:
                raise AssertionError(f"{error} after {', '.join(map(str, way))}") from error
            if (key := after.key()) not in seen:
                seen.add(key)
                waiting.append((after, way))
    return len(seen), kinds


def test_whoever_comes_first_each_event_goes_to_those_that_have_the_key() -> None:
    states, kinds = search()
    print(f"{states} states")
    assert kinds == {"key", "wf_run", "time", "event", "command"}
    assert states > 500
