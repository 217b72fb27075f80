"""Records that no Kafka client writes, but Kafka takes: header names of any bytes. A whole batch made by hand."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

OddRecord = tuple[bytes | None, bytes | None, Sequence[tuple[bytes, bytes | None]]]
"""Key, value, headers."""

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_ENCODERS = {1: gzip_encode, 2: snappy_encode, 3: lz4_encode, 4: zstd_encode}
_RECORDS_AT = 61


def odd_batch(records: Sequence[OddRecord], codec: str = "none") -> bytes:
    """A batch as it goes over the wire: built with names of the same length, which are then overwritten."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 24)
    placeholders: dict[bytes, bytes] = {}
    for offset, (key, value, headers) in enumerate(records):
        named = []
        for name, content in headers:
            placeholder = f"<{len(placeholders)}>".ljust(len(name), "=")
            assert len(placeholder) == len(name), "too short for a name to be overwritten"
            placeholders[placeholder.encode()] = name
            named.append((placeholder, content))
        builder.append(offset, None, key, value, named)
    batch = bytes(builder.build())
    for placeholder, name in placeholders.items():
        assert batch.count(placeholder) == 1
        batch = batch.replace(placeholder, name)
    body = batch[_RECORDS_AT:]
    if number := CODECS[codec]:
        body = bytes(_ENCODERS[number](body))
    checked = number.to_bytes(2) + batch[23:_RECORDS_AT] + body  # attributes and all behind them
    rest = batch[12:17] + calc_crc32c(checked).to_bytes(4) + checked
    return batch[:8] + len(rest).to_bytes(4) + rest


async def produce_batch(bootstrap: str, topic: str, partition: int, batch: bytes) -> int:
    """Offset of its first record."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await client.bootstrap()
        client.set_topics([topic])
        await client._wait_on_metadata(topic)
        leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        request = ProduceRequest(None, -1, 5_000, [(topic, [(partition, batch)])])
        response = await client.send(leader, request)
        [(_, [(_, error, offset, *_rest)])] = response.topics
        assert error == 0, error
        return int(offset)
    finally:
        await client.close()
