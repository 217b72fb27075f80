"""Bad input at every door of a running system: what is answered, that it is counted, and that nobody else notices.

Around every test a neighbour keeps talking: its answers must go on flowing, and no gateway may have ended or restarted.
Assignment files and Kafka records stand in `test_bad_records.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway.adapters.raw_peer import TEXT, RawPeer, frame, upgrade
from tests.system.neighbour import Neighbour, talking
from tests.system.site import Site, until
from tests.system.station import boot2, boot16, connected, meter16

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
SETTINGS = {
    "OCPP__HANDSHAKE_TIMEOUT": "1500ms",
    "OCPP__WRITE_TIMEOUT": "2s",
    "OCPP__CALL_TIMEOUT": "2s",
    "COMMANDS__LATE_WINDOW": "1s",
    "LIMITS__MESSAGES_PER_SECOND": "400",
    "LIMITS__MESSAGE_BURST": "100",
    "LIMITS__PENDING_HANDSHAKES": "40",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def neighbour(site: Site) -> AsyncIterator[Neighbour]:
    async with talking(site, site.pods[0]) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def nobody_else_notices(neighbour: Neighbour) -> AsyncIterator[None]:
    async with neighbour.undisturbed():
        yield


@pytest.fixture
def url(site: Site) -> str:
    """The pod at which the neighbour is connected too."""
    return site.pods[0].station_url


# ------------------------------------------------------------------------------------------------------------- frames

_16, _201, _21 = "ocpp1.6", "ocpp2.0.1", "ocpp2.1"
_DEEP = "[" * 10_000

# what is said, under which id it is answered, the code in 1.6, the code in 2.x, the fault as it is counted
BROKEN_FRAMES = [
    pytest.param("hello", "-1", "ProtocolError", "RpcFrameworkError", "RpcFrameworkError", id="no-json"),
    pytest.param('{"a":1}', "-1", "ProtocolError", "ProtocolError", "ProtocolError", id="object"),
    pytest.param("[]", "-1", "ProtocolError", "ProtocolError", "ProtocolError", id="empty-array"),
    pytest.param("42", "-1", "ProtocolError", "ProtocolError", "ProtocolError", id="number"),
    pytest.param("[2]", "-1", "ProtocolError", "ProtocolError", "ProtocolError", id="type-alone"),
    pytest.param('[2,"w1"]', "w1", "ProtocolError", "ProtocolError", "ProtocolError", id="no-action"),
    pytest.param('["2","w","Heartbeat",{}]', "-1", "ProtocolError", "ProtocolError", "ProtocolError", id="text-type"),
    pytest.param('[2,"w2",7,{}]', "w2", "ProtocolError", "ProtocolError", "ProtocolError", id="numeric-action"),
    pytest.param('[2,"w3","Heartbeat",[]]', "w3", "ProtocolError", "ProtocolError", "ProtocolError", id="payload-list"),
    pytest.param('[2,"w4","Heartbeat",{},1]', "w4", "ProtocolError", "ProtocolError", "ProtocolError", id="five-parts"),
    pytest.param('[2,7,"Heartbeat",{}]', "-1", "ProtocolError", "ProtocolError", "ProtocolError", id="numeric-id"),
    pytest.param('[2,"","Heartbeat",{}]', "-1", "ProtocolError", "ProtocolError", "ProtocolError", id="empty-id"),
    pytest.param(
        json.dumps([2, "i" * 300, "Heartbeat", {}]),
        "-1",
        "ProtocolError",
        "ProtocolError",
        "ProtocolError",
        id="id-300",
    ),
    pytest.param('[2,"w5","Heartbeat",{', "w5", "FormationViolation", "FormatViolation", "FormatViolation", id="cut"),
    pytest.param(
        f'[2,"w6","DataTransfer",{{"vendorId":"v","data":{_DEEP}{"]" * 10_000}}}]',
        "w6",
        "FormationViolation",
        "FormatViolation",
        "FormatViolation",
        id="nested-10000",
    ),
    pytest.param(_DEEP, "-1", "ProtocolError", "RpcFrameworkError", "RpcFrameworkError", id="nested-10000-open"),
    pytest.param(
        f'[2,"w7","DataTransfer",{{"vendorId":"v","data":{"[" * 100}{"]" * 100}}}]',
        "w7",
        "FormationViolation",
        "FormatViolation",
        "FormatViolation",
        id="nested-100",
    ),
]


@pytest.mark.parametrize("version", [_16, _21])
@pytest.mark.parametrize(("said", "answered_as", "code16", "code2", "fault"), BROKEN_FRAMES)
async def test_a_broken_frame_is_answered_with_a_callerror_and_the_session_goes_on(
    site: Site, url: str, said: str, answered_as: str, code16: str, code2: str, fault: str, version: str
) -> None:
    async with site.counted("session", "broken_frames", fault), connected(url, _name(), version) as station:
        answer = await station.exchange(said, answered_as)
        assert answer[:3] == [4, answered_as, code16 if version == _16 else code2]
        assert isinstance(answer[3], str)
        assert isinstance(answer[4], dict)
        assert "currentTime" in await station.call("Heartbeat", {})


async def test_an_unknown_message_type_is_ignored_in_16_and_refused_in_2x(site: Site, url: str) -> None:
    async with site.counted("session", "broken_frames", "MessageTypeNotSupported", at_least=2):
        async with connected(url, _name(), _16) as station:
            await station.say('[9,"t1","Heartbeat",{}]')
            await station.call("Heartbeat", {})
            assert len(station.heard) == 1
        async with connected(url, _name(), _201) as station:
            answer = await station.exchange('[9,"t1","Heartbeat",{}]', "t1")
            assert answer[2] == "MessageTypeNotSupported"


@pytest.mark.parametrize("version", [_16, _21])
async def test_answers_that_nobody_asked_for_are_counted_and_not_answered(site: Site, url: str, version: str) -> None:
    async with (
        site.counted("session", "answers_nobody_asked_for", "CALLRESULT"),
        site.counted("session", "answers_nobody_asked_for", "CALLERROR"),
        connected(url, _name(), version) as station,
    ):
        await station.say('[3,"never-asked",{"status":"Accepted"}]')
        await station.say('[4,"never-asked","InternalError","",{}]')
        await station.say('[3,"never-asked"]')
        await station.say("[4]")
        await station.call("Heartbeat", {})
        assert len(station.heard) == 1, station.heard


async def test_empty_frames_and_a_null_payload_are_tolerated(site: Site, url: str) -> None:
    async with site.counted("session", "empty_frames"), connected(url, _name()) as station:
        await station.say("")
        answer = await station.exchange('[2,"n1","Heartbeat",null]', "n1")
        assert answer[0] == 3
        assert len(station.heard) == 1


async def test_of_duplicate_keys_the_last_one_counts_everywhere(site: Site, url: str) -> None:
    async with connected(url, name := _name()) as station:
        said = (
            '[2,"d1","StatusNotification",{"connectorId":1,"connectorId":2,"errorCode":"NoError","status":"Available"}]'
        )
        assert (await station.exchange(said, "d1"))[0] == 3
    assert (await site.event(name, "ConnectorStatusChanged"))["data"]["evse"]["id"] == 2


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 400, "1e999", "9" * 30, "1.5", "-1"])
async def test_a_number_that_fits_no_field_is_a_callerror(site: Site, url: str, number: str) -> None:
    counts = contextlib.nullcontext() if number == "-1" else site.counted("session", "call_errors")
    async with counts, connected(url, _name()) as station:
        said = f'[2,"h1","StatusNotification",{{"connectorId":{number},"errorCode":"NoError","status":"Available"}}]'
        answer = await station.exchange(said, "h1")
        if number == "-1":
            # The official 1.6 schema knows no minimum: the message is good, and it is nobody's connector.
            assert answer[0] == 3
        else:
            assert answer[0] == 4
            assert answer[2] in ("TypeConstraintViolation", "PropertyConstraintViolation", "FormationViolation")
        await station.call("Heartbeat", {})


@pytest.mark.parametrize("number", ["12345678901234567890.1234567890", "1e400", "0.10", "100000000000000000000000000"])
async def test_a_huge_measured_value_arrives_digit_by_digit(site: Site, url: str, number: str) -> None:
    async with connected(url, name := _name(), _201) as station:
        said = (
            '[2,"v1","MeterValues",{"evseId":1,"meterValue":[{"timestamp":"2026-11-22T10:00:00Z",'
            f'"sampledValue":[{{"value":{number}}}]}}]}}]'
        )
        answer = await station.exchange(said, "v1")
        if answer[0] == 3:
            event = await site.event(name, "MeterValues")
            assert event["data"]["meterValue"][0]["sampledValue"][0]["value"] == number
        else:
            assert number == "1e400", answer  # no JSON number that any parser of ours could hold
        await station.call("Heartbeat", {})


# ------------------------------------------------------------------------------------------------- actions and schemas

_STATUS16 = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
_STATUS2 = {"timestamp": "2026-11-22T10:00:00Z", "connectorStatus": "Available", "evseId": 1, "connectorId": 1}

VIOLATIONS = [
    pytest.param(_16, "Nonsense", {}, "NotImplemented", id="16-unknown"),
    pytest.param(_201, "Nonsense", {}, "NotImplemented", id="201-unknown"),
    pytest.param(_16, "TransactionEvent", {}, "NotImplemented", id="16-of-another-version"),
    pytest.param(_16, "Reset", {"type": "Hard"}, "NotSupported", id="16-ours"),
    pytest.param(_21, "Reset", {"type": "Immediate"}, "NotSupported", id="21-ours"),
    pytest.param(_16, "StatusNotification", {"connectorId": 1}, "OccurenceConstraintViolation", id="16-missing"),
    pytest.param(_201, "StatusNotification", {"evseId": 1}, "OccurrenceConstraintViolation", id="201-missing"),
    pytest.param(_21, "StatusNotification", {"evseId": 1}, "OccurrenceConstraintViolation", id="21-missing"),
    pytest.param(_16, "StatusNotification", _STATUS16 | {"connectorId": "1"}, "TypeConstraintViolation", id="16-type"),
    pytest.param(_201, "StatusNotification", _STATUS2 | {"evseId": "1"}, "TypeConstraintViolation", id="201-type"),
    pytest.param(
        _16, "StatusNotification", _STATUS16 | {"status": "Sleeping"}, "PropertyConstraintViolation", id="16-enum"
    ),
    pytest.param(
        _201, "StatusNotification", _STATUS2 | {"connectorStatus": "?"}, "PropertyConstraintViolation", id="201-enum"
    ),
    pytest.param(
        _16, "BootNotification", boot16() | {"chargePointVendor": "v" * 21}, "PropertyConstraintViolation", id="16-long"
    ),
    pytest.param(_21, "BootNotification", boot2() | {"reason": 5}, "TypeConstraintViolation", id="21-type"),
]


@pytest.mark.parametrize(("version", "action", "payload", "code"), VIOLATIONS)
async def test_unknown_actions_and_schema_violations_get_the_code_of_their_version(
    site: Site, url: str, version: str, action: str, payload: dict[str, Any], code: str
) -> None:
    spelled = code.replace("Occurence", "Occurrence")
    async with site.counted("session", "call_errors", spelled), connected(url, name := _name(), version) as station:
        answer = await station.ask(action, payload)
        assert answer[0] == 4
        assert answer[2] == code
        await station.call("Heartbeat", {})
    assert not {"ConnectorStatusChanged", "DeviceBooted"} & {event["type"] for event in site.events(name)}


async def test_a_transaction_message_that_breaks_its_schema_is_kept_for_billing(site: Site, url: str) -> None:
    """KeepTransactions, the default: a CALLERROR would burn the station's retries."""
    start = {"connectorId": 1, "idTag": "T" * 30, "meterStart": 0, "timestamp": "2026-11-22T10:00:00Z"}
    async with (
        site.counted("session", "schema_violations_kept", "StartTransaction"),
        connected(url, name := _name()) as station,
    ):
        assert (await station.call("StartTransaction", start))["transactionId"] > 0
    event = await site.event(name, "TransactionStarted")
    assert any("idTag" in error for error in event["schemaErrors"])


# --------------------------------------------------------------------------------------------------------- whole sockets


async def test_text_that_is_no_utf8_closes_with_1007(site: Site, url: str) -> None:
    async with site.counted("transport", "frame_refused", "1007"), connected(url, _name()) as station:
        await station.say(b'[2,"u1","Heartbeat",{"\xff\xfe":1}]')
        assert await station.closed() == 1007


async def test_binary_frames_close_with_1003(site: Site, url: str) -> None:
    async with site.counted("transport", "frame_refused", "1003"), connected(url, _name()) as station:
        await station.socket.send(b"\x00\x01")
        assert await station.closed() == 1003


async def test_a_frame_of_one_mebibyte_closes_with_1009(site: Site, url: str) -> None:
    async with site.counted("transport", "frame_refused", "1009"), connected(url, _name()) as station:
        await station.say('[2,"b1","DataTransfer",{"vendorId":"' + "v" * 1_048_576 + '"}]')
        assert await station.closed() == 1009


async def test_a_frame_without_a_mask_closes_with_1002(site: Site) -> None:
    async with site.counted("transport", "frame_refused", "1002"), _raw(site) as peer:
        peer.send(upgrade(f"/{_name()}"))
        assert (await peer.response())[0] == 101
        peer.send(frame(TEXT, b'[2,"m1","Heartbeat",{}]', mask=False))
        opcode, payload = await peer.frame()
        while opcode != 0x8:
            opcode, payload = await peer.frame()
        assert int.from_bytes(payload[:2], "big") == 1002


async def test_a_flood_is_read_slowly_and_answered_whole(site: Site, url: str) -> None:
    """Twice the burst and more at once: reading pauses, nothing is dropped."""
    async with site.counted("transport", "station_throttled"), connected(url, _name()) as station:
        for number in range(500):
            await station.say(f'[2,"f{number}","Heartbeat",{{}}]')
        await until(_heard(station.heard, 500), "500 answers", 15)
        assert [message[1] for message in station.heard] == [f"f{number}" for number in range(500)]


async def test_events_sent_in_a_burst_are_published_in_order_and_answered_in_order(site: Site, url: str) -> None:
    """A station that does not wait for answers: its CALLs take turns."""
    async with (
        site.counted("session", "calls_before_their_turn"),
        connected(url, name := _name()) as station,
    ):
        for number in range(60):
            await station.say([2, f"o{number}", "MeterValues", meter16(f"{number}.0")])
        await until(_heard(station.heard, 60), "60 answers", 15)
        assert [message[1] for message in station.heard] == [f"o{number}" for number in range(60)]
    await site.event(name, "MeterValues", meterValue=site.events(name, "MeterValues")[-1]["data"]["meterValue"])
    values = [event["data"]["meterValue"][0]["sampledValue"][0]["value"] for event in site.events(name, "MeterValues")]
    assert values == [f"{number}.0" for number in range(60)]


async def test_a_peer_that_never_reads_is_cut_off(site: Site) -> None:
    """Its receive window is tiny and it takes nothing: the write time-out ends it, its command is Uncertain."""
    name = _name()
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    narrow.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    narrow.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        async with site.counted("transport", "socket_aborted", "write-timeout"):
            await loop.sock_connect(narrow, ("127.0.0.1", site.pods[0].own_port))
            await loop.sock_sendall(narrow, upgrade(f"/{name}"))
            assert (await loop.sock_recv(narrow, 1024)).startswith(b"HTTP/1.1 101")
            partition = await _entry_partition(site, name)
            sent = await site.send(name, "DataTransfer", {"vendorId": "v", "data": "d" * 200_000}, partition=partition)
        assert await site.outcome(sent) == "Uncertain"
    finally:
        narrow.close()


# ------------------------------------------------------------------------------------------------------------ handshakes


@pytest.mark.parametrize(
    ("first", "failure"),
    [
        pytest.param(b"", "timeout", id="silent"),
        pytest.param(b"GET /CP1 HT", "timeout", id="half-a-line"),
        pytest.param(upgrade("/CP-half")[:-2], "timeout", id="all-but-the-blank-line"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "timeout", id="tls-to-a-plain-port"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "malformed", id="no-upgrade"),
        pytest.param(b"POST /CP1 HTTP/1.1\r\nHost: x\r\n\r\n", "malformed", id="post"),
        pytest.param(upgrade("/CP1", "X-Long: " + "x" * 20_000), "malformed", id="20-kib-of-headers"),
        pytest.param(b"\r\n\r\n\r\n", "malformed", id="blank-lines"),
    ],
)
async def test_half_open_and_broken_handshakes_end_and_are_counted(site: Site, first: bytes, failure: str) -> None:
    async with site.counted("transport", "handshake_failed", failure), _raw(site) as peer:
        peer.send(first)
        async with asyncio.timeout(8):
            assert b" 101 " not in await peer.reader.read()  # ends: the gateway closed


async def test_slow_lorises_do_not_keep_honest_stations_out(site: Site, url: str) -> None:
    """More half-open handshakes than may be pending, each a byte now and then."""
    async with contextlib.AsyncExitStack() as stack, site.counted("transport", "handshake_failed", at_least=100):
        peers = [await stack.enter_async_context(_raw(site)) for _ in range(100)]
        for byte in (b"G", b"E", b"T"):
            for peer in peers:
                peer.send(byte)
        async with connected(url, _name()) as station:
            await station.call("Heartbeat", {})


REFUSED = [
    pytest.param("/%zz", 400, "escape", id="bad-hex"),
    pytest.param("/CP%", 400, "escape", id="cut-escape"),
    pytest.param("/CP%2", 400, "escape", id="half-escape"),
    pytest.param("/%ff%fe", 400, "escape", id="no-utf8"),
    pytest.param("/CP%7B1%7D", 400, "identity", id="braces"),
    pytest.param("/CP%00", 400, "identity", id="nul"),
    pytest.param("/", 404, "no-identity", id="no-identity"),
    pytest.param("///", 404, "no-identity", id="slashes-alone"),
]


@pytest.mark.parametrize(("target", "status", "label"), REFUSED)
async def test_a_path_that_names_no_station_is_refused(site: Site, target: str, status: int, label: str) -> None:
    async with site.counted("admission", "refused", label), _raw(site) as peer:
        peer.send(upgrade(target))
        assert (await peer.response())[0] == status


@pytest.mark.parametrize("identity", ["C" * 49, "CP:1"])
async def test_an_identity_that_2x_forbids_is_refused_there_and_admitted_to_16(site: Site, identity: str) -> None:
    protocol = "Sec-WebSocket-Protocol: "
    async with site.counted("admission", "refused", "identity"), _raw(site) as peer:
        peer.send(upgrade(f"/{identity}", protocol + "ocpp2.0.1", without=("Sec-WebSocket-Protocol",)))
        assert (await peer.response())[0] == 400
    async with _raw(site) as peer:
        peer.send(upgrade(f"/{identity}"))
        assert (await peer.response())[0] == 101


@pytest.mark.parametrize("offered", [("mqtt",), ("ocpp1.5", "ocpp1.2"), ("ocpp2.0",), ("x" * 500,), ()])
async def test_foreign_subprotocols_are_refused(site: Site, offered: tuple[str, ...]) -> None:
    header = [f"Sec-WebSocket-Protocol: {', '.join(offered)}"] if offered else []
    async with site.counted("admission", "refused", "subprotocol"), _raw(site) as peer:
        peer.send(upgrade(f"/{_name()}", *header, without=("Sec-WebSocket-Protocol",)))
        assert (await peer.response())[0] == 400


@pytest.mark.parametrize(
    ("offered", "spoken"),
    [("mqtt, ocpp1.6", "ocpp1.6"), ("OCPP1.6", "OCPP1.6"), ("ocpp9, ocpp2.0.1, ocpp1.6", "ocpp2.0.1")],
)
async def test_among_foreign_subprotocols_ours_is_found_in_its_own_spelling(
    site: Site, offered: str, spoken: str
) -> None:
    async with _raw(site) as peer:
        peer.send(upgrade(f"/{_name()}", f"Sec-WebSocket-Protocol: {offered}", without=("Sec-WebSocket-Protocol",)))
        status, headers, _ = await peer.response()
        assert (status, headers["sec-websocket-protocol"]) == (101, spoken)


@pytest.mark.parametrize(
    ("target", "quirk"),
    [("//ocpp//{}/", "empty-segments"), ("/{0}/{0}", "identity-twice"), ("/{}?token=1", "query")],
)
async def test_the_quirks_of_the_field_are_accepted_and_counted(site: Site, target: str, quirk: str) -> None:
    async with site.counted("admission", "handshake_quirk", quirk), _raw(site) as peer:
        peer.send(upgrade(target.format(name := _name())))
        assert (await peer.response())[0] == 101
        await site.event(name, "DeviceOnline")


async def test_a_station_that_hangs_up_in_the_middle_of_everything_leaves_nothing_behind(site: Site, url: str) -> None:
    """Ten times: CALL sent, socket cut before the answer."""
    for number in range(10):
        async with connected(url, name := _name()) as station:
            await station.say([2, f"x{number}", "BootNotification", boot16()])
            station.socket.transport.abort()
    await site.event(name, "DeviceOffline")

    async def gone() -> bool:
        return await site.entry(name) is None

    await until(gone, "the entry is deleted")


# ----------------------------------------------------------------------------------------------------------------- tools

_numbers = iter(range(1_000_000))


def _name() -> str:
    return f"BAD-{next(_numbers):06d}"


def _heard(heard: list[Any], count: int) -> Any:
    async def enough() -> bool:
        return len(heard) >= count

    return enough


async def _entry_partition(site: Site, station: str) -> int:
    found: list[int] = []

    async def there() -> bool:
        entry = await site.entry(station)
        if entry is not None:
            found.append(entry.partition)
        return bool(found)

    await until(there, f"{station} is in the directory")
    return found[0]


@contextlib.asynccontextmanager
async def _raw(site: Site) -> AsyncIterator[RawPeer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.pods[0].own_port)
    try:
        yield RawPeer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
