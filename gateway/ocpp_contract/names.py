"""Names that operator, gateway and backends share: topics, Redis keys, headers, annotations, subprotocols.

Prefixes and topic names are settings of each process; the defaults stand here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId, CommandId, Partition, PodName

# Subprotocols (RFC 6455 section 1.9, IANA WebSocket Subprotocol Name Registry); also the values of `version` and
# `allowedVersions` everywhere in the contract.
OCPP16: Final = "ocpp1.6"
OCPP201: Final = "ocpp2.0.1"
OCPP21: Final = "ocpp2.1"
SUBPROTOCOLS: Final = (OCPP16, OCPP201, OCPP21)

# Consumer group of the command topics. Partitions are assigned by hand; the group only keeps offsets and metadata.
GROUP_ID: Final = "chargegateway.commands"

# Kafka record headers of the command topics and the dead-letter topic
HOP: Final = "cg-hop"
DEADLINE: Final = "cg-deadline"
ENTRY_EPOCH: Final = "cg-entry-epoch"
REASON: Final = "cg-reason"
SOURCE: Final = "cg-source"
TRACEPARENT: Final = "traceparent"
MAX_HOP: Final = 3

# Annotations (operator -> pod) and where the Downward API shows them
COMMAND_PARTITIONS_ANNOTATION: Final = "chargegateway.io/command-partitions"
ASSIGNMENT_GENERATION_ANNOTATION: Final = "chargegateway.io/assignment-generation"
ANNOTATIONS_PATH: Final = "/etc/chargegateway/podinfo/annotations"

DEFAULT_COMMAND_PARTITIONS: Final = 128
CREDENTIAL_SUFFIX: Final = "/credential"


@dataclass(frozen=True, slots=True)
class Topics:
    """The six topics."""

    events_up: str = "ocpp-events-up"
    commands_down: str = "commands-down"
    commands_urgent: str = "commands-urgent"
    command_results: str = "command-results"
    commands_dlq: str = "commands-dlq"
    stations: str = "ocpp-stations"


class Keys:
    """Redis keys. Companions of ``conn:<id>`` share its hash slot: the braces enclose the whole key of the entry."""

    __slots__ = ("prefix",)

    def __init__(self, prefix: str = "") -> None:
        if "{" in prefix or "}" in prefix:
            raise ContractError("prefix", "must not contain braces")
        self.prefix = prefix

    def pod(self, name: PodName) -> str:
        return f"{self.prefix}pod:{name}"

    def partition(self, number: Partition) -> str:
        return f"{self.prefix}partition:{number}"

    def conn(self, station: ChargePointId) -> str:
        return f"{self.prefix}conn:{station}"

    def last(self, station: ChargePointId) -> str:
        return f"{{{self.prefix}conn:{station}}}:last"

    def boot(self, station: ChargePointId) -> str:
        return f"{{{self.prefix}conn:{station}}}:boot"

    def cmd(self, station: ChargePointId, command: CommandId) -> str:
        return f"{{{self.prefix}conn:{station}}}:cmd:{command}"

    def tx(self, station: ChargePointId, digest: str) -> str:
        return f"{{{self.prefix}conn:{station}}}:tx:{digest}"

    def station(self, station: ChargePointId) -> str:
        return f"{self.prefix}station:{station}"

    def run(self, run_id: str) -> str:
        return f"{self.prefix}run:{run_id}"

    @property
    def claim(self) -> str:
        return f"{self.prefix}claim"

    @property
    def stations_projected(self) -> str:
        return f"{self.prefix}stations:projected"
