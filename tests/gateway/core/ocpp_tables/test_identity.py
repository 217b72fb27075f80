"""What the session relies on in every row: identities, times, and mapping that fails only in ways it expects."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocpp_gateway.core.boot import Boot
from ocpp_gateway.core.handlers import UplinkContext, Version
from ocpp_gateway.core.inbound import MAPPING_ERRORS
from tests.gateway.core.ocpp_tables.golden import VERSIONS, response_errors
from tests.gateway.core.ocpp_tables.samples import request_name, sample

CONTEXT = UplinkContext("CP-1", "2026-11-22T10:00:00.000Z", 300, None, 17)
V16, V201, V21 = VERSIONS["ocpp16"], VERSIONS["ocpp201"], VERSIONS["ocpp21"]
ROWS = [
    pytest.param(version, row, id=f"{name}-{row.action}")
    for name, version in VERSIONS.items()
    for row in version.uplink.values()
]
TRANSACTION_ROWS = [one for one in ROWS if one.values[1].transaction]

START = {"connectorId": 1, "idTag": "TAG", "meterStart": 0, "timestamp": "2026-11-22T10:00:00Z"}
STOP = {"transactionId": 0, "meterStop": 0, "timestamp": "2026-11-22T10:00:00Z"}
EVENT = {"eventType": "Updated", "seqNo": 0, "transactionInfo": {"transactionId": "tx-1"}}


@pytest.mark.parametrize(
    ("version", "action", "payload", "change"),
    [
        (V16, "StartTransaction", START, {"connectorId": 2}),
        (V16, "StartTransaction", START, {"idTag": "OTHER"}),
        (V16, "StartTransaction", START, {"meterStart": 1}),
        (V16, "StartTransaction", START, {"timestamp": "2026-11-22T10:00:01Z"}),
        (V16, "StopTransaction", STOP, {"transactionId": 1}),
        # A station that lost our answer stops transaction 0 more than once.
        (V16, "StopTransaction", STOP, {"timestamp": "2026-11-22T11:00:00Z"}),
        (V201, "TransactionEvent", EVENT, {"seqNo": 1}),
        (V201, "TransactionEvent", EVENT, {"transactionInfo": {"transactionId": "tx-2"}}),
        (V21, "TransactionEvent", EVENT, {"seqNo": 1}),
    ],
)
def test_the_natural_key_is_the_same_for_a_retry_and_another_for_another_message(
    version: Version, action: str, payload: dict[str, Any], change: dict[str, Any]
) -> None:
    key = version.uplink[action].natural_key
    assert key(dict(payload)) == key(dict(payload))
    assert key(payload) is not None
    assert key(payload | change) != key(payload)


def test_only_the_stop_of_16_ends_an_id_of_ours() -> None:
    ends = {
        (name, row.action)
        for name, version in VERSIONS.items()
        for row in version.uplink.values()
        if row.ends(sample(version.schemas, request_name(version.schemas, row.action), full=True)) is not None
    }
    assert ends == {("ocpp16", "StopTransaction")}


def test_the_transaction_messages_are_the_ones_that_the_design_protects() -> None:
    protected = {
        name: {row.action for row in version.uplink.values() if row.transaction} for name, version in VERSIONS.items()
    }
    assert protected == {
        "ocpp16": {"StartTransaction", "StopTransaction", "MeterValues"},
        "ocpp201": {"TransactionEvent", "MeterValues"},
        "ocpp21": {"TransactionEvent", "MeterValues"},
    }


@pytest.mark.parametrize(("version", "row"), TRANSACTION_ROWS)
def test_a_broken_transaction_message_that_says_which_one_it_is_gets_a_valid_answer(version: Version, row: Any) -> None:
    payload: dict[str, Any] = {}
    whole = sample(version.schemas, request_name(version.schemas, row.action), full=False)
    for path in row.identifying:
        target, source = payload, whole
        *outer, last = path.split(".")
        for step in outer:
            target, source = target.setdefault(step, {}), source[step]
        target[last] = source[last]
    assert response_errors(version, row.action, row.answer(payload, CONTEXT)) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=10)  # per row, and there are more than eighty of them
@given(data=st.data())
@pytest.mark.parametrize(("version", "row"), ROWS)
def test_whatever_a_station_sends_a_row_raises_nothing_that_the_session_does_not_catch(
    version: Version, row: Any, data: st.DataObject
) -> None:
    """Validation Lenient lets every readable message through; mapping it may fail, the session may not."""
    payload = sample(version.schemas, request_name(version.schemas, row.action), full=True)
    for name in data.draw(st.lists(st.sampled_from(sorted(payload) or ["x"]), max_size=3)):
        if data.draw(st.booleans()):
            payload.pop(name, None)
        else:
            payload[name] = data.draw(JSON)
    for ask in (
        lambda: row.data(payload, CONTEXT),
        lambda: row.answer(payload, CONTEXT),
        lambda: row.natural_key(payload),
        lambda: row.occurred_at(payload),
        lambda: row.ends(payload),
        lambda: row.asks(payload) if row.asks else None,
        lambda: row.event_of(payload) if row.event_of else None,
    ):
        with suppress(MAPPING_ERRORS):
            ask()


@pytest.mark.parametrize("version", [V201, V21])
def test_a_pending_station_may_send_the_report_that_it_was_asked_for(version: Version) -> None:
    boot = Boot("Pending")
    assert not boot.admits("NotifyReport")
    boot.trigger_accepted(version, "GetBaseReport", {"requestId": 1}, "Rejected")
    assert not boot.admits("NotifyReport")
    boot.trigger_accepted(version, "GetBaseReport", {"requestId": 1}, "Accepted")
    assert boot.admits("NotifyReport")
    assert not boot.admits("StatusNotification")


@pytest.mark.parametrize(
    ("version", "requested", "action"),
    [
        (V16, "SignChargePointCertificate", "SignCertificate"),
        (V16, "StatusNotification", "StatusNotification"),
        (V201, "SignChargingStationCertificate", "SignCertificate"),
        (V201, "SignCombinedCertificate", "SignCertificate"),
        (V21, "SignV2G20Certificate", "SignCertificate"),
    ],
)
def test_what_is_triggered_is_known_by_its_action(version: Version, requested: str, action: str) -> None:
    boot = Boot("Pending")
    boot.trigger_accepted(version, "TriggerMessage", {"requestedMessage": requested}, "Accepted")
    assert boot.admits(action)
