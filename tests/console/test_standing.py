"""What waits to be folded is looked at by one, now and then; all others have what the last look has found."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from halter.console import standing
from halter.console.problems import OutOfReach
from halter.console.standing import Standing
from halter.doctor.standing import Folding, look
from processors.kafka.errors import KafkaUnavailable
from tests.support.waiting import wait_until

NOTHING = Folding({})


def looks(monkeypatch: pytest.MonkeyPatch, fresh_s: float) -> None:
    monkeypatch.setattr(standing, "FRESH_S", fresh_s)
    monkeypatch.setattr(standing, "PATIENCE_S", 0.05)


def test_one_looks_and_the_others_have_what_was_found_before(monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, fresh_s=0)
    begun, goes_on, made = threading.Event(), threading.Event(), list[int]()

    def look() -> Folding:
        made.append(1)
        begun.set()
        assert goes_on.wait(30)
        return NOTHING

    it = Standing(look)
    with ThreadPoolExecutor() as others:
        first = others.submit(it.now)
        assert begun.wait(30)
        with pytest.raises(OutOfReach, match="somebody else looks already"):
            it.now()
        goes_on.set()
        found = first.result(30)
        begun.clear()
        goes_on.clear()
        second = others.submit(it.now)
        assert begun.wait(30)
        assert it.now() is found, "nobody waits for a look that somebody else makes"
        goes_on.set()
        assert second.result(30)["standing"] == []
    assert len(made) == 2


def test_a_page_waits_for_no_look_and_an_old_one_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, fresh_s=0)
    goes_on, made = threading.Event(), list[int]()

    def look() -> Folding:
        made.append(1)
        if len(made) > 1:
            return NOTHING
        assert goes_on.wait(30)
        raise KafkaUnavailable("nothing answers")

    it = Standing(look)
    assert it.last() is None
    assert it.last() is None
    goes_on.set()
    wait_until("it is found later", lambda: it.last() is not None, 30)


def test_a_look_counts_for_a_while_also_if_nothing_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, fresh_s=60)
    made = list[int]()

    def look() -> Folding:
        made.append(1)
        raise KafkaUnavailable("nothing answers")

    it = Standing(look)
    for _ in range(3):
        with pytest.raises(KafkaUnavailable, match="nothing answers"):
            it.now()
        assert it.last() is None
    assert len(made) == 1


def test_where_there_are_only_marks_of_transactions_nothing_waits() -> None:
    marked, silent, done = ("wf-commands", 0), ("wf-commands", 1), ("wf-commands", 2)
    asked: list[Any] = []

    def read(starts: Any, most: int) -> Any:
        asked.append(starts)
        return {marked: []}  # the other one does not answer in time

    cluster: Any = SimpleNamespace(read=read, topics=SimpleNamespace(prefix=""))
    found = look(cluster, {}, {marked: 1, silent: 4, done: 0}, {marked: 7, silent: 3, done: 9})
    assert asked == [{marked: 7, silent: 3}]
    assert (found.behind, found.waiting) == ({marked: 0, silent: 4, done: 0}, [])
