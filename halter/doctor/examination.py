"""Runs checks side by side, each with its own time-out. Knows no Kafka.

A check is a generator of findings. It runs in a thread of its own, because calls of librdkafka block. What it has found
by its deadline counts; then its thread is left alone, and ends with the process.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException

from halter.doctor.findings import Examined, Finding, Skip, Verdict
from processors.core.records.errors import HalterError
from processors.kafka.settings import Settings

CHECK_SECONDS: Final = 6.0
LOOK_AT_BROKERS: Final = "look at the brokers and their logs, then ask again"


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its name in the report, what it does, and the doing that its errors name."""

    name: str
    run: Callable[[], Iterator[Finding]]
    doing: str
    """What it does, as the sentence of an error names it: `comparing topics`."""


@dataclass(slots=True)
class _Running:
    check: Check
    thread: threading.Thread
    found: list[Finding]
    raised: list[Exception]


def examine(checks: Sequence[Check], settings: Settings, seconds: float = CHECK_SECONDS) -> list[Examined]:
    """Run all checks, and return what each has found within these seconds, in the order of the checks."""
    running = [_start(check) for check in checks]
    deadline = time.monotonic() + seconds
    for one in running:
        one.thread.join(max(0.0, deadline - time.monotonic()))
    told: dict[int, str] = {}
    return [_ended(one, settings, seconds, told) for one in running]


def _start(check: Check) -> _Running:
    found: list[Finding] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            for finding in check.run():
                found.append(finding)  # noqa: PERF402  one by one: what it found before its deadline counts
        except Exception as error:  # noqa: BLE001  no check takes another one down
            raised.append(error)

    thread = threading.Thread(target=run, name=f"check {check.name}", daemon=True)
    thread.start()
    return _Running(check, thread, found, raised)


def _ended(one: _Running, settings: Settings, seconds: float, told: dict[int, str]) -> Examined:
    """Return what a check has found. `told`: the errors that were told before, by id, and the check that told each."""
    found = [*one.found]
    if one.raised:
        error = one.raised[0]
        # Checks share questions. Where one has no answer, the first of them says why.
        teller = told.setdefault(id(error), one.check.name)
        if teller == one.check.name:
            found.append(_of_error(error, one.check, settings))
        else:
            found.append(Finding(Verdict.SKIPPED, f"not looked at: it takes the answer that '{teller}' did not get"))
    elif one.thread.is_alive():
        found.append(Finding(Verdict.UNKNOWN, f"{one.check.doing} has not ended within {seconds:g} s", LOOK_AT_BROKERS))
    return Examined(one.check.name, tuple(found))


def _of_error(error: Exception, check: Check, settings: Settings) -> Finding:
    match error:
        case Skip():
            return Finding(Verdict.SKIPPED, str(error))
        case KafkaException():
            return Finding(Verdict.UNKNOWN, str(settings.explain(error, check.doing)), LOOK_AT_BROKERS)
        case TimeoutError():
            return Finding(Verdict.UNKNOWN, f"{check.doing}: no answer in time", LOOK_AT_BROKERS)
        case HalterError():
            return Finding(Verdict.WRONG, str(error))
        case _:
            return Finding(Verdict.UNKNOWN, f"{check.doing}: unexpected {type(error).__name__}: {error}")
