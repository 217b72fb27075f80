"""Kafka as the downlink sees it: what core's Kafka effects become on the wire. `Unknown` is the only way a request fails.

What a broker refuses for good would be repeated for ever, so a report that is too large loses its payload and says so, a
dead letter that is too large keeps its headers (where the original stands) without the bytes, or at least ours, and core is
told of a copy that can never be appended.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from dataclasses import replace

from ocpp_contract.cloudevents import CloudEvent
from ocpp_contract.ids import Partition
from ocpp_contract.names import REASON, SOURCE
from ocpp_gateway.adapters.clocks import boottime
from ocpp_gateway.adapters.commands import CommandConsumer
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.adapters.kafka_connection import KafkaRefused, KafkaUnknown
from ocpp_gateway.core.effects import Append, Commit, DeadLetter, Lane, LanePosition, PublishResult, Unknown

log = logging.getLogger(__name__)

RESULT_TYPE = "io.chargegateway.CommandResult.v1"


class CommandLog:
    """`procedures.CommandLog` over the consumer and the producer."""

    def __init__(
        self,
        consumer: CommandConsumer,
        producer: EventProducer,
        lanes: Mapping[Lane, str],
        results_topic: str,
        dlq_topic: str,
        source: str,
    ) -> None:
        self._consumer = consumer
        self._producer = producer
        self._lanes = lanes
        self._results = results_topic
        self._dlq = dlq_topic
        self._source = source

    async def publish_result(self, effect: PublishResult) -> None:
        result = effect.result
        traceparent = effect.traceparent.decode("ascii", "ignore") if effect.traceparent is not None else None
        event = CloudEvent(result.ce_id, self._source, RESULT_TYPE, result.charge_point_id, result.at, traceparent)
        key, headers = result.charge_point_id.encode(), event.to_headers()
        try:
            await _known(self._producer.produce(self._results, key, result.to_json(), headers))
        except KafkaRefused as refused:
            log.error("result is too large, its payload is left out", extra={"correlation": result.command_id})
            small = replace(result, payload=None, reply_context=None, reason=f"payload left out: {refused}")
            await _known(self._producer.produce(self._results, key, small.to_json(), headers))
        log.info(
            "command reported",
            extra={
                "correlation": result.command_id,
                "station": result.charge_point_id,
                "type": result.type,
                "outcome": str(result.outcome),
                "final": result.final,
            },
        )

    async def dead_letter(self, effect: DeadLetter) -> None:
        record = effect.source
        where = f"{self._lanes[record.lane]}/{record.partition}/{record.offset}"
        # Its own headers of an earlier stay on the dead-letter topic are replaced, not repeated.
        kept = [(name, value) for name, value in record.headers if name not in (REASON, SOURCE)]
        headers = [*kept, (REASON, effect.reason.encode()), (SOURCE, where.encode())]
        try:
            await _known(self._producer.produce(self._dlq, record.key, record.value, headers))
        except KafkaRefused:
            log.error("dead letter is too large, its bytes are left out", extra={"source": where})
            try:
                await _known(self._producer.produce(self._dlq, record.key, None, headers))
            except KafkaRefused:  # it was large by its key or its headers
                await _known(self._producer.produce(self._dlq, None, None, headers[len(kept) :]))

    async def append(self, effect: Append) -> str | None:
        topic = self._lanes[effect.lane]
        try:
            await _known(
                self._producer.produce(topic, effect.key, effect.value, effect.headers, partition=effect.partition)
            )
        except KafkaRefused as refused:
            return str(refused)  # whoever repeats that repeats it for ever
        return None

    async def commit(self, effect: Commit) -> None:
        try:
            await _known(self._consumer.commit(effect.lane, effect.partition, effect.offset, effect.metadata))
        except KafkaRefused as refused:
            raise Unknown(boottime(), str(refused)) from None

    async def fetch_committed(self, partition: Partition) -> Mapping[Lane, LanePosition]:
        try:
            return await self._consumer.positions(partition)
        except KafkaUnknown as unknown:
            raise Unknown(boottime(), str(unknown)) from None

    def start_fetch(self, partition: Partition, offsets: Mapping[Lane, int]) -> None:
        self._consumer.start_fetch(partition, offsets)

    def stop_fetch(self, partition: Partition) -> None:
        self._consumer.stop_fetch(partition)


async def _known(request: Awaitable[None]) -> None:
    try:
        await request
    except KafkaUnknown as unknown:
        raise Unknown(boottime(), str(unknown)) from None
