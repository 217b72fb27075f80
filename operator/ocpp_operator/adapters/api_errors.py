"""How the Kubernetes API says no, as types: what a caller does next depends on nothing else.

ApiUnavailable   nobody answered, or not now: the outcome of a write is unknown; look again later
Conflict         somebody else was faster, or owns the field: observe again
Expired          the resource version is too old: list again
NotFound, Forbidden, Invalid   the answer will be the same until somebody changes something; the message is for people
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


class ClusterError(Exception):
    """A request that did not succeed. `reason` is the API's word for it (`AlreadyExists`, `FieldManagerConflict`...)."""

    def __init__(self, message: str, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ApiUnavailable(ClusterError):
    """Refused, timed out, 5xx, 429 or 401. A write may or may not have happened."""

    def __init__(self, message: str, status: int = 0, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, status, reason)
        self.retry_after = retry_after
        """Seconds the server asks to wait."""


class Silent(ApiUnavailable):
    """A watch that was begun brought nothing for as long as it may: it has nothing to tell, or it hangs."""


@dataclass(frozen=True, slots=True)
class FieldOwner:
    """Who else says what a field is to be."""

    manager: str
    field: str


class Conflict(ClusterError):
    """409: a precondition does not hold (resource version, uid), the name is taken, or others own fields (`owners`)."""

    def __init__(self, message: str, status: int = 409, reason: str = "", owners: tuple[FieldOwner, ...] = ()) -> None:
        super().__init__(message, status, reason)
        self.owners = owners


class Expired(ClusterError):
    """410: the resource version, or the continuation of a list, is no longer known."""


class Forbidden(ClusterError):
    """403. The message names the missing right; `terminating`: it is only that the namespace is going."""

    def __init__(self, message: str, status: int = 403, reason: str = "", terminating: bool = False) -> None:
        super().__init__(message, status, reason)
        self.terminating = terminating


class NotFound(ClusterError):
    """404: no such object, or no such kind."""


class Invalid(ClusterError):
    """400, 422 and whatever else says that the request itself is wrong."""


_MANAGER = re.compile(r'conflict with "([^"]*)"')


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> ClusterError:
    """The error that an answer other than 2xx stands for."""
    document = _document(body)
    message = str(document.get("message") or body[:500].decode("utf-8", "replace").strip() or f"status {status}")
    reason = str(document.get("reason") or "")
    causes = (document.get("details") or {}).get("causes") or []
    if status == 409:
        owners = tuple(_owner(cause) for cause in causes if cause.get("reason") == "FieldManagerConflict")
        return Conflict(message, status, "FieldManagerConflict" if owners else reason, owners)
    if status == 403:
        terminating = any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
        return Forbidden(message, status, reason, terminating)
    if status == 404:
        return NotFound(message, status, reason)
    if status == 410:
        return Expired(message, status, reason)
    # 401 is no verdict on what we may do: a token is being rotated, or the authenticator is away.
    if status in (401, 408, 429) or status >= 500:
        return ApiUnavailable(message, status, reason, _seconds(headers.get("Retry-After")))
    return Invalid(message, status, reason)


def _document(body: bytes) -> dict[str, Any]:
    """The Status object; a proxy in between may have answered something else."""
    try:
        document = orjson.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _owner(cause: Mapping[str, Any]) -> FieldOwner:
    text = str(cause.get("message", ""))
    manager = _MANAGER.search(text)
    return FieldOwner(manager[1] if manager else text, str(cause.get("field", "")))


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() else None
