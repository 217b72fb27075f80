"""What stands beside a committed offset of a command topic: whose mailbox it is, and what is finished above the offset.

Kafka keeps one number per partition; records finish out of order. So the finished ones above it are written as run lengths.
Losing them is harmless: those records are read again and answered from their command records. The resource's uid is what
keeps two resources off one mailbox: a pod consumes no partition that names another one, and the operator says whose it is.

    1;<resource uid>;<unfinished>,<finished>,<unfinished>,<finished>,...      counted from the committed offset
"""

from __future__ import annotations

from typing import NamedTuple

METADATA_LIMIT = 3_500
"""Bytes. The broker refuses more than 4,096 (`offset.metadata.max.bytes`)."""
_FORMAT = "1"


class CommitMetadata(NamedTuple):
    """What stands beside a committed offset."""

    resource_uid: str
    finished: frozenset[int]


def encode_metadata(resource_uid: str, low: int, finished: set[int]) -> str:
    """Run lengths of `finished` above `low`, as many as fit."""
    text = f"{_FORMAT};{resource_uid};"
    runs: list[str] = []
    size, position, start, end = len(text.encode()), low, -1, -1
    for offset in (*sorted(finished), -1):
        if offset == end and offset >= 0:
            end += 1
            continue
        if start >= 0:
            pair = f"{start - position},{end - start}"
            size += len(pair) + 1
            if size > METADATA_LIMIT:
                break
            runs.append(pair)
            position = end
        start, end = offset, offset + 1
    return text + ",".join(runs)


def decode_metadata(metadata: str, low: int) -> CommitMetadata | None:
    """None when there is nothing readable: a broker that drops metadata, or a format of another release."""
    parts = metadata.split(";")
    if len(parts) != 3 or parts[0] != _FORMAT:
        return None
    try:
        counts = [int(text) for text in parts[2].split(",")] if parts[2] else []
    except ValueError:
        return CommitMetadata(parts[1], frozenset())
    if any(count < 0 for count in counts) or sum(counts) > 10_000_000:
        return CommitMetadata(parts[1], frozenset())
    finished: set[int] = set()
    position = low
    for skipped, done in zip(counts[::2], counts[1::2], strict=False):
        position += skipped
        finished.update(range(position, position + done))
        position += done
    return CommitMetadata(parts[1], frozenset(finished))
