"""What the log says of partitions. `tests/broker/test_transform.py` has the member itself, in a real group."""

from halter.transform.member import STRETCHES_MAX, in_short


def test_a_line_of_the_log_has_stretches_of_partitions() -> None:
    places = [("orders", number) for number in (8, 0, 1, 2, 11, 12)]
    assert in_short([*places, ("carts", 3)]) == ["carts[3]", "orders[0-2,8,11-12]"]
    assert in_short([]) == []


def test_a_line_of_the_log_is_bounded_however_many_partitions_there_are() -> None:
    (scattered,) = in_short(("orders", number) for number in range(0, 2_000, 2))
    assert scattered.count(",") == STRETCHES_MAX
    assert scattered.endswith(",…]")
    assert in_short(("orders", number) for number in range(2_000)) == ["orders[0-1999]"]
