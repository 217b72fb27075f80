"""The partitioner of the Java client: murmur2 over the key, sign bit off, modulo the number of partitions.

A backend that does not read ``conn:<id>`` lets its own client choose the partition; ours must choose the same, or the
order of one station would be lost between the two (org.apache.kafka.common.utils.Utils.murmur2, seed 0x9747b28c).
"""

from __future__ import annotations

from functools import lru_cache

from ocpp_contract.ids import Partition

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


def murmur2(key: bytes) -> int:
    """32-bit hash, unsigned (Java shows the same bits as a signed int)."""
    length = len(key)
    h = 0x9747B28C ^ length
    aligned = length & ~3
    for at in range(0, aligned, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _M & _MASK
        k ^= k >> 24
        h = (h * _M & _MASK) ^ (k * _M & _MASK)
    tail = key[aligned:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h ^= h >> 13
    h = h * _M & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=65536)
def partition_for(key: bytes, partitions: int) -> Partition:
    """Partition of ``key`` among ``partitions``, as the Java client's default partitioner chooses it."""
    return Partition((murmur2(key) & 0x7FFFFFFF) % partitions)
