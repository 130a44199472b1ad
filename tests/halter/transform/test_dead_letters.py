"""The dead letter of a record that a binding or a sink cannot map."""

from pathlib import Path

from halter.history.causes import origin_of_dead_letter
from halter.transform import SourceRecord, TimestampType, dead_letter
from processors.fold.inputs import DEAD_LETTER_BYTES_KEPT, DEAD_LETTER_BYTES_MAX, mapping_of
from processors.kafka.topics_file import load_topics

TOPICS = load_topics(Path(__file__).parents[3] / "topics.yaml", "shop-", 4)
RECORD = SourceRecord("orders", 6, 41, 1_700_000_000_000, TimestampType.CREATE_TIME, None, b"{", (("a", b"1"),))


def test_it_has_the_record_untouched_and_says_where_it_was_and_why_it_is_here() -> None:
    letter = dead_letter(TOPICS, "paid", RECORD, "NOT_JSON", "expected JSON, found '{'")
    assert letter.topic == "shop-dead-letters"
    assert (letter.key, letter.value) == (None, b"{")
    assert letter.headers == (
        ("a", b"1"),
        ("halter.topic", b"orders"),
        ("halter.partition", b"6"),
        ("halter.offset", b"41"),
        ("halter.timestamp_ms", b"1700000000000"),
        ("halter.reason", b"NOT_JSON"),
        ("halter.message", b"expected JSON, found '{'"),
        ("halter.mapping", b"paid"),
        ("halter.origin", b"BINDING"),
    )


def test_its_partition_is_that_of_its_key_and_without_a_key_the_same_each_time() -> None:
    assert dead_letter(TOPICS, "paid", RECORD, "NOT_JSON", "").partition == 6 % 4
    assert dead_letter(TOPICS, "paid", RECORD._replace(key=b"o-1"), "NOT_JSON", "").partition is None


def test_a_large_record_is_cut() -> None:
    large = RECORD._replace(value=bytes(DEAD_LETTER_BYTES_MAX + 1))
    letter = dead_letter(TOPICS, "paid", large, "TOO_LARGE", "")
    assert letter.value is not None
    assert len(letter.value) == DEAD_LETTER_BYTES_KEPT
    assert dict(letter.headers)["halter.value_bytes"] == str(DEAD_LETTER_BYTES_MAX + 1).encode()


def test_it_is_not_taken_for_a_dead_letter_of_a_worker() -> None:
    # A topic of the user's may be called as an input is without the prefix.
    letter = dead_letter(TOPICS, "paid", RECORD._replace(topic="external-events"), "NOT_JSON", "")
    assert mapping_of(letter.headers) == "paid"
    assert origin_of_dead_letter(letter.headers) is None


def test_a_header_that_a_record_had_before_names_no_mapping() -> None:
    of_a_worker = (("halter.mapping", b"mine"), ("halter.topic", b"external-events"), ("halter.partition", b"0"))
    assert mapping_of(of_a_worker) is None
    assert origin_of_dead_letter((*of_a_worker, ("halter.offset", b"7"))) == ("external-events", 0, 7)
