"""How a command finds the system that is meant, and how mistakes are told; no system is started here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocpp_client.cli.access import duration, system
from ocpp_client.cli.running import UsageError, default_state_file, find_running
from tests.local import program

STATE = {
    "pods": [{"name": "gateway-1", "pid": 7, "stationUrl": "ws://127.0.0.1:1/", "adminUrl": "http://127.0.0.1:2"}],
    "stationUrl": "ws://127.0.0.1:3/",
    "kafka": "127.0.0.1:4",
    "redis": "redis://127.0.0.1:5",
    "tokenFile": "/nowhere/token",
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("CHARGEGATEWAY_STATE", raising=False)


def write(file: Path, **changes: object) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(STATE | changes))
    return file


def test_a_running_up_is_found_at_its_default_place() -> None:
    assert find_running(None) is None
    write(default_state_file())
    found = system(None, None, None)
    assert (found.kafka_servers, found.redis_url) == ("127.0.0.1:4", "redis://127.0.0.1:5")
    assert found.running is not None
    assert found.running.pods[0].admin_url == "http://127.0.0.1:2"


def test_a_variable_names_another_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(default_state_file())
    monkeypatch.setenv("CHARGEGATEWAY_STATE", str(write(tmp_path / "other.json", kafka="other:1")))
    assert system(None, None, None).kafka_servers == "other:1"


def test_a_broker_that_was_named_is_not_mixed_with_the_store_of_a_running_up() -> None:
    write(default_state_file())
    assert system("mine:9092", None, None).redis_url is None


def test_a_named_file_completes_what_was_not_given(tmp_path: Path) -> None:
    found = system("mine:9092", None, write(tmp_path / "other.json"))
    assert (found.kafka_servers, found.redis_url) == ("mine:9092", "redis://127.0.0.1:5")


def test_what_is_missing_is_said_when_it_is_needed() -> None:
    found = system(None, None, None)
    with pytest.raises(UsageError, match="start `chargegateway up`, or give --kafka"):
        _ = found.kafka
    with pytest.raises(UsageError, match="start `chargegateway up`, or give --redis"):
        _ = found.redis
    assert found.redis_if_known is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pods": []}', '{"pods": [{}]}'])
def test_a_broken_state_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(UsageError, match=r"broken\.json is no state file"):
        find_running(tmp_path / "broken.json")


def test_a_state_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such state file"):
        find_running(tmp_path / "nothing.json")


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m", 300), ("1.5", 1.5), ("250ms", 0.25), ("1h", 3600)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text, "--timeout") == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-1s", "soon", "1d"])
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageError, match="--timeout"):
        duration(text, "--timeout")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("send",), "Missing argument"),
        (("send", "CP1", "Reset", "{}"), "which system? start `chargegateway up`"),
        (("events",), "which system?"),
        (("events", "--type", "Nope"), "is no event"),
        (("stations",), "which store?"),
        (("status", "CP1", "x"), "must be a UUID"),
        (("dlq", "list"), "which system?"),
        (("station", "add", "CP1", "--version", "ocpp9"), "allowedVersions[0]: must be one of"),
        (("station", "add", "CP1", "--tag", "x"), "write KEY=VALUE"),
        (("station", "import", "/nowhere.csv"), "No such file"),
        (("trace", "CP1"), "which gateway?"),
        (("simulate",), "which gateway?"),
        (("simulate", "--url", "http://x"), "write ws://"),
        (("simulate", "--url", "ws://x", "--version", "3"), "write 1.6, 2.0.1, 2.1 or mixed"),
        (("up", "--pods", "0"), "--pods"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = program.run(tmp_path, *arguments)
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert said in done.stderr


def test_what_cannot_be_reached_is_one_line_too(tmp_path: Path) -> None:
    done = program.run(tmp_path, "stations", "--redis", "redis://127.0.0.1:1")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    done = program.run(tmp_path, "send", "CP1", "ClearCache", "--kafka", "127.0.0.1:1")
    assert (done.returncode, len(done.stderr.splitlines())) == (5, 1), done.stderr
    done = program.run(tmp_path, "up", "--kafka", "127.0.0.1:1")
    assert done.returncode == 1
    assert "no Kafka broker answers at 127.0.0.1:1" in done.stderr


def test_help_teaches_by_example(tmp_path: Path) -> None:
    for command in ("demo", "up", "simulate", "events", "send", "status", "stations", "station", "dlq", "trace"):
        done = program.run(tmp_path, command, "--help")
        assert done.returncode == 0
        assert f"  chargegateway {command}" in done.stdout, command
