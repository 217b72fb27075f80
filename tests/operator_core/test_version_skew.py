"""Operators and gateways of different versions: what they say to each other through the settings file (ADR 63).

`versions/<version>.json` holds, for each version that there was, the schema of the file that its gateway reads, resources that
could be written for it, and the files that its operator made of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from ocpp_gateway import settings
from ocpp_operator.core import gateway_settings
from ocpp_operator.core.spec import Resource
from tests.operator_core.publish import THIS_VERSION, VERSIONS

ALL = sorted(VERSIONS.glob("*.json"))
POD = {"name": "city-gateway-5d9c7-8xk2p", "uid": "6c1f9a3e"}
"""From the environment; the file does not say it."""


def said(version: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(version.read_text())
    return found


def in_a_pod(rendered: dict[str, Any]) -> dict[str, Any]:
    return {**rendered, "pod": {**POD, "resource_uid": "u"}}


@pytest.mark.parametrize("version", ALL, ids=lambda path: path.stem)
def test_this_operator_tells_an_older_gateway_nothing_that_it_does_not_know(version: Path) -> None:
    """`spec.version` may be pinned. A gateway refuses a setting that it does not know, since it may be one that protects. So what is
    younger is written only where the resource says something else than its default: leave it out of the file otherwise."""
    known = said(version)
    validator = jsonschema_rs.validator_for(known["schema"])
    for raw in known["resources"]:
        rendered = in_a_pod(gateway_settings.render(Resource.parse(raw)))
        assert [str(error) for error in validator.iter_errors(rendered)] == []


@pytest.mark.parametrize("version", ALL, ids=lambda path: path.stem)
def test_this_gateway_takes_what_an_older_operator_wrote(version: Path) -> None:
    """The operator may have been taken back, or the revision in force be of long ago: no setting goes, or gets another name."""
    for rendered in said(version)["rendered"]:
        settings.Settings(**in_a_pod(rendered))


def test_a_setting_that_a_gateway_does_not_know_would_be_noticed() -> None:
    """So that the first test tests something."""
    known = said(THIS_VERSION)
    validator = jsonschema_rs.validator_for(known["schema"])
    for rendered in map(in_a_pod, known["rendered"]):
        assert validator.is_valid(rendered)
        assert not validator.is_valid({**rendered, "later": {}})
        assert not validator.is_valid({**rendered, "limits": {**rendered["limits"], "later": 1}})
        first, *others = rendered["listeners"]
        assert not validator.is_valid({**rendered, "listeners": [{**first, "later": 1}, *others]})
