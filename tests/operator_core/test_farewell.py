"""The record of a resource is read as it was written, and only where it was written."""

from __future__ import annotations

from typing import Any

import pytest

from ocpp_operator.core import farewell
from tests.operator_core.test_findings import resource

CITY = resource()


def stored(uid: str = "record-1", **data: str) -> dict[str, Any]:
    """As the API server gives it once the operator has seen it."""
    there = {"metadata": {"uid": uid}}
    manifest = farewell.manifest(CITY, there)
    return {**manifest, "metadata": {**manifest["metadata"], "uid": uid}, "data": manifest["data"] | data}


def test_it_brings_back_what_cleaning_needs() -> None:
    found = farewell.read(stored())
    assert (found.namespace, found.name, found.uid) == (CITY.namespace, CITY.name, CITY.uid)
    assert found.spec == CITY.spec


def test_it_is_nobodys_child_so_it_outlives_its_resource_and_carries_the_labels_that_are_watched() -> None:
    metadata = farewell.manifest(CITY, None)["metadata"]
    assert "ownerReferences" not in metadata
    assert metadata["labels"]["app.kubernetes.io/instance"] == CITY.name


def test_a_copy_elsewhere_says_nothing_of_a_resource_that_may_live() -> None:
    copied = stored()
    copied["metadata"]["uid"] = "record-2"
    with pytest.raises(farewell.Unreadable, match="copy") as caught:
        farewell.read(copied)
    assert not isinstance(caught.value, farewell.Unfinished)


def test_one_that_was_not_finished_is_no_record() -> None:
    first = farewell.manifest(CITY, None)
    with pytest.raises(farewell.Unfinished):
        farewell.read({**first, "metadata": {**first["metadata"], "uid": "record-1"}})


@pytest.mark.parametrize(
    "data",
    [{"format": "2"}, {"resource": ""}, {"resource": "[]"}, {"resource": '"x"'}, {"resource": '{"metadata": 3}'}],
)
def test_what_it_cannot_mean_is_refused(data: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"format|resource|spec|name"):
        farewell.read(stored(**data))
