"""The station registry: two records per station on the compacted topic ``ocpp-stations``, projected into ``station:<id>``.

Key ``<id>`` says what a station may do, key ``<id>/credential`` holds its hashes; they are two records so that a password
change and an edit do not overwrite each other. A tombstone (no value) removes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ocpp_contract import decoding
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId, check_charge_point_id
from ocpp_contract.names import CREDENTIAL_SUFFIX, SUBPROTOCOLS

VALIDATION_MODES = ("Strict", "KeepTransactions", "Lenient")
MAX_CREDENTIALS = 8


@dataclass(frozen=True, slots=True)
class StationRecord:
    """What one station may do; None leaves the choice to the gateway's settings.

    ``allowed_versions`` are subprotocols, ``security_profile`` 0-3 the lowest at which it may connect, ``validation`` how
    strictly its messages are checked, ``tags`` free text for backends.
    """

    allowed_versions: tuple[str, ...] | None = None
    security_profile: int | None = None
    blocked: bool = False
    validation: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def to_json(self) -> bytes:
        return decoding.encode(
            {
                "allowedVersions": None if self.allowed_versions is None else list(self.allowed_versions),
                "securityProfile": self.security_profile,
                "blocked": self.blocked,
                "validation": self.validation,
                "tags": dict(self.tags) or None,
            }
        )

    @classmethod
    def from_json(cls, raw: bytes | str) -> StationRecord:
        """Raises ContractError."""
        return cls.from_fields(decoding.decode_object(raw))

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> StationRecord:
        """Raises ContractError."""
        versions = None if fields.get("allowedVersions") is None else decoding.strings(fields, "allowedVersions")
        for index, version in enumerate(versions or ()):
            if version not in SUBPROTOCOLS:
                raise ContractError(f"allowedVersions[{index}]", f"must be one of {', '.join(SUBPROTOCOLS)}")
        profile = fields.get("securityProfile")
        validation = fields.get("validation")
        tags = fields.get("tags") or {}
        if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
            raise ContractError("tags", "must be an object of strings")
        return cls(
            allowed_versions=versions,
            security_profile=None if profile is None else decoding.integer(fields, "securityProfile", 0, 3),
            blocked=decoding.boolean(fields, "blocked", default=False),
            validation=None if validation is None else decoding.one_of(fields, "validation", VALIDATION_MODES),
            tags=MappingProxyType(dict(tags)),
        )


@dataclass(frozen=True, slots=True)
class CredentialRecord:
    """Salted hashes of `ocpp_contract.credentials`, newest last; more than one while a password is being changed."""

    hashes: tuple[str, ...]

    def to_json(self) -> bytes:
        return decoding.encode({"hashes": list(self.hashes)})

    @classmethod
    def from_json(cls, raw: bytes | str) -> CredentialRecord:
        """Raises ContractError. Hashes of algorithms unknown to this reader are kept: a newer one may know them."""
        hashes = decoding.strings(decoding.decode_object(raw), "hashes")
        if len(hashes) > MAX_CREDENTIALS:
            raise ContractError("hashes", f"must not be more than {MAX_CREDENTIALS}")
        for index, entry in enumerate(hashes):
            if "$" not in entry:
                raise ContractError(f"hashes[{index}]", "must name its algorithm, as in hmac-sha256$<salt>$<digest>")
        return cls(hashes)


def record_key(station: ChargePointId) -> bytes:
    return station.encode()


def credential_key(station: ChargePointId) -> bytes:
    return f"{station}{CREDENTIAL_SUFFIX}".encode()


def parse_key(key: bytes | None) -> tuple[ChargePointId, bool]:
    """The station of a record and whether it is the credential record; raises ContractError.

    Unambiguous because a charge point id holds no slash.
    """
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError:
        raise ContractError("key", "is no UTF-8 text") from None
    credential = text.endswith(CREDENTIAL_SUFFIX)
    try:
        return check_charge_point_id(text.removesuffix(CREDENTIAL_SUFFIX)), credential
    except ContractError as error:
        raise ContractError("key", error.reason) from None
