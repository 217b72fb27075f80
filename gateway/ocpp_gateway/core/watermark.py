"""The committed offset of one lane of one partition: the low watermark of finished records.

Records finish out of order (one station answers at once, another is away until its deadline), but Kafka keeps one number.
So the number is the lowest unfinished record, and what is finished above it is written into the commit metadata as run
lengths. Losing the metadata is harmless: those records are read again and answered from their command records.

Metadata: `1;<resource uid>;<unfinished>,<finished>,<unfinished>,<finished>,...` counted from the committed offset.
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


class Watermark:
    """Offsets of one lane in one tenure. `low` never passes an unfinished record, nor one not read yet."""

    def __init__(self, base: int, finished: frozenset[int] = frozenset()) -> None:
        self.low = base
        self.position = base
        """The next offset expected from the log."""
        self._skip = {offset for offset in finished if offset >= base}
        self._finished: set[int] = set()

    def received(self, offset: int) -> bool:
        """The log handed out this offset. False: nothing to do for it (finished earlier, or seen already).

        Offsets that the log leaves out (compacted, control records) count as finished.
        """
        if offset < self.position:
            return False
        gap = range(self.position, offset)
        self.position = offset + 1
        self._finished.update(gap)
        for passed in gap:
            self._skip.discard(passed)
        known = offset in self._skip
        if known:
            self._skip.discard(offset)
            self._finished.add(offset)
        self._advance()
        return not known

    def finish(self, offset: int) -> None:
        """The record's end was acknowledged by Kafka."""
        if self.low <= offset < self.position:
            self._finished.add(offset)
            self._advance()

    @property
    def finished(self) -> set[int]:
        """Finished above `low`, those not read again yet included."""
        return self._finished | self._skip

    @property
    def span(self) -> int:
        """How many records the watermark lags behind what was read."""
        return self.position - self.low

    def metadata(self, resource_uid: str) -> str:
        return encode_metadata(resource_uid, self.low, self.finished)

    def _advance(self) -> None:
        while self.low in self._finished:
            self._finished.remove(self.low)
            self.low += 1
