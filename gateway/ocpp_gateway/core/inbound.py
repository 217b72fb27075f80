"""One message of the station on its way: what is known about it until it is answered, and the event it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ocpp_gateway.core.dialect import Route
from ocpp_gateway.core.frames import encode_default
from ocpp_gateway.core.handlers import JsonObject, UplinkContext
from ocpp_gateway.core.station_times import read_station_time
from ocpp_gateway.core.transactions import (
    Remembered,
    make_transaction_id,
    message_ce_id,
    natural_ce_id,
    start_digest,
)

# What a row may raise on a payload that breaks its schema (and, were there a bug in it, on one that does not).
MAPPING_ERRORS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError)
FALLBACK_EVENT = "OcppMessageReceived"


class Inbound:
    """A CALL or SEND between its arrival and its answer."""

    __slots__ = (
        "answered",
        "ce_id",
        "decision",
        "event",
        "fingerprint",
        "generation",
        "message_id",
        "natural_key",
        "payload",
        "received_at",
        "remembered",
        "route",
        "schema_errors",
        "token",
        "transaction_id",
    )

    def __init__(
        self,
        token: int,
        message_id: str,
        fingerprint: int,
        route: Route,
        payload: JsonObject,
        received_at: str,
        answered: bool,
        schema_errors: tuple[str, ...],
    ) -> None:
        self.token = token
        self.message_id = message_id
        self.fingerprint = fingerprint
        """Hash of the frame's bytes: the same id with other content is no retry."""
        self.route = route
        self.payload = payload
        self.received_at = received_at
        self.answered = answered
        """False for SEND."""
        self.schema_errors = schema_errors
        self.ce_id = ""
        self.event = ""
        self.natural_key: tuple[str | int, ...] | None = None
        self.generation = 0
        self.transaction_id: int | None = None
        self.decision: Mapping[str, Any] | None = None
        self.remembered: Remembered | None = None

    def identify(self, charge_point_id: str) -> None:
        """Find the natural key; a row whose answer is remembered always gets one."""
        row = self.route.row
        try:
            self.natural_key = row.natural_key(self.payload)
        except MAPPING_ERRORS:
            self.natural_key = None
        if row.remembered and self.natural_key is None:
            self.natural_key = (message_ce_id(charge_point_id, self.message_id, row.action, self.payload, None),)

    def digest(self, charge_point_id: str) -> str:
        return start_digest(charge_point_id, self.natural_key or ())

    def assign_transaction(self, charge_point_id: str, generation: int) -> None:
        self.generation = generation
        self.transaction_id = make_transaction_id(charge_point_id, self.natural_key or (), generation)

    def decide(self, decision: Mapping[str, Any] | None) -> None:
        """In webhook mode the backend may give the transaction id."""
        self.decision = decision
        if decision is not None and self.transaction_id is not None:
            given = decision.get("transactionId")
            if isinstance(given, str) and given.isascii() and given.removeprefix("-").isdigit() and len(given) <= 11:
                given = int(given)
            if type(given) is int and -(2**31) <= given < 2**31:
                self.transaction_id = given

    def ended_transaction(self) -> str | int | None:
        """The transaction that this message ends, where ids are ours."""
        try:
            return self.route.row.ends(self.payload)
        except MAPPING_ERRORS:
            return None

    def followed_transaction(self) -> str | None:
        """The transaction that this message belongs to, as far as can be said."""
        if self.transaction_id is not None:
            return str(self.transaction_id)
        info = self.payload.get("transactionInfo")
        found = info.get("transactionId") if type(info) is dict else self.payload.get("transactionId")
        return str(found) if type(found) in (str, int) else None

    def context(self, charge_point_id: str, heartbeat_interval: int, at: str) -> UplinkContext:
        return UplinkContext(charge_point_id, at, heartbeat_interval, self.decision, self.transaction_id)

    def envelope(
        self, charge_point_id: str, subprotocol: str, epoch: int, heartbeat_interval: int, limit: int
    ) -> tuple[bytes, str]:
        """The event as JSON and what went wrong in mapping it ("" = nothing). Sets `event` and `ce_id`.

        An event of more than `limit` bytes would never be in Kafka, its message never be answered and all behind it be stuck
        in the station. Defaults spelled out make that of a message ten times smaller, so it goes as the station sent it.
        """
        row, payload = self.route.row, self.payload
        trouble = ""
        try:
            data = row.data(payload, self.context(charge_point_id, heartbeat_interval, self.received_at))
            self.event = (row.event or FALLBACK_EVENT) if row.event_of is None else row.event_of(payload)
        except MAPPING_ERRORS as error:
            trouble = type(error).__name__
            data = {"action": row.action, "payload": payload}
            self.event = FALLBACK_EVENT
        try:
            stated = row.occurred_at(payload)
        except MAPPING_ERRORS:
            stated = None
        occurred = read_station_time(stated) if stated is not None else None
        if not self.ce_id:
            if self.natural_key is not None:
                self.ce_id = natural_ce_id(charge_point_id, row.action, self.natural_key, self.generation)
            else:
                # Without a time of its own the same text may well be another occasion on another connection.
                own_time = None if stated is not None else epoch
                self.ce_id = message_ce_id(charge_point_id, self.message_id, row.action, payload, own_time)
        event: dict[str, Any] = {
            "chargePointId": charge_point_id,
            "occurredAt": self.received_at if occurred is None else occurred.utc,
            "receivedAt": self.received_at,
            "ocppVersion": subprotocol,
            "messageId": self.message_id,
            "epoch": epoch,
            "data": data,
        }
        if self.schema_errors:
            event["schemaErrors"] = self.schema_errors
        if occurred is not None and occurred.assumed_utc:
            event["timeAssumedUtc"] = True
        try:
            value = orjson.dumps(event, default=encode_default)
            if len(value) <= limit:
                return value, trouble
            trouble = "TooLarge"
        except TypeError as error:  # a row handed through something that JSON cannot hold
            trouble = type(error).__name__
        event["data"] = {"action": row.action, "payload": payload}
        self.event = FALLBACK_EVENT
        return orjson.dumps(event, default=encode_default), trouble
