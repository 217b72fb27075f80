"""OCPP 2.1 as a table: everything of 2.0.1 and what 2.1 added.

uplink    what a station may say beyond 2.0.1
"""

from __future__ import annotations

from ocpp_gateway.core.handlers import Version
from ocpp_gateway.core.ocpp21.uplink import UPLINK
from ocpp_gateway.core.ocpp201 import CALLS as CALLS_201
from ocpp_gateway.core.ocpp201 import NOT_WHILE_PENDING, REPORTS, TRIGGER_ACTIONS, downlink

_CALLS = CALLS_201 | {
    "AFRRSignal",
    "AdjustPeriodicEventStream",
    "ChangeTransactionTariff",
    "ClearDERControl",
    "ClearTariffs",
    "GetDERControl",
    "GetPeriodicEventStream",
    "GetTariffs",
    "NotifyAllowedEnergyTransfer",
    "NotifyWebPaymentStarted",
    "RequestBatterySwap",
    "SetDERControl",
    "SetDefaultTariff",
    "UpdateDynamicSchedule",
    "UsePriorityCharging",
}

OCPP21 = Version(
    subprotocol="ocpp2.1",
    schemas="v21",
    uplink=UPLINK,
    downlink=downlink.rows("2.1", _CALLS),
    calls=_CALLS,
    not_while_pending=NOT_WHILE_PENDING,
    trigger_actions=TRIGGER_ACTIONS | {"SignV2G20Certificate": "SignCertificate"},
    reports=REPORTS,
    exact_numbers=True,
    sends=True,
)
