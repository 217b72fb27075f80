"""When the operator's process should be restarted: it neither finishes work nor hears from the API server any more.

One sign suffices. With the API server away no watch brings anything, and passes still end (they fail); between two passes bookmarks
come, or a watch can be begun anew. Only when both are silent for three times the time after which a watch counts as silent is
something stuck that a restart may help. Bookmarks alone are no sign to rely on: without reports of progress from etcd the API
server sends none for a kind of which nothing changes. So whoever supervises the loops calls `pass_ended` for its own idle rounds too.

Renewals of the Lease are no sign of a leader: they would go on while its loops hang.

A replica that stands by runs no pass and may watch nothing: there each look at the Lease is the sign, answered or not.
"""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 3
"""Times the inactivity time-out."""


class Liveness:
    """Times of the last signs; all are seconds of one clock, `now` the moment of the sign."""

    def __init__(self, started: float, inactivity: float) -> None:
        self._limit = PATIENCE * inactivity
        self._passed = started
        self._watched = started
        self._elected = started
        self._leads_since: float | None = None

    def pass_ended(self, now: float) -> None:
        """A pass over a resource, or an idle round of those who supervise them, ended well or badly."""
        self._passed = now

    def heard(self, now: float) -> None:
        """A watch brought an event or a bookmark or could be begun, or a list was read."""
        self._watched = now

    def election_looked(self, now: float) -> None:
        """A request for the Lease ended, whatever came of it."""
        self._elected = now

    def leads(self, now: float) -> None:
        """From now on it leads: the watches and passes begin, and are given their time."""
        self._leads_since = now

    def unhealthy(self, now: float) -> str | None:
        """Why the process should be restarted; None: it should not."""
        if self._leads_since is None:
            silence = now - max(self._elected, self._watched)
            what = "no look at the lease ended"
        else:
            silence = now - max(self._passed, self._watched, self._leads_since)
            what = "no pass ended and no watch brought anything"
        return f"{what} for {silence:.0f} s" if silence > self._limit else None
