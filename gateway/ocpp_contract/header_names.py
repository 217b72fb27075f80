"""Names of Kafka record headers. Kafka takes any bytes for one; this contract, and every Kafka client, reads UTF-8.

aiokafka 0.14 decodes them strictly while it unpacks a batch: one name that is no UTF-8, and nothing of its partition is ever
read again, neither what stands before it in the batch nor what comes after. So the readers of this project look at fetched
bytes before aiokafka does, and put U+001A SUBSTITUTE in place of each byte of a name that is not UTF-8. That byte is as long
as the one it stands for: no length and no offset changes, and every other record stays what it was. Whoever takes the record
refuses it by `check_header_names`.

Pure: unpacking and the checksum are functions of the caller's Kafka client.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from typing import Final

from ocpp_contract.errors import ContractError

SUBSTITUTE: Final = "\x1a"

_ESCAPED = re.compile("[\udc80-\udcff]")

# RecordBatch, magic 2 (https://kafka.apache.org/documentation/#recordbatch)
_BATCH_LENGTH = struct.Struct(">i")
_LENGTH_AT, _MAGIC_AT, _CRC_AT, _ATTRIBUTES_AT, _COUNT_AT, _RECORDS_AT = 8, 16, 17, 21, 57, 61
_AFTER_LENGTH = 12
_CRC = struct.Struct(">I")
_ATTRIBUTES = struct.Struct(">h")
_CODEC_MASK = 0x07

Stumbles = Callable[[bytes], bool]
"""Whether the Kafka client cannot decode the name of a header in this batch."""
Decompress = Callable[[int, bytes], bytes]
"""(codec of the batch's attributes, compressed records) -> records."""
Checksum = Callable[[bytes], int]
"""CRC-32C."""


def check_header_names(headers: Iterable[tuple[str, bytes | None]]) -> None:
    """Raises ContractError when a name was no UTF-8 (or holds U+001A itself, which no honest name does)."""
    if any(SUBSTITUTE in name for name, _ in headers):
        raise ContractError("headers", "the name of a header is no UTF-8")


def readable(fetched: bytes, stumbles: Stumbles, decompress: Decompress, crc32c: Checksum) -> bytes:
    """Fetched record batches with header names that can be decoded; the same object when they all could be.

    What is broken in another way stays as it is: the Kafka client has its own words for that.
    """
    pieces: list[bytes] = []
    position = kept = 0
    while position + _RECORDS_AT <= len(fetched):
        end = position + _AFTER_LENGTH + int.from_bytes(fetched[position + _LENGTH_AT : position + _AFTER_LENGTH])
        if end > len(fetched):
            break  # the last batch of a fetch may be cut off; it is fetched again
        batch = fetched[position:end]
        if batch[_MAGIC_AT] >= 2 and stumbles(batch):
            pieces += (fetched[kept:position], _mended(batch, decompress, crc32c))
            kept = end
        position = end
    return b"".join((*pieces, fetched[kept:])) if pieces else fetched


def _mended(batch: bytes, decompress: Decompress, crc32c: Checksum) -> bytes:
    """The batch with substitutes, uncompressed. The batch itself when its checksum or structure is wrong."""
    if crc32c(batch[_ATTRIBUTES_AT:]) != _CRC.unpack_from(batch, _CRC_AT)[0]:
        return batch
    head = bytearray(batch[:_RECORDS_AT])
    (attributes,) = _ATTRIBUTES.unpack_from(head, _ATTRIBUTES_AT)
    packed, codec = batch[_RECORDS_AT:], attributes & _CODEC_MASK
    records = bytearray(decompress(codec, packed) if codec else packed)
    try:
        _substitute(records, int.from_bytes(head[_COUNT_AT:_RECORDS_AT]))
    except (IndexError, ValueError):
        return batch
    _ATTRIBUTES.pack_into(head, _ATTRIBUTES_AT, attributes & ~_CODEC_MASK)
    _BATCH_LENGTH.pack_into(head, _LENGTH_AT, len(head) + len(records) - _AFTER_LENGTH)
    _CRC.pack_into(head, _CRC_AT, crc32c(bytes(head[_ATTRIBUTES_AT:] + records)))
    return bytes(head + records)


def _substitute(records: bytearray, count: int) -> None:
    """In place. Raises IndexError or ValueError for what is no sequence of records."""
    at = 0
    for _ in range(count):
        _, at = _varint(records, at)  # length of the record
        at += 1  # attributes
        _, at = _varint(records, at)  # time
        _, at = _varint(records, at)  # offset
        at = _after_bytes(records, at)  # key
        at = _after_bytes(records, at)  # value
        headers, at = _varint(records, at)
        for _ in range(headers):
            length, at = _varint(records, at)
            if length < 0:
                raise ValueError("a header without a name")
            name = records[at : at + length].decode("utf-8", "surrogateescape")
            records[at : at + length] = _ESCAPED.sub(SUBSTITUTE, name).encode()
            at = _after_bytes(records, at + length)


def _after_bytes(records: bytearray, at: int) -> int:
    """Past a length (-1 is null) and so many bytes."""
    length, at = _varint(records, at)
    return at + max(length, 0)


def _varint(records: bytearray, at: int) -> tuple[int, int]:
    """(value, what follows it): zigzag, seven bits to a byte, the lowest first."""
    value = shift = 0
    while True:
        byte = records[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
