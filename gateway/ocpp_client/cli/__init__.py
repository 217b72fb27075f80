"""The `chargegateway` command line: one module per command, each imported only when it is asked for.

More commands come through entry points of the group `chargegateway.commands` (`ocpp_local` registers demo, up and simulate). An
error is one line that a person can act on, never a traceback.
"""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

from ocpp_client.cli.running import DEBUG_VARIABLE, UsageError

GROUP: Final = "chargegateway.commands"
OWN: Final = {
    "events": "ocpp_client.cli.events:events",
    "send": "ocpp_client.cli.send:send",
    "status": "ocpp_client.cli.status:status",
    "stations": "ocpp_client.cli.stations:stations",
    "station": "ocpp_client.cli.station:app",
    "dlq": "ocpp_client.cli.dlq:app",
    "trace": "ocpp_client.cli.trace:trace",
}
FAILED = 1
USAGE = 2

HELP = """Charge points on one side, Kafka on the other.

\b
Try it, on this machine alone:
  chargegateway demo                    the whole story in a minute, a killed gateway included
  chargegateway up                      the same system, staying up
  chargegateway simulate --stations 3   (in another terminal) charge points for it
  chargegateway events --follow         what they report
  chargegateway stations                who is connected, and where
  chargegateway send SIM-0001 TriggerMessage '{"requestedMessage": "StatusNotification"}'
\b
The commands find a running `up` by themselves. For another system name it:
  --kafka HOST:PORT (or KAFKA_BOOTSTRAP_SERVERS) and --redis URL (or REDIS_URL)
"""


class _Commands(TyperGroup):
    """Finds commands by name and imports their module only then: aiokafka alone takes a third of a second."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*_entry_points(), *OWN]

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:
        entry = _entry_points().get(cmd_name)
        if entry is None and cmd_name not in OWN:
            return None
        try:
            if entry is not None:
                found = entry.load()
            else:
                module, _, attribute = OWN[cmd_name].partition(":")
                found = getattr(import_module(module), attribute)
        except ImportError as error:
            return _missing(cmd_name, error)
        return _command(cmd_name, found)


def _entry_points() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


def _command(name: str, found: Any) -> TyperCommand | TyperGroup:
    """The command made of a function with typer's annotations, or of a whole Typer."""
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name)(found)
        found = single
    command = cast(TyperCommand | TyperGroup, typer.main.get_command(found))
    command.name = name
    return command


def _missing(name: str, error: ImportError) -> TyperCommand | TyperGroup:
    """Stands for a command whose packages are not installed, so that the others still work."""

    def unavailable() -> None:
        raise UsageError(f"{name} is not available ({error}): pip install 'chargegateway[local]'")

    unavailable.__doc__ = f"Not available here: {error}."
    return _command(name, unavailable)


app = typer.Typer(cls=_Commands, help=HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def _root() -> None:
    pass


def main() -> None:
    """Entry point of the program `chargegateway`."""
    name = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # `--follow` into a pipe: a line is due when it is written
    try:
        code = app(prog_name="chargegateway", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except UsageError as error:
        _fail(name, str(error), USAGE)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:  # `chargegateway events | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own: a wrong option, a missing argument
            _wrong_usage(name, error)
        if os.environ.get(DEBUG_VARIABLE):
            raise
        _fail(name, f"{type(error).__name__}: {' '.join(str(error).split())}", FAILED)


def _wrong_usage(name: str, error: Any) -> None:
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)
        sys.exit(USAGE)
    help_of = getattr(getattr(error, "ctx", None), "command_path", f"chargegateway {name}")
    _fail(name, f"{' '.join(error.format_message().split())} (see: {help_of} --help)", USAGE)


def _fail(name: str, message: str, code: int) -> None:
    print(f"chargegateway {name}: {message}" if name else f"chargegateway: {message}", file=sys.stderr)
    sys.exit(code)
