"""The versions of OCPP that this gateway speaks, by subprotocol."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ocpp_gateway.core.handlers import Version
from ocpp_gateway.core.ocpp16 import OCPP16
from ocpp_gateway.core.ocpp21 import OCPP21
from ocpp_gateway.core.ocpp201 import OCPP201

VERSIONS: Final[Mapping[str, Version]] = MappingProxyType(
    {version.subprotocol: version for version in (OCPP16, OCPP201, OCPP21)}
)
