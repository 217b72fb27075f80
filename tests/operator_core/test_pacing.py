"""No more pods leave at once than the drain rate was computed for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from ocpp_operator.core.fleet import GatewayPod, pods_of
from ocpp_operator.core.pacing import Step, step
from tests.operator_core import test_findings
from tests.operator_core.test_findings import leaving, resource
from tests.operator_core.test_fleet import raw

NOW = datetime.fromisoformat(test_findings.NOW)
"""Also the end of the grace period of `leaving` pods."""


def fleet(staying: int, going: int) -> list[GatewayPod]:
    return pods_of([*(raw(f"s{n}") for n in range(staying)), *(leaving(f"l{n}") for n in range(going))])


def told(
    replicas: int, total: int | None = None, updated: int | None = None, generation: int = 3, observed: int = 3
) -> dict[str, Any]:
    """The Deployment, with as many pods as it is to have, all of the latest template, unless said otherwise."""
    there = replicas if total is None else total
    status = {
        "observedGeneration": observed,
        "replicas": there,
        "updatedReplicas": there if updated is None else updated,
    }
    return {"metadata": {"generation": generation}, "spec": {"replicas": replicas}, "status": status}


@pytest.mark.parametrize(
    ("wished", "now", "going", "expected"),
    [
        (5, None, 0, Step(5, False, 1, False)),
        (5, 3, 0, Step(5, False, 1, False)),  # up: at once
        (2, 5, 0, Step(3, True, 0, True)),  # down: two at a time, and nobody else beside them
        (2, 3, 0, Step(2, False, 0, True)),
        (2, 5, 1, Step(4, True, 0, True)),  # one leaves already
        (2, 5, 2, Step(5, True, 0, False)),  # enough leave: nobody else, and a roll waits too
        (5, 5, 2, Step(5, True, 0, False)),
        (
            5,
            5,
            1,
            Step(5, False, 0, False),
        ),  # an eviction waits: its pods are replaced in seconds, and drain for minutes
        (5, 4, 7, Step(5, True, 0, False)),  # whatever made them leave
        (0, 1, 0, Step(0, False, 0, True)),
    ],
)
def test_steps(wished: int, now: int | None, going: int, expected: Step) -> None:
    pods = fleet(3, going)
    assert step(resource(replicas=wished), None if now is None else told(now), pods, NOW) == expected


def test_the_number_is_that_of_surge_and_disruption() -> None:
    wide = resource(replicas=1, rollout={"maxSurge": 3}, disruption={"maxUnavailable": 2})
    assert step(wide, told(9), fleet(9, 0), NOW).replicas == 4
    assert wide.spec.drain_rate == pytest.approx(10.0)


@pytest.mark.parametrize(("going", "paused", "evictable"), [(0, False, 2), (1, False, 1), (2, False, 0), (3, True, 0)])
def test_a_roll_goes_on_when_there_is_room_for_its_whole_surge(going: int, paused: bool, evictable: int) -> None:
    """Kubernetes takes as many old pods at once as new ones became ready: up to the surge."""
    wide = resource(replicas=9, rollout={"maxSurge": 3}, disruption={"maxUnavailable": 2})
    assert step(wide, told(9), fleet(9, going), NOW) == Step(9, paused, evictable, False)


def test_going_down_step_by_step_ends_at_the_wish() -> None:
    wish, now, seen = resource(replicas=2), 9, []
    while now != 2:
        now = step(wish, told(now), fleet(now, 0), NOW).replicas
        seen.append(now)
    assert seen == [7, 5, 3, 2]


@pytest.mark.parametrize(
    "deployment",
    [
        None,
        {"metadata": {"generation": 1}, "spec": {"replicas": 5}},
        told(5, total=0),
        told(5, total=5, updated=0),
    ],
)
def test_nothing_waits_for_pods_that_leave_before_the_latest_template_has_a_pod(
    deployment: dict[str, Any] | None,
) -> None:
    """A Deployment that is paused before it has a ReplicaSet gets none: a resource made anew would stay without pods."""
    assert step(resource(replicas=5), deployment, fleet(0, 2), NOW) == Step(5, False, 0, False)


@pytest.mark.parametrize(
    ("total", "updated"),
    [
        (5, 5),
        (6, 3),  # in a roll, with its surge
        (5, 3),  # in a roll, between two
    ],
)
def test_pods_that_were_cut_count_before_they_leave(total: int, updated: int) -> None:
    wish, pods = resource(replicas=2), fleet(total, 0)
    assert step(wish, told(5, total, updated), pods, NOW) == Step(3, True, 0, True)
    for observed in (3, 4):  # neither controller has acted on it, then one of two
        now = step(wish, told(3, total, updated, generation=4, observed=observed), pods, NOW)
        assert (now.replicas, now.takes_away, now.evictable) == (3, False, 0)


def test_the_next_step_is_taken_when_the_pods_of_the_last_have_left() -> None:
    wish = resource(replicas=2)
    assert step(wish, told(3, total=3), fleet(3, 2), NOW) == Step(3, True, 0, False)
    assert step(wish, told(3, total=3), fleet(3, 1), NOW) == Step(2, True, 0, True)


def test_what_kubernetes_has_not_taken_up_is_waited_for() -> None:
    assert step(resource(replicas=2), told(5, generation=4, observed=3), fleet(5, 0), NOW) == Step(5, False, 1, False)


def test_the_surge_of_a_roll_and_pods_of_nobody_are_not_about_to_leave() -> None:
    stuck, strays = told(5, total=6, updated=1), told(3)
    assert step(resource(replicas=5), stuck, fleet(6, 0), NOW) == Step(5, False, 1, False)
    assert step(resource(replicas=2), strays, fleet(8, 0), NOW) == Step(2, False, 0, True)


def test_a_pod_that_never_ends_holds_nobody_up_after_its_grace_period() -> None:
    wish, pods = resource(replicas=2), fleet(5, 2)  # both on a node that is lost
    assert step(wish, told(5), pods, NOW + timedelta(seconds=59)) == Step(5, True, 0, False)
    assert step(wish, told(5), pods, NOW + timedelta(seconds=61)) == Step(3, True, 0, True)
    assert step(resource(replicas=5), told(5), pods, NOW + timedelta(seconds=61)) == Step(5, False, 1, False)
