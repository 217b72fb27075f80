"""CloudEvents attributes on Kafka and HTTP, and the identities that consumers de-duplicate by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.cloudevents import CloudEvent, header, source
from ocpp_contract.decisions import request_headers
from ocpp_contract.errors import ContractError
from ocpp_contract.events import EVENT_TYPES, ce_type, short_type
from ocpp_contract.ids import ChargePointId, CommandId, PodName
from ocpp_contract.outcome import CommandResult, CommandState, Outcome

EVENT = CloudEvent(
    id="4b1d/final",
    source="/chargegateway/main/gw-0",
    type="io.chargegateway.MeterValues.v1",
    subject="CP 1ä",
    time="2026-11-22T10:00:00.000Z",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)


def test_kafka_headers_are_binary_mode() -> None:
    assert EVENT.to_headers() == [
        ("ce_specversion", b"1.0"),
        ("content-type", b"application/json"),
        ("ce_datacontenttype", b"application/json"),
        ("ce_id", b"4b1d/final"),
        ("ce_source", b"/chargegateway/main/gw-0"),
        ("ce_type", b"io.chargegateway.MeterValues.v1"),
        ("ce_subject", "CP 1ä".encode()),
        ("ce_time", b"2026-11-22T10:00:00.000Z"),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.builds(CloudEvent, TEXT, TEXT, TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | TEXT))
def test_what_is_written_is_read(event: CloudEvent) -> None:
    assert CloudEvent.from_headers(event.to_headers()) == event


@pytest.mark.parametrize("missing", ["ce_id", "ce_source", "ce_type", "ce_specversion"])
def test_a_required_attribute_is_missed(missing: str) -> None:
    with pytest.raises(ContractError) as caught:
        CloudEvent.from_headers([entry for entry in EVENT.to_headers() if entry[0] != missing])
    assert caught.value.field == missing


def test_http_headers_are_ascii_and_the_key_of_a_retry_is_the_id() -> None:
    headers = request_headers(EVENT)
    assert headers["ce-subject"] == "CP%201%C3%A4"
    assert headers["Idempotency-Key"] == headers["ce-id"] == "4b1d/final"
    assert all(value.isascii() for value in headers.values())


def test_the_last_header_of_a_name_counts() -> None:
    assert header([("cg-hop", b"1"), ("cg-hop", b"2")], "cg-hop") == "2"
    assert header([("cg-hop", b"\xff")], "cg-hop") is None
    assert header([("cg-hop", None)], "cg-hop") is None


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_short_and_full_type_are_one(name: str) -> None:
    assert short_type(ce_type(name)) == name


@pytest.mark.parametrize(
    "text", ["io.chargegateway..v1", "com.example.MeterValues.v1", "io.chargegateway.MeterValues.v2"]
)
def test_foreign_types_have_no_short_name(text: str) -> None:
    assert short_type(text) is None


def test_the_source_of_a_pod() -> None:
    assert source("eu west", PodName("gw-0")) == "/chargegateway/eu%20west/gw-0"


@pytest.mark.parametrize("outcome", Outcome)
def test_one_final_report_has_one_identity(outcome: Outcome) -> None:
    result = CommandResult(
        CommandId("c"), ChargePointId("CP1"), "Reset", outcome, PodName("gw-0"), "2026-11-22T10:00:00.000Z"
    )
    assert result.ce_id == ("c/timed-out" if outcome is Outcome.TIMED_OUT else "c/final")


def test_every_outcome_is_a_state() -> None:
    assert {str(outcome) for outcome in Outcome} | {"NotSent", "Sent"} == {str(state) for state in CommandState}


def test_what_only_none_may_become_and_what_is_kept_for_people() -> None:
    assert {outcome.value for outcome in Outcome if outcome.only_from_none} == {
        "Expired", "NotConnected", "Unsupported", "Invalid", "Busy", "Misrouted",
    }  # fmt: skip
    assert {outcome.value for outcome in Outcome if outcome.dead_letter} == {"Expired", "Invalid", "Misrouted"}
