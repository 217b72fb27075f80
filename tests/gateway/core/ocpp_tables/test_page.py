"""docs/ocpp-versions.md names what the tables hold."""

from __future__ import annotations

import re
from pathlib import Path

from ocpp_gateway.core.ocpp16.configuration import KEYS
from tests.gateway.core.ocpp_tables.golden import VERSIONS

PAGE = (Path(__file__).parents[4] / "docs" / "ocpp-versions.md").read_text()


def test_the_page_lists_every_configuration_key_as_the_table_maps_it() -> None:
    for key, variable in KEYS.items():
        instance = f" ({variable.variable_instance})" if variable.variable_instance else ""
        assert f"| {key} | {variable.component}.{variable.variable}{instance} |" in PAGE


def test_the_page_names_every_message_under_its_event() -> None:
    lines = {line.split("|")[1].strip(): line.split("|")[2:] for line in PAGE.splitlines() if line.startswith("| ")}
    for name, version in VERSIONS.items():
        for row in version.uplink.values():
            if row.event is None:
                continue
            cell = lines[row.event][0 if name == "ocpp16" else 1]
            assert re.search(rf"\b{row.action}\b", cell), f"{row.action} of {name} under {row.event}"


def test_the_page_names_every_command_to_a_16_station_and_every_call() -> None:
    words = set(re.findall(r"[A-Za-z0-9]+", PAGE))
    assert VERSIONS["ocpp16"].downlink.keys() <= words
    assert VERSIONS["ocpp16"].calls - words == set()
