"""From a station's registry record and the pod's rules to what holds for this one station.

Truth is the topic `ocpp-stations` (`ocpp_contract.registry`); the pod's settings fill what a record leaves open and say
what becomes of stations nobody registered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ocpp_contract.registry import StationRecord

KEEPALIVE_TAG = "keepalive"


class UnknownStations(StrEnum):
    REJECT = "Reject"
    ACCEPT = "Accept"


@dataclass(frozen=True, slots=True)
class StationEntry:
    """Both records of one station as the projection holds them; both None: nobody registered it."""

    record: StationRecord | None
    credential_hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RegistryRules:
    """The pod's side: from the settings."""

    versions: tuple[str, ...]
    unknown: UnknownStations = UnknownStations.REJECT
    minimum_security_profile: int = 0
    validation: str = "KeepTransactions"


@dataclass(frozen=True, slots=True)
class StationPolicy:
    """What holds for one station."""

    registered: bool
    versions: frozenset[str]
    security_profile: int
    """The lowest profile at which it may connect."""
    blocked: bool
    validation: str
    keepalive: bool = True
    """False: no WebSocket pings, for boxes whose firmware stumbles over them (tag `keepalive: off`)."""


def policy_of(record: StationRecord | None, rules: RegistryRules) -> StationPolicy | None:
    """The policy of a station, or None: unknown, and unknown stations are rejected."""
    if record is None:
        if rules.unknown is UnknownStations.REJECT:
            return None
        return StationPolicy(False, frozenset(rules.versions), rules.minimum_security_profile, False, rules.validation)
    allowed = record.allowed_versions
    profile = record.security_profile
    return StationPolicy(
        registered=True,
        # A version that the pod does not offer cannot be given by a record.
        versions=frozenset(rules.versions if allowed is None else set(allowed) & set(rules.versions)),
        # A record may only raise the pod's minimum, never lower it.
        security_profile=max(rules.minimum_security_profile, 0 if profile is None else profile),
        blocked=record.blocked,
        validation=record.validation or rules.validation,
        keepalive=record.tags.get(KEEPALIVE_TAG) != "off",
    )
