"""Rules of the thread that reads the log for all who wait: each is given what is his, once and in order."""

import asyncio
from typing import Any, cast

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from halter.client import watch
from halter.client.reading import offset_of
from halter.client.waiting import Wait
from halter.client.watch import Caller, Partitions

KEYS = (b"ann", b"bob", b"cid")


class Listener(Wait[list[int]]):
    """Waits for so many records, and notes their offsets."""

    def __init__(self, partition: int, start: int, key: bytes, enough: int = 1_000_000) -> None:
        super().__init__(cast("Any", None), partition, start, key)
        self.begin, self.enough = start, enough
        self.offsets: list[int] = []

    def take(self, entry: Any) -> bool:
        if entry is not None:
            self.offsets.append(entry)
        return len(self.offsets) >= self.enough

    def result(self) -> list[int]:
        return self.offsets

    def late(self, _: float) -> list[int]:
        return self.offsets

    def _look(self, *_: float) -> None: ...


class Log:
    """Two partitions, and a consumer of them."""

    def __init__(self, kept_max: int, patched: pytest.MonkeyPatch) -> None:
        patched.setattr(watch, "KEPT_MAX", kept_max)
        self.records: list[list[Message]] = [[], []]
        self.told: list[Caller] = []
        self.partitions = Partitions(cast("Any", offset_of), lambda caller, _: self.told.append(caller))
        self.read_from: dict[int, int] = {}

    def write(self, partition: int, key: bytes) -> None:
        log = self.records[partition]
        log.append(Message(topic="wf-events", partition=partition, offset=len(log), key=key, value=b""))

    def begin(self, wait: Listener) -> Caller:
        caller = Caller(wait, cast("asyncio.Future[None]", None))
        for number, place in self.partitions.add([caller]).items():
            self.read_from[number] = place.position
        return caller

    def read(self, most: int) -> None:
        """Read so many records of each partition, and hear of its end if that is reached."""
        for number, position in self.read_from.items():
            records = self.records[number][position : position + most]
            self.read_from[number] = end = position + len(records)
            self.partitions.take(records, {number: end} if end == len(self.records[number]) else {})

    def wanted(self, wait: Listener) -> list[int]:
        log = self.records[wait.partition]
        return [n for n in range(wait.begin, len(log)) if log[n].key() in wait.keys][: wait.enough]


@given(data=st.data(), kept_max=st.integers(1, 5))
def test_each_who_waits_is_given_his_records_once_and_in_order(data: st.DataObject, kept_max: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        log, waiting, gone = Log(kept_max, patched), list[Caller](), list[Caller]()
        for _ in range(data.draw(st.integers(1, 40))):
            partition = data.draw(st.integers(0, 1))
            match data.draw(st.sampled_from(["write", "write", "read", "wait", "leave"])):
                case "write":
                    log.write(partition, data.draw(st.sampled_from(KEYS)))
                case "read":
                    log.read(data.draw(st.integers(1, 4)))
                case "wait":
                    start = data.draw(st.integers(0, len(log.records[partition])))
                    enough = data.draw(st.sampled_from([1, 2, 1_000]))
                    waiting.append(log.begin(Listener(partition, start, data.draw(st.sampled_from(KEYS)), enough)))
                case "leave" if waiting:
                    gone.append(waiting.pop())
                    log.partitions.remove(gone[-1:])
        had = [[*cast("Listener", it.wait).offsets] for it in gone]
        log.read(1_000)
        log.read(1_000)
        for caller in waiting:
            listener = cast("Listener", caller.wait)
            assert listener.offsets == log.wanted(listener)
            assert (caller in log.told) == (len(listener.offsets) >= listener.enough)
        assert [cast("Listener", it.wait).offsets for it in gone] == had
        log.partitions.remove(waiting)
        assert log.partitions.are_idle
        assert all(not place.callers for place in log.partitions.places.values())


def test_who_comes_when_his_record_was_read_already_is_given_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(100, monkeypatch)
    for key in (b"ann", b"bob", b"ann"):
        log.write(0, key)
    log.begin(Listener(0, 0, b"nobody"))
    log.read(10)
    late = Listener(0, 0, b"ann")
    log.read_from.clear()
    log.begin(late)
    assert (late.offsets, late.start, log.read_from) == ([0, 2], 3, {})


def test_an_error_is_for_him_who_waits_for_what_raises_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log, errors = Log(100, monkeypatch), list[BaseException | None]()

    class Broken(Listener):
        def take(self, _: Any) -> bool:
            raise ValueError("broken")

    log.partitions = Partitions(cast("Any", offset_of), lambda _, error: errors.append(error))
    log.begin(Broken(0, 0, b"ann"))
    log.begin(whole := Listener(0, 0, b"ann"))
    log.write(0, b"ann")
    log.read(10)
    assert [str(it) for it in errors] == ["broken"]
    assert whole.offsets == [0]
