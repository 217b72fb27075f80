"""When to look again at partitions whose commit metadata name another resource.

Mostly that is a moment's affair: a resource was made again and the operator is committing its predecessor's mailboxes anew
(ADR 57), so the first looks follow each other quickly. Where two living resources share a broker by mistake it lasts for
days, and each look costs a take, a read and a release: the pauses double. Another generation of the assignment says that
the operator has looked at the mailboxes since, so it counts as news.
"""

from __future__ import annotations

from dataclasses import dataclass

from ocpp_contract.ids import Partition


@dataclass(frozen=True, slots=True)
class _Refusal:
    generation: int
    due: float
    pause: float


class ForeignMailboxes:
    """Remembers which partitions were another resource's, and when to look at each again. Seconds."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._refusals: dict[Partition, _Refusal] = {}

    def due(self, partition: Partition, generation: int, now: float) -> bool:
        """Whether to look at it, as the assignment of `generation` asks."""
        refusal = self._refusals.get(partition)
        return refusal is None or refusal.generation != generation or refusal.due <= now

    def refused(self, partition: Partition, generation: int, now: float) -> bool:
        """It was another's at `now`. True: for so long that somebody should know."""
        before = self._refusals.get(partition)
        if before is None or before.generation != generation:
            before = _Refusal(generation, now, self._first / 2)
        pause = min(2 * before.pause, self._longest)
        self._refusals[partition] = _Refusal(generation, now + pause, pause)
        return pause >= self._longest

    def ours(self, partition: Partition) -> None:
        self._refusals.pop(partition, None)
