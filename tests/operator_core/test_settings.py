"""Settings of the operator: nonsense refuses to start and says why, and the page is what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocpp_operator import settings


def test_nothing_is_needed_inside_a_cluster() -> None:
    loaded = settings.load({})
    assert loaded.watch_namespaces == ()
    assert loaded.lease_duration == 15.0


def test_values_come_from_the_environment_given_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARGEGATEWAY_OPERATOR_LEASE_NAME", "elsewhere")
    loaded = settings.load({"CHARGEGATEWAY_OPERATOR_WATCH_NAMESPACES": "a, b", "CHARGEGATEWAY_OPERATOR_RESYNC": "60"})
    assert (loaded.watch_namespaces, loaded.resync, loaded.lease_name) == (("a", "b"), 60.0, "chargegateway-operator")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RESINC": "5"}, "CHARGEGATEWAY_OPERATOR_RESINC: no such setting"),
        ({"RESYNC": "often"}, "CHARGEGATEWAY_OPERATOR_RESYNC: Input should be a valid number"),
        ({"RESYNC": "0"}, "CHARGEGATEWAY_OPERATOR_RESYNC: Input should be greater than 0"),
        ({"LOG_FORMAT": "xml"}, "CHARGEGATEWAY_OPERATOR_LOG_FORMAT: Input should be 'json' or 'text'"),
        ({"LEASE_DURATION": "9"}, "lease_retry 2 < lease_renew_deadline 10 < lease_duration 9 must hold"),
    ],
)
def test_nonsense_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(settings.SettingsError, match=message):
        settings.load({f"CHARGEGATEWAY_OPERATOR_{name}": value for name, value in environment.items()})


def test_the_page_is_what_the_code_says() -> None:
    assert Path("docs/operator-settings.md").read_text() == settings.reference(), "make docs"
