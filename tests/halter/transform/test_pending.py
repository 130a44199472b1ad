"""What was read and is not committed, where partitions begin, and what the log says of them."""

from halter.transform import Output, SourceRecord, TimestampType
from halter.transform.pending import STRETCHES_MAX, Pending, Taken, in_short, offsets_behind
from halter.transform.starts import metadata_of, since_of


def taken(partition: int, offset: int, value: bytes = b"") -> Taken:
    record = SourceRecord("orders", partition, offset, 0, TimestampType.CREATE_TIME, None, value)
    return Taken(record, [Output("copies", None, b"abc")])


def pending(*places: tuple[int, int]) -> Pending:
    found = Pending()
    for place in places:
        found.add(taken(*place, value=b"12345"))
    return found


def places(found: Pending) -> list[tuple[int, int]]:
    return [(it.record.partition, it.record.offset) for it in found.first(100)]


def test_records_of_a_partition_that_is_taken_away_are_dropped() -> None:
    found = pending((0, 1), (1, 7), (0, 2))
    found.drop({("orders", 0)})
    assert places(found) == [(1, 7)]
    assert found.bytes == 5
    found.drop({("orders", 5), ("orders", 1)})
    assert len(found) == found.bytes == 0


def test_records_before_the_committed_offsets_are_settled() -> None:
    found = pending((0, 1), (1, 7), (0, 2), (0, 4))
    found.settle({("orders", 0): 3})
    assert places(found) == [(1, 7), (0, 4)]


def test_the_offsets_of_a_batch_are_behind_its_last_records() -> None:
    batch = [taken(0, 1), taken(1, 7), taken(0, 4)]
    assert offsets_behind(batch) == {("orders", 0): 5, ("orders", 1): 8}


def test_the_moment_of_a_group_is_in_its_metadata_and_nothing_else_is_taken_for_it() -> None:
    assert since_of(metadata_of(1_700_000_000_000)) == 1_700_000_000_000
    assert since_of(metadata_of(0)) == 0
    assert [since_of(it) for it in (None, "", "1", "since=", "since=-1", "since=²", "1:41:abc")] == [None] * 7


def test_keys_and_headers_count_as_values_do() -> None:
    found = Pending()
    record = SourceRecord("orders", 0, 1, 0, TimestampType.CREATE_TIME, b"kk", None, (("a", b"hhh"), ("b", b"")))
    found.add(Taken(record))
    assert found.bytes == 5


def test_a_line_of_the_log_has_stretches_of_partitions() -> None:
    orders = [("orders", number) for number in (8, 0, 1, 2, 11, 12)]
    assert in_short([*orders, ("carts", 3)]) == ["carts[3]", "orders[0-2,8,11-12]"]
    assert in_short([]) == []


def test_a_line_of_the_log_is_bounded_however_many_partitions_there_are() -> None:
    (scattered,) = in_short(("orders", number) for number in range(0, 2_000, 2))
    assert scattered.count(",") == STRETCHES_MAX
    assert scattered.endswith(",…]")
    assert in_short(("orders", number) for number in range(2_000)) == ["orders[0-1999]"]
