"""What the station transport costs: CPU per Heartbeat-like exchange, memory per idle socket, plain and TLS.

    python -m benchmarks.bench_transport [--messages 20000] [--idle 2000]

Three servers answer the same load in the same run, each in a process of its own, loaded by another process:
ours, ours with every frame through websockets' `ServerProtocol` (what the lean path saves), and `websockets.asyncio.server`.
CPU is user + system of the server process; memory is the growth of its proportional set size (PSS) per socket.
"Saturated" is a closed loop, "500/s" an open one; the first flatters through batched wake-ups. Nothing but transport and a
JSON parse is in the figures: no validation, no session, no Kafka.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import trustme
import uvloop

from ocpp_gateway.adapters import charge_points
from ocpp_gateway.adapters.answers import Accept, Answer
from ocpp_gateway.adapters.charge_points import ChargePointSocket
from ocpp_gateway.adapters.listeners import HandshakeOptions, Listeners
from ocpp_gateway.adapters.station_ports import ListenerOptions
from ocpp_gateway.adapters.tls import ListenerTls
from ocpp_gateway.adapters.transport import Shared, SocketOptions
from ocpp_gateway.core.admission import Handshake
from tests.gateway.adapters.raw_peer import frame, upgrade

SERVERS = ("ours", "ours-through-websockets", "websockets.asyncio")


def answer(text: str | bytes) -> bytes:
    _, message_id, _, _ = orjson.loads(text)
    return orjson.dumps([3, message_id, {"currentTime": "2026-11-22T10:00:00.000Z"}])


# ---------------------------------------------------------------------------------------------------------------- servers


class Answering:
    __slots__ = ("socket",)

    def __init__(self, socket: ChargePointSocket) -> None:
        self.socket = socket

    def on_text(self, text: str) -> None:
        self.socket.send_text(answer(text))

    def on_closed(self, code: int, reason: str) -> None: ...
    def on_write_paused(self) -> None: ...
    def on_write_resumed(self) -> None: ...


async def serve_ours(certificates: tuple[Path, Path] | None, lean: bool) -> tuple[int, Callable[[], int]]:
    if not lean:
        # Every frame takes the way of the difficult ones, with a parser that is kept.
        def all_through_websockets(self: ChargePointSocket, data: bytes) -> None:
            self.last_frame_at = self._shared.clock()
            ws = self._ws = self._ws or self._websockets()
            ws.receive_data(data)
            for event in ws.events_received():
                self._on_frame(ws, event)  # type: ignore[arg-type]
            self._flush(ws)

        charge_points.ChargePointSocket.data_received = all_through_websockets  # type: ignore[method-assign]

    async def admit(handshake: Handshake, _gone: Callable[[], bool]) -> Answer:
        return Accept("ocpp1.6", Answering)

    shared = Shared(SocketOptions(messages_per_second=1e6, message_burst=1_000_000), lambda *_: None)
    tls = ListenerTls([certificates]) if certificates else None
    listener = ListenerOptions("bench", "127.0.0.1", 0, frozenset({0}), tls)
    listeners = Listeners([listener], HandshakeOptions(), shared, admit)
    await listeners.start()
    return listeners.addresses["bench"][1], lambda: len(shared.sockets)


async def serve_websockets(certificates: tuple[Path, Path] | None) -> tuple[int, Callable[[], int]]:
    from websockets.asyncio.server import ServerConnection, serve

    async def handler(connection: ServerConnection) -> None:
        async for text in connection:
            await connection.send(answer(text), text=True)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificates else None
    if context and certificates:
        context.load_cert_chain(*certificates)
    server = await serve(handler, "127.0.0.1", 0, subprotocols=["ocpp1.6"], compression=None, ssl=context)  # type: ignore[list-item]
    return next(iter(server.sockets)).getsockname()[1], lambda: len(server.connections)


async def serve(kind: str, certificates: tuple[Path, Path] | None) -> None:
    """A server process: prints its port, then answers each line on stdin with its CPU seconds, PSS and sockets."""
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # the load ends by cutting its sockets
    start: Awaitable[tuple[int, Callable[[], int]]] = (
        serve_websockets(certificates) if kind == SERVERS[2] else serve_ours(certificates, lean=kind == SERVERS[0])
    )
    port, sockets = await start
    print(port, flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        gc.collect()
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "pss": pss(), "sockets": sockets()}), flush=True)


def pss() -> int:
    """Bytes of this process alone plus its share of what others map too."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Pss in smaps_rollup")


class Server:
    """A server process, seen from the load."""

    def __init__(self, kind: str, certificates: tuple[Path, Path] | None) -> None:
        arguments = [str(path) for path in certificates or ()]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bench_transport", "--serve", kind, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def figures(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        figures: dict[str, Any] = json.loads(self._process.stdout.readline())
        return figures

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


# ------------------------------------------------------------------------------------------------------------------- load


class Station(asyncio.Protocol):
    """Sends one Heartbeat at a time; a server's frame is complete when its length says so."""

    __slots__ = ("answered", "buffer", "number", "on_answer", "opened", "transport")

    def __init__(self, opened: asyncio.Future[None], on_answer: Callable[[Station], None]) -> None:
        self.opened = opened
        self.on_answer = on_answer
        self.buffer = b""
        self.number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(upgrade())

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            self.buffer += data
            if b"\r\n\r\n" in self.buffer:
                self.opened.set_result(None)
                self.buffer = b""
            return
        data = self.buffer + data
        while len(data) >= 2 and len(data) >= 2 + data[1]:
            opcode, size = data[0], data[1]
            data = data[2 + size :]
            if opcode == 0x81:
                self.on_answer(self)
        self.buffer = data

    def send(self) -> None:
        self.number += 1
        self.transport.write(frame(0x1, b'[2,"%d","Heartbeat",{}]' % self.number))


async def connect(
    port: int, count: int, tls: ssl.SSLContext | None, on_answer: Callable[[Station], None]
) -> list[Station]:
    loop = asyncio.get_running_loop()
    stations = []
    for start in range(0, count, 50):
        opened = []
        for _ in range(min(50, count - start)):
            done: asyncio.Future[None] = loop.create_future()
            _, station = await loop.create_connection(
                lambda done=done: Station(done, on_answer),
                "127.0.0.1",
                port,
                ssl=tls,  # type: ignore[misc]
            )
            opened.append(done)
            stations.append(station)
        await asyncio.gather(*opened)
    return stations


async def saturated(server: Server, messages: int, tls: ssl.SSLContext | None) -> float:
    """Microseconds of server CPU per exchange, closed loop over 100 stations."""
    finished = asyncio.get_running_loop().create_future()
    left = messages

    def next_one(station: Station) -> None:
        nonlocal left
        left -= 1
        if left > 0:
            station.send()
        elif not finished.done():
            finished.set_result(None)

    stations = await connect(server.port, 100, tls, next_one)
    before = server.figures()["cpu"]
    for station in stations:
        station.send()
    await finished
    used = server.figures()["cpu"] - before
    for station in stations:
        station.transport.abort()
    return float(used) / messages * 1e6


async def open_loop(server: Server, messages: int, tls: ssl.SSLContext | None) -> float:
    """Microseconds of server CPU per exchange at 500 a second over 1,000 stations."""
    stations = await connect(server.port, 1_000, tls, lambda _: None)
    before = server.figures()["cpu"]
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(messages):
        await asyncio.sleep(max(0.0, started + number / 500 - loop.time()))
        stations[number % 1_000].send()
    await asyncio.sleep(0.2)
    used = server.figures()["cpu"] - before
    for station in stations:
        station.transport.abort()
    return float(used) / messages * 1e6


async def idle(server: Server, count: int, tls: ssl.SSLContext | None) -> float:
    """KiB of server memory per idle socket that has said one Heartbeat."""
    warm = await connect(server.port, 200, tls, lambda _: None)
    for station in warm:
        station.send()
    await asyncio.sleep(0.3)
    before = server.figures()
    stations = await connect(server.port, count, tls, lambda _: None)
    for station in stations:
        station.send()
    await asyncio.sleep(1.0)
    after = server.figures()
    assert after["sockets"] - before["sockets"] == count
    for station in [*warm, *stations]:
        station.transport.abort()
    return float(after["pss"] - before["pss"]) / count / 1024


async def probe(port: int, secure: bool) -> None:
    """A process of its own: one station that sends a Heartbeat every 5 ms until stdin ends, then prints its waits in ms."""
    context = None
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    answered = asyncio.Event()
    (station,) = await connect(port, 1, context, lambda _: answered.set())
    laps = []
    print("ready", flush=True)
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    while not ended.done():
        answered.clear()
        sent = time.perf_counter()
        station.send()
        await answered.wait()
        laps.append((time.perf_counter() - sent) * 1e3)
        await asyncio.sleep(0.005)
    print(json.dumps(sorted(laps)))


async def storm(server: Server, count: int, tls: ssl.SSLContext | None) -> list[float]:
    """p50, p99 and longest wait (ms) of a station that is served while `count` others connect at once; seconds it took."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.bench_transport", "--probe", str(server.port), "tls" if tls else ""),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    started = asyncio.get_running_loop().time()
    arrived = await asyncio.gather(*(connect(server.port, 1, tls, lambda _: None) for _ in range(count)))
    took = asyncio.get_running_loop().time() - started
    output, _ = await process.communicate(b"")
    laps = json.loads(output)
    for stations in arrived:
        stations[0].transport.abort()
    return [laps[len(laps) // 2], laps[len(laps) * 99 // 100], laps[-1], took]


async def measure(rounds: int, messages: int, idle_sockets: int) -> None:
    authority = trustme.CA()
    client = ssl.create_default_context()
    authority.configure_trust(client)
    client.check_hostname = False
    loads: dict[str, Callable[[Server, ssl.SSLContext | None], Awaitable[float]]] = {
        "saturated us": lambda server, tls: saturated(server, messages, tls),
        "500/s us": lambda server, tls: open_loop(server, min(messages, 5_000), tls),
        "idle KiB": lambda server, tls: idle(server, idle_sockets, tls),
    }
    results: dict[tuple[str, str, str], list[float]] = {}
    storms: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        leaf = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
        files = (Path(folder, "chain.pem"), Path(folder, "key.pem"))
        files[0].write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        files[1].write_bytes(leaf.private_key_pem.bytes())
        ways = (("plain", None, None), ("TLS", files, client))
        for _ in range(rounds):  # the rivals take turns, for the machine is shared
            for security, certificates, context in ways:
                for kind in SERVERS:
                    for name, work in loads.items():
                        with contextlib.closing(Server(kind, certificates)) as server:
                            results.setdefault((kind, security, name), []).append(await work(server, context))
                        print(kind, security, name, f"{results[kind, security, name][-1]:.1f}", file=sys.stderr)
        for security, certificates, context in ways:
            for kind in (SERVERS[0], SERVERS[2]):
                count = 600 if context else 3_000
                with contextlib.closing(Server(kind, certificates)) as server:
                    storms[kind, f"{security}, {count}"] = await storm(server, count, context)
    if rounds:
        print("| server | | saturated us | 500/s us | idle KiB |\n| --- | --- | --- | --- | --- |")
        for security, _, _ in ways:
            for kind in SERVERS:
                values = [results[kind, security, name] for name in loads]
                cells = [f"{min(cell):.1f} / {statistics.median(cell):.1f}" for cell in values]
                print(f"| {kind} | {security} | {' | '.join(cells)} |")
        print(f"\nminimum / median of {rounds} rounds, {messages} messages, {idle_sockets} idle sockets\n")
    print("| server | storm | p50 ms | p99 ms | longest ms | all connected s |\n| --- | --- | --- | --- | --- | --- |")
    for (kind, what), laps in storms.items():
        print(f"| {kind} | {what} | {' | '.join(f'{lap:.1f}' for lap in laps)} |")
    print(f"\n{os.cpu_count()} CPUs; the waits are those of a station that is served while the others connect")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--idle", type=int, default=2_000)
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--probe", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        kind, *files = arguments.serve
        uvloop.run(serve(kind, (Path(files[0]), Path(files[1])) if files else None))
    elif arguments.probe:
        uvloop.run(probe(int(arguments.probe[0]), bool(arguments.probe[1])))
    else:
        uvloop.run(measure(arguments.rounds, arguments.messages, arguments.idle))


if __name__ == "__main__":
    main()
