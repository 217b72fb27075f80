"""RPC error codes: one name here, one spelling per version on the wire.

OCPP 1.6J table 7 (`FormationViolation`, and `OccurenceConstraintViolation` with one r, as the specification has it);
OCPP 2.0.1 and 2.1 Part 4 table 8. Stations mix the spellings, so every one of them is read.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Fault(Enum):
    """What is wrong with a CALL. The value is the 2.x spelling."""

    FORMAT = "FormatViolation"
    GENERIC = "GenericError"
    INTERNAL = "InternalError"
    MESSAGE_TYPE = "MessageTypeNotSupported"
    NOT_IMPLEMENTED = "NotImplemented"
    NOT_SUPPORTED = "NotSupported"
    OCCURRENCE = "OccurrenceConstraintViolation"
    PROPERTY = "PropertyConstraintViolation"
    PROTOCOL = "ProtocolError"
    RPC = "RpcFrameworkError"
    SECURITY = "SecurityError"
    TYPE = "TypeConstraintViolation"


_OCPP16: Final = {
    Fault.FORMAT: "FormationViolation",
    Fault.OCCURRENCE: "OccurenceConstraintViolation",
    Fault.MESSAGE_TYPE: "NotSupported",
    Fault.RPC: "ProtocolError",
}
_SPELLINGS: Final = {
    "FormationViolation": Fault.FORMAT.value,
    "OccurenceConstraintViolation": Fault.OCCURRENCE.value,
}


def spelling(fault: Fault, subprotocol: str) -> str:
    """The error code as this version writes it."""
    if subprotocol == "ocpp1.6":
        return _OCPP16.get(fault, fault.value)
    return fault.value


_CODES: Final = frozenset(fault.value for fault in Fault)


def code_label(code: str) -> str:
    """The error code for a counter: whatever a station makes up is one label, not one each."""
    known = read_code(code)
    return known if known in _CODES else "other"


def read_code(code: str) -> str:
    """A station's error code in the 2.x spelling; an unknown one is kept as it is."""
    return _SPELLINGS.get(code, code)
