"""Rules of a turn as a value: what counts as folded, and in which order."""

import pytest

from processors.fold.contract import InputRecord, ReadInput
from processors.fold.outputs import OutputRecord
from processors.runtime.group.errors import FoldFailed, OutOfOrder
from processors.runtime.turn.shards import OwnedShard
from processors.runtime.turn.turn import ShardTurn, Turn
from processors.runtime.turn.turn_size import TurnSize
from tests.support.counting_fold import CountingDefinitions, CountingFold

TOPIC = "wf-commands"


def read(offset: int) -> ReadInput:
    return ReadInput(InputRecord(TOPIC, 0, offset, 0, b"key", b"{}"))


def part_of(*offsets: int, stands_at: int = 5) -> ShardTurn:
    fold = CountingFold(0, CountingDefinitions())
    fold.begin({TOPIC: stands_at})
    return ShardTurn(OwnedShard(0, fold, (TOPIC, 0)), [read(offset) for offset in offsets])


def folded(part: ShardTurn, records: int) -> ShardTurn:
    for it in part.reads[:records]:
        part.folded += 1
        part.shard.fold.fold(it)
    return part


def test_offsets_may_have_holes() -> None:
    folded(part_of(5, 7, 12), 3).check_offsets()


def test_only_records_that_were_folded_count() -> None:
    part = folded(part_of(5, 6, 7), 2)
    part.check_offsets()
    assert [record.offset for record in part.records] == [5, 6]
    assert [it.record.offset for it in part.not_folded] == [7]
    assert part.shard.offset == 7


@pytest.mark.parametrize("offsets", [(4,), (5, 5), (6, 5)])
def test_a_record_that_was_folded_before_is_found(offsets: tuple[int, ...]) -> None:
    with pytest.raises(OutOfOrder, match=r"wf-commands\[0\]: expected offset \d or a later one, found \d"):
        folded(part_of(*offsets), len(offsets)).check_offsets()


def test_a_fold_that_lost_count_is_found() -> None:
    part = folded(part_of(5, 6), 2)
    part.folded = 1
    with pytest.raises(OutOfOrder, match="expected the fold to stand at offset 6, found it at 7"):
        part.check_offsets()


def test_nothing_of_a_shard_on_which_a_rule_broke_stays_in_the_turn() -> None:
    sound, broken = folded(part_of(5, 6), 1), folded(part_of(5, 6), 2)
    broken.failure = FoldFailed("a rule broke")
    timer = OutputRecord(TOPIC, 0, b"key", b"{}")
    turn = Turn([broken, sound], {broken.shard: [timer], sound.shard: [timer]})
    assert turn.folded == 1
    assert turn.drop_broken() == [broken]
    assert (turn.parts, turn.shards, list(turn.timers)) == ([sound], [sound.shard], [sound.shard])
    assert turn.not_folded == {sound.shard: [read(6)]}


def test_a_turn_of_rows_alone_says_nothing_about_the_number_of_records() -> None:
    size = TurnSize(records=500)
    size.folded(0, 10 * size.aim_s)
    assert size.records == 500
