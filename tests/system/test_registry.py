"""The station registry end to end: who is admitted, with which password, and how a password changes in the field.

One gateway that rejects unknown stations, a plain listener (profiles 0 and 1) and one with TLS (profile 2); the registry is
written by `ocpp_client.stations.StationRegistry` as a backend would.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme
import websockets

from ocpp_client.kafka import KafkaAccess
from ocpp_client.stations import StationRegistry
from ocpp_client.status import RedisAccess
from ocpp_contract.credentials import verify
from ocpp_contract.names import Topics
from ocpp_contract.registry import StationRecord
from ocpp_local import store
from ocpp_local.processes import free_port
from tests.system.site import PARTITIONS, Site, running_site, until
from tests.system.station import Station, boot2, boot16, connected
from tests.testbed.kafka import KafkaServer
from tests.testbed.redis import RedisServer

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
OLD = b"first-password-16b"
NEW = "second-password-of-2x"


@dataclass
class Doors:
    plain: str
    tls: str
    trust: ssl.SSLContext


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Doors, str]:
    """The two listeners, and the setting that makes them."""
    folder: Path = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    plain, tls = free_port(), free_port()
    listeners = [
        {"name": "plain", "host": "127.0.0.1", "port": plain, "security_profiles": [0, 1]},
        {
            "name": "tls",
            "host": "127.0.0.1",
            "port": tls,
            "security_profiles": [2],
            "tls": {"certificates": [[str(chain), str(key)]]},
        },
    ]
    return Doors(f"ws://127.0.0.1:{plain}/", f"wss://127.0.0.1:{tls}/", trust), json.dumps(listeners)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(kafka: KafkaServer, module_redis: RedisServer, doors: tuple[Doors, str]) -> AsyncIterator[Site]:
    await store.vouch_for_empty(module_redis.url)
    settings = {"STATIONS__UNKNOWN": "Reject", "LISTENERS": doors[1]}
    async with running_site(kafka.bootstrap, RedisAccess(module_redis.url), pods=1, **settings) as running_now:
        yield running_now


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def registry(site: Site) -> AsyncIterator[StationRegistry]:
    topics: Topics = site.topics
    async with StationRegistry(KafkaAccess.of(site.kafka), topics=topics) as found:
        yield found


@pytest.fixture
def plain(doors: tuple[Doors, str]) -> str:
    return doors[0].plain


async def test_an_unknown_station_gets_404_until_it_is_registered(
    site: Site, registry: StationRegistry, plain: str
) -> None:
    async with site.counted("admission", "refused", "unknown-station"):
        assert await _status(plain, "REG-1") == 404
    await registry.put("REG-1", StationRecord())
    await _admitted(plain, "REG-1")
    async with connected(plain, "REG-1") as station:
        assert (await station.call("BootNotification", boot16()))["status"] == "Accepted"


async def test_a_removed_station_is_unknown_again(registry: StationRegistry, plain: str) -> None:
    await registry.put("REG-GONE", StationRecord())
    await _admitted(plain, "REG-GONE")
    await registry.remove("REG-GONE")
    await _answers(plain, "REG-GONE", 404)


async def test_a_blocked_station_gets_403_until_it_is_unblocked(
    site: Site, registry: StationRegistry, plain: str
) -> None:
    await registry.put("REG-2", StationRecord(blocked=True))
    await _answers(plain, "REG-2", 403)
    async with site.counted("admission", "refused", "blocked"):
        assert await _status(plain, "REG-2") == 403
    await registry.block("REG-2", False)
    await _admitted(plain, "REG-2")


async def test_only_allowed_versions_are_spoken(registry: StationRegistry, plain: str) -> None:
    await registry.put("REG-V", StationRecord(allowed_versions=("ocpp2.0.1",)))
    await _admitted(plain, "REG-V", version="ocpp2.0.1")
    assert await _status(plain, "REG-V", version="ocpp1.6") == 400


async def test_profile_1_needs_its_password(site: Site, registry: StationRegistry, plain: str) -> None:
    await registry.put("REG-3", StationRecord(security_profile=1))
    await registry.set_key("REG-3", OLD)
    await _admitted(plain, "REG-3", _basic("REG-3", OLD))
    for headers, label in (
        (None, "no-credentials"),
        (_basic("REG-3", b"wrong-password-123"), "wrong-password"),
        (_basic("REG-1", OLD), "identity-mismatch"),
        ({"Authorization": "Basic %%%"}, "malformed-authorization"),
        ({"Authorization": "Bearer token"}, "malformed-authorization"),
    ):
        async with site.counted("admission", "refused", label):
            assert await _status(plain, "REG-3", headers) == 401


async def test_16_keys_are_raw_bytes_and_some_stations_send_them_as_hex(registry: StationRegistry, plain: str) -> None:
    key = bytes(range(0xF0, 0x100)) + b"::\x00x"
    await registry.put("REG-4", StationRecord(security_profile=1))
    await registry.set_key("REG-4", key)
    await _admitted(plain, "REG-4", _basic("REG-4", key))
    assert await _status(plain, "REG-4", _basic("REG-4", key.hex().encode())) == 101
    assert await _status(plain, "REG-4", _basic("REG-4", key[:-1])) == 401


async def test_profile_2_is_served_by_the_tls_listener_alone(
    site: Site, registry: StationRegistry, doors: tuple[Doors, str]
) -> None:
    found = doors[0]
    await registry.put("REG-5", StationRecord(security_profile=2))
    await registry.set_key("REG-5", OLD)
    headers = _basic("REG-5", OLD)
    await _admitted(found.tls, "REG-5", headers, tls=found.trust)
    async with site.counted("admission", "refused", "security-profile"):
        assert await _status(found.plain, "REG-5", headers) == 403
    assert await _status(found.tls, "REG-5", _basic("REG-5", b"wrong-password-123"), tls=found.trust) == 401
    async with connected(found.tls, "REG-5", headers=headers, tls=found.trust) as station:
        await station.call("BootNotification", boot16())
        online = await site.event("REG-5", "DeviceOnline", securityProfile=2)
        assert online["data"]["remoteAddress"] == "127.0.0.1"


async def test_a_station_of_profile_1_may_come_over_tls(registry: StationRegistry, doors: tuple[Doors, str]) -> None:
    """A higher profile than the one recorded is no downgrade."""
    await registry.put("REG-6", StationRecord(security_profile=1))
    await registry.set_key("REG-6", OLD)
    await _admitted(doors[0].tls, "REG-6", _basic("REG-6", OLD), tls=doors[0].trust)


async def test_a_peer_that_trusts_nobody_here_is_counted(site: Site, doors: tuple[Doors, str]) -> None:
    async with site.counted("transport", "handshake_failed"):
        with pytest.raises(ssl.SSLError):
            await _status(doors[0].tls, "REG-5", tls=ssl.create_default_context())
    assert await site.alive(site.pods[0])


async def test_a_password_changed_by_a_command_passes_through_both_to_the_new_one(
    site: Site, registry: StationRegistry, plain: str
) -> None:
    name = "REG-7"
    await registry.put(name, StationRecord(security_profile=1))
    await registry.set_key(name, OLD)
    await _admitted(plain, name, _basic(name, OLD), version="ocpp2.0.1")
    assert len(await _hashes(registry, name)) == 1
    async with connected(plain, name, "ocpp2.0.1", _basic(name, OLD)) as station:
        await station.call("BootNotification", boot2())
        await _change_password(site, station, NEW)
    # Until the station uses it, nobody knows whether it took the new one: both are good.
    assert len(await _hashes(registry, name)) == 2
    assert await _status(plain, name, _basic(name, OLD), version="ocpp2.0.1") == 101
    assert len(await _hashes(registry, name)) == 2, "a login with the old password settles nothing"
    await _admitted(plain, name, _basic(name, NEW.encode()), version="ocpp2.0.1")

    async def settled() -> bool:
        return len(await _hashes(registry, name)) == 1

    await until(settled, "the old hash leaves the registry")
    (left,) = await _hashes(registry, name)
    assert verify(NEW.encode(), left)
    await _answers(plain, name, 401, _basic(name, OLD), version="ocpp2.0.1")
    assert await _status(plain, name, _basic(name, NEW.encode()), version="ocpp2.0.1") == 101
    assert not any(NEW.encode() in (record.value or b"") for record in site.records if record.topic == "stations")
    assert NEW not in site.pods[0].child.log.read_text(), "a password in the log"


async def test_a_16_station_changes_its_authorization_key(site: Site, registry: StationRegistry, plain: str) -> None:
    """SetVariables becomes ChangeConfiguration; 1.6 writes the key in hexadecimal."""
    name, key = "REG-8", b"new-key-of-20-bytes!"
    await registry.put(name, StationRecord(security_profile=1))
    await registry.set_key(name, OLD)
    await _admitted(plain, name, _basic(name, OLD))
    async with connected(plain, name, headers=_basic(name, OLD)) as station:
        await station.call("BootNotification", boot16())
        sent = await site.send(station.name, "SetVariables", _password(key.hex()))
        call = await station.next_call()
        assert (call[2], call[3]) == ("ChangeConfiguration", {"key": "AuthorizationKey", "value": key.hex()})
        await station.answer(call, {"status": "Accepted"})
        assert await site.outcome(sent) == "Accepted"
    await _admitted(plain, name, _basic(name, key))


async def test_a_lost_projection_is_made_again_from_the_topic(
    site: Site, registry: StationRegistry, plain: str
) -> None:
    """Truth is the topic: what Redis forgot is read again."""
    await registry.put("REG-9", StationRecord())
    await _admitted(plain, "REG-9")
    for key in ("station:REG-9", "stations:projected"):
        await site.store.delete(key)
    await _admitted(plain, "REG-9", seconds=20)


async def test_records_that_are_none_do_not_stop_the_projection(
    site: Site, registry: StationRegistry, plain: str
) -> None:
    async with site.counted("registry", "registry_record", at_least=4 * PARTITIONS):
        for partition in range(PARTITIONS):
            for key, value in ((b"REG-BAD", b"\xff"), (b"REG-BAD", b"[]"), (b"\xff\xfe", b"{}"), (None, b"{}")):
                await site.produce(value, key=key, partition=partition, lane="stations")
        await registry.put("REG-10", StationRecord())
        await _admitted(plain, "REG-10")


# ------------------------------------------------------------------------------------------------------------------ tools


def _basic(name: str, key: bytes) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(name.encode() + b":" + key).decode()}


def _password(text: str) -> dict[str, Any]:
    entry = {
        "component": {"name": "SecurityCtrlr"},
        "variable": {"name": "BasicAuthPassword"},
        "attributeValue": text,
    }
    return {"setVariableData": [entry]}


async def _change_password(site: Site, station: Station, text: str) -> None:
    sent = await site.send(station.name, "SetVariables", _password(text))
    call = await station.next_call()
    assert call[3]["setVariableData"][0]["attributeValue"] == text
    result = {
        "component": {"name": "SecurityCtrlr"},
        "variable": {"name": "BasicAuthPassword"},
        "attributeStatus": "Accepted",
    }
    await station.answer(call, {"setVariableResult": [result]})
    assert await site.outcome(sent) == "Accepted"


async def _hashes(registry: StationRegistry, name: str) -> tuple[str, ...]:
    found = await registry.get(name)
    assert found is not None
    assert found.credential is not None
    return found.credential.hashes


async def _status(
    url: str,
    name: str,
    headers: dict[str, str] | None = None,
    version: str = "ocpp1.6",
    tls: ssl.SSLContext | None = None,
) -> int:
    """What a handshake is answered."""
    try:
        async with connected(url, name, version, headers, tls):
            return 101
    except websockets.InvalidStatus as refused:
        return refused.response.status_code


async def _answers(url: str, name: str, status: int, *args: Any, seconds: float = 8, **options: Any) -> None:
    """Until the registry's record has reached the gateway."""

    async def does() -> bool:
        return await _status(url, name, *args, **options) == status

    await until(does, f"{name} is answered {status}", seconds)


async def _admitted(url: str, name: str, *args: Any, **options: Any) -> None:
    await _answers(url, name, 101, *args, **options)
