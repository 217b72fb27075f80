"""How a station's key is stored: salted hashes that name their algorithm, so that a stronger one can replace it.

Whoever writes the registry (backends, the command line, a gateway after a password change) and whoever checks a login
must agree to the byte. What stations send differs from the textbook: 1.6 keys are raw bytes, some send the hex text that
``AuthorizationKey`` was set with; both are the same key (`canonical`). Why a fast hash is sound here: ADR 0035.
"""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Final

ALGORITHM: Final = "hmac-sha256"
MIN_KEY_BYTES: Final = 16
MAX_KEY_BYTES: Final = 64
SALT_BYTES: Final = 16

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
    if len(salt) != SALT_BYTES:
        raise CredentialError(f"a salt has {SALT_BYTES} bytes")
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


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
