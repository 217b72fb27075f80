"""What a session asks of its runtime. Execute them in order; each is a small tuple because most messages make two.

| effect | meaning | how the runtime reports back |
| --- | --- | --- |
| Send | write this text frame | |
| Ask | a decision of the backend is needed | `session.decided(token, decision)` |
| Recall | read `{conn:<id>}:tx:<digest>` | `session.recalled(token, value or None)`; store away: None |
| Remember | write `{conn:<id>}:tx:<digest>` | |
| Publish | event to `ocpp-events-up` | `session.acknowledged(token, utc)`, or `session.refused(token)` for good |
| CallEnded | our CALL was answered | |
| BootRecorded | write `{conn:<id>}:boot` | |
| Close | close the socket (write out what was sent before, then abort) | `session.closed()` |
| Count | metrics and log line | |
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias


class Send(NamedTuple):
    frame: bytes


class Publish(NamedTuple):
    token: int
    event: str
    """Short type, `MeterValues`; the ce_type is `io.chargegateway.<event>.v1`."""
    ce_id: str
    value: bytes
    """The JSON envelope of contract.md."""
    transaction: bool
    """Shed last."""


class Ask(NamedTuple):
    token: int
    kind: str
    """Kind of decision, as in `ocpp_contract.decisions`."""
    event: str
    ce_id: str
    """Also the Idempotency-Key."""
    value: bytes
    """The event as it stands without the decision."""


class Recall(NamedTuple):
    token: int
    digest: str


class Remember(NamedTuple):
    digest: str
    value: bytes


class CallEnded(NamedTuple):
    """A station answered our CALL: `payload` with CALLRESULT, else the fields of its CALLERROR."""

    message_id: str
    payload: dict[str, Any] | None
    schema_errors: tuple[str, ...] = ()
    """The answer breaks its schema; the station did act, so the answer still counts."""
    code: str = ""
    """CALLERROR in the 2.x spelling."""
    description: str = ""
    details: dict[str, Any] | None = None
    late: bool = False
    """It had timed out before."""


class BootRecorded(NamedTuple):
    status: str
    interval: int
    at: str


class Close(NamedTuple):
    code: int
    reason: str


class Count(NamedTuple):
    """`label` is an action, a kind or a fault: never a station id."""

    name: str
    label: str = ""


SessionEffect: TypeAlias = Send | Publish | Ask | Recall | Remember | CallEnded | BootRecorded | Close | Count
