"""Basic authentication of stations (OCPP security profiles 1 and 2).

What stations send differs from the textbook: 1.6 keys are raw bytes (any byte, colons and invalid UTF-8 included), so
the user name is split off at the known id, not at the first colon; some send the key as the hex text that
`AuthorizationKey` was set with. Both forms are the same key (`canonical`).

Stored are salted hashes, several of them while a password changes. The algorithm and the reason for a fast hash: ADR 0035.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest

ALGORITHM = "hmac-sha256"
MIN_KEY_BYTES = 16
MAX_KEY_BYTES = 64
_SALT_BYTES = 16
_HEX_KEY = re.compile(rb"(?:[0-9A-Fa-f]{2}){16,40}")


class CredentialError(ValueError):
    """A key that must not be stored, or a stored text that is no hash of ours. Never holds the key itself."""


def canonical(key: bytes) -> bytes:
    """The key behind what was typed or sent: hex text of 16-40 bytes stands for those bytes, everything else for itself."""
    return bytes.fromhex(key.decode("ascii")) if _HEX_KEY.fullmatch(key) else key


def hash_key(key: bytes, salt: bytes) -> str:
    """`hmac-sha256$<salt>$<digest>` (base64 without padding) of a key of 16-64 bytes; `salt` is 16 random bytes.

    Raises CredentialError for keys shorter than the specification allows: a fast hash is sound for long random keys only.
    """
    real = canonical(key)
    if not MIN_KEY_BYTES <= len(real) <= MAX_KEY_BYTES:
        raise CredentialError(f"a key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes")
    if len(salt) != _SALT_BYTES:
        raise CredentialError(f"a salt has {_SALT_BYTES} bytes")
    return f"{ALGORITHM}${_encode(salt)}${_encode(hmac_digest(salt, real, sha256))}"


def verify(key: bytes, stored: str) -> bool:
    """Whether `stored` is the hash of `key`. Constant time in the digest; raises CredentialError for an unknown algorithm."""
    algorithm, _, rest = stored.partition("$")
    salt_text, _, digest_text = rest.partition("$")
    if algorithm != ALGORITHM:
        raise CredentialError(f"unknown algorithm {algorithm[:32]!r}")
    try:
        salt, digest = _decode(salt_text), _decode(digest_text)
    except (binascii.Error, ValueError):
        raise CredentialError("broken hash") from None
    return compare_digest(hmac_digest(salt, canonical(key), sha256), digest)


class BasicFault(StrEnum):
    MISSING = "no-credentials"
    MALFORMED = "malformed-authorization"
    OTHER_IDENTITY = "identity-mismatch"
    NOTHING_STORED = "no-stored-credential"
    WRONG_KEY = "wrong-password"


@dataclass(frozen=True, slots=True)
class BasicResult:
    """`fault` None: authenticated. `matched` is the index of the stored hash that fitted; unreadable ones are counted."""

    fault: BasicFault | None
    matched: int | None = None
    unreadable: int = 0


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
                return BasicResult(None, index, unreadable)
        except CredentialError:
            unreadable += 1
    return BasicResult(BasicFault.WRONG_KEY, None, unreadable)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
