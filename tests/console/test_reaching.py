"""Without Kafka: a few requests wait for it, the others are told at once, and then it counts as away for a while."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from halter.console.reaching import WAITING_MAX, Reaching
from processors.kafka.errors import KafkaUnavailable
from tests.support.waiting import wait_until


def refused(reaching: Reaching, ask: Callable[[float], None]) -> bool:
    try:
        reaching.reach(ask)
    except KafkaUnavailable:
        return True
    return False


def test_a_few_wait_for_a_kafka_that_is_away_and_nobody_after_them() -> None:
    asked, answer, reaching = [], threading.Event(), Reaching()

    def away(seconds: float) -> None:
        asked.append(seconds)
        assert answer.wait(30)
        raise KafkaUnavailable("nothing answers")

    with ThreadPoolExecutor(40) as threads:
        waiting = [threads.submit(refused, reaching, away) for _ in range(40)]
        told = lambda: [it for it in waiting if it.done()]  # noqa: E731
        wait_until("the others are told", lambda: len(told()) == 40 - WAITING_MAX, 10)
        answer.set()
    assert all(it.result() for it in waiting)
    assert len(asked) == WAITING_MAX
    with pytest.raises(KafkaUnavailable, match="nothing answers"):
        reaching.reach(away)
    assert len(asked) == WAITING_MAX, "it is not asked again"


def test_a_kafka_that_answers_is_asked_each_time() -> None:
    asked: list[float] = []
    reaching = Reaching()
    for _ in range(3 * WAITING_MAX):
        reaching.reach(asked.append)
    assert len(asked) == 3 * WAITING_MAX
