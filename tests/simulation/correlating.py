"""Correlation in the simulation: posts that race for keys, and an independent judge of what became of them.

The judge knows the rules of docs/rules/correlation.md, and nothing of the engine: it reads the topics with fastavro. It
takes the order from `correlation-events`, and computes from there who has a key, what waits and what is posted.
"""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from processors.core.records.commands import (
    CorrelatedEvent,
    DeleteWfRun,
    ExternalEvent,
    PutExternalEventDef,
    PutWfSpec,
    RunWf,
)
from processors.core.records.values import VariableType
from processors.kafka.partitioner import partition_of
from tests.chaos.avro import decode
from tests.chaos.findings import Finding, Kind
from tests.chaos.script import posting
from tests.chaos.tape import CORRELATED_EVENTS, DEAD_LETTERS, Entry, RecordAddress, Tape, source_of
from tests.simulation.plan import Plan, Post, plan_of

COMMANDS: Final = "correlation-commands"
DECIDED: Final = "correlation-events"
CORRELATIONS: Final = "correlations"
INPUTS: Final = (CORRELATED_EVENTS, COMMANDS)
TOPICS: Final = (*INPUTS, DECIDED, CORRELATIONS)
BY_KEY: Final = "by-key-"
"""Begins the ids of correlated events, and of no other ExternalEvent."""
KEYS: Final = ("A7", "B8", "C9", "D1", "E2", "")
RARE: Final = ("D1", "E2")
"""Keys that few WfRuns have, so that events wait for one, and expire."""
REMEMBERED_MAX: Final = 100
KEPT_MS: Final = (200, 3_000, 9_000)
"""Times for which an event may wait: shorter than a fault, and longer."""
LATE_MS: Final = 30_000
"""A timer that was due so long before the end must have fired."""

_THREADS: Final = {
    "main": {
        "variables": {"place": {"type": "STR"}},
        "interrupts": [{"event": "moved", "handler": "noted"}, {"event": "relocated", "handler": "relocate"}],
        "nodes": {
            "start": {"kind": "ENTRYPOINT", "next": "wait"},
            "wait": {"kind": "EXTERNAL_EVENT", "event": "arrived", "next": "done"},
            "done": {"kind": "EXIT"},
        },
    },
    "noted": {"nodes": {"start": {"kind": "ENTRYPOINT", "next": "done"}, "done": {"kind": "EXIT"}}},
    "relocate": {
        "variables": {"INPUT": {"type": "STR"}},
        "nodes": {
            "start": {
                "kind": "ENTRYPOINT",
                "next": {"to": "done", "set": [{"var": "place", "op": "ASSIGN", "value": {"var": "INPUT"}}]},
            },
            "done": {"kind": "EXIT"},
        },
    },
}
WF_SPEC: Final = {
    "name": "tracked",
    "entrypoint": "main",
    "correlated_events": {"moved": {"var": "place"}},
    "threads": _THREADS,
}


def correlated_plan(seed: int, faults: int = 60, seconds: float = 60.0) -> Plan:
    """Return the plan of a seed, in which WfRuns and events race for a few keys. No rule breaks in it."""
    plan = plan_of(seed, faults, seconds)
    chance = random.Random(f"correlation {seed}")
    defined = (
        PutExternalEventDef("moved"),
        PutExternalEventDef("relocated", VariableType.STR),
        PutExternalEventDef("arrived"),
        PutWfSpec("tracked", json.dumps(WF_SPEC)),
    )
    posts = [Post(0.0, tuple(map(posting, defined)))]
    at, number = 1.0, 0
    while at < seconds:
        at += chance.expovariate(3.0) * chance.choice((0.01, 0.05, 1.0, 2.0))
        number += 1
        commands = _acts(chance, number)
        again = chance.random() < 0.1
        posts.append(Post(at, tuple(map(posting, commands * (2 if again else 1)))))
    others = tuple(post for post in plan.posts if post.at == 0.0 or chance.random() < 0.3)
    ordered = tuple(sorted((*others, *posts), key=lambda it: it.at))
    return replace(plan, posts=ordered, poison=None, kept_correlated_ms=chance.choice(KEPT_MS))


def _acts(chance: random.Random, number: int) -> list[Any]:
    """Return one act of a producer, or two at once."""
    wf_run_id, key = f"tracked-{chance.randrange(12)}", chance.choice(KEYS)
    if key in RARE and chance.random() < 0.8:
        return [CorrelatedEvent(key, "moved", f"{BY_KEY}{number}", number)]
    run = RunWf(wf_run_id, "tracked", {"place": key}, command_id=f"run-{number}")
    event = CorrelatedEvent(key or "A7", "moved", f"{BY_KEY}{number}", number)
    match chance.randrange(8):
        case 0 | 1:
            return [run]
        case 2 | 3 | 4:
            return [event]
        case 5:
            return chance.choice(([run, event], [event, run]))
        case 6:
            return [ExternalEvent(wf_run_id, "relocated", f"to-{number}", key)]
        case _:
            ends = DeleteWfRun(wf_run_id, f"delete-{number}"), ExternalEvent(wf_run_id, "arrived", f"end-{number}")
            return [chance.choice(ends)]


@dataclass
class Key:
    """What a reader knows of one key: who has it, what waits, and which ids were posted."""

    have: dict[str, int] = field(default_factory=dict)
    """WfRun id -> incarnation, in the order of registration."""
    waiting: dict[str, int] = field(default_factory=dict)
    """Id of an event -> until when it waits, in ms of the broker's clock, in order of arrival."""
    posted: list[str] = field(default_factory=list)


def check_correlation(tape: Tape, log: list[Entry], kept_ms: int) -> Iterator[Finding]:
    """Compare what the topics of correlation have with what has to be there. Events may wait for `kept_ms`."""
    yield from _check_told(tape, log)
    for partition in range(tape.partitions):
        yield from _Partition(tape, partition, kept_ms).check()
    yield from _check_posted(tape)
    yield from _check_expired(tape)


def _check_expired(tape: Tape) -> Iterator[Finding]:
    """Expect a dead letter for each EXPIRED, once, with the bytes of an event of that key and id, and no other."""
    wanted: Counter[tuple[str, str]] = Counter()
    for _, record in tape.of(DECIDED):
        _, fields = decode(record.value or b"")
        if fields["outcome"] == "EXPIRED":
            wanted[fields["correlation_key"], fields["external_event_id"]] += 1
    sources = dict(tape.of(CORRELATED_EVENTS))
    found: Counter[tuple[str, str]] = Counter()
    for address, letter in tape.of(DEAD_LETTERS):
        source = source_of(letter)
        if source.topic != CORRELATED_EVENTS:
            continue
        if (record := sources.get(source)) is None or letter.value != record.value:
            yield Finding(Kind.DECIDED, f"{address}: not the bytes of {source}")
            continue
        _, fields = decode(letter.value or b"")
        found[fields["correlation_key"], fields["external_event_id"]] += 1
    for it in wanted.keys() | found.keys():
        if wanted[it] != found[it]:
            kind = Kind.LOST if found[it] < wanted[it] else Kind.DOUBLED
            yield Finding(kind, f"event {it[1]} of key {it[0]} is a dead letter {found[it]} times, not {wanted[it]}")


def _check_told(tape: Tape, log: list[Entry]) -> Iterator[Finding]:
    """Expect that the owners of keys were told of each change on the log once, in the partition of the key."""
    keys: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
    wanted: Counter[tuple[str, str, str, int]] = Counter()
    for entry in log:
        of = entry.fields["wf_run_id"], entry.fields["incarnation"]
        if entry.name == "CorrelationKeyChanged":
            event_def, key = entry.fields["external_event_def"], entry.fields["correlation_key"]
            if (old := keys[of].pop(event_def, None)) is not None:
                wanted["RemoveCorrelationKey", old, *of] += 1
            if key is not None:
                keys[of][event_def] = key
                wanted["RegisterCorrelationKey", key, *of] += 1
        elif entry.name == "WfRunDeleted":
            for old in keys.pop(of, {}).values():
                wanted["RemoveCorrelationKey", old, *of] += 1
    found: Counter[tuple[str, str, str, int]] = Counter()
    for address, record in tape.of(COMMANDS):
        name, fields = decode(record.value or b"")
        if name != "CorrelationTimerFired":
            found[name, fields["correlation_key"], fields["wf_run_id"], fields["incarnation"]] += 1
        if address.partition != partition_of(record.key or b"", tape.partitions):
            yield Finding(Kind.FROM_NOWHERE, f"{address} is in the wrong partition")
    for it in wanted.keys() | found.keys():
        if wanted[it] != found[it]:
            kind = Kind.LOST if found[it] < wanted[it] else Kind.DOUBLED
            yield Finding(kind, f"{it} is told {found[it]} times, expected {wanted[it]}")


def _check_posted(tape: Tape) -> Iterator[Finding]:
    """Expect an ExternalEvent for each WfRun of each POSTED, once, and no other that came by a key."""
    wanted: Counter[tuple[str, str]] = Counter()
    for _, record in tape.of(DECIDED):
        _, fields = decode(record.value or b"")
        if fields["outcome"] == "POSTED":
            wanted.update((it["wf_run_id"], fields["external_event_id"]) for it in fields["wf_runs"])
    found: Counter[tuple[str, str]] = Counter()
    for _, record in tape.of("external-events"):
        name, fields = decode(record.value) if record.value else ("", {})
        if name == "ExternalEvent" and fields["external_event_id"].startswith(BY_KEY):
            found[fields["wf_run_id"], fields["external_event_id"]] += 1
    for it in wanted.keys() | found.keys():
        if wanted[it] != found[it]:
            kind = Kind.LOST if found[it] < wanted[it] else Kind.DOUBLED
            yield Finding(kind, f"event {it[1]} was posted {found[it]} times to {it[0]}, expected {wanted[it]}")


class _Partition:
    """The keys of one partition, as its log says in which order they were decided."""

    def __init__(self, tape: Tape, partition: int, kept_ms: int) -> None:
        self._tape, self._partition, self._kept_ms = tape, partition, kept_ms
        self._keys: dict[str, Key] = defaultdict(Key)
        keys = ((address, record.key or b"") for address, record in tape.of("definitions"))
        defined = (address.offset for address, key in keys if key.startswith(b"EXTERNAL_EVENT_DEF/moved/"))
        self._defined_at = min(defined, default=0)
        """Where its ExternalEventDef is on `definitions`: before that there is none."""
        self._inputs = {
            address: (*decode(record.value or b""), record.timestamp_ms)
            for topic in INPUTS
            for address, record in tape.of(topic)
            if address.partition == partition
        }

    def check(self) -> Iterator[Finding]:
        """Decide each input in the order of the log, and compare."""
        blocks: dict[RecordAddress, list[dict[str, Any]]] = {}
        latest = dict.fromkeys(INPUTS, -1)
        for address, record in self._tape.of(DECIDED):
            if address.partition != self._partition:
                continue
            _, fields = decode(record.value or b"")
            cause = RecordAddress(*(fields["cause"][name] for name in ("topic", "partition", "offset")))
            if cause not in blocks and cause.offset < latest.get(cause.topic, -1):
                yield Finding(Kind.OUT_OF_ORDER, f"{address}: {cause} was decided after @{latest[cause.topic]}")
            latest[cause.topic] = max(latest.get(cause.topic, -1), cause.offset)
            blocks.setdefault(cause, []).append(fields)
        for cause, found in blocks.items():
            if cause not in self._inputs:
                yield Finding(Kind.FROM_NOWHERE, f"{cause} has an outcome, and no read_committed reader sees it")
                continue
            is_known = found[0]["cause"]["definitions_position"] > self._defined_at
            wanted = self._decide(*self._inputs[cause], is_known)
            told = [(it["outcome"], it["external_event_id"], [of["wf_run_id"] for of in it["wf_runs"]]) for it in found]
            if told != wanted:
                yield Finding(Kind.DECIDED, f"{cause}: expected {wanted}, found {told}")
        for missing in self._inputs.keys() - blocks.keys():
            yield Finding(Kind.LOST, f"{missing} has no outcome")
        yield from self._check_rows()

    def _decide(
        self, name: str, fields: dict[str, Any], time_ms: int, is_known: bool
    ) -> list[tuple[str, str | None, list[str]]]:
        key = self._keys[fields["correlation_key"]]
        if name == "CorrelatedEvent":
            event_id = fields["external_event_id"]
            if not is_known or event_id in key.waiting or event_id in key.posted[-REMEMBERED_MAX:]:
                return [("REJECTED", event_id, [])]
            if not key.have:
                key.waiting[event_id] = time_ms + self._kept_ms
                return [("KEPT", event_id, [])]
            key.posted.append(event_id)
            return [("POSTED", event_id, [*key.have])]
        over = [it for it, until_ms in key.waiting.items() if until_ms <= time_ms]
        if name == "CorrelationTimerFired":
            for it in over:
                del key.waiting[it]
            return [("EXPIRED", it, []) for it in over] or [("IGNORED", None, [])]
        wf_run_id, incarnation = fields["wf_run_id"], fields["incarnation"]
        if name == "RegisterCorrelationKey":
            if key.have.get(wf_run_id, -1) >= incarnation:
                return [("IGNORED", None, [])]
            key.have.pop(wf_run_id, None)
            key.have[wf_run_id] = incarnation
            waiting, key.waiting = key.waiting, {}
            key.posted += [it for it in waiting if it not in over]
            became = (("EXPIRED", it, []) if it in over else ("POSTED", it, [wf_run_id]) for it in waiting)
            return [("REGISTERED", None, [wf_run_id]), *became]
        if key.have.get(wf_run_id) != incarnation:
            return [("IGNORED", None, [])]
        del key.have[wf_run_id]
        return [("REMOVED", None, [wf_run_id])]

    def _check_rows(self) -> Iterator[Finding]:
        rows = {
            name.decode(): decode(value)[1]
            for (partition, name), value in self._tape.last_values(CORRELATIONS).items()
            if partition == self._partition
        }
        known = {f"moved/{name}": it for name, it in self._keys.items() if it.have or it.waiting or it.posted}
        for name in rows.keys() | known.keys():
            row, key = rows.get(name), known.get(name, Key())
            have = [(it["wf_run_id"], it["incarnation"]) for it in row["wf_runs"]] if row else []
            waiting = [it["external_event_id"] for it in row["kept"]] if row else []
            for event_id, until_ms in key.waiting.items():
                if until_ms < self._tape.read_at_ms - LATE_MS:
                    yield Finding(Kind.LOST, f"event {event_id} of {name} waits since its time was over")
            if (have, waiting) != ([*key.have.items()], [*key.waiting]):
                sentence = f"{CORRELATIONS}[{self._partition}] {name}: expected {key}, found {have} and {waiting}"
                yield Finding(Kind.STATE, sentence)
