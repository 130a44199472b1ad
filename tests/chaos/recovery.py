"""Measures how long a fault lasts: from its beginning until every affected partition has a new committed outcome.

An outcome is new if its input came after the fault had begun. If a partition would have to wait for an input, a pulse
is posted: a command for a WfRun that does not exist, which is rejected.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Producer

from processors.core.records.commands import StopWfRun
from processors.kafka.settings import Settings
from tests.chaos.avro import row
from tests.support.keys import one_key_each

PULSE_SECONDS: Final = 0.5
PULSES: Final = "pulse-"
"""Begins their keys."""


@dataclass
class Felt:
    """One fault, and the partitions that have not recovered yet."""

    kind: str
    begun: float
    begun_ms: int
    waiting: set[int]
    seconds: float | None = None
    partitions: int = field(init=False)

    def __post_init__(self) -> None:
        self.partitions = len(self.waiting)


class Recoveries:
    """All faults so far. The watcher reports outcomes to it, in the watcher's thread."""

    def __init__(self) -> None:
        self.felt: list[Felt] = []
        self._lock = threading.Lock()

    def begin(self, kind: str, partitions: set[int]) -> Felt:
        """Note that a fault strikes now."""
        felt = Felt(kind, time.monotonic(), time.time_ns() // 1_000_000, set(partitions))
        with self._lock:
            self.felt.append(felt)
        return felt

    def on_outcome(self, partition: int, time_ms: int) -> None:
        """Note that an input that came to a partition at a time has an outcome."""
        now = time.monotonic()
        with self._lock:
            for felt in self.felt:
                # Strictly after: an input of the same millisecond may have come before the fault.
                if felt.seconds is None and partition in felt.waiting and time_ms > felt.begun_ms:
                    felt.waiting.discard(partition)
                    if not felt.waiting:
                        felt.seconds = now - felt.begun

    def waiting(self) -> set[int]:
        """The partitions that have not recovered."""
        with self._lock:
            return {partition for felt in self.felt if felt.seconds is None for partition in felt.waiting}


class Pulse:
    """Posts to the partitions that have not recovered, so that an outcome does not wait for an input."""

    def __init__(self, settings: Settings, partitions: int, recoveries: Recoveries) -> None:
        self._topic = f"{settings.prefix}wf-commands"
        self._keys = one_key_each(partitions, PULSES)
        self._recoveries = recoveries
        self._producer = Producer(settings.producer(linger_ms=0, message_timeout_ms=120_000))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(PULSE_SECONDS):
            for partition in self._recoveries.waiting():
                key = self._keys[partition]
                self._producer.produce(self._topic, row(StopWfRun(key)), key.encode())
            self._producer.poll(0)

    def stop(self) -> None:
        """Stop posting. Everything is delivered then."""
        self._over.set()
        self._thread.join(10)
        self._producer.flush(120)
