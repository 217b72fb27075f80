"""The station registry: writing and reading ``ocpp-stations``, whose compacted records are the truth.

A station has two records, what it may do and its credential, so that a password change and an edit do not overwrite each
other. The last writer of a record wins; the gateways project it within moments.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ocpp_client import kafka
from ocpp_client.errors import KafkaUnavailable
from ocpp_client.kafka import KafkaAccess
from ocpp_client.topic_reader import TopicReader
from ocpp_contract.credentials import SALT_BYTES, hash_key
from ocpp_contract.errors import ContractError
from ocpp_contract.header_names import check_header_names
from ocpp_contract.ids import ChargePointId, check_charge_point_id
from ocpp_contract.names import Topics
from ocpp_contract.partitioning import partition_for
from ocpp_contract.registry import CredentialRecord, StationRecord, credential_key, parse_key, record_key


@dataclass(frozen=True, slots=True)
class Station:
    """One registered station; a record that is None is not there."""

    id: ChargePointId
    record: StationRecord | None = None
    credential: CredentialRecord | None = None


class StationRegistry:
    """``async with``. Every method raises KafkaUnavailable; a write that raises may have happened and may be repeated."""

    def __init__(self, access: KafkaAccess, *, topics: Topics | None = None) -> None:
        self._access = access
        self._topic = (topics or Topics()).stations
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        producer = self._access.producer()
        await self._access.start(producer)
        self._producer = producer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await kafka.stop(producer)

    async def put(self, station: str, record: StationRecord) -> None:
        """Register a station, or replace what it may do."""
        await self._write([(record_key(check_charge_point_id(station)), record.to_json())])

    async def put_all(self, records: Iterable[tuple[str, StationRecord, bytes | None]]) -> int:
        """Register many, each with its key or None (no change); how many. Ids and keys are all checked first."""
        writes: list[tuple[bytes, bytes | None]] = []
        count = 0
        for station, record, key in records:
            checked = check_charge_point_id(station)
            writes.append((record_key(checked), record.to_json()))
            if key is not None:
                writes.append((credential_key(checked), _credential(key).to_json()))
            count += 1
        await self._write(writes)
        return count

    async def set_key(self, station: str, key: bytes) -> None:
        """Give the station this Basic auth key alone. Raises CredentialError for one that is too short or too long.

        To change the key of a station in the field, send SetVariables instead: the gateway keeps both until it is used.
        """
        await self._write([(credential_key(check_charge_point_id(station)), _credential(key).to_json())])

    async def remove(self, station: str) -> None:
        """Forget the station and its credential."""
        checked = check_charge_point_id(station)
        await self._write([(record_key(checked), None), (credential_key(checked), None)])

    async def block(self, station: str, blocked: bool = True) -> Station | None:
        """Refuse its connections, or admit them again; None: it is not registered."""
        found = await self.get(station)
        if found is None or found.record is None:
            return None
        changed = replace(found, record=replace(found.record, blocked=blocked))
        assert changed.record is not None
        await self.put(station, changed.record)
        return changed

    async def get(self, station: str) -> Station | None:
        """As it stands now; reads the topic, so use `all` for many."""
        return (await self.all()).get(check_charge_point_id(station))

    async def all(self) -> dict[ChargePointId, Station]:
        """Every registered station. Records that cannot be read are left out, as the gateways leave them out."""
        found: dict[ChargePointId, Station] = {}
        async with TopicReader(self._access, self._topic) as reader:
            async for record in reader.to_end():
                try:
                    check_header_names(record.headers)
                    station_id, is_credential = parse_key(record.key)
                    station = found.get(station_id, Station(station_id))
                    if is_credential:
                        credential = None if record.value is None else CredentialRecord.from_json(record.value)
                        found[station_id] = replace(station, credential=credential)
                    else:
                        entry = None if record.value is None else StationRecord.from_json(record.value)
                        found[station_id] = replace(station, record=entry)
                except ContractError:
                    continue
        return {key: one for key, one in found.items() if one.record is not None or one.credential is not None}

    async def _write(self, records: list[tuple[bytes, bytes | None]]) -> None:
        if self._producer is None:
            raise RuntimeError("use the registry as `async with StationRegistry(...) as registry`")
        try:
            partitions = len(await self._producer.partitions_for(self._topic))
            # The partition that every other client's default partitioner takes for this key: compaction keeps one
            # record per key only within a partition.
            deliveries = [
                await self._producer.send(self._topic, value, key=key, partition=partition_for(key, partitions))
                for key, value in records
            ]
            for delivery in deliveries:
                await delivery
        except KafkaError as error:
            raise KafkaUnavailable(f"topic {self._topic} cannot be written: {error}") from error


def _credential(key: bytes) -> CredentialRecord:
    return CredentialRecord((hash_key(key, secrets.token_bytes(SALT_BYTES)),))
