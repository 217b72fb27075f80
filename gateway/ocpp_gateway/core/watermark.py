"""The committed offset of one lane of one partition: the low watermark of finished records.

Records finish out of order (one station answers at once, another is away until its deadline), but Kafka keeps one number.
So the number is the lowest unfinished record, and what is finished above it goes into the commit metadata
(`ocpp_contract.commit_metadata`).
"""

from __future__ import annotations

from ocpp_contract.commit_metadata import encode_metadata


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
