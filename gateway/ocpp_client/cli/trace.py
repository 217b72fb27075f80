"""`chargegateway trace`: a charge point's raw frames as they pass, secrets redacted by the gateway."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit

import typer

from ocpp_client.cli.access import RedisOption, StateOption, System, carry_out, system
from ocpp_client.cli.running import UsageError
from ocpp_client.status import Directory
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import check_charge_point_id
from ocpp_contract.internal_api import TRACE_PATH


def trace(
    station: Annotated[str, typer.Argument(metavar="STATION", help="Id of the charge point.")],
    admin_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Admin port of its gateway; found by itself for a running `up`.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Bearer token of the internal API.")] = None,
    redis: RedisOption = None,
    state: StateOption = None,
) -> None:
    """Stream a charge point's frames as JSON lines until Ctrl-C, or until its connection moves to another gateway.

    \b
    Examples:
      chargegateway trace SIM-0001
      chargegateway trace CP1 --admin-url http://10.0.0.7:9090 --token-file token
    """
    try:
        checked = check_charge_point_id(station)
    except ContractError as error:
        raise UsageError(str(error)) from None
    target = system(None, redis, state)
    url = admin_url or _admin_url(target, checked)
    token = token_file or (target.running.token_file if target.running else None)
    if token is None:
        raise UsageError("the internal API wants a token: give --token-file")
    try:
        bearer = token.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"--token-file: {error}") from None
    _stream(url, checked, bearer)


def _admin_url(target: System, station: str) -> str:
    if target.running is None:
        raise UsageError("which gateway? start `chargegateway up`, or give --admin-url and --token-file")
    pods = {pod.name: pod.admin_url for pod in target.running.pods}
    pod = carry_out(_pod(target, station))
    if pod is None:
        raise UsageError(f"{station} is not connected; see: chargegateway stations")
    if pod not in pods:
        raise UsageError(f"{station} is held by {pod}, which is no gateway of the running `up`: give --admin-url")
    return pods[pod]


async def _pod(target: System, station: str) -> str | None:
    async with Directory(target.redis) as directory:
        entry = await directory.connection(check_charge_point_id(station))
    return entry.pod if entry else None


def _stream(url: str, station: str, bearer: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--admin-url {url!r}: write http://HOST:PORT")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port)
    try:
        path = TRACE_PATH.replace("{id}", quote(station, safe=""))
        connection.request("GET", path, headers={"Authorization": f"Bearer {bearer}"})
        response = connection.getresponse()
        if response.status != 200:
            raise UsageError(f"{url} answers {response.status}: {response.read(200).decode(errors='replace').strip()}")
        while line := response.readline():
            typer.echo(line.decode(errors="replace").rstrip("\n"))
    except (OSError, http.client.HTTPException) as error:
        raise UsageError(f"{url} does not answer: {error}") from None
    finally:
        connection.close()
