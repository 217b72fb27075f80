"""Bad input that does not come by socket: command records in Kafka, and assignment files.

What is no acceptable command ends in the dead-letter topic with its original bytes, and where it names an id and a station
in an outcome too; the commands behind it are delivered. Sockets stand in `test_bad_input.py`.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.system.neighbour import Neighbour, talking
from tests.system.site import PARTITIONS, Record, Site, until
from tests.system.station import Station, boot16, connected

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
SETTINGS = {"KAFKA__REQUEST_TIMEOUT": "4s"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def neighbour(site: Site) -> AsyncIterator[Neighbour]:
    async with talking(site, site.pods[0]) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def nobody_else_notices(neighbour: Neighbour) -> AsyncIterator[None]:
    async with neighbour.undisturbed():
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def obedient(site: Site) -> AsyncIterator[Station]:
    """A station of pod 0 that accepts remote starts."""
    async with _obedient(site.pods[0].station_url) as station:
        yield station


def _check_letter(letter: Record, value: bytes | None, reason: str) -> None:
    assert letter.value == value
    assert letter.key == b"whose"
    assert letter.headers["cg-reason"].decode().startswith(reason), letter.headers
    assert letter.headers["traceparent"] == b"kept"


_ID = "0d2a6f0e-7f1c-4d8e-9a55-1d2f3c4b5a69"

NO_COMMANDS = [
    pytest.param(b"\xff\xfe\x00", id="no-utf8"),
    pytest.param(b"", id="empty"),
    pytest.param(None, id="tombstone"),
    pytest.param(b"hello", id="no-json"),
    pytest.param(b"[1,2]", id="array"),
    pytest.param(b"null", id="null"),
    pytest.param(b"[" * 10_000, id="nested-10000"),
    pytest.param(b"{}", id="no-fields"),
    pytest.param(b'{"id":"7","chargePointId":"CP1","type":"Reset"}', id="id-is-no-uuid"),
    pytest.param(json.dumps({"id": _ID, "chargePointId": "C{P}", "type": "Reset"}).encode(), id="identity"),
    pytest.param(b'{"id":' + b"9" * 5_000 + b"}", id="huge-number"),
    pytest.param(b'{"pad":"' + b"x" * 300_000 + b'"}', id="oversized"),
]


@pytest.mark.parametrize("value", NO_COMMANDS)
@pytest.mark.parametrize("lane", ["commands_down", "commands_urgent"])
async def test_bytes_that_are_no_command_become_dead_letters(
    site: Site, obedient: Station, value: bytes | None, lane: str
) -> None:
    async with site.counted("downlink", "commands_unreadable"):
        where = await site.produce(value, key=b"whose", lane=lane, headers=[("traceparent", b"kept")])
        _check_letter(await site.dead_letter(where), value, "Invalid")
    # The lane goes on behind it.
    behind = await site.send(obedient.name, "RequestStartTransaction", _start(), lane=lane)
    assert await site.outcome(behind) == "Accepted"


INVALID = [
    pytest.param({"payload": []}, (), "payload", id="payload-is-a-list"),
    pytest.param({"payload": {"idToken": 5}}, (), "payload.idToken", id="payload-of-the-wrong-shape"),
    pytest.param({"payload": {}}, (), "payload.idToken", id="payload-lacks-a-field"),
    pytest.param({"expiresAt": "tomorrow"}, (), "expiresAt", id="expires-at"),
    pytest.param({"priority": "high"}, (), "priority", id="priority"),
    pytest.param({"waitForStation": "yes"}, (), "waitForStation", id="wait-for-station"),
    pytest.param({}, [("cg-hop", b"4")], "cg-hop", id="hop-4"),
    pytest.param({}, [("cg-hop", b"-1")], "cg-hop", id="hop-negative"),
    pytest.param({}, [("cg-hop", b"many")], "cg-hop", id="hop-text"),
    pytest.param({}, [("cg-hop", b"")], "cg-hop", id="hop-empty"),
    pytest.param({}, [("cg-deadline", b"\xff")], "cg-deadline", id="deadline-bytes"),
    pytest.param({}, [("cg-deadline", b"soon")], "cg-deadline", id="deadline-text"),
    pytest.param({}, [("cg-hop", b"1"), ("cg-entry-epoch", b"new")], "cg-entry-epoch", id="entry-epoch"),
]


@pytest.mark.parametrize(("fields", "headers", "names"), INVALID)
async def test_a_broken_command_that_names_its_sender_gets_an_outcome_too(
    site: Site, obedient: Station, fields: dict[str, Any], headers: list[tuple[str, bytes]], names: str
) -> None:
    command = {
        "id": str(uuid.uuid4()),
        "chargePointId": obedient.name,
        "type": "RequestStartTransaction",
        "payload": _start(),
        "replyContext": {"ticket": 7},
    } | fields
    value = json.dumps(command).encode()
    heard = len(obedient.heard)
    async with site.counted("downlink", "command_outcomes", "Invalid"):
        where = await site.produce(value, key=b"whose", headers=[*headers, ("traceparent", b"kept")])
        _check_letter(await site.dead_letter(where), value, f"Invalid: {names}")
        result = await site.final(command["id"])
    assert result["outcome"] == "Invalid"
    assert result["reason"].startswith(names)
    assert result["replyContext"] == {"ticket": 7}
    assert len(obedient.heard) == heard, "the station was bothered"


@pytest.mark.parametrize("lane", ["commands_down", "commands_urgent"])
async def test_a_header_name_that_is_no_utf_8_costs_only_its_own_record(
    site: Site, obedient: Station, lane: str
) -> None:
    """In the middle of a compressed batch, twice; the commands around it are carried out, each once."""
    values = [_command(obedient.name, replyContext=number) for number in range(40)]
    odd = {13, 27}
    batch = [
        (b"whose", value, [(b"odd-\xff\xfe" if number in odd else b"traceparent", b"kept")])
        for number, value in enumerate(values)
    ]
    heard = len(obedient.received("RemoteStartTransaction"))
    partition = await _mailbox(site, obedient)
    async with site.counted("downlink", "command_outcomes", "Invalid", at_least=len(odd)):
        places = await site.produce_odd(batch, "zstd", partition, lane)
        outcomes = [await site.outcome(json.loads(value)["id"]) for value in values]
    assert outcomes == ["Invalid" if number in odd else "Accepted" for number in range(40)]
    for number in odd:
        letter = await site.dead_letter(places[number])
        assert (letter.key, letter.value) == (b"whose", values[number])
        assert letter.headers["cg-reason"] == b"Invalid: headers: the name of a header is no UTF-8"
        assert letter.headers["odd-\x1a\x1a"] == b"kept"
    assert len(obedient.received("RemoteStartTransaction")) == heard + 38
    behind = await site.send(obedient.name, "RequestStartTransaction", _start(), lane=lane)
    assert await site.outcome(behind) == "Accepted"


@pytest.mark.parametrize("type_name", ["MakeCoffee", "RemoteStartTransaction", ""])
async def test_an_unknown_type_is_unsupported(site: Site, obedient: Station, type_name: str) -> None:
    """1.6 names are no types: the contract speaks 2.x."""
    async with site.counted("downlink", "command_outcomes", "Unsupported"):
        sent = await site.send(obedient.name, type_name)
        assert await site.outcome(sent) in ("Unsupported", "Invalid")


async def test_a_command_that_has_expired_is_never_written(site: Site, obedient: Station) -> None:
    heard = len(obedient.heard)
    value = _command(obedient.name, expiresAt="2020-01-01T00:00:00Z")
    where = await site.produce(value, key=b"whose", partition=await _mailbox(site, obedient), headers=_KEPT)
    assert await site.outcome(json.loads(value)["id"]) == "Expired"
    _check_letter(await site.dead_letter(where), value, "Expired")
    assert len(obedient.heard) == heard


async def test_a_later_deadline_than_the_maximum_is_cut_and_the_result_says_so(site: Site, obedient: Station) -> None:
    sent = await site.send(obedient.name, "RequestStartTransaction", _start(), expiresAt="2099-01-01T00:00:00Z")
    result = await site.final(sent)
    assert result["outcome"] == "Accepted"
    assert "maximum" in result["reason"]


async def test_the_value_decides_whatever_the_key_says(site: Site, obedient: Station) -> None:
    value = _command(obedient.name)
    await site.produce(value, key=b"\xff somebody else", partition=await _mailbox(site, obedient))
    assert await site.outcome(json.loads(value)["id"]) == "Accepted"


@pytest.mark.parametrize("hop", [0, 1, 2])
async def test_a_command_in_the_wrong_partition_is_forwarded(site: Site, obedient: Station, hop: int) -> None:
    theirs = await _mailbox_of_the_other_pod(site, obedient)
    async with site.counted("downlink", "commands_forwarded"):
        value = _command(obedient.name)
        await site.produce(value, key=b"whose", partition=theirs, headers=[*_KEPT, ("cg-hop", b"%d" % hop)])
        assert await site.outcome(json.loads(value)["id"]) == "Accepted"
    copy = await site.record(
        lambda each: (
            each.topic == "commands_down" and each.value == value and each.headers.get("cg-hop") == b"%d" % (hop + 1)
        ),
        "the forwarded copy",
    )
    assert (copy.key, copy.headers["traceparent"]) == (b"whose", b"kept")
    assert "cg-deadline" in copy.headers


async def test_a_command_at_its_last_hop_waits_and_ends_as_misrouted(site: Site, obedient: Station) -> None:
    """The entry has not changed since it was forwarded here: passing it on once more would let two pods play ball."""
    entry = await site.entry(obedient.name)
    assert entry is not None
    theirs = await _mailbox_of_the_other_pod(site, obedient)
    value = _command(obedient.name, expiresAt=_in(2.0))
    headers = [*_KEPT, ("cg-hop", b"3"), ("cg-entry-epoch", str(entry.epoch).encode())]
    where = await site.produce(value, key=b"whose", partition=theirs, headers=headers)
    assert await site.outcome(json.loads(value)["id"]) == "Misrouted"
    _check_letter(await site.dead_letter(where), value, "Misrouted")


# -------------------------------------------------------------------------------------------------------- assignment files


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"chargegateway.io/command-partitions=0-3\n",
        b'chargegateway.io/command-partitions="0-99999999999"\nchargegateway.io/assignment-generation="999"\n',
        b'chargegateway.io/command-partitions="3-0"\nchargegateway.io/assignment-generation="999"\n',
        b'chargegateway.io/command-partitions="0-7"\nchargegateway.io/assignment-generation="-1"\n',
        b'chargegateway.io/command-partitions="0-7"\n',
    ],
    ids=["empty", "no-utf8", "unquoted", "huge-range", "backwards", "generation", "no-generation"],
)
async def test_a_broken_assignment_file_changes_nothing(site: Site, obedient: Station, content: bytes) -> None:
    held = await _held(site)
    pod = site.pods[0]
    good = pod.annotations_file.read_bytes()
    # An empty file is what a pod has before the operator knew it: no wish, and nothing broken about it.
    counts = site.counted("assignment_broken") if content else contextlib.nullcontext()
    try:
        async with counts:
            site.write_assignment(pod, content)
            sent = await site.send(obedient.name, "RequestStartTransaction", _start())
            assert await site.outcome(sent) == "Accepted"
    finally:
        site.write_assignment(pod, good)
    assert await _held(site) == held


async def test_an_older_assignment_is_ignored(site: Site, obedient: Station) -> None:
    held = await _held(site)
    pod = site.pods[0]
    async with site.counted("assignment_ignored"):
        site.assign(pod, [], generation=0)
    sent = await site.send(obedient.name, "RequestStartTransaction", _start())
    assert await site.outcome(sent) == "Accepted"
    assert await _held(site) == held


async def test_two_pods_told_to_own_everything_deliver_each_command_once(site: Site) -> None:
    """The compare-and-set decides: nobody loses what is held, and each command reaches its station once."""
    before = await _holders(site)
    async with _obedient(site.pods[0].station_url) as one, _obedient(site.pods[1].station_url) as two:
        for pod in site.pods:
            await site.applied(pod, site.assign(pod, range(PARTITIONS)))
        try:
            sent = {}
            for number in range(24):
                station = (one, two)[number % 2]
                sent[await site.send(station.name, "RequestStartTransaction", _start())] = station
            assert [await site.outcome(command) for command in sent] == ["Accepted"] * 24
            assert len(one.received("RemoteStartTransaction")) == len(two.received("RemoteStartTransaction")) == 12
            assert await site.metric("partitions_held") == PARTITIONS
            assert await _holders(site) == before
        finally:
            site.share_out()

        async def as_before() -> bool:
            return await _holders(site) == before

        await until(as_before, "everybody holds what they held")


async def test_a_partition_number_that_does_not_exist_is_no_harm(site: Site, obedient: Station) -> None:
    held = await _held(site)
    pod = site.pods[0]
    await site.applied(pod, site.assign(pod, [*range(0, PARTITIONS, len(site.pods)), PARTITIONS + 50]))
    try:
        sent = await site.send(obedient.name, "RequestStartTransaction", _start())
        assert await site.outcome(sent) == "Accepted"
        assert await _held(site) >= held
    finally:
        site.share_out()


# ------------------------------------------------------------------------------------------------------------------ tools

_KEPT = [("traceparent", b"kept")]
_numbers = iter(range(1_000_000))


@contextlib.asynccontextmanager
async def _obedient(url: str) -> AsyncIterator[Station]:
    async with connected(url, f"REC-{next(_numbers):06d}") as station:
        station.replies["RemoteStartTransaction"] = lambda payload: {"status": "Accepted"}
        await station.call("BootNotification", boot16())
        yield station


def _start() -> dict[str, Any]:
    return {"idToken": {"idToken": "TAG1", "type": "Central"}, "evseId": 1}


def _in(seconds: float) -> str:
    at = time.time() + seconds
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


def _command(station: str, **fields: Any) -> bytes:
    command = {"id": str(uuid.uuid4()), "chargePointId": station, "type": "RequestStartTransaction", **fields}
    return json.dumps({"payload": _start(), **command}).encode()


async def _mailbox(site: Site, station: Station) -> int:
    entry = await site.entry(station.name)
    assert entry is not None
    return entry.partition


async def _mailbox_of_the_other_pod(site: Site, station: Station) -> int:
    return (await _mailbox(site, station) + 1) % PARTITIONS  # odd and even numbers belong to different pods


async def _held(site: Site) -> float:
    return await site.metric("partitions_held")


async def _holders(site: Site) -> list[float]:
    return [await site.metric("partitions_held", pod=pod) for pod in site.pods]
