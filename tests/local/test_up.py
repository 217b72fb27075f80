"""`chargegateway up`, `simulate` and the rest of the command line as a person uses them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local import program
from tests.local.program import Started, is_alive

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up")


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[Started]:
    with program.started(folder, "up", "--pods", "2", "--state", str(folder / "state.json")) as running:
        running.until_it_says("ready; Ctrl-C stops everything")
        yield running


@pytest.fixture(scope="module")
def fleet(up: Started, folder: Path) -> Iterator[Started]:
    with program.started(folder, "simulate", "--stations", "3", "--no-sessions") as running:
        running.until_it_says("3 of 3 online")
        yield running


def test_the_state_file_says_how_to_reach_everything(up: Started, folder: Path) -> None:
    state = program.state(folder / "state.json")
    assert state.keys() == {"pods", "stationUrl", "kafka", "redis", "tokenFile"}
    assert len(state["pods"]) == 2
    for pod in state["pods"]:
        assert pod.keys() == {"name", "pid", "stationUrl", "adminUrl"}
        assert pod["stationUrl"].startswith("ws://127.0.0.1:")
        assert pod["stationUrl"].endswith("/")
        assert is_alive(pod["pid"])
    assert state["stationUrl"].endswith("/")
    assert Path(state["tokenFile"]).stat().st_mode & 0o077 == 0, "the token is its owner's alone"


def test_stations_of_all_versions_are_listed(fleet: Started, folder: Path) -> None:
    done = program.run(folder, "stations", "--json")
    assert {json.loads(line)["version"] for line in done.stdout.splitlines()} == {"ocpp1.6", "ocpp2.0.1", "ocpp2.1"}
    assert "GATEWAY" in program.run(folder, "stations").stdout


START = json.dumps({"idToken": {"idToken": "ABC", "type": "Central"}, "evseId": 1})


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("SIM-0001", "TriggerMessage", '{"requestedMessage": "Heartbeat"}'), 0, "Accepted"),
        (("SIM-0002", "GetVariables", '{"getVariableData": [{"component": {"name": "X"}, "variable": {"name": "Y"}}]}'), 1, "Rejected"),
        (("SIM-0003", "GetLocalListVersion", "{}", "--priority", "urgent"), 0, "Accepted"),
        (("SIM-0001", "OcppCall", '{"action": "GetConfiguration", "payload": {}}'), 0, "HeartbeatInterval"),
        (("SIM-0001", "SendLocalList", '{"versionNumber": 1, "updateType": "Full"}'), 1, "CallError"),
        (("SIM-0001", "Reset", "no json"), 2, "the payload is no JSON"),
        (("SIM-0001", "Reset", "[]"), 2, "must be a JSON object"),
        (("SIM-0001", "Reset", '{"type": "OnIdle"}', "--timeout", "soon"), 2, "--timeout 'soon'"),
        (("SIM-0001", "Reset", '{"type": "OnIdle"}', "--priority", "high"), 2, "--priority 'high'"),
        (("AWAY-1", "Reset", '{"type": "OnIdle"}', "--no-wait"), 3, "NotConnected"),
        (("AWAY-1", "Reset", '{"type": "OnIdle"}', "--timeout", "1s"), 3, "Expired"),
        (("SIM-0001", "Reset", "{}"), 5, "payload.type: is missing"),
        (("SIM-0001", "Abracadabra"), 5, "is no command type"),
        (("SIM-0001", "GetTariffs", '{"evseId": 1}'), 5, "Unsupported"),
    ],
)  # fmt: skip
def test_send_tells_by_its_exit_code_how_it_ended(
    fleet: Started, folder: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = program.run(folder, "send", *arguments)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1, "an error is one line"


def test_a_remote_start_shows_in_status_and_events(fleet: Started, folder: Path) -> None:
    result = json.loads(program.run(folder, "send", "SIM-0002", "RequestStartTransaction", START, "--json").stdout)
    assert result["outcome"] == "Accepted"
    status = json.loads(program.run(folder, "status", "SIM-0002", result["commandId"], "--json").stdout)
    assert status["state"] == "Accepted"
    assert status["result"] == result
    fleet.until_it_says("1 charging")
    fleet.until(
        lambda: program.run(folder, "events", "--station", "SIM-0002", "--type", "TransactionStarted", "--json").stdout,
        "TransactionStarted in Kafka",
    )
    (line,) = program.run(
        folder, "events", "--station", "SIM-0002", "--type", "TransactionStarted", "--json"
    ).stdout.splitlines()
    assert json.loads(line)["data"]["idToken"]["idToken"] == "ABC"


def test_what_nobody_knows_of_has_not_been_sent(up: Started, folder: Path) -> None:
    done = program.run(folder, "status", "SIM-0001", "00000000-0000-4000-8000-000000000000")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "NotSent")


def test_dead_letters_can_be_read_and_sent_anew(up: Started, folder: Path) -> None:
    assert program.run(folder, "send", "AWAY-2", "ClearCache", "--timeout", "1s").returncode == 3
    (letter,) = program.run(folder, "dlq", "list", "--station", "AWAY-2", "--json").stdout.splitlines()
    place = json.loads(letter)["place"]
    shown = program.run(folder, "dlq", "show", place).stdout
    assert "Expired" in shown
    assert '"type":"ClearCache"' in shown
    again = program.run(folder, "dlq", "replay", place, "--timeout", "1s")
    assert again.returncode == 0
    assert json.loads(letter)["commandId"] not in again.stdout, "a new attempt has a new id"


def test_the_registry_is_written_and_listed(up: Started, folder: Path) -> None:
    (folder / "fleet.csv").write_text(
        "id,key,allowedVersions,securityProfile\nA1,0123456789abcdef,ocpp1.6 ocpp2.1,1\nA2,,,\n"
    )
    assert "2 charge points" in program.run(folder, "station", "import", str(folder / "fleet.csv")).stdout
    added = program.run(folder, "station", "add", "A3", "--tag", "site=north", "--generate-key")
    assert "shown this once" in added.stdout
    assert program.run(folder, "station", "block", "A2").returncode == 0
    assert program.run(folder, "station", "remove", "A3").returncode == 0
    listed = [json.loads(line) for line in program.run(folder, "station", "list", "--json").stdout.splitlines()]
    assert listed == [
        {"id": "A1", "hasKey": True, "allowedVersions": ["ocpp1.6", "ocpp2.1"], "securityProfile": 1, "blocked": False},
        {"id": "A2", "hasKey": False, "blocked": True},
    ]
    done = program.run(folder, "station", "block", "NOBODY")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_a_bad_line_writes_nothing(up: Started, folder: Path) -> None:
    (folder / "bad.jsonl").write_text('{"id": "B1"}\n{"id": "B2", "securityProfile": 9}\n')
    done = program.run(folder, "station", "import", str(folder / "bad.jsonl"))
    assert (done.returncode, done.stderr) == (
        2,
        "chargegateway station: line 2: securityProfile: must be between 0 and 3\n",
    )
    assert "B1" not in program.run(folder, "station", "list").stdout


def test_frames_can_be_traced(fleet: Started, folder: Path) -> None:
    with program.started(folder, "trace", "SIM-0001") as tracing:
        # Frames before the trace began are not shown: trigger until one is.
        def seen() -> bool:
            program.run(folder, "send", "SIM-0001", "TriggerMessage", '{"requestedMessage": "Heartbeat"}')
            return "Heartbeat" in tracing.text

        tracing.until(seen, "a frame")
        frame = json.loads(tracing.text.splitlines()[0])
        assert frame["direction"] in ("sent", "received")


# Last: these change who is there.


def test_a_killed_gateway_is_replaced_and_its_charge_points_answer(up: Started, fleet: Started, folder: Path) -> None:
    before = program.state(folder / "state.json")["pods"]
    holder = json.loads(program.run(folder, "stations", "--json").stdout.splitlines()[0])["pod"]
    (victim,) = [pod for pod in before if pod["name"] == holder]
    os.kill(victim["pid"], signal.SIGKILL)
    done = program.run(folder, "send", "SIM-0001", "TriggerMessage", '{"requestedMessage": "Heartbeat"}')
    assert done.returncode == 0, done
    up.until(
        lambda: [pod["name"] for pod in program.state(folder / "state.json")["pods"] if pod not in before],
        "a replacement",
    )
    after = program.state(folder / "state.json")["pods"]
    assert len(after) == 2
    assert victim["stationUrl"] in [pod["stationUrl"] for pod in after], "on the same ports"
    assert victim["name"] not in [pod["name"] for pod in after], "but another pod"


def test_ctrl_c_leaves_nothing_behind(up: Started, folder: Path) -> None:
    children = up.descendants()
    logs = Path(program.state(folder / "state.json")["tokenFile"]).parent
    assert len(children) >= 4
    assert up.ends(signal.SIGINT) == 130
    assert [pid for pid in children if is_alive(pid)] == []
    assert not (folder / "state.json").exists()
    assert not (folder / "chargegateway" / "up.json").exists()
    assert not logs.exists()
    done = program.run(folder, "stations")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
