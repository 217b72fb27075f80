"""Who of several replicas leads: a pure elector around one Lease (coordination.k8s.io/v1).

Never two at once, whatever requests and clocks do:

* The holder leads until `renew_deadline` after the moment **before** it sent the last renewal that was acknowledged, by its own
  clock. It does not matter when that renewal reached the server.
* Another takes over when it has itself seen the same version of the Lease for the whole duration that the holder promised, which
  is longer. It first saw that version after it was written, hence after it was sent. Clocks of two machines are never compared;
  they only have to run at about the same speed.
* Each write carries the resource version that it was decided on: of two takers one wins, and a late write of ours cannot
  replace a newer one. `renewTime` always grows, so a renewal is a change even when the wall clock was set back.
* A right that lapsed is never resumed: the process leaves and comes back as another, so nothing that it began by the old right goes on
  by a new one. It gives its right up **before** it releases the Lease; a released one (no holder) is taken at once.
* Nor is it taken over from a predecessor in the same pod without waiting: what that process sent may still be under way. When the
  API server was away for longer than the deadline, the others have to see the Lease unchanged for its whole duration, and that begins when
  they see it again. So the one that lost its right goes on trying to release it, once its work has ended (`Timing.parting`).

A Lease that was deleted under our eyes is waited out like a holder's silence, since its holder may not know yet. One that
was never seen is created at once.

`now` is seconds of a clock that goes on while the machine sleeps (CLOCK_BOOTTIME); `utc` is only written down for people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil, inf


class NotLeader(Exception):
    """This replica may not write: it does not lead, or leads no more."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `duration` is written into the Lease and has to be whole there."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    @property
    def parting(self) -> float:
        """For how long a Lease that was lost to an outage of the API server is tried to be released."""
        return 4 * self.duration

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.renew_deadline < self.duration:
            raise ValueError(f"{self}: retry < renew_deadline < duration must hold")


@dataclass(frozen=True, slots=True)
class Lease:
    """What a Lease says."""

    holder: str
    """Empty: nobody."""
    duration: int
    """Seconds that its holder may be silent."""
    acquired: datetime
    renewed: datetime
    transitions: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """A Lease as it was read or written, with its resource version."""

    lease: Lease
    version: str


@dataclass(frozen=True, slots=True)
class Read:
    """Ask for the Lease."""


@dataclass(frozen=True, slots=True)
class Write:
    """Store `lease` if the Lease still has `version`; None: if there is none."""

    lease: Lease
    version: str | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing before `until`."""

    until: float


@dataclass(frozen=True, slots=True)
class Leave:
    """The lease is lost: end the process."""

    reason: str


Step = Read | Write | Wait | Leave


class Elector:
    """One candidate. `identity` must be unique per process, not per pod: a restarted process is another candidate.

    Ask `step`, do what it says, report what came of it (`found`, `stored`, `refused`, `failed`), ask again.
    """

    def __init__(self, identity: str, timing: Timing) -> None:
        self.identity = identity
        self.timing = timing
        self.leads_until: float | None = None
        """End of the right to lead; None: this one does not lead."""
        self.lost: str | None = None
        """Why it leads no more. Final."""
        self.lapsed = False
        """It leads no more since it could not renew in time: nobody may know that yet."""
        self._stored: Stored | None = None
        self._same_since: float | None = None
        """Since when nothing else was seen than `_stored`. Nothing was ever seen: None."""
        self._look = True
        """The next step is to read: what we know is not what is there."""
        self._not_before = -inf
        self._seen = False

    # --- the right ------------------------------------------------------------------------------------------------

    def leads(self, now: float) -> bool:
        """Whether this one may write at `now`. To be asked right before each write."""
        until = self.leads_until  # read once: the thread that renews may give it up between two looks
        return self.lost is None and until is not None and now < until

    # --- what to do -----------------------------------------------------------------------------------------------

    def step(self, now: float, utc: datetime) -> Step:
        """What to do next."""
        self._notice_lapse(now)
        if self.lost is not None:
            return Leave(self.lost)
        if now < self._not_before:
            return Wait(self._not_before if self.leads_until is None else min(self._not_before, self.leads_until))
        if self._look:
            return Read()
        if self.leads_until is None and not self._is_free(now):
            self._look = True  # the holder is not silent long enough: see whether it still says the same
            return Read()
        return Write(self._wish(utc), None if self._stored is None else self._stored.version)

    def _is_free(self, now: float) -> bool:
        """Whether the Lease may be taken."""
        if self._stored is None:
            return not self._seen or self._silent(now, self.timing.duration)
        lease = self._stored.lease
        return lease.holder in ("", self.identity) or self._silent(now, lease.duration or self.timing.duration)

    def _silent(self, now: float, duration: float) -> bool:
        return self._same_since is not None and now - self._same_since >= duration

    def _wish(self, utc: datetime) -> Lease:
        duration = ceil(self.timing.duration)
        if self._stored is None:
            return Lease(self.identity, duration, utc, utc)
        before = self._stored.lease
        utc = _after(before.renewed, utc)
        if before.holder == self.identity:
            return Lease(self.identity, duration, before.acquired, utc, before.transitions)
        return Lease(self.identity, duration, utc, utc, before.transitions + 1)

    def resign(self) -> None:
        """Lead no more, from this moment on."""
        self.leads_until = None
        self.lost = self.lost or "resigned"

    def farewell(self, utc: datetime) -> Write | None:
        """After `resign`: the write that lets others take over at once; None: the Lease is not ours to release."""
        if self._stored is None or self._stored.lease.holder != self.identity:
            return None
        lease = self._stored.lease
        return Write(replace(lease, holder="", renewed=_after(lease.renewed, utc)), self._stored.version)

    # --- what came of it ------------------------------------------------------------------------------------------

    def found(self, stored: Stored | None, now: float) -> None:
        """The Lease was read (None: there is none); `now` is after the answer came."""
        self._notice_lapse(now)
        self._see(stored, now)
        self._look, self._not_before = False, now
        if self.leads_until is not None and (stored is None or stored.lease.holder != self.identity):
            holder = "nobody" if stored is None else stored.lease.holder or "nobody"
            self._lose(f"the lease is held by {holder}")
        elif self.leads_until is None and not self._is_free(now):
            self._look = True
            self._not_before = now + self.timing.retry

    def stored(self, stored: Stored, sent: float, now: float) -> None:
        """Our write was done and acknowledged; `sent` is from before it was sent."""
        self._notice_lapse(now)
        self._see(stored, now)
        until = sent + self.timing.renew_deadline
        if self.lost is not None:
            return
        if now < until:
            self.leads_until = until
            self._not_before = min(now, sent) + self.timing.retry
        # Else the acknowledgement came too late to lead by it: renew at once.

    def refused(self, now: float) -> None:
        """Somebody else wrote first, or the Lease is gone: look at once."""
        self._notice_lapse(now)
        self._look = True

    def failed(self, now: float) -> None:
        """No answer, or one that says nothing about the Lease: it is as it was, or our write was done. Try again in a while."""
        self._notice_lapse(now)
        self._not_before = now + self.timing.retry
        if self.leads_until is None:
            self._look = True

    def _see(self, stored: Stored | None, now: float) -> None:
        version = None if stored is None else stored.version
        known = None if self._stored is None else self._stored.version
        if self._same_since is None or version != known:
            self._same_since = now
        self._seen = self._seen or stored is not None
        self._stored = stored

    def _notice_lapse(self, now: float) -> None:
        if self.leads_until is not None and now >= self.leads_until:
            self._lose(f"the lease could not be renewed for {self.timing.renew_deadline:g} s")
            self.lapsed = True

    def _lose(self, reason: str) -> None:
        self.leads_until = None
        self.lost = reason


def _after(renewed: datetime, utc: datetime) -> datetime:
    return max(utc, renewed + timedelta(microseconds=1))
