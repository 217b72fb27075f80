"""Identities: what they are called, how they are written and which texts are allowed to be one.

An owner is an *incarnation*: pod name, pod uid and a random id made at process start, because a container restart keeps
name and uid. Everything that must not outlive a process carries it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType
from uuid import UUID

from ocpp_contract.errors import ContractError

ChargePointId = NewType("ChargePointId", str)
MessageId = NewType("MessageId", str)
CommandId = NewType("CommandId", str)
Partition = NewType("Partition", int)
PodName = NewType("PodName", str)

MAX_CHARGE_POINT_ID_2X = 48  # OCPP 2.0.1 Part 4, section 3.1.1: identifierString of at most 48 characters, no colon
MAX_CHARGE_POINT_ID = 255  # OCPP 1.6J names no limit; this one keeps keys and log lines bounded

_RUN = re.compile(r"[0-9a-f]{8}")
_POD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of one gateway process: ``<pod>/<pod uid>/<8 hex>``."""

    pod: PodName
    uid: str
    run: str

    def __str__(self) -> str:
        return f"{self.pod}/{self.uid}/{self.run}"

    @classmethod
    def parse(cls, text: object) -> Incarnation:
        """Read the written form; raises ContractError."""
        if not isinstance(text, str):
            raise ContractError("incarnation", "must be a string")
        parts = text.split("/")
        if len(parts) != 3 or not all(
            pattern.fullmatch(part) for pattern, part in zip((_POD, _UID, _RUN), parts, strict=True)
        ):
            raise ContractError("incarnation", "must be <pod>/<pod uid>/<8 lower-case hex digits>")
        return cls(PodName(parts[0]), parts[1], parts[2])

    def same_container(self, other: Incarnation) -> bool:
        """Whether ``other`` is this process or another life of it: name and uid survive a container restart."""
        return self.pod == other.pod and self.uid == other.uid


def check_charge_point_id(text: object, subprotocol: str | None = None) -> ChargePointId:
    """The one rule for charge point ids: admission, commands and the registry all ask here; raises ContractError.

    ``subprotocol`` is the negotiated one (``ocpp1.6``, ``ocpp2.0.1``, ``ocpp2.1``); None where no version is known yet.
    Braces would change the Redis hash slot of the station's keys, a slash would collide with ``<id>/credential``.
    """
    if not isinstance(text, str):
        raise ContractError("chargePointId", "must be a string")
    if not text:
        raise ContractError("chargePointId", "must not be empty")
    if len(text) > MAX_CHARGE_POINT_ID:
        raise ContractError("chargePointId", f"must not be longer than {MAX_CHARGE_POINT_ID} characters")
    if not text.isprintable():
        raise ContractError("chargePointId", "must hold printable characters only")
    if "{" in text or "}" in text or "/" in text:
        raise ContractError("chargePointId", "must not contain braces or slashes")
    if subprotocol is not None and subprotocol.startswith("ocpp2"):
        if len(text) > MAX_CHARGE_POINT_ID_2X:
            raise ContractError("chargePointId", f"must not be longer than {MAX_CHARGE_POINT_ID_2X} characters")
        if ":" in text:
            raise ContractError("chargePointId", "must not contain a colon")
    return ChargePointId(text)


def check_command_id(text: object) -> CommandId:
    """A UUID in its usual form, normalised to lower case so that one id has one command record; raises ContractError."""
    if not isinstance(text, str) or not _UUID.fullmatch(text):
        raise ContractError("id", "must be a UUID")
    return CommandId(str(UUID(text)))
