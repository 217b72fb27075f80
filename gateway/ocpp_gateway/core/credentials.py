"""Basic authentication of stations (OCPP security profiles 1 and 2).

What stations send differs from the textbook: 1.6 keys are raw bytes (any byte, colons and invalid UTF-8 included), so
the user name is split off at the known id, not at the first colon; some send the key as the hex text that
`AuthorizationKey` was set with. Both forms are the same key. How keys are
hashed is part of the contract (`ocpp_contract.credentials`): whoever writes the registry must do it alike.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum

from ocpp_contract.credentials import CredentialError, canonical, verify


class BasicFault(StrEnum):
    MISSING = "no-credentials"
    MALFORMED = "malformed-authorization"
    OTHER_IDENTITY = "identity-mismatch"
    NOTHING_STORED = "no-stored-credential"
    WRONG_KEY = "wrong-password"


@dataclass(frozen=True, slots=True)
class BasicResult:
    """`fault` None: authenticated. `matched` is the index of the stored hash that fitted; unreadable ones are counted.
    `hexadecimal`: the key came as hex text of its bytes."""

    fault: BasicFault | None
    matched: int | None = None
    unreadable: int = 0
    hexadecimal: bool = False


def check_basic(authorization: str | None, charge_point_id: str, hashes: tuple[str, ...]) -> BasicResult:
    """Judge an Authorization header (as ISO-8859-1 text) against the station's stored hashes."""
    if authorization is None:
        return BasicResult(BasicFault.MISSING)
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return BasicResult(BasicFault.MALFORMED)
    encoded = encoded.strip()
    try:
        # Some clients leave the padding away.
        pair = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return BasicResult(BasicFault.MALFORMED)
    user = charge_point_id.encode()
    if not pair.startswith(user + b":"):
        return BasicResult(BasicFault.OTHER_IDENTITY if b":" in pair else BasicFault.MALFORMED)
    if not hashes:
        return BasicResult(BasicFault.NOTHING_STORED)
    key = pair[len(user) + 1 :]
    unreadable = 0
    for index, stored in enumerate(hashes):
        try:
            if verify(key, stored):
                return BasicResult(None, index, unreadable, canonical(key) != key)
        except CredentialError:
            unreadable += 1
    return BasicResult(BasicFault.WRONG_KEY, None, unreadable)
