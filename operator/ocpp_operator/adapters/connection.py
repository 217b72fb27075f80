"""The connection to the Kubernetes API: who we are, one request, one stream of lines. Raw JSON in, raw JSON out.

`kubernetes.aio` brings identity (kubeconfig, plug-ins, service account) and TLS; its models are not used, since making an object
of each pod costs far more than reading it. What it does not do stands here:

* Its requests wait five minutes unless told otherwise; each of ours has a time-out that covers everything.
* It keeps at most 100 connections at a time and lets the next request wait for ever. A watch occupies a connection, so with
  100 watched Secrets no other request would get through: the number is not limited here.
* It looks into ~/.netrc for every request (in a thread) and fails when it finds a password: the environment is read once.
* A token that was rotated early is refused with 401: identity is then read again, and the request is repeated once, as it was
  not executed.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_kube_config
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from ocpp_operator.adapters.api_errors import ApiUnavailable, Silent, refusal

log = logging.getLogger(__name__)

Json = dict[str, Any]
Count = Callable[[str, str, str], None]
"""count(verb, resource, code): one request ended; the code is the HTTP status, `timeout` or `error`."""

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML


class NoCluster(Exception):
    """There is no usable configuration of a cluster; the message says what was looked for."""


class Identity:
    """Where the API server is and who we are there: `kubeconfig`, or $KUBECONFIG, or the pod's service account, or ~/.kube/config."""

    def __init__(self, kubeconfig: Path | None, environ: Mapping[str, str], service_account: Path) -> None:
        named = str(kubeconfig) if kubeconfig else environ.get("KUBECONFIG")
        self._in_cluster = named is None and "KUBERNETES_SERVICE_HOST" in environ
        self._file = named or str(Path.home() / ".kube/config")
        self._environ = environ
        self._service_account = service_account

    async def read(self, into: Configuration) -> None:
        """Fill `into`. Inside a cluster the library reads the token again every minute. Raises NoCluster."""
        try:
            if self._in_cluster:
                token, authority = self._service_account / "token", self._service_account / "ca.crt"
                InClusterConfigLoader(str(token), str(authority), environ=self._environ).load_and_set(into)  # type: ignore[no-untyped-call]
                return
            self._look_for_file()
            await load_kube_config(config_file=self._file, client_configuration=into, persist_config=False)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise NoCluster(str(error)) from error

    def _look_for_file(self) -> None:
        """Several files may be named; the library falls over when none of them exists."""
        if not any(Path(name).expanduser().is_file() for name in self._file.split(os.pathsep) if name):
            raise NoCluster(f"no kubeconfig at {self._file}, and this is no pod (KUBERNETES_SERVICE_HOST is not set)")


class Connection:
    """One identity at one API server. `open` makes it; `request_timeout` (seconds) is that of requests which name none."""

    def __init__(self, client: ApiClient, identity: Identity, request_timeout: float, count: Count) -> None:
        self._client = client
        self._identity = identity
        self._request_timeout = request_timeout
        self._count = count

    @classmethod
    async def open(
        cls,
        *,
        request_timeout: float = 10.0,
        count: Count = lambda verb, resource, code: None,
        kubeconfig: Path | None = None,
        environ: Mapping[str, str] = os.environ,
        service_account: Path = SERVICE_ACCOUNT,
    ) -> Self:
        """Read the identity; nothing is asked yet. Raises NoCluster."""
        identity = Identity(kubeconfig, environ, service_account)
        configuration = Configuration()
        await identity.read(configuration)
        configuration.connection_pool_maxsize = 0  # no limit
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
        return cls(ApiClient(configuration), identity, request_timeout, count)

    async def login(self) -> dict[str, Any]:
        """Read the identity again; for others who speak to the same API server (fields of kopf.ConnectionInfo). Raises NoCluster."""
        configuration = self._client.configuration
        await self._identity.read(configuration)
        scheme, _, token = configuration.api_key.get("BearerToken", "").strip().partition(" ")
        return {
            "server": configuration.host,
            "ca_path": configuration.ssl_ca_cert,
            "insecure": not configuration.verify_ssl,
            "scheme": scheme or None,
            "token": token or None,
            "certificate_path": configuration.cert_file,
            "private_key_path": configuration.key_file,
            "proxy_url": configuration.proxy,
        }

    async def close(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def request(
        self,
        verb: str,
        resource: str,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Json | None = None,
        content_type: str = "application/json",
        timeout: float | None = None,
        guard: Callable[[], None] | None = None,
    ) -> Json:
        """One request and its answer. Raises ClusterError, and what `guard` raises: it is called right before the request leaves.

        `verb` and `resource` are for the count. Cancelling may leave a write done or not done, as a time-out does.
        """
        limit = self._request_timeout if timeout is None else timeout
        code = "error"
        try:
            async with asyncio.timeout(limit):
                response = await self._answer(method, path, query, body, content_type, limit, guard)
                code = str(response.status)
                content: bytes = await response.read()
            if not 200 <= response.status < 300:
                raise refusal(response.status, response.headers, content)
            document: Json = orjson.loads(content)
            return document
        except TimeoutError:
            code = "timeout"
            raise ApiUnavailable(f"{method} {path}: no answer within {limit:g} s") from None
        except (aiohttp.ClientError, OSError, ConfigException, NoCluster, orjson.JSONDecodeError) as error:
            raise ApiUnavailable(f"{method} {path}: {error or type(error).__name__}") from error
        finally:
            self._count(verb, resource, code)

    async def lines(
        self,
        resource: str,
        path: str,
        query: Sequence[tuple[str, str]],
        inactivity: float,
        begun: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch until the server ends it; close it (`contextlib.aclosing`). `begun` is called once the server
        has agreed to it. Raises ClusterError: Silent when nothing comes for `inactivity` seconds after that."""
        code, response = "error", None
        wait = aiohttp.ClientTimeout(total=None, sock_read=inactivity)
        try:
            async with asyncio.timeout(self._request_timeout):
                response = await self._answer("GET", path, query, None, "application/json", wait, None)
                code = str(response.status)
                if response.status != 200:
                    raise refusal(response.status, response.headers, await response.read())
            begun()
            async for line in response.response.content:
                yield line
        except TimeoutError:
            if code == "200":
                raise Silent(f"watch {path}: nothing for {inactivity:g} s") from None
            code = "timeout"
            raise ApiUnavailable(f"watch {path}: no answer") from None
        except (aiohttp.ClientError, OSError, ConfigException, NoCluster) as error:
            raise ApiUnavailable(f"watch {path}: {error or type(error).__name__}") from error
        finally:
            if response is not None:
                _abort(response.response)
            self._count("watch", resource, code)

    async def _answer(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: Json | None,
        content_type: str,
        limit: float | aiohttp.ClientTimeout,
        guard: Callable[[], None] | None,
    ) -> Any:
        """Status and headers are there, the body is not read."""
        headers = {"Accept": "application/json", "Content-Type": content_type}
        wait = limit if isinstance(limit, aiohttp.ClientTimeout) else aiohttp.ClientTimeout(total=limit)
        for again in (False, True):
            sent = await self._client.param_serialize(
                method,
                path,
                query_params=list(query),
                header_params=dict(headers),
                body=body,
                auth_settings=["BearerToken"],
            )
            if guard is not None:
                guard()
            response = await self._client.call_api(*sent, _request_timeout=wait)
            if response.status != 401 or again:
                break
            response.response.release()
            log.info("the API server does not know our token any more: reading it again")
            await self._identity.read(self._client.configuration)
        return response


def _abort(response: aiohttp.ClientResponse) -> None:
    """A polite end of TLS waits for the peer's farewell, 30 s when it is silent, and nobody holds the socket meanwhile."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for the API server."""
    address = urlsplit(url)
    return None if proxy_bypass(address.hostname or "") else getproxies().get(address.scheme)
