"""Client of the pods' internal API: which stations a pod says it holds.

Pods are dialled by address (no DNS needed), one short use each time, bounded in time and size. An address may belong to
somebody else a moment after its pod is gone, so redirects are not followed and no answer is trusted to be ours: whatever is not
the contract is `PodUnreachable`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from yarl import URL

from ocpp_contract.errors import ContractError
from ocpp_contract.internal_api import CONNECTIONS_PATH, ConnectionItem, decode_connections
from ocpp_operator.core.names import ADMIN_PORT

TIMEOUT: Final = 10.0
"""Seconds for one use, all pages of a list together."""
PAGE: Final = 2_000
"""Connections per page: a pod sorts and writes one between two messages of its stations. At most 10,000."""

_PAGE_BYTES = 8 * 1024 * 1024
"""Far more than a page of the longest ids."""
_CHUNK = 65_536
_WORDS = 200
"""Bytes of a refusal that are shown."""


class PodUnreachable(Exception):
    """The pod does not answer in time, refuses us, or what answers is no gateway. `reason` is for people."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"pod at {address}: {reason}")
        self.address = address
        self.reason = reason


async def connections(
    address: str, token: str, *, port: int = ADMIN_PORT, timeout: float = TIMEOUT, page: int = PAGE
) -> tuple[ConnectionItem, ...]:
    """Every live connection of the pod, in order of the stations' ids. Raises PodUnreachable; never a part of the list.

    It is read in pages while stations come and go: who was connected all the time is in it, who came or went meanwhile may be.
    """
    found: list[ConnectionItem] = []
    async with _dialled(address, token, timeout) as session:
        while True:
            after = found[-1].id if found else ""
            url = _url(address, port, CONNECTIONS_PATH).with_query(after=after, limit=str(page))
            items = decode_connections(await _answer(session, url))
            ids = [item.id for item in items]
            if sorted({after, *ids}) != [after, *ids]:
                raise ContractError("", "is not in order of the stations' ids")  # it could go on for ever
            found += items
            if len(items) < page:
                return tuple(found)


@contextlib.asynccontextmanager
async def _dialled(address: str, token: str, timeout: float) -> AsyncIterator[aiohttp.ClientSession]:
    """Everything that goes wrong inside, as PodUnreachable."""
    headers = {"Authorization": f"Bearer {token.strip()}"}
    try:
        async with asyncio.timeout(timeout), aiohttp.ClientSession(headers=headers) as session:
            yield session
    except TimeoutError:
        raise PodUnreachable(address, f"no answer within {timeout:g}s") from None
    except ContractError as error:
        raise PodUnreachable(address, f"its answer is not the contract's: {error}") from None
    except aiohttp.ClientConnectorError as error:
        raise PodUnreachable(address, f"no connection: {error.os_error.strerror or error.os_error}") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: an address or a token that is none
        raise PodUnreachable(address, str(error) or type(error).__name__) from None


async def _answer(session: aiohttp.ClientSession, url: URL) -> bytes:
    """The body, if the pod gives one."""
    async with session.get(url, allow_redirects=False) as response:
        if response.status == 401:
            raise aiohttp.ClientError("it refuses our token; a rotated Secret reaches pods within a minute or two")
        if response.status != 200:
            words = (await response.content.read(_WORDS)).decode(errors="replace").strip()
            raise aiohttp.ClientError(f"it answers {response.status} {words}".rstrip())
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > _PAGE_BYTES:
                raise ContractError("", f"is larger than {_PAGE_BYTES} bytes")
        return bytes(body)


def _url(address: str, port: int, path: str) -> URL:
    """IPv6 addresses with or without brackets; the URL has them."""
    return URL.build(scheme="http", host=address.strip("[]"), port=port, path=path)
