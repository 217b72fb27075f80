"""A station's password change, as the registry sees it (topic ocpp-stations, key `<id>/credential`).

1. before the CALL with the new password is written: its hash is stored beside the old ones (`store`);
2. the CALL goes out; whatever becomes of its answer, old and new password are valid;
3. at the first login with the newest password the older hashes go (`settle`).
"""

from __future__ import annotations

import logging
import secrets

from ocpp_contract.credentials import SALT_BYTES, CredentialError, hash_key, verify
from ocpp_contract.ids import ChargePointId
from ocpp_contract.registry import MAX_CREDENTIALS, CredentialRecord, credential_key
from ocpp_gateway.adapters.clocks import boottime
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.adapters.kafka_connection import KafkaRefused, KafkaUnknown
from ocpp_gateway.adapters.station_projection import StationProjection
from ocpp_gateway.core.effects import StoreCredential, Unknown

log = logging.getLogger(__name__)


class PasswordChanges:
    """Writes credential records. The projection is what it reads: its own writes come back through the topic."""

    def __init__(self, projection: StationProjection, producer: EventProducer, topic: str) -> None:
        self._projection = projection
        self._producer = producer
        self._topic = topic

    async def store(self, effect: StoreCredential) -> str | None:
        """None once Kafka has the new hash; a reason when the password must not be used. Raises Unknown."""
        key = effect.password.encode()
        try:
            fresh = hash_key(key, secrets.token_bytes(SALT_BYTES))
        except CredentialError as error:
            return f"the new password: {error}"
        hashes = await self._hashes(effect.charge_point_id)
        if not hashes or not _matches(key, hashes[-1]):
            await self._write(effect.charge_point_id, (*hashes, fresh)[-MAX_CREDENTIALS:])
        return None

    async def settle(self, station: ChargePointId, matched: int) -> None:
        """A login matched hash number `matched`: if that is the newest of several, the change is complete."""
        try:
            hashes = await self._hashes(station)
            if matched > 0 and matched == len(hashes) - 1:
                await self._write(station, (hashes[matched],))
        except Unknown as unknown:
            log.warning("the older password stays valid for now", extra={"station": station, "reason": unknown.reason})

    async def _hashes(self, station: ChargePointId) -> tuple[str, ...]:
        entry = await self._projection.look_up(station)
        return entry.credential_hashes if entry is not None else ()

    async def _write(self, station: ChargePointId, hashes: tuple[str, ...]) -> None:
        try:
            await self._producer.produce(self._topic, credential_key(station), CredentialRecord(hashes).to_json())
        except (KafkaUnknown, KafkaRefused) as error:
            raise Unknown(boottime(), str(error)) from None


def _matches(key: bytes, stored: str) -> bool:
    try:
        return verify(key, stored)
    except CredentialError:
        return False
