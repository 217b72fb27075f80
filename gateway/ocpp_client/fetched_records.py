"""Makes fetched records readable for aiokafka before it unpacks them: `ocpp_contract.header_names` tells why and how.

The gateway's adapters have the same few lines: neither package imports the other, and the contract knows no Kafka client.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import calc_crc32c

from ocpp_contract.header_names import readable

_CODECS = {1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode}


def lenient(consumer: AIOKafkaConsumer) -> AIOKafkaConsumer:
    """The same consumer, which no header name stops any more. To be called before it is started.

    Its client is where every fetched byte passes. The batches are unpacked once more for it, under a microsecond a record.
    """
    client = consumer._client
    send = client.send

    async def send_and_look(node_id: Any, request: Any, **options: Any) -> Any:
        response = await send(node_id, request, **options)
        if isinstance(request, FetchRequest):
            response.topics = [
                (topic, [(*partition[:-1], _readable(partition[-1])) for partition in partitions])
                for topic, partitions in response.topics
            ]
        return response

    client.send = send_and_look
    return consumer


def _readable(fetched: bytes | None) -> bytes | None:
    return readable(fetched, _stumbles, _decompressed, calc_crc32c) if fetched else fetched


def _stumbles(batch: bytes) -> bool:
    try:
        deque(DefaultRecordBatch(batch), maxlen=0)
    except UnicodeDecodeError:
        return True
    except CorruptRecordException as error:  # so says aiokafka without its compiled part
        return isinstance(error.__cause__, UnicodeDecodeError)
    except Exception:  # whatever else it is, aiokafka meets it again and tells it in its own way
        return False
    return False


def _decompressed(codec: int, records: bytes) -> bytes:
    return bytes(_CODECS[codec](records))
