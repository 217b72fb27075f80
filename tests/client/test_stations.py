"""StationRegistry against a real Kafka: two records per station, compacted."""

from __future__ import annotations

import pytest

from ocpp_client.kafka import KafkaAccess
from ocpp_client.stations import Station, StationRegistry
from ocpp_contract.credentials import CredentialError, verify
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId
from ocpp_contract.names import Topics
from ocpp_contract.partitioning import partition_for
from ocpp_contract.registry import StationRecord
from tests.client.conftest import CP, read_all
from tests.gateway.adapters.odd_records import odd_batch, produce_batch

KEY = b"correct horse battery staple"


async def test_a_station_and_its_key_are_two_records(access: KafkaAccess, topics: Topics) -> None:
    async with StationRegistry(access, topics=topics) as registry:
        await registry.put(CP, StationRecord(allowed_versions=("ocpp1.6",), security_profile=1))
        await registry.set_key(CP, KEY)
        await registry.put(CP, StationRecord(tags={"site": "A"}))
        found = await registry.get(CP)
    assert found is not None
    assert found.record == StationRecord(tags={"site": "A"})
    assert found.credential is not None
    [stored] = found.credential.hashes
    assert verify(KEY, stored)
    records = await read_all(access, topics.stations, wanted=3)
    assert {record.key for record in records} == {b"CP1", b"CP1/credential"}
    assert all(record.partition == partition_for(record.key, 4) for record in records)
    assert all(KEY not in record.value for record in records)


async def test_two_stations_with_one_key_have_different_hashes(access: KafkaAccess, topics: Topics) -> None:
    async with StationRegistry(access, topics=topics) as registry:
        await registry.put_all([("A", StationRecord(), KEY), ("B", StationRecord(), KEY)])
        found = await registry.all()
    assert len({str(station.credential) for station in found.values()}) == 2


async def test_blocking_changes_nothing_else(access: KafkaAccess, topics: Topics) -> None:
    record = StationRecord(security_profile=2, validation="Strict", tags={"a": "b"})
    async with StationRegistry(access, topics=topics) as registry:
        await registry.put(CP, record)
        blocked = await registry.block(CP)
        assert blocked is not None
        assert blocked.record == StationRecord(security_profile=2, validation="Strict", tags={"a": "b"}, blocked=True)
        await registry.block(CP, False)
        assert await registry.get(CP) == Station(CP, record)
        assert await registry.block("nobody") is None


async def test_a_removed_station_is_gone_with_its_key(access: KafkaAccess, topics: Topics) -> None:
    async with StationRegistry(access, topics=topics) as registry:
        await registry.put_all([(CP, StationRecord(), KEY), ("CP2", StationRecord(), None)])
        await registry.remove(CP)
        assert await registry.all() == {ChargePointId("CP2"): Station(ChargePointId("CP2"), StationRecord())}


async def test_an_empty_registry_is_read_at_once(access: KafkaAccess, topics: Topics) -> None:
    async with StationRegistry(access, topics=topics) as registry:
        assert await registry.all() == {}


async def test_a_record_that_nobody_can_read_hides_no_other(access: KafkaAccess, topics: Topics) -> None:
    async with StationRegistry(access, topics=topics) as registry:
        async with access.producer() as producer:
            await producer.send_and_wait(topics.stations, b"{", key=b"CP0")
            await producer.send_and_wait(topics.stations, b"{}", key=b"\xff")
        await registry.put(CP, StationRecord())
        assert list(await registry.all()) == [CP]


async def test_many_are_checked_before_any_is_written(access: KafkaAccess, topics: Topics) -> None:
    async with StationRegistry(access, topics=topics) as registry:
        with pytest.raises(ContractError):
            await registry.put_all([("A", StationRecord(), None), ("B{", StationRecord(), None)])
        with pytest.raises(CredentialError):
            await registry.put_all([("A", StationRecord(), None), ("B", StationRecord(), b"short")])
        assert await registry.all() == {}


async def test_a_record_that_the_gateways_leave_out_is_left_out(access: KafkaAccess, topics: Topics) -> None:
    """A header name that is no UTF-8: aiokafka alone would read nothing of that partition any more."""
    odd = odd_batch([(CP.encode(), StationRecord(blocked=True).to_json(), [(b"odd-\xff", b"")])], "snappy")
    async with StationRegistry(access, topics=topics) as registry:
        await registry.put(CP, StationRecord())
        await produce_batch(access.bootstrap_servers[0], topics.stations, partition_for(CP.encode(), 4), odd)
        await registry.set_key(CP, KEY)
        found = await registry.get(CP)
    assert found is not None
    assert found.record == StationRecord()
    assert found.credential is not None
