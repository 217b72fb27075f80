"""Clients of Kafka that are started and stopped by `KafkaAccess`, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.metadata import MetadataRequest

from ocpp_client import kafka
from ocpp_client.kafka import KafkaAccess


@pytest.mark.parametrize("kind", ["producer", "consumer"])
async def test_a_client_that_is_cancelled_while_it_starts_leaves_no_connection(
    access: KafkaAccess, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """aiokafka 0.14 loses the one on which it waits for the first metadata."""
    asked = asyncio.Event()
    send = AIOKafkaConnection.send

    def watched(connection: AIOKafkaConnection, request: Any, **options: Any) -> Any:
        if isinstance(request, MetadataRequest):
            asked.set()
        return send(connection, request, **options)

    async def started() -> None:
        client = access.producer() if kind == "producer" else access.consumer()
        await access.start(client)
        await kafka.stop(client)

    monkeypatch.setattr(AIOKafkaConnection, "send", watched)
    starting = asyncio.create_task(started())
    await asked.wait()
    starting.cancel()
    await asyncio.wait((starting,))
    assert starting.cancelled()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(each.message) for each in told if "AIOKafkaConnection" in str(each.message)] == []
