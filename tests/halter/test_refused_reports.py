"""Reports without effect are found on a log in memory, whose broker answers as a test tells it to."""

import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from structlog import get_logger
from structlog.testing import capture_logs

from halter.task_worker import refused_reports
from halter.task_worker.refused_reports import WITHOUT_EFFECT, RefusedReports
from halter.task_worker.side_thread import FATAL
from processors.codec import Codec
from processors.core.records.commands import ReportTaskRun
from processors.core.records.events import (
    Cause,
    Event,
    Ignored,
    LogEntry,
    Rejected,
    RejectionCode,
    TaskAttemptEnded,
    TaskRequest,
)
from processors.core.records.model import TaskStatus
from processors.kafka.client_errors import PASSING
from tests.support.waiting import wait_until

CODEC = Codec.load()
REQUEST = TaskRequest("w", 1, 0, 1, 1, "charge", {}, 0, 0)
REPORT_MS = 1_000_000
REFUSED = Rejected(ReportTaskRun.__name__, RejectionCode.FAILED_PRECONDITION, "the attempt is over")
TAKEN = TaskAttemptEnded(0, 1, 1, TaskStatus.SUCCESS)
QUESTIONS = ("get_watermark_offsets", "offsets_for_times", "incremental_assign", "consume")


class Record:
    """A record of the log, or a report."""

    def __init__(self, offset: int, time_ms: int = REPORT_MS, value: bytes = b"", error: KafkaError | None = None):
        self.offset, self.partition = lambda: offset, lambda: 0
        self.value, self.error = lambda: value, lambda: error
        self.timestamp = lambda: (1, time_ms)


def outcome(report: int, event: Event, time_ms: int = REPORT_MS) -> tuple[int, bytes]:
    """Time and value of the entry that says what became of a report."""
    entry = LogEntry("w", 1, 1, time_ms, Cause("task-reports", 0, report, None, 0), event)
    return time_ms, CODEC.encode(entry)


class Log:
    """One partition of wf-events, and the consumer that reads it. `before`: called before each question is answered."""

    def __init__(self, before: Callable[[str], None] = lambda _: None) -> None:
        self.records: list[tuple[int, bytes]] = []
        self.read_from: int | None = None
        self.before = before
        self.closed = False

    def get_watermark_offsets(self, *_: object, cached: bool) -> tuple[int, int]:
        assert not cached
        self.before("get_watermark_offsets")
        return 0, len(self.records)

    def offsets_for_times(self, wanted: list[TopicPartition], _: float) -> list[TopicPartition]:
        self.before("offsets_for_times")
        (one,) = wanted
        found = (offset for offset, (time_ms, _) in enumerate(self.records) if time_ms >= one.offset)
        return [TopicPartition(one.topic, one.partition, next(found, -1))]

    def incremental_assign(self, starts: list[TopicPartition]) -> None:
        self.before("incremental_assign")
        (start,) = starts
        self.read_from = len(self.records) if start.offset < 0 else start.offset

    def incremental_unassign(self, _: list[TopicPartition]) -> None:
        assert self.read_from is not None
        self.read_from = None

    def consume(self, _: int, __: float) -> list[Any]:
        self.before("consume")
        if self.read_from is None or self.read_from >= len(self.records):
            time.sleep(0.001)
            return []
        time_ms, value = self.records[self.read_from]
        self.read_from += 1
        return [Record(self.read_from - 1, time_ms, value)]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def following(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Log], RefusedReports]]:
    begun: list[RefusedReports] = []

    def follow(log: Log) -> RefusedReports:
        monkeypatch.setattr(refused_reports, "Consumer", lambda _: log)
        monkeypatch.setattr(refused_reports, "AGAIN_SECONDS", 0.001)
        settings: Any = SimpleNamespace(consumer=lambda **_: {})
        begun.append(RefusedReports(settings, CODEC, "wf-events", "tasks", get_logger()))
        return begun[-1]

    yield follow
    for it in begun:
        it.close()


def told(logs: Any) -> list[Any]:
    return [it for it in logs if it["event"] == "report_refused"]


def test_every_event_that_says_that_a_record_changed_nothing_is_known() -> None:
    tells = {event.__name__ for event in get_args(Event) if "command" in {field.name for field in fields(event)}}
    assert tells == WITHOUT_EFFECT | {Ignored.__name__}


@pytest.mark.parametrize("earlier_ms", [None, 0, REPORT_MS])
@pytest.mark.parametrize("when", QUESTIONS)
def test_a_report_that_is_refused_is_told_of_whenever_its_outcome_comes(
    following: Callable[[Log], RefusedReports], when: str, earlier_ms: int | None
) -> None:
    def decide(question: str) -> None:
        if question == when and outcome(7, REFUSED) not in log.records:
            log.records.append(outcome(7, REFUSED))

    log = Log(decide)
    if earlier_ms is not None:
        log.records.append(outcome(6, TAKEN, earlier_ms))
    with capture_logs() as logs:
        following(log).expect(Record(7), REQUEST)  # type: ignore[arg-type]
        wait_until("the sentence", lambda: told(logs))
        wait_until("the end", lambda: log.read_from is None)
    (one,) = told(logs)
    assert (one["wf_run_id"], one["reason"]) == ("w", REFUSED.message)


@pytest.mark.parametrize("code", sorted(PASSING))
@pytest.mark.parametrize("question", QUESTIONS[:3])
def test_brokers_that_come_and_go_are_asked_again(
    following: Callable[[Log], RefusedReports], question: str, code: int
) -> None:
    failures = iter([True] * 3)

    def away(asked: str) -> None:
        if asked == question and next(failures, False):
            raise KafkaException(KafkaError(code))

    log = Log(away)
    with capture_logs() as logs:
        reports = following(log)
        reports.expect(Record(7), REQUEST)  # type: ignore[arg-type]
        wait_until("questions without an answer", lambda: next(failures, None) is None)
        log.records.append(outcome(7, REFUSED))
        wait_until("the sentence", lambda: told(logs))
    assert not [it for it in logs if it["event"] == "refused_reports_not_seen"]


@pytest.mark.parametrize("code", sorted({*FATAL, KafkaError.UNKNOWN_TOPIC_OR_PART}))
def test_who_may_not_read_the_log_says_so_once(following: Callable[[Log], RefusedReports], code: int) -> None:
    def refuse(_: str) -> None:
        raise KafkaException(KafkaError(code))

    log = Log(refuse)
    with capture_logs() as logs:
        reports = following(log)
        for offset in range(3):
            reports.expect(Record(offset), REQUEST)  # type: ignore[arg-type]
        wait_until("the end", lambda: log.closed)
        reports.expect(Record(3), REQUEST)  # type: ignore[arg-type]
    assert len([it for it in logs if it["event"] == "refused_reports_not_seen"]) == 1
