"""CPU of the session alone, per message: frame -> schema -> event -> (Kafka says yes) -> answer. No socket, no Kafka.

    .venv/bin/python benchmarks/bench_session.py [--messages 20000] [--repeat 5]

Minimum and median over the repetitions. Every message has an id of its own, so that no stored answer is measured.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
import time
import tracemalloc
from statistics import median
from typing import Any

import orjson

from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.handlers import Version
from ocpp_gateway.core.ocpp16 import OCPP16
from ocpp_gateway.core.policy import SessionPolicy
from ocpp_gateway.core.session import Session
from ocpp_gateway.core.session_effects import Publish, Recall, Send

POLICY = SessionPolicy()
NOW = "2026-11-22T10:00:00.123Z"
TIME = "2026-11-22T10:00:00Z"
SAMPLES = (
    {"value": "12345.6", "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
    {"value": "7.2", "measurand": "Power.Active.Import", "unit": "kW"},
    {"value": "16.0", "measurand": "Current.Import", "unit": "A", "phase": "L1"},
)


def scenarios() -> list[tuple[str, Version, str, dict[str, Any]]]:
    meter = {"timestamp": TIME, "sampledValue": list(SAMPLES)}
    found: list[tuple[str, Version, str, dict[str, Any]]] = [
        ("1.6 Heartbeat", OCPP16, "Heartbeat", {}),
        (
            "1.6 StatusNotification",
            OCPP16,
            "StatusNotification",
            {"connectorId": 1, "status": "Charging", "errorCode": "NoError"},
        ),
        (
            "1.6 MeterValues, 3 values",
            OCPP16,
            "MeterValues",
            {"connectorId": 1, "transactionId": 5, "meterValue": [meter]},
        ),
        (
            "1.6 MeterValues, 30 values",
            OCPP16,
            "MeterValues",
            {"connectorId": 1, "transactionId": 5, "meterValue": [meter] * 10},
        ),
        (
            "1.6 StartTransaction",
            OCPP16,
            "StartTransaction",
            {"connectorId": 1, "idTag": "TAG", "meterStart": 0, "timestamp": TIME},
        ),
    ]
    try:
        from ocpp_gateway.core.ocpp201 import OCPP201
    except ImportError:
        return found
    for name, value in (("12.5", 12.5), ("exact text", "12.50")):
        payload = {
            "eventType": "Updated",
            "timestamp": TIME,
            "triggerReason": "MeterValuePeriodic",
            "seqNo": 7,
            "transactionInfo": {"transactionId": "0d7b3e2a"},
            "meterValue": [{"timestamp": TIME, "sampledValue": [{"value": value}]}],
        }
        found.append((f"2.0.1 TransactionEvent, {name}", OCPP201, "TransactionEvent", payload))
    return found


def measure(version: Version, action: str, payload: dict[str, Any], messages: int, repeat: int) -> list[float]:
    dialect = Dialect(version)
    dialect.preload()
    session = Session(dialect, "CP0001", 1_763_800_000_123_456, POLICY, None)
    text = orjson.dumps(payload).replace(b'"12.50"', b"12.50")
    results = []
    for turn in range(repeat + 1):
        frames = [
            b'[2,"%02d-8f1c8b6e-0e5d-4c7e-9f6a-%07d","%s",%s]' % (turn, n, action.encode(), text)
            for n in range(messages)
        ]
        begin = time.process_time()
        for frame in frames:
            effects = session.receive(frame, NOW)
            last = effects[-1]
            if type(last) is Recall:
                last = session.recalled(last.token, None)[-1]
            if type(last) is Publish:
                last = session.acknowledged(last.token, NOW)[-1]
            assert type(last) is Send, last
        if turn:  # the first turn warms up
            results.append((time.process_time() - begin) / messages * 1e6)
    return results


def idle_bytes(count: int = 2_000) -> float:
    """Memory of a session that has booted and said one Heartbeat."""
    dialect = Dialect(OCPP16)
    dialect.preload()
    boot = orjson.dumps([2, "boot", "BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}])
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    sessions = []
    for number in range(count):
        session = Session(dialect, f"CP{number}", 1_763_800_000_000_000 + number, POLICY, None)
        publish = session.receive(bytes(boot), NOW)[-1]
        assert type(publish) is Publish
        session.acknowledged(publish.token, NOW)
        session.receive(b'[2,"hb","Heartbeat",{}]', NOW)
        sessions.append(session)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    print(
        f"Python {sys.version.split()[0]} on {sysconfig.get_platform()}, {arguments.messages} messages x {arguments.repeat}"
    )
    print(f"{'message':32} {'min us':>8} {'median us':>10}")
    for name, version, action, payload in scenarios():
        results = measure(version, action, payload, arguments.messages, arguments.repeat)
        print(f"{name:32} {min(results):8.1f} {median(results):10.1f}")
    print(f"{'idle session, bytes':32} {idle_bytes():8.0f}")


if __name__ == "__main__":
    main()
