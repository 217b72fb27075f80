"""Signed messages of OCPP 2.x (Part 4, section "Signed messages"): the payload inside a JSON Web Signature.

`[2, id, "MeterValues-Signed", {"payload": base64url, ...}]` carries the ordinary payload, and who does not check
signatures may use it as it is. The gateway unwraps it; TLS and the station's credentials are what it trusts.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson


def unwrap(payload: Any) -> bytes | None:
    """The JSON text of the object inside a flattened or general JWS; None if this is none."""
    if type(payload) is not dict or not ("signature" in payload or "signatures" in payload):
        return None
    text = payload.get("payload")
    if type(text) is not str or not text.isascii():
        return None
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return data if type(orjson.loads(data)) is dict else None
    except ValueError:
        return None


def unwrap_result(payload: Any) -> Any:
    """A CALLRESULT payload without its signature; anything else as it is."""
    inner = unwrap(payload)
    return payload if inner is None else orjson.loads(inner)
