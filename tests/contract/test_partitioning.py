"""The partitioner against vectors of the Java client (UtilsTest.testMurmur2 of Apache Kafka) and against aiokafka's."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.partitioning import murmur2, partition_for


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
def test_murmur2_gives_the_bits_of_the_java_client(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % 2**32


@given(st.binary(min_size=1, max_size=80), st.integers(1, 1000))
def test_the_partition_is_the_one_that_other_clients_choose(key: bytes, partitions: int) -> None:
    everyone = list(range(partitions))
    assert partition_for(key, partitions) == DefaultPartitioner()(key, everyone, everyone)


def test_a_sign_bit_does_not_make_a_negative_partition() -> None:
    assert murmur2(b"21") >> 31 == 1
    assert partition_for(b"21", 7) == (-973932308 & 0x7FFFFFFF) % 7
