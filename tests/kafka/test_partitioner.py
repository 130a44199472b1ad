"""Rules of the one partitioner: it is Java's, bit for bit. tests/broker shows that it is librdkafka's too."""

import pytest
from aiokafka.partitioner import murmur2 as another_murmur2
from hypothesis import given
from hypothesis import strategies as st

from processors.kafka.partitioner import murmur2, partition_of


# (rule one-partitioner)
@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_the_one_of_kafkas_java_client(key: bytes, signed: int):
    assert murmur2(key) == signed % (1 << 32)


@given(st.binary(max_size=200))
def test_an_independent_murmur2_agrees_on_any_bytes(key: bytes):
    assert murmur2(key) == another_murmur2(key) % (1 << 32)


@given(st.binary(max_size=64), st.integers(min_value=1, max_value=1000))
def test_every_key_has_one_partition_among_those_there_are(key: bytes, partitions: int):
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions
