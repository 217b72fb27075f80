"""What the data of every event made of a station's message may carry."""

from __future__ import annotations

from typing import Any

from ocpp_contract.payloads.parts import Part


class StationMessage(Part):
    """``customData`` of 2.x, as the station sent it."""

    customData: dict[str, Any] | None = None
