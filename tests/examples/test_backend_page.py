"""Every program of `docs/backend.md` does what the page says, against real gateways, Kafka and Redis."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid

import pytest
from aiokafka import AIOKafkaProducer

from tests.examples import page
from tests.examples.conftest import Site
from tests.examples.station import Station

PROGRAMS = page.programs()

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


def program(name: str) -> tuple[str, str]:
    return name, PROGRAMS[name]


async def lines(process: asyncio.subprocess.Process, *wanted: str) -> list[str]:
    """Lines of a program that runs for ever, until all of `wanted` were among them."""
    assert process.stdout is not None
    seen: list[str] = []
    try:
        async with asyncio.timeout(40):
            while not set(wanted) <= set(seen):
                line = await process.stdout.readline()
                if not line:
                    break
                seen.append(line.decode().strip())
    except TimeoutError:
        pass
    missing = set(wanted) - set(seen)
    if missing:
        process.kill()
        _, err = await process.communicate()
        raise AssertionError(f"never said {missing}; said {seen[-20:]}\n{err.decode()}")
    return seen


async def interrupt(site: Site, process: asyncio.subprocess.Process) -> str:
    process.send_signal(signal.SIGINT)
    return (await site.ended(process)).out


def event(station: str, kind: str, ce_id: str, epoch: int) -> tuple[bytes, list[tuple[str, bytes]]]:
    value = {
        "chargePointId": station,
        "occurredAt": "2026-11-22T10:00:00Z",
        "receivedAt": "2026-11-22T10:00:00Z",
        "epoch": epoch,
        "data": {"connection": "c", "code": 1006, "reason": ""},
    }
    headers = {
        "ce_specversion": "1.0",
        "ce_id": ce_id,
        "ce_source": "/chargegateway/test/gateway-1",
        "ce_type": f"io.chargegateway.{kind}.v1",
        "ce_subject": station,
        "ce_time": "2026-11-22T10:00:00Z",
    }
    return json.dumps(value).encode(), [(name, text.encode()) for name, text in headers.items()]


@pytest.mark.parametrize("name", ["consume.py", "consume_plain.py"])
async def test_each_event_is_news_once_and_an_old_connection_is_ignored(site: Site, name: str) -> None:
    station = f"EV-{uuid.uuid4().hex[:8]}"
    consumer = await site.start(*program(name))
    async with AIOKafkaProducer(bootstrap_servers=site.system.kafka, acks="all") as producer:
        for kind, ce_id, epoch in (
            ("DeviceOnline", f"{station}-1", 20),
            ("MeterValues", f"{station}-2", 20),
            ("MeterValues", f"{station}-2", 20),  # a retry of the station
            ("DeviceOffline", f"{station}-3", 10),  # a gateway is late to say so
            ("DeviceOffline", f"{station}-4", 20),
        ):
            value, headers = event(station, kind, ce_id, epoch)
            await producer.send_and_wait("ocpp-events-up", value, key=station.encode(), headers=headers)
    said = await lines(consumer, f"{station} DeviceOffline")
    said += (await interrupt(site, consumer)).splitlines()
    assert [line for line in said if line.startswith(station)] == [
        f"{station} DeviceOnline",
        f"{station} MeterValues",
        f"{station} DeviceOffline",
    ]


async def test_what_a_real_station_reports_is_consumed(site: Site, station: Station) -> None:
    consumer = await site.start(*program("consume.py"))
    await lines(consumer, f"{station.name} DeviceOnline", f"{station.name} DeviceBooted")
    await interrupt(site, consumer)


async def test_a_command_is_sent_and_its_result_awaited(site: Site, station: Station) -> None:
    ended = await site.ended(await site.start(*program("send.py"), station.name))
    assert ended.out == "Accepted Accepted {'status': 'Accepted'}\n", ended
    assert station.executed == {"RequestStartTransaction": 1}


async def test_the_plain_way_is_one_get_and_one_produce(site: Site, station: Station) -> None:
    ended = await site.ended(await site.start(*program("send_plain.py"), station.name))
    assert ended.out == "Accepted Accepted\n", ended
    assert station.executed == {"TriggerMessage": 1}


async def test_without_redis_it_takes_a_hop_and_arrives_all_the_same(site: Site, station: Station) -> None:
    ended = await site.ended(await site.start(*program("no_redis.py"), station.name))
    assert ended.out == "Accepted Accepted\n", ended
    assert station.executed == {"TriggerMessage": 1}


async def test_the_same_id_again_gets_the_same_result_and_no_second_execution(site: Site, station: Station) -> None:
    command = str(uuid.uuid4())
    status = [await site.ended(await site.start(*program("status.py"), station.name, command))]
    first = await site.ended(await site.start(*program("retry.py"), station.name, command))
    again = await site.ended(await site.start(*program("retry.py"), station.name, command))
    assert first.out.startswith("Accepted 2"), first
    assert again.out == first.out, again
    assert station.executed == {"Reset": 1}
    status.append(await site.ended(await site.start(*program("status.py"), station.name, command)))
    assert [one.out.strip() for one in status] == ["NotSent", "Accepted Accepted"], status


async def test_uncertain_is_settled_by_the_transaction_event(site: Site, station: Station) -> None:
    station.hang_up_on = "RequestStartTransaction"
    ended = await site.ended(await site.start(*program("uncertain.py"), station.name))
    assert ended.out == "Uncertain, but the transaction has started\n", ended
    assert station.executed == {"RequestStartTransaction": 1}
