"""What holds for one station: its record where it says something, the pod's rules elsewhere."""

import pytest

from ocpp_contract.registry import StationRecord
from ocpp_gateway.core.registry import RegistryRules, StationPolicy, UnknownStations, policy_of

RULES = RegistryRules(("ocpp2.1", "ocpp1.6"), minimum_security_profile=1, validation="Strict")
EVERY = frozenset({"ocpp2.1", "ocpp1.6"})


@pytest.mark.parametrize(
    ("record", "policy"),
    [
        (StationRecord(), StationPolicy(True, EVERY, 1, False, "Strict")),
        (StationRecord(security_profile=0), StationPolicy(True, EVERY, 1, False, "Strict")),
        (StationRecord(security_profile=2), StationPolicy(True, EVERY, 2, False, "Strict")),
        (StationRecord(blocked=True), StationPolicy(True, EVERY, 1, True, "Strict")),
        (StationRecord(validation="Lenient"), StationPolicy(True, EVERY, 1, False, "Lenient")),
        (StationRecord(("ocpp1.6", "ocpp2.0.1")), StationPolicy(True, frozenset({"ocpp1.6"}), 1, False, "Strict")),
        (StationRecord(()), StationPolicy(True, frozenset(), 1, False, "Strict")),
        (StationRecord(tags={"keepalive": "off"}), StationPolicy(True, EVERY, 1, False, "Strict", keepalive=False)),
        (StationRecord(tags={"keepalive": "on"}), StationPolicy(True, EVERY, 1, False, "Strict")),
    ],
)
def test_a_record_narrows_what_the_pod_allows(record: StationRecord, policy: StationPolicy) -> None:
    assert policy_of(record, RULES) == policy


def test_a_station_nobody_registered() -> None:
    assert policy_of(None, RULES) is None
    accepting = RegistryRules(("ocpp1.6",), UnknownStations.ACCEPT)
    assert policy_of(None, accepting) == StationPolicy(False, frozenset({"ocpp1.6"}), 0, False, "KeepTransactions")
