"""Rules of batches."""

import asyncio
import gc
from typing import Any

import pytest

from processors.fold.inputs import InputRecord, ReadInput
from processors.runtime.group.calls import Watched
from processors.runtime.group.crash_points import CrashPoints
from processors.runtime.group.errors import FoldFailed
from processors.runtime.turn.batch import Batch
from processors.runtime.turn.shards import OwnedShard
from processors.runtime.turn.turn import ShardTurn
from tests.support.counting_fold import CountingDefinitions, CountingFold


def batch_of(values: list[bytes], until: float = float("inf")) -> Batch:
    reads = [ReadInput(InputRecord("wf-commands", 0, offset, 0, b"key", value)) for offset, value in enumerate(values)]
    shard = OwnedShard(0, CountingFold(0, CountingDefinitions()), ("wf-commands", 0))
    return Batch(ShardTurn(shard, reads), until, Watched("fold", 60), CrashPoints())


def test_a_second_failure_of_a_turn_is_not_reported_as_one_that_nobody_saw() -> None:
    seen: list[dict[str, Any]] = []

    async def fold() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
        batches = [batch_of([b'{"boom":true}']) for _ in range(2)]
        for batch in batches:
            with batch:
                for read in batch:
                    batch.fold.fold(read)
        assert isinstance(batches[0].outputs.exception(), FoldFailed)
        await asyncio.sleep(0)
        del batches, batch
        gc.collect()

    asyncio.run(fold())
    assert seen == []


def test_a_batch_whose_time_is_used_up_gives_one_record_all_the_same() -> None:
    async def fold() -> tuple[list[int], int]:
        batch = batch_of([b"{}", b"{}", b"{}"], until=0.0)
        with batch:
            given = [read.record.offset for read in batch]
            batch.hand_over([])
        return given, batch.part.folded

    assert asyncio.run(fold()) == ([0], 1)


def test_a_batch_ends_when_its_fold_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CountingFold, "is_full", True)

    async def fold() -> list[int]:
        batch = batch_of([b"{}", b"{}", b"{}"])
        with batch:
            given = [read.record.offset for read in batch]
            batch.hand_over([])
        return given

    assert asyncio.run(fold()) == [0]


def test_rows_that_cannot_be_made_are_no_fault_of_a_record_of_the_turn() -> None:
    async def fold(*, rows: bool) -> FoldFailed:
        batch = batch_of([b"{}", b"{}"])
        batch.part.rows = rows
        with batch:
            for read in batch:
                batch.fold.fold(read)
            raise ValueError("too large")
        failure = batch.outputs.exception()
        assert isinstance(failure, FoldFailed)
        return failure

    assert asyncio.run(fold(rows=True)).records == []
    assert len(asyncio.run(fold(rows=False)).records) == 2


def test_a_batch_of_rows_alone_has_no_records() -> None:
    async def fold() -> list[ReadInput]:
        batch = batch_of([])
        with batch:
            given = list(batch)
            batch.hand_over(batch.fold.take_outputs(rows=True))
        assert batch.outputs.exception() is None
        return given

    assert asyncio.run(fold()) == []
