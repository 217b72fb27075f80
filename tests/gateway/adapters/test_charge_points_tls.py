"""TLS as charge points need it: RSA and ECDSA side by side, the old suites, no server name, reload under open sockets."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidMessage
from websockets.http11 import Request

from ocpp_gateway.adapters.handshakes import Opening
from ocpp_gateway.adapters.listeners import HandshakeOptions
from ocpp_gateway.adapters.tls import ListenerTls, TlsError
from ocpp_gateway.adapters.transport import SocketOptions
from tests.gateway.adapters.raw_peer import raw_peer
from tests.gateway.adapters.station_port import StationPort, station_port


class Certificates:
    """A CA, and an RSA and an ECDSA certificate of it in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.pairs = (self.issue("rsa", trustme.KeyType.RSA), self.issue("ecdsa", trustme.KeyType.ECDSA))

    def issue(self, name: str, kind: trustme.KeyType) -> tuple[Path, Path]:
        leaf = self.ca.issue_cert("127.0.0.1", "gateway.example", key_type=kind)
        chain, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        for path, blobs in ((chain, leaf.cert_chain_pems), (key, [leaf.private_key_pem])):
            new = path.with_suffix(".new")
            new.write_bytes(b"".join(blob.bytes() for blob in blobs))
            os.replace(new, path)
        return chain, key

    def client(self, ciphers: str | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if ciphers:
            context.set_ciphers(ciphers)
        if version:
            context.minimum_version = context.maximum_version = version
        return context


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def station(port: StationPort, context: ssl.SSLContext, **options: object) -> connect:
    return connect(f"{port.url}/CP1", subprotocols=["ocpp1.6"], ssl=context, **options)


def cipher(connection: ClientConnection) -> str:
    name, *_ = connection.transport.get_extra_info("cipher")
    return str(name)


def key_of(connection: ClientConnection) -> str:
    """RSA certificates of trustme are several times larger than ECDSA ones."""
    certificate = connection.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return "RSA" if len(certificate) > 700 else "ECDSA"


async def test_messages_of_every_length_over_tls(certificates: Certificates) -> None:
    async with (
        station_port(tls=ListenerTls(certificates.pairs)) as port,
        station(port, certificates.client()) as connection,
    ):
        assert connection.transport.get_extra_info("ssl_object").version() == "TLSv1.3"
        for text in ["", "x", "y" * 20_000, "z" * 200_000]:
            await connection.send(text)
            assert await connection.recv() == text
        session = await port.session()
        assert session.handshake.listener.tls
        await connection.close()
        assert (await asyncio.wait_for(session.closed, 5))[0] == 1000


SUITES = {
    "TLS_RSA_WITH_AES_128_GCM_SHA256": ("AES128-GCM-SHA256", "RSA"),
    "TLS_RSA_WITH_AES_256_GCM_SHA384": ("AES256-GCM-SHA384", "RSA"),
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA"),
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDSA"),
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": ("ECDHE-RSA-AES128-GCM-SHA256", "RSA"),
}


@pytest.mark.parametrize(("suite", "key"), SUITES.values(), ids=SUITES)
async def test_the_suites_that_ocpp_demands(certificates: Certificates, suite: str, key: str) -> None:
    client = certificates.client(suite, ssl.TLSVersion.TLSv1_2)
    async with station_port(tls=ListenerTls(certificates.pairs)) as port, station(port, client) as connection:
        assert (cipher(connection), key_of(connection)) == (suite, key)
        await connection.send("x")
        assert await connection.recv() == "x"


async def test_modern_listeners_leave_the_old_suites_out(certificates: Certificates) -> None:
    async with station_port(tls=ListenerTls(certificates.pairs, modern=True)) as port:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):  # uvloop drops the alert, so mostly the latter
            await station(port, certificates.client("AES128-GCM-SHA256", ssl.TLSVersion.TLSv1_2))
        async with station(port, certificates.client(version=ssl.TLSVersion.TLSv1_2)) as connection:
            assert cipher(connection).startswith("ECDHE")
        assert port.counted["handshake_failed", "tls"] == 1


async def test_tls_below_1_2_is_refused(certificates: Certificates) -> None:
    async with station_port(tls=ListenerTls(certificates.pairs)) as port:
        process = await asyncio.create_subprocess_exec(
            *(
                "openssl",
                "s_client",
                "-tls1_1",
                "-cipher",
                "ALL:@SECLEVEL=0",
                "-connect",
                f"127.0.0.1:{port.address[1]}",
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 10)
        assert b"Cipher is (NONE)" in output
        assert port.counted["handshake_failed", "tls"] == 1


async def test_a_listener_may_demand_tls_1_3(certificates: Certificates) -> None:
    async with station_port(tls=ListenerTls(certificates.pairs, minimum="1.3")) as port:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await station(port, certificates.client(version=ssl.TLSVersion.TLSv1_2))
        async with station(port, certificates.client()) as connection:
            assert cipher(connection).startswith("TLS_")


async def test_a_station_that_sends_no_server_name(certificates: Certificates) -> None:
    context = certificates.client()
    context.check_hostname = False
    async with (
        station_port(tls=ListenerTls(certificates.pairs)) as port,
        station(port, context, server_hostname="") as connection,
    ):
        await connection.send("x")
        assert await connection.recv() == "x"


async def test_new_certificates_reach_new_stations_while_old_sockets_stay(certificates: Certificates) -> None:
    def serial(connection: ClientConnection) -> str:
        return str(connection.transport.get_extra_info("peercert")["serialNumber"])

    tls = ListenerTls(certificates.pairs)
    client = certificates.client(version=ssl.TLSVersion.TLSv1_2)
    async with station_port(tls=tls) as port, station(port, client) as before:
        assert not tls.reload_if_changed()
        certificates.issue("rsa", trustme.KeyType.RSA)
        certificates.issue("ecdsa", trustme.KeyType.ECDSA)
        assert tls.reload_if_changed()
        async with station(port, client) as after, station(port, client, server_hostname="gateway.example") as named:
            assert serial(before) != serial(after) == serial(named)
            for connection in (before, after):
                await connection.send("x")
                assert await connection.recv() == "x"
        assert not tls.reload_if_changed()


async def test_the_listener_notices_new_files_by_itself(certificates: Certificates) -> None:
    tls = ListenerTls(certificates.pairs)
    async with station_port(handshakes=HandshakeOptions(certificate_check=0.05), tls=tls) as port:
        certificates.issue("rsa", trustme.KeyType.RSA)
        assert port.counted.total() == 0
        async with asyncio.timeout(5):
            while not port.counted["certificates_reloaded", "test"]:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0.02)


def test_files_that_cannot_be_used_leave_the_old_ones_in_place(certificates: Certificates) -> None:
    tls = ListenerTls(certificates.pairs)
    current = tls._current
    chain, key = certificates.pairs[0]
    good = key.read_bytes()
    key.write_bytes(b"half a fi")
    assert not tls.reload_if_changed()
    assert tls._current is current
    chain.unlink()
    assert not tls.reload_if_changed()
    certificates.issue("rsa", trustme.KeyType.RSA)
    assert key.read_bytes() != good
    assert tls.reload_if_changed()
    assert tls._current is not current


def test_a_listener_does_not_start_with_a_key_of_another_certificate(certificates: Certificates) -> None:
    (chain, _), (_, key) = certificates.pairs
    with pytest.raises(TlsError, match=r"rsa\.pem"):
        ListenerTls([(chain, key)])
    with pytest.raises(TlsError, match="No such file"):
        ListenerTls([(chain.with_name("nothing.pem"), key)])


async def test_a_peer_that_never_finishes_tls_is_cut(certificates: Certificates) -> None:
    async with station_port(handshakes=HandshakeOptions(timeout=0.4), tls=ListenerTls(certificates.pairs)) as port:
        async with raw_peer(port.address) as silent:
            assert await silent.ended() == b""
        async with raw_peer(port.address) as plain:
            plain.send(b"GET /CP1 HTTP/1.1\r\nHost: x\r\n\r\n")
            await plain.ended()
        async with station(port, certificates.client()) as connection:
            await connection.send("fine")
            assert await connection.recv() == "fine"
        assert port.counted["handshake_failed", "timeout"] == 1
        assert port.counted["handshake_failed", "tls"] == 1


async def test_a_peer_that_never_reads_over_tls_is_cut(certificates: Certificates) -> None:
    options = SocketOptions(write_timeout=0.5, ping_interval=0)
    async with (
        station_port(options, tls=ListenerTls(certificates.pairs)) as port,
        raw_peer(port.address, certificates.client()) as peer,
    ):
        await peer.open()
        peer.writer.transport.pause_reading()
        session = await port.session()
        # First the kernel takes some, then the buffers fill.
        while session.socket.send_text("x" * 10_000):  # noqa: ASYNC110 - nothing tells that it is cut but the answer
            await asyncio.sleep(0.01)
        assert await asyncio.wait_for(session.closed, 5) == (1006, "write-timeout")


async def test_refusals_and_closes_reach_the_station_over_tls(certificates: Certificates) -> None:
    async with station_port(tls=ListenerTls(certificates.pairs)) as port:
        async with station(port, certificates.client()) as connection:
            await connection.send(b"\xff", text=True)
            await asyncio.wait_for(connection.wait_closed(), 5)
            assert connection.close_code == 1007
            assert (await asyncio.wait_for((await port.session()).closed, 5))[0] == 1007
        async with station(port, certificates.client()) as connection:
            port.sessions[-1].socket.close(1012, "restart")
            await asyncio.wait_for(connection.wait_closed(), 5)
            assert (connection.close_code, connection.close_reason) == (1012, "restart")
        async with raw_peer(port.address, certificates.client()) as peer:
            peer.send(b"POST / HTTP/1.1\r\n\r\n")
            assert (await peer.response())[0] == 405


@pytest.mark.parametrize("turns", range(6))
async def test_a_station_that_goes_right_before_its_101_leaves_nothing_behind(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """The transport knows first, its protocol some turns of the loop later: between the two there is nobody to talk to."""
    complete = Opening.request

    async def request(opening: Opening) -> Request:
        request = await complete(opening)
        opening.transport.abort()
        for _ in range(turns):
            await asyncio.sleep(0)
        return request

    monkeypatch.setattr(Opening, "request", request)
    async with station_port(tls=ListenerTls(certificates.pairs)) as port:
        with pytest.raises((ConnectionError, InvalidMessage)):
            await station(port, certificates.client())
        await asyncio.wait_for(port.shared.empty.wait(), 5)
        for session in port.sessions:
            await asyncio.wait_for(session.closed, 5)
