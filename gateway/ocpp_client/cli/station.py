"""`chargegateway station`: the registry, who may connect and how."""

from __future__ import annotations

import csv
import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ocpp_client.cli import tables
from ocpp_client.cli.access import JsonOption, KafkaOption, StateOption, carry_out, system
from ocpp_client.cli.running import UsageError
from ocpp_client.stations import StationRegistry
from ocpp_contract.credentials import CredentialError
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import check_charge_point_id
from ocpp_contract.registry import StationRecord

KEY_BYTES = 20  # OCPP 1.6 security whitepaper: a key of 20 random bytes, written as 40 hex digits

app = typer.Typer(
    help="""Register charge points, give them keys, block and remove them.

\b
Examples:
  chargegateway station add CP1 --version ocpp1.6 --security-profile 1 --generate-key
  chargegateway station import fleet.csv
  chargegateway station block CP1
  chargegateway station list
""",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the charge point.")]


@app.command()
def add(
    station: IdArgument,
    version: Annotated[
        list[str] | None, typer.Option(metavar="V", help="Allowed: ocpp1.6, ocpp2.0.1, ocpp2.1.")
    ] = None,
    security_profile: Annotated[int | None, typer.Option(help="Lowest security profile it may use.")] = None,
    validation: Annotated[str | None, typer.Option(help="Strict, KeepTransactions or Lenient.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="K=V", help="Free text for backends; repeatable.")] = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Basic auth key; - reads it from standard input.")
    ] = None,
    generate_key: Annotated[bool, typer.Option("--generate-key", help="Make a key and print it once.")] = False,
    kafka: KafkaOption = None,
    state: StateOption = None,
) -> None:
    """Register a charge point, or replace what it may do.

    \b
    Examples:
      chargegateway station add CP1
      chargegateway station add CP1 --version ocpp2.0.1 --version ocpp2.1 --tag site=north
      chargegateway station add CP1 --security-profile 1 --generate-key
    """
    if key_file is not None and generate_key:
        raise UsageError("--key-file and --generate-key exclude each other")
    fields: dict[str, Any] = {
        "allowedVersions": version or None,
        "securityProfile": security_profile,
        "validation": validation,
        "tags": dict(_tag(text) for text in tag or ()),
    }
    key = secrets.token_hex(KEY_BYTES).encode() if generate_key else None if key_file is None else _key(key_file)
    record = _record(fields, station)
    target = system(kafka, None, state)

    async def work() -> None:
        async with StationRegistry(target.kafka) as registry:
            await registry.put_all([(station, record, key)])

    _checked(work())
    typer.echo(f"{station} is registered")
    if generate_key and key is not None:
        typer.echo(f"its key, shown this once: {key.decode()}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with a header line, or JSON lines (.jsonl).")],
    kafka: KafkaOption = None,
    state: StateOption = None,
) -> None:
    """Register many charge points at once; nothing is written when a line is wrong.

    \b
    CSV columns: id, and any of key, allowedVersions (separated by spaces), securityProfile, validation.
    JSON lines: {"id": "CP1", "key": "...", "allowedVersions": ["ocpp1.6"], "securityProfile": 1, "tags": {"site": "north"}}
    """
    rows = [_row(number, fields) for number, fields in _rows(file)]
    target = system(kafka, None, state)

    async def work() -> int:
        async with StationRegistry(target.kafka) as registry:
            return await registry.put_all(rows)

    typer.echo(f"{_checked(work())} charge points are registered")


@app.command()
def block(
    station: IdArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Admit it again.")] = False,
    kafka: KafkaOption = None,
    state: StateOption = None,
) -> None:
    """Refuse a registered charge point's connections, or admit it again."""
    target = system(kafka, None, state)

    async def work() -> bool:
        async with StationRegistry(target.kafka) as registry:
            return await registry.block(station, not undo) is not None

    if not _checked(work()):
        raise UsageError(f"{station} is not registered; register it first: chargegateway station add {station}")
    typer.echo(f"{station} is {'admitted again' if undo else 'blocked'}")


@app.command()
def remove(station: IdArgument, kafka: KafkaOption = None, state: StateOption = None) -> None:
    """Forget a charge point and its key."""
    target = system(kafka, None, state)

    async def work() -> None:
        async with StationRegistry(target.kafka) as registry:
            await registry.remove(station)

    _checked(work())
    typer.echo(f"{station} is removed")


@app.command("list")
def list_(as_json: JsonOption = False, kafka: KafkaOption = None, state: StateOption = None) -> None:
    """List the registered charge points. Keys are never shown: only salted hashes are kept."""
    target = system(kafka, None, state)

    async def work() -> list[tuple[str, StationRecord, bool]]:
        async with StationRegistry(target.kafka) as registry:
            found = await registry.all()
        return [(one.id, one.record or StationRecord(), one.credential is not None) for _, one in sorted(found.items())]

    entries = _checked(work())
    if as_json:
        for station, record, has_key in entries:
            typer.echo(json.dumps({"id": station, "hasKey": has_key} | json.loads(record.to_json())))
    elif not entries:
        typer.echo("no charge point is registered")
    else:
        header = ("STATION", "VERSIONS", "PROFILE", "KEY", "BLOCKED", "VALIDATION", "TAGS")
        typer.echo(tables.columns([header, *(_cells(*entry) for entry in entries)], indent=""))


def _cells(station: str, record: StationRecord, has_key: bool) -> tuple[str, ...]:
    return (
        station,
        " ".join(record.allowed_versions or ("any",)),
        "-" if record.security_profile is None else str(record.security_profile),
        "yes" if has_key else "no",
        "yes" if record.blocked else "no",
        record.validation or "-",
        " ".join(f"{key}={value}" for key, value in record.tags.items()),
    )


def _checked(work: Any) -> Any:
    """Carry out; what the contract refuses is a mistake in the command line."""
    try:
        return carry_out(work)
    except (ContractError, CredentialError) as error:
        raise UsageError(str(error)) from None


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"--tag {text!r}: write KEY=VALUE")
    return key, value


def _key(file: Path) -> bytes:
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UsageError(f"--key-file: {error}") from None
    return raw.rstrip(b"\r\n")


def _record(fields: dict[str, Any], where: str) -> StationRecord:
    try:
        return StationRecord.from_fields(fields)
    except ContractError as error:
        raise UsageError(f"{where}: {error}") from None


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {error}") from None
    if file.suffix in (".jsonl", ".json", ".ndjson"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    raise UsageError(f"line {number} is no JSON: {error}") from None
        return
    for number, row in enumerate(csv.DictReader(text.splitlines()), 2):
        fields: dict[str, Any] = {key: value for key, value in row.items() if value}
        if "allowedVersions" in fields:
            fields["allowedVersions"] = fields["allowedVersions"].split()
        if fields.get("securityProfile", "").isdigit():
            fields["securityProfile"] = int(fields["securityProfile"])
        yield number, fields


def _row(number: int, fields: Any) -> tuple[str, StationRecord, bytes | None]:
    if not isinstance(fields, dict):
        raise UsageError(f"line {number} must be an object")
    try:
        station = check_charge_point_id(fields.get("id"))
    except ContractError as error:
        raise UsageError(f"line {number}: id: {error.reason}") from None
    key = fields.get("key")
    if key is not None and not isinstance(key, str):
        raise UsageError(f"line {number}: key: must be a string")
    known = {name: value for name, value in fields.items() if name not in ("id", "key")}
    record = _record(known, f"line {number}")
    return station, record, None if key is None else key.encode()
