"""CloudEvents 1.0, Kafka protocol binding, binary mode: attributes as ``ce_*`` headers, JSON as the record's value.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md section 3.2; the HTTP form
(``ce-*`` headers) is of the HTTP binding, section 3.1. ``traceparent`` (W3C Trace Context) is carried, never made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import PodName
from ocpp_contract.names import TRACEPARENT

CONTENT_TYPE = "application/json"

Headers = list[tuple[str, bytes]]

_FIXED: Headers = [
    ("ce_specversion", b"1.0"),
    ("content-type", CONTENT_TYPE.encode()),
    ("ce_datacontenttype", CONTENT_TYPE.encode()),
]
_REQUIRED = ("ce_id", "ce_source", "ce_type")


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """The attributes of one event. ``subject`` is the charge point id, ``time`` RFC 3339."""

    id: str
    source: str
    type: str
    subject: str | None = None
    time: str | None = None
    traceparent: str | None = None

    def to_headers(self) -> Headers:
        """Kafka record headers."""
        headers = [
            *_FIXED,
            ("ce_id", self.id.encode()),
            ("ce_source", self.source.encode()),
            ("ce_type", self.type.encode()),
        ]
        if self.subject is not None:
            headers.append(("ce_subject", self.subject.encode()))
        if self.time is not None:
            headers.append(("ce_time", self.time.encode()))
        if self.traceparent is not None:
            headers.append((TRACEPARENT, self.traceparent.encode()))
        return headers

    def to_http(self) -> dict[str, str]:
        """HTTP headers; values percent-encoded as the HTTP binding demands (section 3.1.3.2)."""
        headers = {
            "ce-specversion": "1.0",
            "ce-id": _http(self.id),
            "ce-source": _http(self.source),
            "ce-type": _http(self.type),
        }
        if self.subject is not None:
            headers["ce-subject"] = _http(self.subject)
        if self.time is not None:
            headers["ce-time"] = self.time
        if self.traceparent is not None:
            headers[TRACEPARENT] = self.traceparent
        return headers

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[str, bytes | None]]) -> CloudEvent:
        """Raises ContractError when a required attribute is missing or the version is not 1.x."""
        found = {name: value.decode("utf-8", errors="replace") for name, value in headers if value is not None}
        for name in _REQUIRED:
            if not found.get(name):
                raise ContractError(name, "is missing")
        if not found.get("ce_specversion", "").startswith("1."):
            raise ContractError("ce_specversion", "must be 1.0")
        return cls(
            id=found["ce_id"],
            source=found["ce_source"],
            type=found["ce_type"],
            subject=found.get("ce_subject"),
            time=found.get("ce_time"),
            traceparent=found.get(TRACEPARENT),
        )


def source(gateway: str, pod: PodName) -> str:
    """``ce_source`` of a pod: a URI reference naming the gateway and the pod."""
    return f"/chargegateway/{quote(gateway, safe='')}/{quote(pod, safe='')}"


def header(headers: Sequence[tuple[str, bytes | None]], name: str) -> str | None:
    """The value of the last header of that name, as text; None when there is none or it is no text."""
    for key, value in reversed(headers):
        if key == name and value is not None:
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
    return None


def _http(value: str) -> str:
    # Printable ASCII but space, double quote and percent stays as it is; everything else is percent-encoded UTF-8.
    return quote(value, safe="!#$&'()*+,/:;<=>?@[\\]^`{|}~")
