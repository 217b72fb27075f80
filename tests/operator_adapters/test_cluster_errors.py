"""Answers of the API server, and of what stands before it, as errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ocpp_operator.adapters.api_errors import (
    ApiUnavailable,
    ClusterError,
    Conflict,
    Expired,
    FieldOwner,
    Forbidden,
    Invalid,
    NotFound,
    refusal,
)


def status(reason: str, message: str = "said so", causes: list[dict[str, str]] | None = None) -> bytes:
    document: dict[str, Any] = {"kind": "Status", "reason": reason, "message": message, "details": {"causes": causes}}
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, Invalid), (401, ApiUnavailable), (403, Forbidden), (404, NotFound), (405, Invalid), (408, ApiUnavailable),
        (409, Conflict), (410, Expired), (413, Invalid), (422, Invalid), (429, ApiUnavailable), (500, ApiUnavailable),
        (503, ApiUnavailable), (504, ApiUnavailable),
    ],
)  # fmt: skip
def test_each_code_has_its_type_and_keeps_what_was_said(code: int, kind: type[ClusterError]) -> None:
    error = refusal(code, {}, status("Why"))
    assert type(error) is kind
    assert (str(error), error.status, error.reason) == ("said so", code, "Why")


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), (None, None), ("Wed, 21 Oct 2030 07:28:00 GMT", None), ("-1", None)]
)
def test_how_long_to_wait_is_kept(header: str | None, seconds: float | None) -> None:
    error = refusal(429, {} if header is None else {"Retry-After": header}, status("TooManyRequests"))
    assert isinstance(error, ApiUnavailable)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        (b"", "status 502"),
        (b"[1]", "[1]"),
        (b"\xff", "�"),
        (b"x" * 9_000, "x" * 500),
        (b'{"message": null, "details": null}', '{"message": null, "details": null}'),
    ],
)
def test_what_is_no_answer_of_the_api_server_is_shown_in_part(body: bytes, text: str) -> None:
    assert str(refusal(502, {}, body)) == text


def test_field_owners_are_read_from_the_causes() -> None:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "field": ".spec.replicas",
            "message": 'conflict with "kubectl-edit" using apps/v1',
        },
        {"reason": "FieldManagerConflict", "field": ".spec.paused", "message": "conflict in words we do not know"},
    ]
    error = refusal(409, {}, status("Conflict", causes=causes))
    assert isinstance(error, Conflict)
    assert error.reason == "FieldManagerConflict"
    assert error.owners == (
        FieldOwner("kubectl-edit", ".spec.replicas"),
        FieldOwner("conflict in words we do not know", ".spec.paused"),
    )
