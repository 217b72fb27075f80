"""The life of a command, end to end: every outcome, lanes, waiting, forwarding, repetition."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ocpp_client.commands import CommandClient
from ocpp_client.kafka import KafkaAccess
from ocpp_contract.names import Topics
from tests.system.site import PARTITIONS, Site, until
from tests.system.station import Station, boot16, connected

pytestmark = [pytest.mark.system, pytest.mark.timeout(150), pytest.mark.asyncio(loop_scope="module")]
SETTINGS = {
    "OCPP__CALL_TIMEOUT": "1s",
    "COMMANDS__LATE_WINDOW": "2s",
    "COMMANDS__MAILBOX_SIZE": "40",
    "COMMANDS__DEFAULT_DEADLINE": "20s",
    "KAFKA__REQUEST_TIMEOUT": "4s",
}
START = {"idToken": {"idToken": "TAG1", "type": "Central"}, "evseId": 1}

# ---------------------------------------------------------------------------------------------------------------- outcomes


async def test_a_late_answer_upgrades_timed_out(site: Site) -> None:
    async with _station(site) as station:
        sent = await site.send(station.name, "RequestStartTransaction", START, replyContext="ticket-7")
        call = await station.next_call()
        reported = await site.record(
            lambda each: each.topic == "command_results" and each.json()["commandId"] == sent, "TimedOut"
        )
        assert (reported.json()["outcome"], reported.json()["final"]) == ("TimedOut", False)
        await station.answer(call, {"status": "Accepted"})
        result = await site.final(sent)
        assert (result["outcome"], result["status"], result["replyContext"]) == ("Accepted", "Accepted", "ticket-7")
        assert [record.headers["ce_id"].decode() for record in site.results(sent)] == [
            f"{sent}/timed-out",
            f"{sent}/final",
        ]
        assert len(station.received("RemoteStartTransaction")) == 1


async def test_the_traceparent_of_a_command_is_carried_on_to_its_result(site: Site) -> None:
    traceparent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with _station(site) as station:
        sent = await site.send(station.name, "RequestStartTransaction", START, headers=[("traceparent", traceparent)])
        await station.answer(await station.next_call(), {"status": "Accepted"})
        assert await site.outcome(sent) == "Accepted"
        [record] = site.results(sent)
        assert record.headers["traceparent"] == traceparent


async def test_after_timed_out_the_next_command_goes_out_and_answers_match_by_id(site: Site) -> None:
    """The late answer to the first must not end the second."""
    async with _station(site) as station:
        first = await site.send(station.name, "RequestStartTransaction", START)
        second = await site.send(station.name, "DataTransfer", {"vendorId": "v"})
        late, then = await station.next_call(), await station.next_call()
        assert (late[2], then[2]) == ("RemoteStartTransaction", "DataTransfer")
        await station.answer(late, {"status": "Rejected"})
        await station.answer(then, {"status": "Accepted"})
        assert await site.outcome(first) == "Rejected"
        assert await site.outcome(second) == "Accepted"


async def test_no_answer_within_the_late_window_is_uncertain(site: Site) -> None:
    async with _station(site) as station, _client(site) as client:
        sent = await site.send(station.name, "RequestStartTransaction", START)
        call = await station.next_call()
        result = await site.final(sent)
        assert result["outcome"] == "Uncertain"
        assert "late window" in result["reason"]
        # Whatever comes now changes nothing.
        await station.answer(call, {"status": "Accepted"})
        await station.call("Heartbeat", {})
        assert (await client.status(station.name, sent)).state == "Uncertain"
        assert [record.json()["outcome"] for record in site.results(sent)] == ["TimedOut", "Uncertain"]


async def test_a_socket_that_closes_under_an_open_call_makes_an_unsafe_command_uncertain(site: Site) -> None:
    async with _station(site) as station:
        sent = await site.send(station.name, "RequestStartTransaction", START)
        await station.next_call()
        station.socket.transport.abort()
        assert await site.outcome(sent) == "Uncertain"
    async with _station(site, station.name) as back:
        await back.call("Heartbeat", {})
        assert back.calls.empty()


async def test_a_safe_command_is_sent_again_on_the_next_socket(site: Site) -> None:
    async with _station(site) as station:
        sent = await site.send(station.name, "GetLocalListVersion")
        first = await station.next_call()
        station.socket.transport.abort()
    async with _station(site, station.name, pod=1) as back:
        again = await back.next_call()
        assert again[1] == first[1], "the message id is the command's"
        await back.answer(again, {"listVersion": 3})
        assert (await site.final(sent))["payload"]["versionNumber"] == 3


async def test_a_callerror_and_a_refusal_are_told_apart(site: Site) -> None:
    async with _station(site) as station:
        error = await site.send(station.name, "RequestStartTransaction", START)
        call = await station.next_call()
        await station.say([4, call[1], "NotSupported", "no remote start here", {}])
        refused = await site.send(station.name, "RequestStartTransaction", START)
        await station.answer(await station.next_call(), {"status": "Rejected"})
        result = await site.final(error)
        assert result["outcome"] == "CallError"
        assert result["status"] == "NotSupported"
        assert result["payload"]["errorDescription"] == "no remote start here"
        assert await site.outcome(refused) == "Rejected"


async def test_who_does_not_want_to_wait_hears_not_connected_at_once(site: Site) -> None:
    began = time.monotonic()
    sent = await site.send("CP-NEVER", "RequestStartTransaction", START, waitForStation=False)
    assert await site.outcome(sent) == "NotConnected"
    assert time.monotonic() - began < 5


async def test_a_command_for_an_absent_station_expires_and_becomes_a_dead_letter(site: Site) -> None:
    async with _client(site) as client:
        sent = await client.send("CP-ABSENT", "RequestStartTransaction", START, timeout=2.0)
        assert (await client.status("CP-ABSENT", sent)).state == "NotSent"
        assert await site.outcome(sent) == "Expired"
        letter = await site.record(
            lambda each: each.topic == "commands_dlq" and each.json()["id"] == sent, "its dead letter"
        )
        assert letter.headers["cg-reason"].startswith(b"Expired")
        assert (await client.status("CP-ABSENT", sent)).state == "Expired"


async def test_a_command_waits_for_a_station_that_comes_later(site: Site) -> None:
    async with site.counted("parked_commands"):
        sent = await site.send("CP-LATER", "RequestStartTransaction", START)
    async with _station(site, "CP-LATER") as station:
        await station.answer(await station.next_call(), {"status": "Accepted"})
        assert await site.outcome(sent) == "Accepted"


@pytest.mark.parametrize("type_name", ["CostUpdated", "GetTransactionStatus", "SetDisplayMessage"])
async def test_what_16_cannot_express_is_unsupported_at_once(site: Site, type_name: str) -> None:
    payloads: dict[str, dict[str, Any]] = {
        "CostUpdated": {"totalCost": 1.5, "transactionId": "7"},
        "GetTransactionStatus": {"transactionId": "7"},
        "SetDisplayMessage": {
            "message": {"id": 1, "priority": "InFront", "message": {"format": "UTF8", "content": "hello"}}
        },
    }
    async with _station(site) as station:
        result = await site.final(await site.send(station.name, type_name, payloads[type_name]))
        assert result["outcome"] == "Unsupported", result
        assert station.calls.empty()


async def test_beyond_the_mailbox_commands_are_busy_and_those_within_are_delivered(site: Site) -> None:
    async with _station(site) as station:
        sent = [await site.send(station.name, "DataTransfer", {"vendorId": "v0"})]
        held = await station.next_call()
        sent += [await site.send(station.name, "DataTransfer", {"vendorId": f"v{n}"}) for n in range(1, 44)]
        busy = [await site.outcome(each) for each in sent[41:]]
        assert busy == ["Busy"] * 3
        _accept_all(station)
        await station.answer(held, {"status": "Accepted"})
        assert [await site.outcome(each) for each in sent[:41]] == ["Accepted"] * 41
        assert [call[3]["vendorId"] for call in station.received("DataTransfer")] == [f"v{n}" for n in range(41)]


@pytest.mark.parametrize("lane", ["commands_urgent", "commands_down"])
async def test_urgent_overtakes_what_waits(site: Site, lane: str) -> None:
    """By its own lane, and by its priority in the mailbox."""
    async with _station(site) as station:
        before = await site.metric("commands_received")
        await site.send(station.name, "DataTransfer", {"vendorId": "first"})
        held = await station.next_call()
        for name in ("second", "third"):
            await site.send(station.name, "DataTransfer", {"vendorId": name})
        await site.send(station.name, "DataTransfer", {"vendorId": "urgent"}, lane=lane, priority="urgent")

        async def all_read() -> bool:
            return await site.metric("commands_received") >= before + 4

        await until(all_read, "all four commands are read")
        _accept_all(station)
        await station.answer(held, {"status": "Accepted"})
        await until(_count(station, "DataTransfer", 4), "all four are written")
        order = [call[3]["vendorId"] for call in station.received("DataTransfer")]
        assert order == ["first", "urgent", "second", "third"]


async def test_a_command_produced_to_the_wrong_partition_takes_one_hop(site: Site) -> None:
    async with _station(site) as station:
        _accept_all(station)
        entry = await site.entry(station.name)
        assert entry is not None
        wrong = (entry.partition + 1) % PARTITIONS  # odd and even numbers belong to different pods
        sent = await site.send(station.name, "RequestStartTransaction", START, partition=wrong)
        assert await site.outcome(sent) == "Accepted"
        hops = [
            record.headers.get("cg-hop")
            for record in site.records
            if record.topic == "commands_down" and record.value and sent.encode() in record.value
        ]
        assert hops == [None, b"1"]


async def test_the_same_id_again_gets_the_same_record_and_reaches_the_station_once(site: Site) -> None:
    """From either pod, in either lane; also with another payload: the id is the command."""
    async with _station(site) as station:
        _accept_all(station)
        sent = await site.send(station.name, "RequestStartTransaction", START)
        first = await site.final(sent)
        for partition in range(PARTITIONS):
            for lane in ("commands_down", "commands_urgent"):
                await site.send(
                    station.name, "RequestStartTransaction", START, command_id=sent, partition=partition, lane=lane
                )

        async def repeated() -> bool:
            return len(site.results(sent)) >= 1 + 2 * PARTITIONS

        await until(repeated, "each copy is reported")
        assert {(record.value, record.headers["ce_id"]) for record in site.results(sent)} == {
            (site.results(sent)[0].value, site.results(sent)[0].headers["ce_id"])
        }
        assert first["outcome"] == "Accepted"
        assert len(station.received("RemoteStartTransaction")) == 1


# ------------------------------------------------------------------------------------------------------------------- tools

_numbers = iter(range(1_000_000))


@contextlib.asynccontextmanager
async def _station(site: Site, name: str | None = None, pod: int = 0, url: str | None = None) -> AsyncIterator[Station]:
    """Booted, and in the directory."""
    async with connected(url or site.pods[pod].station_url, name or f"CP-{next(_numbers):06d}") as station:
        await station.call("BootNotification", boot16())
        yield station


def _accept_all(station: Station) -> None:
    for action in ("RemoteStartTransaction", "DataTransfer"):
        station.replies[action] = lambda payload: {"status": "Accepted"}


def _count(station: Station, action: str, count: int) -> Any:
    async def enough() -> bool:
        return len(station.received(action)) >= count

    return enough


def _client(site: Site) -> CommandClient:
    topics: Topics = site.topics
    return CommandClient(KafkaAccess.of(site.kafka), site.redis, topics=topics)
