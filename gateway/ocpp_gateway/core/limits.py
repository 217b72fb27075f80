"""How fast is too fast: token bucket, accept pacing, and the penalty box of identities. Pure; seconds, `now` is an argument."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum


class TokenBucket:
    """At most `burst` at once and `rate` per second on average. Kept as one number (GCRA): the time at which it is full again."""

    __slots__ = ("_full_at", "_interval", "_tolerance")

    def __init__(self, rate: float, burst: float) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("a token bucket needs a positive rate and a burst of at least one")
        self._interval = 1.0 / rate
        self._tolerance = (burst - 1.0) * self._interval
        self._full_at = 0.0

    def take(self, now: float) -> bool:
        """Whether one token was there; nothing is taken otherwise."""
        if self.wait(now) > 0.0:
            return False
        self.reserve(now)
        return True

    def reserve(self, now: float) -> float:
        """Take one token, on credit if need be; the seconds until it is really there."""
        wait = self.wait(now)
        self._full_at = max(self._full_at, now) + self._interval
        return wait

    def wait(self, now: float) -> float:
        """Seconds until one token is there; 0.0 = now."""
        return max(0.0, self._full_at - now - self._tolerance)

    def idle(self, now: float) -> bool:
        """Full again: forgetting this bucket changes nothing."""
        return self._full_at <= now


class AcceptPacer:
    """Admissions per second: delay first, refuse only when too many already wait.

    A 1.6 station has no mandated back-off; an instant 503 would invite a tight loop, a short wait does not.
    """

    __slots__ = ("_bucket", "_max_wait")

    def __init__(self, rate: float, max_waiting: int) -> None:
        # A tenth of a second's worth at once: smoother than one by one, and no step of the loop gets long.
        self._bucket = TokenBucket(rate, max(1.0, rate / 10))
        self._max_wait = max_waiting / rate

    def arrive(self, now: float) -> float | None:
        """The time at which this one may go on, or None: too many wait."""
        if self._bucket.wait(now) > self._max_wait:
            return None
        return now + self._bucket.reserve(now)

    def clear_in(self, now: float) -> float:
        """Seconds until nobody waits any more: what Retry-After says."""
        return self._bucket.wait(now)


class Login(StrEnum):
    """What a login of one identity looks like beside its earlier ones."""

    OK = "ok"
    FLAPPING = "flapping"
    """One station that comes again and again."""
    CONFLICT = "conflict"
    """Two boxes with one identity: they push each other out in turns."""


@dataclass(frozen=True, slots=True)
class LoginVerdict:
    login: Login
    retry_after: float
    """Seconds; 0.0 when the login may go on."""
    entered: bool
    """True only for the login that put the identity into the penalty box: report once, not at every attempt."""


class _History:
    __slots__ = ("bucket", "jailed_as", "jailed_until", "places")

    def __init__(self, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self.places: list[tuple[float, str]] = []
        self.jailed_until = 0.0
        self.jailed_as = Login.OK


class Logins:
    """Per-identity rate and conflict detection, for identities that already proved who they are.

    Conflict: within `window` seconds the identity came back `returns` times from an address that another address had
    replaced in between (A B A B). One roaming station changes its address but does not keep going back to the old one.
    Behind one NAT two boxes look like one that flaps; the rate catches them.
    """

    def __init__(
        self,
        per_minute: float,
        *,
        burst: int = 5,
        penalty: float = 60.0,
        window: float = 60.0,
        returns: int = 2,
        remember: int = 20_000,
    ) -> None:
        self._rate = per_minute / 60.0
        self._burst = burst
        self._penalty = penalty
        self._window = window
        self._returns = returns
        self._remember = remember
        self._histories: OrderedDict[str, _History] = OrderedDict()

    def __len__(self) -> int:
        return len(self._histories)

    def attempt(self, identity: str, address: str, now: float) -> LoginVerdict:
        """Judge a login that passed every other check; only an OK one may go on."""
        history = self._histories.get(identity)
        if history is None:
            history = self._histories[identity] = _History(TokenBucket(self._rate, self._burst))
            # The oldest identities are forgotten first: memory stays bounded whatever names come.
            while len(self._histories) > self._remember:
                self._histories.popitem(last=False)
        else:
            self._histories.move_to_end(identity)
        if now < history.jailed_until:
            return LoginVerdict(history.jailed_as, history.jailed_until - now, entered=False)

        history.places = [place for place in history.places if place[0] > now - self._window]
        if not history.places or history.places[-1][1] != address:
            history.places.append((now, address))
        else:
            history.places[-1] = (now, address)
        if _returns_to_earlier(history.places) >= self._returns:
            return self._jail(history, Login.CONFLICT, now)
        if not history.bucket.take(now):
            return self._jail(history, Login.FLAPPING, now)
        return LoginVerdict(Login.OK, 0.0, entered=False)

    def _jail(self, history: _History, reason: Login, now: float) -> LoginVerdict:
        history.jailed_until = now + self._penalty
        history.jailed_as = reason
        history.places.clear()
        return LoginVerdict(reason, self._penalty, entered=True)


def _returns_to_earlier(places: list[tuple[float, str]]) -> int:
    seen: set[str] = set()
    returns = 0
    for _, address in places:
        if address in seen:
            returns += 1
        seen.add(address)
    return returns
