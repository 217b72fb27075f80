"""Nonsense refuses to start, with a line that names the setting; everything is documented."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from ocpp_gateway import settings
from ocpp_gateway.settings import SettingsError, load

NEEDED = {
    "CHARGEGATEWAY_POD__NAME": "gw-0",
    "CHARGEGATEWAY_POD__UID": "u-0",
    "CHARGEGATEWAY_POD__RESOURCE_UID": "r-0",
    "CHARGEGATEWAY_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "CHARGEGATEWAY_REDIS__ADDRESSES": "127.0.0.1:6379",
    "CHARGEGATEWAY_DECISIONS__TYPE": "Accept",
}


def loaded(**changes: str) -> settings.Settings:
    return load({**NEEDED, **{f"CHARGEGATEWAY_{name}": value for name, value in changes.items()}})


def test_the_needed_ones_suffice() -> None:
    found = loaded()
    assert found.kafka.bootstrap_servers == ("127.0.0.1:9092",)
    assert found.ownership.lease == 15.0
    assert found.listeners[0].port == 8000


def test_durations_and_lists_are_written_as_people_write_them() -> None:
    found = loaded(
        COMMANDS__MAX_DEADLINE="5m",
        KAFKA__LINGER="8ms",
        KAFKA__BOOTSTRAP_SERVERS="a:1, b:2",
        LISTENERS='[{"name":"a","port":8001},{"name":"b","port":8002,"security_profiles":[0]}]',
    )
    assert found.commands.max_deadline == 300.0
    assert found.kafka.linger == pytest.approx(0.008)
    assert found.kafka.bootstrap_servers == ("a:1", "b:2")
    assert [listener.port for listener in found.listeners] == [8001, 8002]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"OWNERSHIP__LEASE": "5s"}, "must fit into the lease"),
        ({"OWNERSHIP__LEASE": "soon"}, "CHARGEGATEWAY_OWNERSHIP__LEASE: 'soon' is no duration"),
        ({"COMMANDS__DEFAULT_DEADLINE": "20m"}, "longer than max_deadline"),
        ({"COMMANDS__RECORD_TTL": "1h"}, "must exceed retention + segment"),
        ({"REDIS__KEY_PREFIX": "a{b}"}, "CHARGEGATEWAY_REDIS: key_prefix"),
        ({"REDIS__ADDRESSES": "a:1,b:2"}, "mode: Cluster"),
        ({"KAFKA__SECURITY_PROTOCOL": "SASL_SSL"}, "needs username and password_file"),
        ({"DECISIONS__TYPE": "Webhook"}, "come together"),
        ({"LISTENERS": '[{"name":"a","port":8001,"security_profiles":[2]}]'}, "security profile 2 needs tls"),
        ({"LISTENERS": '[{"name":"a","port":8001},{"name":"b","port":8001}]'}, "name the same port"),
        ({"LISTENERS": '[{"name":"a","port":70000}]'}, "CHARGEGATEWAY_LISTENERS__0__PORT"),
        ({"STATIONS__UNKNOWN": "Accept", "STATIONS__MINIMUM_SECURITY_PROFILE": "1"}, "unknown Accept"),
        ({"TOPICS__EVENTS_UP": "commands-down"}, "have the same name"),
        ({"POD__NAME": "a/b"}, "CHARGEGATEWAY_POD__NAME"),
        ({"POD__NAME": "my_pod"}, "CHARGEGATEWAY_POD: name and uid"),
        ({"REDIS__ADDRESSES": "redis"}, "CHARGEGATEWAY_REDIS__ADDRESSES: 'redis' is no host:port"),
        ({"REDIS__ADDRESSES": "redis:port"}, "'redis:port' is no host:port"),
        ({"KAFKA__BOOTSTRAP_SERVERS": "a:9092,b"}, "'b' is no host:port"),
        ({"KAFKA__BOOTSTRAP_SERVERS": "a:70000"}, "'a:70000' is no host:port"),
        ({"KAFKA__REQUEST_TIMEOUT": "0"}, "CHARGEGATEWAY_KAFKA__REQUEST_TIMEOUT"),
        ({"TOPICS__EVENTS_UP": "events up"}, "CHARGEGATEWAY_TOPICS__EVENTS_UP"),
        ({"LIMITS__MESSAGE_BYTES": "1048576"}, "must fit into kafka.max_request_bytes"),
        ({"KAFKA__BOOTSTRAP": "x:1"}, "CHARGEGATEWAY_KAFKA__BOOTSTRAP: no such setting"),
        ({"UPLINK__HOLD": "2m"}, "hold must not be longer than close"),
    ],
)
def test_nonsense_is_refused_with_its_name(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(**changes)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name.split("__")[0]):
        load({key: value for key, value in NEEDED.items() if key != name})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[commands]\nmax_deadline = "2m"\nmailbox_size = 7\n[ocpp]\ncall_timeout = "9s"\n')
    found = loaded(SETTINGS_FILE=str(file), COMMANDS__MAX_DEADLINE="3m")
    assert (found.commands.max_deadline, found.commands.mailbox_size, found.ocpp.call_timeout) == (180.0, 7, 9.0)


def test_a_setting_of_a_newer_version_is_refused_and_named(tmp_path: Path) -> None:
    """Somebody asked for it: an operator writes what is younger than 0.1.0 only then (ADR 63)."""
    file = tmp_path / "settings.json"
    file.write_text(
        '{"limits": {"later": 1}, "listeners": [{"name": "ws", "port": 8000, "later": true}], "later": {"x": 1}}'
    )
    with pytest.raises(SettingsError) as caught:
        loaded(SETTINGS_FILE=str(file))
    no_such = f"no such setting in version {metadata.version('chargegateway')} of the gateway"
    assert set(str(caught.value).splitlines()) >= {
        f"CHARGEGATEWAY_LATER: {no_such}",
        f"CHARGEGATEWAY_LIMITS__LATER: {no_such}",
        f"CHARGEGATEWAY_LISTENERS__0__LATER: {no_such}",
    }


@pytest.mark.parametrize(("name", "text"), [("a.toml", "= 3"), ("a.json", "{"), ("absent.toml", None)])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=name):
        loaded(SETTINGS_FILE=str(tmp_path / name))


def test_only_the_given_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARGEGATEWAY_COMMANDS__MAILBOX_SIZE", "7")
    monkeypatch.setenv("CHARGEGATEWAY_KAFKA__USERNAME", "somebody")
    found = loaded(COMMANDS__MAX_PARKED="9")
    assert (found.commands.mailbox_size, found.commands.max_parked, found.kafka.username) == (64, 9, None)
    with pytest.raises(SettingsError, match="CHARGEGATEWAY_KAFKA: Field required"):
        load({})


def test_a_group_that_the_file_lacks_can_come_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "gateway.json"
    file.write_text('{"decisions": {"type": "Webhook", "webhook": {"timeout": "9s"}}}')
    environ = {name: value for name, value in NEEDED.items() if "DECISIONS" not in name}
    url = {"CHARGEGATEWAY_DECISIONS__WEBHOOK__URL": "https://b", "CHARGEGATEWAY_SETTINGS_FILE": str(file)}
    hook = load({**environ, **url}).decisions.webhook
    assert hook is not None
    assert (hook.url, hook.timeout) == ("https://b", 9.0)


def test_every_setting_is_documented_and_the_page_is_current() -> None:
    assert all(field.description for _, field in settings._leaves(settings.Settings))
    assert Path("docs/settings.md").read_text() == settings.reference(), "make docs"
