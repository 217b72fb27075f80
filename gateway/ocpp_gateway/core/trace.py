"""What a person may see of a station's frames: everything but the secrets.

For `chargegateway trace`, the internal API and the log. Passwords and keys travel through OCPP in quite different clothes;
each is found by what it is called, wherever it stands in the message:

- plain fields (`basicAuthPassword`, `apnPassword`, `password`, the `key` of a VPN in SetNetworkProfile);
- 1.6 configuration keys (`{"key": "AuthorizationKey", "value": ...}`), both ways;
- 2.x variables (`{"variable": {"name": "BasicAuthPassword"}, "attributeValue": ...}`), also in reports and events;
- `user:password@` in the URLs of GetLog, GetDiagnostics, UpdateFirmware;
- signed messages (unwrapped first: base64 hides nothing) and JSON or PEM inside a string (DataTransfer).

What cannot be read is shown only while nothing in it looks like a secret.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from ocpp_gateway.core.frames import MAX_DEPTH, encode_default, too_deep
from ocpp_gateway.core.signed import unwrap

REDACTED: Final = "<redacted>"
_MAX_RAW: Final = 1_000

_SECRET_NAME = re.compile(r"passw(or)?d|passphrase|secret|authorizationkey|authkey|privatekey|vpnkey|simpin|apikey")
_SECRET_TEXT = re.compile(
    r"passw(or)?d|passphrase|secret|author[iz]+ation[ _-]*key|private[ _-]*key|sim[ _-]*pin|api[ _-]*key", re.IGNORECASE
)
# RFC 3986 userinfo, up to the last @ before the path: passwords hold @ in the field, encoded or not.
# The scheme is bounded: an open-ended one takes quadratic time on a megabyte of letters.
_USERINFO = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]{0,15}://)[^/?#\s\"]*@")
_NOT_WORD = re.compile(r"[^a-z]")
# Where a 2.x variable's value stands, beside its `variable` or below it.
_VARIABLE_VALUES: Final = frozenset({"attributeValue", "actualValue", "value", "transition", "valuesList"})


def redact_frame(raw: bytes | str) -> str:
    """One frame as text, without its secrets; never longer than a little more than the frame. Never raises."""
    try:
        message = orjson.loads(raw)
    except ValueError:
        return _unreadable(raw)
    if too_deep(raw, message, MAX_DEPTH):
        return f"<{len(raw)} bytes, nested deeper than {MAX_DEPTH} levels>"
    return orjson.dumps(redact(message), default=encode_default).decode()


def redact(value: Any) -> Any:
    """A copy of a JSON value without secrets. The value must not be nested deeper than `frames.MAX_DEPTH`."""
    kind = type(value)
    if kind is dict:
        return _redact_object(value)
    if kind is list:
        return [redact(item) for item in value]
    return _redact_text(value) if kind is str else value


def _redact_object(value: dict[str, Any]) -> dict[str, Any]:
    inner = unwrap(value)
    if inner is not None and not too_deep(inner, parsed := orjson.loads(inner), MAX_DEPTH // 2):
        return {**value, "payload": redact(parsed)}
    named = _named(value)
    hidden: dict[str, Any] = {}
    for name, item in value.items():
        if _is_secret(name) or (named and (name in _VARIABLE_VALUES)):
            hidden[name] = _hide(item)
        elif named and name == "variableAttribute":
            hidden[name] = _hide_attributes(item)
        elif name == "vpn" and type(item) is dict:
            hidden[name] = {key: REDACTED if key == "key" else redact({key: part})[key] for key, part in item.items()}
        else:
            hidden[name] = redact(item)
    return hidden


def _named(value: dict[str, Any]) -> bool:
    """Whether this object is a configuration key or a variable that holds a secret."""
    variable = value.get("variable")
    name = variable.get("name") if type(variable) is dict else value.get("key")
    return type(name) is str and _is_secret(name)


def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(_NOT_WORD.sub("", name.lower())) is not None


def _hide(item: Any) -> Any:
    # A length limit or a flag about a password is no password; only what can hold one is hidden.
    return item if item is None or type(item) is bool else REDACTED


def _hide_attributes(attributes: Any) -> Any:
    if type(attributes) is not list:
        return _hide(attributes)
    return [
        {name: _hide(part) if name == "value" else redact(part) for name, part in attribute.items()}
        if type(attribute) is dict
        else _hide(attribute)
        for attribute in attributes
    ]


def _redact_text(text: str) -> str:
    if "://" in text:
        text = _USERINFO.sub(rf"\1{REDACTED}@", text)
    # Prose may name a password; text that assigns one (JSON, key=value, PEM) is hidden whole.
    if _SECRET_TEXT.search(text) and any(mark in text for mark in (":", "=", "-----")):
        return REDACTED
    return text


def _unreadable(raw: bytes | str) -> str:
    text = raw if isinstance(raw, str) else bytes(raw).decode("utf-8", "backslashreplace")
    if _SECRET_TEXT.search(text) or "\\u" in text:
        return f"<{len(raw)} bytes that are no JSON, hidden because of what they may hold>"
    text = _USERINFO.sub(rf"\1{REDACTED}@", text.encode("utf-8", "backslashreplace").decode())
    return text if len(text) <= _MAX_RAW else f"{text[:_MAX_RAW]}... <{len(raw)} bytes>"
