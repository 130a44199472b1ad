"""Rules of the runtime's watchdog. It cannot end the test's process, and the test makes its ticks by hand."""

import asyncio
import re
import subprocess
import sys
from typing import Any, cast

import pytest

from processors.fold.inputs import InputRecord, ReadInput
from processors.runtime.group.calls import (
    FOLD_STUCK_SECONDS,
    LOOP_STUCK_SECONDS,
    STUCK_EXIT_CODE,
    STUCK_SECONDS,
    KafkaCalls,
    Watchdog,
    Watched,
)
from processors.runtime.group.crash_points import CrashPoints
from processors.runtime.group.readiness import Readiness
from processors.runtime.service import Runtime
from processors.runtime.turn.batch import Batch
from processors.runtime.turn.shards import OwnedShard
from processors.runtime.turn.turn import ShardTurn
from tests.support.counting_fold import CountingDefinitions, CountingFold


def test_a_kafka_call_that_does_not_return_in_its_time_ends_the_process() -> None:
    readiness, exit_codes = Readiness(), list[int]()
    calls = KafkaCalls(readiness)
    watchdog = Watchdog([calls.watched], readiness, exit_codes.append)

    def call(ticks: int) -> None:
        for _ in range(ticks):
            watchdog.tick()

    calls.once(call, STUCK_SECONDS)
    watchdog.tick()
    calls.once(call, STUCK_SECONDS)
    assert exit_codes == []
    calls.once(call, STUCK_SECONDS + 1)
    assert exit_codes == [STUCK_EXIT_CODE]
    assert readiness.snapshot.reason == "kafka_call did not return: call"


def test_a_fold_that_does_not_return_in_its_time_ends_the_process_with_the_record_named() -> None:
    readiness, exit_codes, watched = Readiness(), list[int](), Watched("fold", FOLD_STUCK_SECONDS)
    watchdog = Watchdog([watched], readiness, exit_codes.append)

    def ticks(number: int) -> None:
        for _ in range(number):
            watchdog.tick()

    async def fold() -> None:
        reads = [ReadInput(InputRecord("wf-commands", 3, offset, 0, b"key", b"{}")) for offset in (7, 8)]
        shard = OwnedShard(3, CountingFold(3, CountingDefinitions()), ("wf-commands", 3))
        batch = Batch(ShardTurn(shard, reads), float("inf"), watched, CrashPoints())
        with batch:
            for read in batch:
                ticks(FOLD_STUCK_SECONDS + read.record.offset - 7)
            batch.hand_over([])
        ticks(2 * FOLD_STUCK_SECONDS)

    asyncio.run(fold())
    assert exit_codes == [STUCK_EXIT_CODE]
    assert readiness.snapshot.reason == "fold did not return: wf-commands[3]@8"


SLEEPING = "ctypes.PyDLL(None).sleep(60)  # and keeps every other thread from running"
FROZEN = f"""
import ctypes
from processors.runtime.group.calls import Watchdog
from processors.runtime.group.readiness import Readiness
from processors.runtime.service import Runtime

Watchdog([], Readiness(), frozen_seconds=3).start()
{SLEEPING}
"""


def test_a_process_in_which_nothing_moves_any_more_ends_with_the_stacks_of_its_threads() -> None:
    ended = subprocess.run([sys.executable, "-c", FROZEN], capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 1
    # The frame that waits, as the interpreter names it: by file and line.
    assert re.search(rf'"<string>".*\b{1 + FROZEN.splitlines().index(SLEEPING)}\b', ended.stderr)


def test_an_event_loop_that_turns_no_more_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.runtime.service.BEAT_SECONDS", 0.0)
    readiness, exit_codes, nothing = Readiness(), list[int](), cast("Any", None)
    runtime = Runtime(nothing, nothing, nothing, KafkaCalls(readiness), readiness, CrashPoints())
    watchdog = runtime._watchdog
    monkeypatch.setattr(watchdog, "_exit", exit_codes.append)

    async def live() -> None:
        beat = asyncio.create_task(Runtime._beat.fun(runtime))
        for _ in range(3 * LOOP_STUCK_SECONDS):
            await asyncio.sleep(0)
            watchdog.tick()
        assert exit_codes == []
        # From here on nothing else gets a turn.
        for _ in range(LOOP_STUCK_SECONDS + 1):
            watchdog.tick()
        beat.cancel()

    asyncio.run(live())
    assert exit_codes[0] == STUCK_EXIT_CODE
    assert readiness.snapshot.reason.startswith("event_loop did not return")
