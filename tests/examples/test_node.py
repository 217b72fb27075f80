"""The Node example against a real gateway: the contract is enough for a backend in another language."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import require
from tests.examples.conftest import Ended, Site
from tests.examples.station import Station
from tests.testbed.components import NODE_EXAMPLE

SEND = Path(__file__).parents[2] / "examples" / "node" / "send.js"

pytestmark = [pytest.mark.node, pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


async def send(site: Site, *arguments: str) -> Ended:
    packages = require(NODE_EXAMPLE.find) / "node_modules"
    node = shutil.which("node")
    assert node is not None
    return await site.ended(await site.execute(node, str(SEND), *arguments, NODE_PATH=str(packages)))


async def test_a_backend_in_node_sends_a_command_and_hears_its_result(site: Site, station: Station) -> None:
    payload = json.dumps({"idToken": {"idToken": "ABC", "type": "Central"}, "evseId": 1})
    ended = await send(site, station.name, "RequestStartTransaction", payload)
    assert ended.code == 0, ended
    result = json.loads(ended.out)
    assert (result["outcome"], result["final"], result["payload"]) == ("Accepted", True, {"status": "Accepted"})
    assert station.executed == {"RequestStartTransaction": 1}


async def test_what_no_station_can_do_is_an_outcome_too(site: Site, station: Station) -> None:
    ended = await send(site, station.name, "NoSuchCommand")
    assert (ended.code, json.loads(ended.out)["outcome"]) == (1, "Unsupported"), ended
