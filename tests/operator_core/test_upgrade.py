"""A newer version, an older one, and what cannot be compared are three things."""

from __future__ import annotations

import pytest

from ocpp_operator.core.upgrade import Upgrade


@pytest.mark.parametrize(
    ("running", "offered", "reason"),
    [
        ("0.2.0", "0.3.0", "Newer"),
        ("0.9.0", "0.10.0", "Newer"),
        ("v1.2", "1.2.1", "Newer"),
        ("0.3.0", "0.2.0", "Older"),
        ("0.10.0", "0.9.9", "Older"),
        ("1.0.1-rc1", "1.0", "Older"),
        ("0.2.0", "0.2.0", "Differs"),
        ("1.0", "1.0.0", "Differs"),
        ("0.2.0-rc1", "0.2.0", "Differs"),
        ("nightly", "0.2.0", "Differs"),
        ("0.2.0", "1234567", "Differs"),
        ("0.2.0", "0.3.", "Differs"),
    ],
)
def test_versions_are_compared_by_their_numbers(running: str, offered: str, reason: str) -> None:
    upgrade = Upgrade(running, offered)
    assert upgrade.reason == reason
    assert upgrade.forwards is (reason != "Older")


def test_one_that_would_go_back_says_how_to_stay() -> None:
    told = str(Upgrade("0.3.0", "0.2.0"))
    assert "would run version 0.2.0, older than 0.3.0" in told
    assert "unless spec.version says 0.3.0" in told


def test_another_rendering_of_the_same_version_is_no_newer_one() -> None:
    assert "would run pods of another template" in str(Upgrade("0.2.0", "0.2.0"))
    assert "would run pods of version nightly" in str(Upgrade("0.2.0", "nightly"))
