"""The few frames that a session consists of, written and unmasked by hand (RFC 6455 section 5.2).

Only complete, unfragmented, uncompressed frames of a server; everything else is websockets' work (`charge_points`).
"""

from __future__ import annotations

import struct

try:
    from websockets.speedups import apply_mask as unmask
except ImportError:  # no compiled extension on this platform
    from websockets.utils import apply_mask as unmask

__all__ = ["PING", "PONG", "TEXT", "control", "cut_reason", "text", "unmask"]

# First byte: FIN and opcode.
TEXT = 0x81
PING = 0x89
PONG = 0x8A

_SHORT = tuple(bytes((TEXT, length)) for length in range(126))
_MEDIUM = struct.Struct("!BBH").pack
_LONG = struct.Struct("!BBQ").pack
_MAX_REASON = 123


def text(payload: bytes) -> bytes:
    """A text frame."""
    length = len(payload)
    if length < 126:
        return _SHORT[length] + payload
    if length < 65_536:
        return _MEDIUM(TEXT, 126, length) + payload
    return _LONG(TEXT, 127, length) + payload


def control(head: int, payload: bytes) -> bytes:
    """A ping or pong of at most 125 bytes."""
    return bytes((head, len(payload))) + payload


def cut_reason(reason: str) -> str:
    """As much of a close reason as fits into its frame, without half a character (section 5.5.1)."""
    return reason.encode()[:_MAX_REASON].decode(errors="ignore")
