"""The settings that the operator writes are those that the gateway reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ocpp_gateway.settings
from ocpp_gateway.settings import Settings
from ocpp_operator.core import gateway_settings, names, template
from ocpp_operator.core.spec import Resource
from tests.operator_core.manifests import variants

POD = {
    "CHARGEGATEWAY_POD__NAME": "city-gateway-5d9c7-8xk2p",
    "CHARGEGATEWAY_POD__UID": "6c1f9a3e-0b1d-4e53-8f0e-2b7d3f5a9c10",
}


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that the pod template gives."""
    for name, value in POD.items():
        monkeypatch.setenv(name, value)


def load(resource: Resource, folder: Path) -> Settings:
    """As the gateway's process does."""
    file = folder / "settings.json"
    file.write_text(gateway_settings.text(gateway_settings.render(resource)))
    return ocpp_gateway.settings.load({**POD, "CHARGEGATEWAY_SETTINGS_FILE": str(file)})


@pytest.mark.usefixtures("pod")
@pytest.mark.parametrize("variant", variants.NAMES)
def test_the_gateway_takes_the_settings_of_every_variant(variant: str, tmp_path: Path) -> None:
    resource = variants.resource(variant)
    loaded = load(resource, tmp_path)
    assert loaded.pod.resource_uid == resource.uid
    assert loaded.pod.name == POD["CHARGEGATEWAY_POD__NAME"]
    assert loaded.limits.connections == resource.spec.limits.connections_per_pod
    assert loaded.topics.stations == resource.spec.topic_names.stations
    assert loaded.drain.force_after == resource.spec.force_after


@pytest.mark.usefixtures("pod")
def test_what_is_not_said_is_the_gateways_own_default(tmp_path: Path) -> None:
    """Where both have a default they agree, so that a process started by hand behaves like a pod."""
    loaded = load(variants.resource("minimal"), tmp_path)
    for group in ("topics", "ocpp", "commands", "limits", "uplink", "ownership", "log"):
        assert getattr(loaded, group) == type(getattr(loaded, group))(), group
    assert loaded.drain.load_balancer_wait == 15.0


@pytest.mark.usefixtures("pod")
def test_each_pod_drains_at_its_share_of_the_fleets_rate(tmp_path: Path) -> None:
    loaded = load(variants.resource("drain"), tmp_path)
    assert loaded.drain.connections_per_second == 10.0  # 50 over three surge pods and two evicted ones
    assert loaded.drain.force_after == 180.0


@pytest.mark.usefixtures("pod")
def test_listeners_count_from_8000_with_the_lowest_profile_of_all(tmp_path: Path) -> None:
    loaded = load(variants.resource("production"), tmp_path)
    assert [(listener.name, listener.port) for listener in loaded.listeners] == [("wss", 8000), ("vpn", 8001)]
    assert loaded.listeners[0].tls is not None
    assert [str(chain) for chain, _ in loaded.listeners[0].tls.certificates] == [
        "/etc/chargegateway/secrets/listener-wss-0/tls.crt",
        "/etc/chargegateway/secrets/listener-wss-1/tls.crt",
    ]
    assert loaded.stations.minimum_security_profile == 1


@pytest.mark.usefixtures("pod")
def test_command_records_outlive_what_can_be_read_again(tmp_path: Path) -> None:
    commands = load(variants.resource("ipv6-and-commands"), tmp_path).commands
    assert commands.retention == 12 * 3_600
    assert commands.record_ttl > commands.retention + commands.segment


@pytest.mark.parametrize("variant", variants.NAMES)
def test_every_file_that_is_named_is_mounted(variant: str) -> None:
    resource = variants.resource(variant)
    text = gateway_settings.text(gateway_settings.render(resource))
    named = {word for word in text.split('"') if word.startswith(gateway_settings.SECRETS)}
    mounted = {files.path(file) for files in gateway_settings.secret_files(resource) for file in files.keys}
    assert named == mounted


@pytest.mark.parametrize("variant", variants.NAMES)
def test_each_secret_has_a_folder_of_its_own(variant: str) -> None:
    files = gateway_settings.secret_files(variants.resource(variant))
    folders = [found.folder for found in files]
    assert len(set(folders)) == len(folders)
    assert {found.secret for found in files} == variants.resource(variant).spec.secrets() | {
        names.internal_token(variants.resource(variant).name)
    }


def test_the_file_is_the_same_after_a_way_through_kubernetes() -> None:
    for variant in variants.NAMES:
        settings = template.render(variants.resource(variant), "1", "r").settings
        # Go writes 30.0 as 30.
        stored = json.loads(
            json.dumps(settings), parse_float=lambda text: int(float(text)) if float(text).is_integer() else float(text)
        )
        assert gateway_settings.text(stored) == gateway_settings.text(settings)
