"""Stores: the glance at rows of a load, the effect of a broken row, and when files are trusted."""

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from processors.codec.registry import RegistryUnavailable
from processors.core.records.commands import (
    DeleteWfRun,
    ExternalEvent,
    PutExternalEventDef,
    PutWfSpec,
    QuarantineWfRun,
    ReleaseWfRun,
    RunWf,
    SkipRecord,
)
from processors.core.records.events import Rejected
from processors.core.records.model import ExternalEventStatus, ThreadRun, WfRun, WfRunExternalEvent
from processors.fold.inputs import ReadInput
from processors.fold.stores import BrokenState, MemoryStore, StatePosition
from processors.fold.stores.remembered import Remembered
from processors.fold.stores.rocks import DAMAGED, RocksStore, RocksStores, StoreUnusable
from processors.fold.stores.wf_runs import GENERATION_MS, MANY_EXTERNAL_EVENTS, OLDEST_GOES, ROW_BYTES, ROWS_HELD
from processors.fold.timers import ArmedTimer
from tests.support.records import instances, wf_runs
from tests.support.shard_rig import ShardRig

WF_SPEC = {
    "name": "waits",
    "entrypoint": "main",
    "threads": {
        "main": {
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "timeout_s": 60, "next": "end"},
                "end": {"kind": "EXIT"},
            }
        }
    },
}


@pytest.fixture
def rig() -> ShardRig:
    rig = ShardRig()
    rig.turn(PutExternalEventDef("go"), PutWfSpec("waits", json.dumps(WF_SPEC)))
    rig.turn(RunWf("w1", "waits"), RunWf("w2", "waits"))
    return rig


@settings(deadline=None)
@given(wf_runs())
def test_a_peek_sees_what_decoding_sees_of_a_wf_run(run: WfRun) -> None:
    codec = ShardRig().codec
    seen = codec.peek(codec.encode(run), "WfRun", ("incarnation", "timer", "final_status"))
    assert seen == (run.incarnation, run.timer, run.final_status)


@settings(deadline=None)
@given(instances(ThreadRun))
def test_a_peek_sees_what_decoding_sees_of_a_thread_run(thread: ThreadRun) -> None:
    codec = ShardRig().codec
    seen = codec.peek(codec.encode(thread), "ThreadRun", ("number", "status", "node"))
    assert seen == (thread.number, thread.status, thread.node)


def damage(rig: ShardRig, topic: str, key: bytes, how: Callable[[bytes], bytes]) -> None:
    """Write a row with other bytes, and start a worker with it."""
    rig.tables[topic][key] = how(rig.tables[topic][key])
    rig.crash()


@pytest.mark.parametrize(
    ("topic", "key", "how"),
    [
        ("thread-runs", b"w1/0", lambda row: row[:-3]),
        ("thread-runs", b"w1/0", lambda row: row[:12]),
        ("thread-runs", b"w1/0", lambda _: b"not Avro"),
        ("wf-runs", b"w1", lambda row: row[:11]),
    ],
)
def test_a_row_that_cannot_be_read_is_in_the_way_of_its_wf_run_alone(
    rig: ShardRig, topic: str, key: bytes, how: Callable[[bytes], bytes]
) -> None:
    damage(rig, topic, key, how)
    assert rig.events(ExternalEvent("w2", "go", "e1"))[-1] == "WfRunEnded"
    with pytest.raises(BrokenState, match=rf"{topic}\[0\], key b'{key.decode()}'"):
        rig.turn(ExternalEvent("w1", "go", "e2"))


def test_a_registry_that_does_not_answer_breaks_no_row(rig: ShardRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {value for table in rig.tables.values() for value in table.values()}
    rig.crash()

    def away_for_rows(ask: Callable[..., Any]) -> Callable[..., Any]:
        def asked(data: bytes, *arguments: Any) -> Any:
            if data in rows:
                raise RegistryUnavailable("cannot ask for schema 7")
            return ask(data, *arguments)

        return asked

    with monkeypatch.context() as away:
        away.setattr(rig.codec, "decode", away_for_rows(rig.codec.decode))
        for item in (ExternalEvent("w1", "go", "e1"), QuarantineWfRun("w1")):
            with pytest.raises(RegistryUnavailable):
                rig.shard.fold(ReadInput(rig.command(item)))
    for method in ("decode", "peek"):
        with monkeypatch.context() as away:
            away.setattr(rig.codec, method, away_for_rows(getattr(rig.codec, method)))
            with pytest.raises(RegistryUnavailable):
                rig.restored()
    rig.crash()
    assert rig.shard.broken == []


def test_rows_that_do_not_fit_together_are_told_when_they_come(rig: ShardRig) -> None:
    del rig.tables["thread-runs"][b"w1/0"]
    rig.crash()
    (error,) = rig.shard.broken
    assert str(error) == "partition 0: WfRun 'w1' has no row of thread 0"


def test_a_row_of_another_record_is_told_when_it_comes(rig: ShardRig) -> None:
    damage(rig, "thread-runs", b"w1/0", lambda _: rig.tables["wf-runs"][b"w1"])
    (error,) = rig.shard.broken
    assert str(error) == "thread-runs[0], key b'w1/0': WfRun: expected a ThreadRun"


def test_a_row_of_another_wf_run_stops_its_own_and_changes_nothing_of_the_other(rig: ShardRig) -> None:
    rig.tables["wf-runs"][b"w1"] = rig.tables["wf-runs"][b"w2"]
    rig.tables["thread-runs"][b"w1/0"] = rig.tables["thread-runs"][b"w2/0"]
    rig.crash()
    with pytest.raises(BrokenState, match=r"key b'w1': expected one of this WfRun, found one of 'w2'"):
        rig.turn(ExternalEvent("w1", "go", "e1"))


def test_a_wf_run_with_a_broken_thread_can_be_put_into_quarantine_and_its_partition_goes_on(rig: ShardRig) -> None:
    damage(rig, "thread-runs", b"w1/0", lambda row: row[:-3])
    assert rig.events(QuarantineWfRun("w1")) == ["WfRunQuarantined"]
    for _ in range(2):
        assert rig.events(ExternalEvent("w1", "go", f"e{rig.turns}")) == ["InputKept"]
        rig.crash()
    assert rig.events(ReleaseWfRun("w1")) == ["Rejected"]


def test_seq_goes_on_in_what_operators_do_with_a_wf_run_of_which_a_row_is_broken(rig: ShardRig) -> None:
    seq = rig.shard.wf_runs["w1"].seq
    damage(rig, "thread-runs", b"w1/0", lambda row: row[:-3])
    to_skip = rig.command(ExternalEvent("w1", "go", "e1"))
    rig.turn(SkipRecord("external-events", 0, to_skip.offset, to_skip.timestamp_ms))
    turns = [ReleaseWfRun("w1"), ReleaseWfRun("w1")], [to_skip], [ReleaseWfRun("w1"), QuarantineWfRun("w1")]
    entries = []
    for turn in turns:
        entries += rig.log(*turn)
        if len(entries) < 4:
            with pytest.raises(BrokenState):
                rig.shard.wf_runs["w1"]  # it is held for no other
    assert [(type(entry.event).__name__, entry.seq) for entry in entries] == [
        ("Rejected", seq + 1),
        ("Rejected", seq + 2),
        ("RecordSkipped", seq + 3),
        ("Rejected", seq + 4),
        ("WfRunQuarantined", seq + 5),
    ]
    rig.crash()
    assert rig.shard.wf_runs["w1"].seq == seq + 5


def test_what_rests_is_dropped_and_what_is_busy_is_not(rig: ShardRig) -> None:
    runs = rig.shard.wf_runs
    busy, resting = runs["w1"], runs["w2"]
    for number in range(1, 4):
        rig.shard.due_timers(number * GENERATION_MS, 0)
        assert runs["w1"] is busy
    assert runs["w2"] is not resting
    assert (runs["w2"].threads, runs["w2"].seq) == (resting.threads, resting.seq)


HEARTBEAT = {
    "name": "beats",
    "entrypoint": "main",
    "threads": {
        "main": {
            "interrupts": [{"event": "beat", "handler": "note"}],
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "then"},
                "then": {"kind": "EXTERNAL_EVENT", "event": "early", "next": "end"},
                "end": {"kind": "EXIT"},
            },
        },
        "note": {"nodes": {"start": {"kind": "ENTRYPOINT", "next": "end"}, "end": {"kind": "EXIT"}}},
    },
}


@pytest.fixture
def beating(rig: ShardRig) -> ShardRig:
    """Return a rig with a resting WfRun, after so many heartbeats that their number matters."""
    definitions = PutExternalEventDef("beat"), PutExternalEventDef("early")
    rig.turn(*definitions, PutWfSpec("beats", json.dumps(HEARTBEAT)))
    rig.turn(RunWf("w3", "beats"), ExternalEvent("w3", "early", "e1"))
    rig.turn(*(ExternalEvent("w3", "beat", f"b{number}") for number in range(2 * MANY_EXTERNAL_EVENTS)))
    rest(rig)
    return rig


def rest(rig: ShardRig) -> None:
    for _ in range(2):
        rig.shard.wf_runs.drop_the_older()


def decoded(rig: ShardRig, wf_run_id: str) -> int:
    """Return the number of ExternalEvents of a WfRun that are decoded."""
    events = rig.shard.wf_runs[wf_run_id].external_events
    return events.here if isinstance(events, Remembered) else len(events)


def test_a_wf_run_that_comes_back_decodes_no_external_events_that_are_settled(beating: ShardRig) -> None:
    assert beating.events(ExternalEvent("w3", "beat", "new"))[0] == "ExternalEventPosted"
    assert decoded(beating, "w3") == 1
    rest(beating)
    assert decoded(beating, "w3") == 0


def test_it_refuses_a_repeat_all_the_same(beating: ShardRig) -> None:
    assert beating.events(ExternalEvent("w3", "beat", "b3")) == ["Rejected"]
    assert decoded(beating, "w3") == 0


def test_its_external_events_are_what_they_were(beating: ShardRig) -> None:
    run = beating.shard.wf_runs["w3"]
    beating.crash()
    assert run.external_events == beating.shard.wf_runs["w3"].external_events
    beats = [f"b{number}" for number in range(2 * MANY_EXTERNAL_EVENTS)]
    assert [event.external_event_id for event in run.external_events.values()] == ["e1", *beats]


def remembered(keys: int = 4) -> tuple[Remembered, dict[Any, Any]]:
    """Return a Remembered with nothing decoded yet, and the dict that it must equal."""
    plain = {
        ("beat", f"b{key}"): WfRunExternalEvent("w1", "beat", f"b{key}", ExternalEventStatus.CLAIMED, 0, key, 1)
        for key in range(keys)
    }
    return Remembered(plain, plain.__getitem__), plain


A_KEY = ("beat", "b1")


@pytest.mark.parametrize(
    "seen",
    [
        dict,
        copy.copy,
        copy.deepcopy,
        lambda it: it.copy(),
        lambda it: pickle.loads(pickle.dumps(it)),
        lambda it: {**it},
        lambda it: it | {},
        lambda it: {} | it,
        lambda it: dict(it.items()),
        lambda it: dict(zip(it, it.values(), strict=True)),
        lambda it: {key: it.setdefault(key, None) for key in it},
        lambda it: {key: it[key] for key in it.keys()},  # noqa: SIM118  another way there
        lambda it: it,
    ],
)
def test_whatever_is_made_of_what_is_remembered_is_what_a_dict_would_give(seen: Callable[[Any], Any]) -> None:
    it, plain = remembered()
    assert seen(it) == plain
    assert (seen(it) != plain) is False
    assert it == remembered()[0]
    assert (it != remembered()[0]) is False
    assert it != remembered(3)[0]
    assert it != {**plain, A_KEY: None}


def test_what_is_remembered_changes_as_a_dict_does_and_counts_what_is_decoded() -> None:
    it, plain = remembered()
    for each in (it, plain):
        each.update({("beat", "new"): plain[A_KEY]})
        each |= {("beat", "newer"): plain[A_KEY]}
        each.pop(A_KEY)
        each.popitem()
        del each["beat", "b0"]
        each.setdefault(("beat", "b0"), each["beat", "b2"])
    assert it.here == 3  # new, b2, b0
    assert list(it.items()) == list(plain.items())
    assert it.here == len(it) == 4
    assert repr(it) == "Remembered(4 ExternalEvents, 4 decoded)"
    it.clear()
    assert (it.here, it) == (0, {})
    it.forget()
    assert it == {}


@pytest.mark.parametrize("touched", ["rested", "only looked at since the restart"])
def test_it_finds_one_that_came_before_it_was_waited_for(beating: ShardRig, touched: str) -> None:
    if touched != "rested":
        beating.crash()
        assert decoded(beating, "w3") > MANY_EXTERNAL_EVENTS
        rest(beating)
    assert beating.events(ExternalEvent("w3", "go", "now"))[-1] == "WfRunEnded"


def test_a_wf_run_that_was_deleted_while_it_rested_remembers_nothing(beating: ShardRig) -> None:
    assert beating.events(DeleteWfRun("w3")) == ["WfRunDeleted"]
    assert not any(key.startswith(b"w3") for table in beating.tables.values() for key in table)
    assert beating.events(RunWf("w3", "beats"))[0] == "WfRunStarted"
    rest(beating)
    assert beating.events(ExternalEvent("w3", "beat", "b3"))[-1] == "Resume"


def test_a_wf_run_that_rests_can_be_put_into_quarantine_and_released(beating: ShardRig) -> None:
    assert beating.events(QuarantineWfRun("w3")) == ["WfRunQuarantined"]
    rest(beating)
    assert beating.events(ExternalEvent("w3", "beat", "kept")) == ["InputKept"]
    rest(beating)
    assert beating.events(ReleaseWfRun("w3"))[-1] == "Resume"
    assert beating.events(ExternalEvent("w3", "beat", "kept")) == ["Rejected"]


def beats(rig: ShardRig, wf_run_ids: list[str]) -> list[str]:
    """Send a heartbeat to each of these resting WfRuns. Return those for which all rows were decoded."""
    runs, decoded_all = rig.shard.wf_runs, []
    for wf_run_id in wf_run_ids:
        rest(rig)
        assert rig.events(ExternalEvent(wf_run_id, "beat", f"n{rig.turns}"))[-1] == "Resume"
        if not isinstance(runs[wf_run_id].external_events, Remembered):
            decoded_all.append(wf_run_id)
    return decoded_all


@pytest.fixture
def too_many(beating: ShardRig, monkeypatch: pytest.MonkeyPatch) -> tuple[ShardRig, list[str]]:
    """Return five WfRuns that remember much, with room for the keys of four, those in memory included."""
    monkeypatch.setattr("processors.fold.stores.wf_runs.KEYS_KEPT", 158)
    ids = [f"x{number}" for number in range(5)]
    for wf_run_id in ids:
        beating.turn(RunWf(wf_run_id, "beats"))
        beating.turn(*(ExternalEvent(wf_run_id, "beat", f"b{number}") for number in range(2 * MANY_EXTERNAL_EVENTS)))
    beating.turn(DeleteWfRun("w3"))
    return beating, ids


def test_one_wf_run_too_many_costs_one_of_them_and_not_all(too_many: tuple[ShardRig, list[str]]) -> None:
    rig, ids = too_many
    beats(rig, ids)
    assert all(len(beats(rig, ids)) <= 2 for _ in range(5))


def test_what_is_never_touched_again_makes_room_after_a_while(too_many: tuple[ShardRig, list[str]]) -> None:
    rig, ids = too_many
    beats(rig, ids[:4])
    tries = [ids[4]] * (OLDEST_GOES + 2)
    decoded_all = beats(rig, tries)
    assert 0 < len(decoded_all) <= OLDEST_GOES
    assert beats(rig, tries) == []


def test_keys_of_wf_runs_that_are_busy_count_as_well(beating: ShardRig, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = beating.shard._runs
    keys = len(runs["w3"].external_events)
    beating.events(ExternalEvent("w3", "beat", "new"))
    assert (runs._keys_young, runs._keys_old, runs._keys_resting) == (keys, 0, 0)
    monkeypatch.setattr("processors.fold.stores.wf_runs.KEYS_KEPT", keys)
    beating.turn(ExternalEvent("w3", "beat", "newer"))  # more than half of the room
    assert (runs._keys_young, runs._keys_old, runs._keys_resting) == (0, keys + 2, 0)
    beating.shard.wf_runs.drop_the_older()
    assert (runs._keys_young, runs._keys_old, runs._keys_resting) == (0, 0, 0)  # more than the room


def test_what_is_held_is_bounded_in_bytes(rig: ShardRig) -> None:
    """If only their number counted, as many rows of 250 KB as are allowed of small ones would take a gigabyte."""
    ids, most = [f"large{number}" for number in range(150)], 2 * (ROWS_HELD * ROW_BYTES // 250_000 + 2)
    rig.turn(PutExternalEventDef("large"))
    for wf_run_id in ids:
        rig.turn(ExternalEvent(wf_run_id, "large", "k", "x" * 250_000))
    runs = rig.shard._runs
    assert len(runs._young) + len(runs._old) <= most
    rig.crash()
    runs = rig.shard._runs
    for wf_run_id in [*ids, *ids[:20] * 10]:
        assert runs[wf_run_id].external_events
        rig.shard.committed()
        assert len(runs._young) + len(runs._old) <= most
    for _ in range(2):
        runs.drop_the_older()
    assert not runs._large


def test_timers_are_armed_from_rows_as_they_were(rig: ShardRig) -> None:
    due_ms = rig.shard.next_timer_ms()
    rig.crash()
    assert rig.shard.next_timer_ms() == due_ms == rig.now_ms + 60_000
    assert len(rig.shard.due_timers(due_ms, 10)) == 2


INSTALLATION = {"cluster": "A", "wf-runs": "id-1"}
ENDS = {"wf-runs": StatePosition(10, 0), "fold-positions": StatePosition(7, 0), "definitions": StatePosition(3, 0)}
BEGINNING: dict[str, StatePosition] = {}
CHECKPOINT = {topic: ENDS[topic] for topic in ("wf-runs", "fold-positions")}
TIMER = ArmedTimer(5, "w1", 0, 1, "RETENTION", 3)  # type: ignore[arg-type]  # written as its text


class Disk:
    """A partition's folder, with one open store at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_s = 1_000.0
        self.store: RocksStore | None = None

    def opened(self, partitions: str = "1") -> RocksStore:
        if self.store is not None:
            self.store.close()
        self.store = RocksStore(self.folder, {"partitions": partitions}, 1_800, lambda: self.now_s)
        return self.store

    def loaded(self) -> RocksStore:
        """Return a store with a row below its checkpoint."""
        store = self.opened()
        assert store.resume(INSTALLATION, ENDS) == BEGINNING
        store.put("wf-runs", b"w1", b"row")
        store.put("thread-runs", b"w1/0", b"thread")
        store.put("thread-runs", b"w10/0", b"another's")
        store.put("fold-positions", b"0", b"position")
        assert [wf_run_id for wf_run_id, _ in store.news()] == ["w1", "w10"]
        store.checkpoint(ENDS)
        return store


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "0")
    yield disk
    if disk.store is not None:
        disk.store.close()


def test_files_are_read_on_from_their_checkpoint(disk: Disk) -> None:
    disk.loaded()
    store = disk.opened()
    assert store.resume(INSTALLATION, ENDS) == CHECKPOINT
    assert [(row.key, row.value) for row in store.rows("w1")] == [(b"w1", b"row"), (b"w1/0", b"thread")]
    assert store.position() == b"position"
    assert list(store.wf_run_ids()) == ["w1", "w10"]
    store.put("wf-runs", b"w2", b"news")
    assert [wf_run_id for wf_run_id, _ in store.news()] == ["w2"]


@pytest.fixture
def both(disk: Disk) -> tuple[MemoryStore, RocksStore]:
    """Return two stores with the same rows."""
    stores = MemoryStore(), disk.opened()
    for (topic, key), value in ROWS.items():
        for store in stores:
            store.put(topic, key, value)
    assert len(list(stores[1].news())) == 2
    return stores


ROWS = {
    ("wf-runs", b"w1"): b"own",
    ("thread-runs", b"w1/0"): b"entrypoint",
    ("thread-runs", b"w1/7"): b"child",
    ("wf-run-external-events", b"w1/go/a/b"): b"event",
    ("kept-inputs", b"w1/1"): b"kept",
    ("wf-runs", b"w10"): b"of another",
    ("wf-run-external-events", b"w10/go/a/b"): b"of another",
}


@pytest.mark.parametrize("external_events", [True, False])
@pytest.mark.parametrize("kind", ["memory", "files"])
def test_a_store_has_the_rows_that_were_put(disk: Disk, kind: str, external_events: bool) -> None:
    store = MemoryStore() if kind == "memory" else disk.loaded()
    for (topic, key), value in ROWS.items():
        store.put(topic, key, value)
    store.committed()
    expected = {
        (topic, key, value)
        for (topic, key), value in ROWS.items()
        if key.split(b"/")[0] == b"w1" and (external_events or topic != "wf-run-external-events")
    }
    found = store.rows("w1", external_events=external_events)
    assert len(found) == len(expected)
    assert set(found) == expected
    for (topic, key), value in ROWS.items():
        assert store.row(topic, key) == value
        store.put(topic, key, None)
    store.committed()
    assert store.rows("w1") == []
    assert not any(store.row(topic, key) for topic, key in ROWS)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wf_run_id=st.text(st.sampled_from("w1/0tek-agob\x00é "), max_size=8), external_events=st.booleans())
@example(wf_run_id="w1", external_events=True)
@example(wf_run_id="w1", external_events=False)
@example(wf_run_id="w10", external_events=True)
@example(wf_run_id="w1/ego", external_events=True)
@example(wf_run_id="w1/ego/a", external_events=False)
@example(wf_run_id="w1/", external_events=True)
@example(wf_run_id="", external_events=True)
def test_stores_have_the_same_rows_for_every_id_that_somebody_may_ask_for(
    both: tuple[MemoryStore, RocksStore], wf_run_id: str, external_events: bool
) -> None:
    memory, files = (set(store.rows(wf_run_id, external_events=external_events)) for store in both)
    assert files == memory
    assert len(memory) == {("w1", True): 5, ("w1", False): 4, ("w10", True): 2, ("w10", False): 1}.get(
        (wf_run_id, external_events), 0
    )
    assert all(row.key.split(b"/")[0] == wf_run_id.encode() for row in memory)


def test_an_external_event_for_an_id_that_looks_like_keys_of_rows_is_rejected(tmp_path: Path) -> None:
    rigs = ShardRig(), ShardRig(new_store=RocksStores(tmp_path, {}, 1_800))
    for rig in rigs:
        rig.turn(PutExternalEventDef("go"), PutExternalEventDef("other"), PutWfSpec("waits", json.dumps(WF_SPEC)))
        rig.turn(RunWf("w1", "waits"), ExternalEvent("w1", "other", "e1"))
    for wf_run_id in ("w1/eother", "w1/e", "w1/t", "w1/t0", "w1/", "w1/k", "/", "/w1"):
        first, second = (rig.log(ExternalEvent(wf_run_id, "go", "x")) for rig in rigs)
        assert [entry.event for entry in first] == [entry.event for entry in second]
        assert isinstance(first[0].event, Rejected)


def test_what_was_not_committed_is_not_in_the_files(disk: Disk) -> None:
    store = disk.loaded()
    store.put("wf-runs", b"w1", b"of an aborted turn")
    store.put("wf-runs", b"w3", b"of an aborted turn")
    store.armed(TIMER)
    store = disk.opened()
    store.resume(INSTALLATION, ENDS)
    assert store.rows("w1")[0].value == b"row"
    assert store.rows("w3") == []
    assert list(store.timers()) == []


def test_what_was_committed_is_in_the_files_with_its_timers(disk: Disk) -> None:
    store = disk.loaded()
    store.put("wf-runs", b"w1", None)
    store.put("wf-runs", b"w3", b"new")
    store.armed(TIMER)
    store.armed(TIMER._replace(due_ms=6))
    store.gone(TIMER._replace(due_ms=6))
    store.committed()
    store = disk.opened()
    store.resume(INSTALLATION, ENDS)
    assert [row.key for row in store.rows("w1")] == [b"w1/0"]
    assert store.rows("w3")[0].value == b"new"
    assert list(store.timers()) == [TIMER]


@pytest.mark.parametrize(
    ("installation", "ends"),
    [
        ({**INSTALLATION, "cluster": "B"}, ENDS),
        ({**INSTALLATION, "wf-runs": "id-2"}, ENDS),
        (INSTALLATION, {**ENDS, "wf-runs": StatePosition(9, 0)}),
    ],
    ids=["another cluster", "a topic made anew", "a topic that ends before the checkpoint"],
)
def test_files_of_something_else_are_wiped(
    disk: Disk, installation: dict[str, str], ends: dict[str, StatePosition]
) -> None:
    disk.loaded()
    store = disk.opened()
    assert store.resume(installation, ends) == BEGINNING
    assert list(store.wf_run_ids()) == []
    assert store.position() is None


def test_files_of_another_number_of_partitions_are_wiped(disk: Disk) -> None:
    disk.loaded()
    assert disk.opened(partitions="2").resume(INSTALLATION, ENDS) == BEGINNING


@pytest.mark.parametrize("passed_s", [1_801, -1])
def test_files_are_wiped_when_deletions_since_their_checkpoint_may_be_gone(disk: Disk, passed_s: int) -> None:
    disk.loaded()
    disk.now_s += passed_s
    store = disk.opened()
    assert store.resume(INSTALLATION, ENDS) == BEGINNING
    assert list(store.wf_run_ids()) == []


def test_files_that_were_not_loaded_to_the_end_are_wiped(disk: Disk) -> None:
    store = disk.opened()
    store.resume(INSTALLATION, ENDS)
    store.put("wf-runs", b"w1", b"row")
    list(store.news())
    store = disk.opened()
    assert store.resume(INSTALLATION, ENDS) == BEGINNING
    assert store.rows("w1") == []


def test_a_load_may_stop_anywhere_and_begin_again_from_the_checkpoint(disk: Disk) -> None:
    disk.loaded()
    for _ in range(2):
        store = disk.opened()
        assert store.resume(INSTALLATION, ENDS) == CHECKPOINT
        store.put("wf-runs", b"w2", b"news")
        assert [wf_run_id for wf_run_id, _ in store.news()] == ["w2"]


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-*"])
def test_files_that_cannot_be_opened_are_wiped(disk: Disk, name: str) -> None:
    disk.loaded().close()
    for file in disk.folder.glob(name):
        file.write_bytes(b"nonsense")
    store = disk.opened()
    assert store.resume(INSTALLATION, ENDS) == BEGINNING
    store.put("wf-runs", b"w1", b"row")
    list(store.news())
    assert store.rows("w1")[0].value == b"row"


def test_files_that_were_found_to_be_damaged_are_wiped_when_they_are_opened_again(disk: Disk) -> None:
    disk.loaded().close()
    (disk.folder / DAMAGED).touch()
    assert disk.opened().resume(INSTALLATION, ENDS) == BEGINNING


def test_a_disk_that_takes_no_more_is_told_and_the_files_are_wiped_when_it_has_room_again(disk: Disk) -> None:
    """The limit on the size of a file stands for a full disk: RocksDB's write fails at the same place."""
    disk.loaded().close()
    code = (
        "import resource, sys, pathlib\n"
        "from processors.fold.stores.rocks import RocksStore, StoreDamaged\n"
        "store = RocksStore(pathlib.Path(sys.argv[1]), {'partitions': '1'}, 1_800, lambda: 1_000.0)\n"
        "list(store.news())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    for number in range(1_000):\n"
        "        store.put('wf-runs', b'w%d' % number, bytes(1_000))\n"
        "        store.committed()\n"
        "except StoreDamaged as error: print(error)\n"
        "store.close()\n"
    )
    command = [sys.executable, "-c", code, str(disk.folder)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"the store in {disk.folder} cannot be read or written any more" in told.stdout
    assert disk.opened().resume(INSTALLATION, ENDS) == BEGINNING


def test_a_store_that_cannot_be_closed_is_told_and_keeps_nobody_from_ending(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = disk.loaded()
    really = store._db

    class Full:
        def close(self) -> None:
            really.close()
            raise Exception("IO error: No space left on device")  # noqa: TRY002  rocksdict raises nothing more specific

    monkeypatch.setattr(store, "_db", Full())
    with structlog.testing.capture_logs() as logged:
        store.close()
    assert [(it["event"], it["log_level"]) for it in logged] == [("store_not_closed", "warning")]


def test_two_processes_cannot_share_a_folder(tmp_path: Path) -> None:
    taken = RocksStores(tmp_path, {}, 1_800)
    code = (
        "import sys, pathlib; from processors.fold.stores.rocks import *\n"
        "try: RocksStores(pathlib.Path(sys.argv[1]), {}, 1_800)\n"
        "except StoreUnusable as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "found that another process uses it" in told.stdout
    del taken
    RocksStores(tmp_path, {}, 1_800)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnusable, match="expected a folder for the store that can be written"):
        RocksStores(tmp_path / "file", {}, 1_800)


IDS = st.sampled_from(["w", "w1", "w10", "w 1", "w\x00", "wé"])
PUTS = st.lists(
    st.tuples(
        st.sampled_from(["wf-runs", "thread-runs", "wf-run-external-events", "kept-inputs"]),
        IDS,
        st.sampled_from(["0", "1", "a/b", "0/0"]),
        st.none() | st.binary(max_size=3),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None)
@given(PUTS)
def test_both_stores_hold_the_latest_rows(puts: list[tuple[str, str, str, bytes | None]]) -> None:
    from tempfile import TemporaryDirectory

    from processors.fold.stores import MemoryStore

    with TemporaryDirectory() as folder:
        disk = Disk(Path(folder))
        stores = [MemoryStore(), disk.opened()]
        expected: dict[str, set[tuple[str, bytes, bytes]]] = {}
        latest: dict[tuple[str, bytes], tuple[str, bytes | None]] = {}
        for topic, wf_run_id, rest, value in puts:
            key = (wf_run_id if topic == "wf-runs" else f"{wf_run_id}/{rest}").encode()
            latest[topic, key] = wf_run_id, value
            for store in stores:
                store.put(topic, key, value)
        for (topic, key), (wf_run_id, value) in latest.items():
            if value is not None:
                expected.setdefault(wf_run_id, set()).add((topic, key, value))
        for store in stores:
            assert {wf_run_id: {tuple(row) for row in rows} for wf_run_id, rows in store.news()} == expected
            assert set(store.wf_run_ids()) == expected.keys()
        assert disk.store is not None
        disk.store.close()
