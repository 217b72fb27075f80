"""Signed messages of OCPP 2.x (Part 4, section "Signed messages"): the payload inside a JSON Web Signature.

`[2, id, "MeterValues-Signed", {"payload": base64url, ...}]` carries the ordinary payload, and who does not check
signatures may use it as it is. The gateway unwraps it; TLS and the station's credentials are what it trusts.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson

from ocpp_gateway.core.frames import MAX_DEPTH, too_deep


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
    """A CALLRESULT payload without its signature; anything else as it is. None when it is nested too deep to be worked with:
    nobody has looked at what was signed until now."""
    inner = unwrap(payload)
    if inner is None:
        return payload
    result = orjson.loads(inner)
    return None if too_deep(inner, result, MAX_DEPTH // 2) else result
