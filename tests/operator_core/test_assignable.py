"""A spec that cannot be read still says whose mailboxes these are, where it can."""

from __future__ import annotations

from typing import Any

import pytest

from ocpp_operator.core.assignable import assignable
from ocpp_operator.core.names import PAUSE_ANNOTATION
from ocpp_operator.core.spec import Resource, SpecError
from tests.operator_core.test_findings import resource

CITY = resource(commands={"partitions": 16}, redis={"addresses": ["redis:6379"], "keyPrefix": "city:"})


def edited(metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """Its object with a spec that is refused."""
    raw = {
        **CITY.raw, "metadata": {**CITY.raw["metadata"], **(metadata or {})}, "spec": {**CITY.raw["spec"], **spec},
    }  # fmt: skip
    with pytest.raises(SpecError):
        Resource.parse(raw)
    return raw


def test_what_is_wrong_elsewhere_does_not_matter() -> None:
    wrong: list[dict[str, Any]] = [{"decisions": {"type": "Oracle"}}, {"replicas": -1}, {"listeners": []}]
    for broken in wrong:
        found = assignable(edited(**broken), None)
        assert found is not None
        assert (found.uid, found.spec.commands, found.spec.redis, found.spec.kafka) == (
            CITY.uid, CITY.spec.commands, CITY.spec.redis, CITY.spec.kafka,
        )  # fmt: skip


def test_where_it_is_the_mailboxes_themselves_the_last_that_could_be_read_stands() -> None:
    broken = edited({"annotations": {PAUSE_ANNOTATION: "true"}}, redis={"addresses": []})
    assert assignable(broken, None) is None
    found = assignable(broken, CITY)
    assert found is not None
    assert found.spec == CITY.spec
    assert found.paused  # what is no spec is as it is now
    assert not found.deleting
    other = edited({"uid": "another"}, redis={"addresses": []})
    assert assignable(other, CITY) is None
