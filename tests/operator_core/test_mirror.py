"""The mirror of the API server: lists and events in any order end in what is there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_operator.core import kinds, names
from ocpp_operator.core.mirror import Key, Mirror


def item(name: str, version: int, *, instance: str = "city", uid: str | None = None, **more: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "grid",
        "name": name,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "labels": names.pod_labels(instance),
    }
    return {"metadata": metadata, **more}


CITY = Key("grid", "city")


@pytest.fixture
def mirror() -> Mirror:
    mirror = Mirror()
    for kind in kinds.WATCHED:
        mirror.replace(kind, [], "10")
    mirror.listing()
    return mirror


def pods(mirror: Mirror) -> list[str]:
    return [pod["metadata"]["name"] for pod in mirror.of(kinds.POD, CITY)]


def test_an_event_concerns_the_resource_that_the_labels_name(mirror: Mirror) -> None:
    assert mirror.note(kinds.POD, "ADDED", item("a", 11)) == {CITY}
    assert pods(mirror) == ["a"]
    foreign = item("b", 12)
    foreign["metadata"]["labels"] = {"app": "other"}
    assert mirror.note(kinds.POD, "ADDED", foreign) == set()
    assert pods(mirror) == ["a"]


def test_the_resource_itself_needs_no_label(mirror: Mirror) -> None:
    resource = item("city", 11)
    del resource["metadata"]["labels"]
    assert mirror.note(kinds.RESOURCE, "ADDED", resource) == {CITY}
    assert mirror.resource(CITY) == resource
    assert list(mirror.resources()) == [resource]


def test_a_label_edited_away_concerns_the_old_and_the_new_resource(mirror: Mirror) -> None:
    mirror.note(kinds.POD, "ADDED", item("a", 11))
    assert mirror.note(kinds.POD, "MODIFIED", item("a", 12, instance="town")) == {CITY, Key("grid", "town")}
    assert pods(mirror) == []


def test_an_older_event_changes_nothing(mirror: Mirror) -> None:
    mirror.note(kinds.POD, "MODIFIED", item("a", 15, phase="Running"))
    assert mirror.note(kinds.POD, "MODIFIED", item("a", 13, phase="Pending")) == set()
    assert mirror.of(kinds.POD, CITY)[0]["phase"] == "Running"


def test_a_deleted_object_is_not_brought_back_by_an_older_event(mirror: Mirror) -> None:
    mirror.note(kinds.POD, "ADDED", item("a", 11))
    assert mirror.note(kinds.POD, "DELETED", item("a", 14)) == {CITY}
    assert mirror.note(kinds.POD, "MODIFIED", item("a", 13)) == set()
    assert pods(mirror) == []


def test_the_late_end_of_a_predecessor_does_not_take_its_successor(mirror: Mirror) -> None:
    mirror.note(kinds.CONFIG_MAP, "ADDED", item("plan", 20, uid="second"))
    assert mirror.note(kinds.CONFIG_MAP, "DELETED", item("plan", 19, uid="first")) == set()
    assert mirror.one(kinds.CONFIG_MAP, "grid", "plan") is not None


def test_resources_that_are_gone_are_remembered_however_their_end_became_known(mirror: Mirror) -> None:
    def city(version: int, uid: str) -> dict[str, Any]:
        return item("city", version, uid=uid)

    mirror.note(kinds.RESOURCE, "ADDED", city(11, "first"))
    assert mirror.gone() == frozenset()
    mirror.note(kinds.RESOURCE, "DELETED", city(12, "first"))
    mirror.note(kinds.RESOURCE, "ADDED", city(13, "second"))
    assert mirror.gone() == {"first"}
    mirror.note(kinds.RESOURCE, "MODIFIED", city(15, "third"))  # nobody told of the end of the second
    assert mirror.gone() == {"first", "second"}
    mirror.replace(kinds.RESOURCE, [], "16")
    assert mirror.gone() == {"first", "second", "third"}


def test_a_complete_list_ends_ghosts_and_tells_whom_that_concerns(mirror: Mirror) -> None:
    mirror.note(kinds.POD, "ADDED", item("a", 11))
    mirror.note(kinds.POD, "ADDED", item("b", 12))
    assert mirror.replace(kinds.POD, [item("b", 12)], "30") == {CITY}
    assert pods(mirror) == ["b"]
    assert mirror.replace(kinds.POD, [item("b", 12)], "31") == set()


def test_what_is_newer_than_the_list_stays(mirror: Mirror) -> None:
    mirror.note(kinds.POD, "ADDED", item("young", 40))
    mirror.replace(kinds.POD, [], "30")
    assert pods(mirror) == ["young"]


def test_a_listing_by_kopf_asks_for_complete_lists(mirror: Mirror) -> None:
    mirror.note(kinds.POD, "ADDED", item("a", 11))
    assert not mirror.wants_lists
    mirror.note(kinds.POD, None, item("a", 11))
    assert mirror.wants_lists


def test_a_listing_that_has_only_others_asks_for_complete_lists(mirror: Mirror) -> None:
    mirror.note(kinds.POD, "ADDED", item("a", 11))
    mirror.note(kinds.POD, None, item("b", 20))  # came while nobody watched; nobody tells that the other one went
    assert mirror.wants_lists
    mirror.listing()
    mirror.replace(kinds.POD, [item("b", 20)], "21")
    assert pods(mirror) == ["b"]


def test_a_wish_that_comes_up_while_lists_are_read_stands(mirror: Mirror) -> None:
    mirror.listing()
    mirror.replace(kinds.POD, [item("a", 11), item("b", 12)], "20")
    mirror.note(kinds.POD, None, item("b", 12))  # the stream began anew behind that list: "a" may have gone since
    mirror.replace(kinds.DEPLOYMENT, [], "22")
    assert mirror.wants_lists


def test_versions_that_are_no_numbers_are_taken_as_they_come(mirror: Mirror) -> None:
    first, second = item("a", 1, phase="Pending"), item("a", 1, phase="Running")
    first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"] = "x", "y"
    mirror.note(kinds.POD, "ADDED", first)
    mirror.note(kinds.POD, "MODIFIED", second)
    assert mirror.of(kinds.POD, CITY)[0]["phase"] == "Running"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=25), st.randoms(use_true_random=False))
def test_events_that_arrive_twice_and_late_end_in_the_last_state(history: list[tuple[str, bool]], order: Any) -> None:
    mirror, there, events = Mirror(), {}, []
    for version, (name, exists) in enumerate(history, start=1):
        uid = f"{name}{version}" if exists and name not in there else there.get(name)
        if uid is None:
            continue
        there[name] = uid
        events.append(("MODIFIED" if exists else "DELETED", item(name, version, uid=uid)))
        if not exists:
            del there[name]
    for event, each in events:
        mirror.note(kinds.POD, event, each)
        for late, again in order.sample(events[: events.index((event, each)) + 1], k=1):
            if late == "MODIFIED":
                mirror.note(kinds.POD, late, again)
    assert pods(mirror) == sorted(there)
