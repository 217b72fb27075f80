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


def told(replicas: int) -> dict[str, Any]:
    return {"spec": {"replicas": replicas}}


@pytest.mark.parametrize(
    ("wished", "now", "going", "expected"),
    [
        (5, None, 0, Step(5, False, False)),
        (5, 3, 0, Step(5, False, False)),  # up: at once
        (2, 5, 0, Step(3, False, True)),  # down: two at a time
        (2, 3, 0, Step(2, False, True)),
        (2, 5, 1, Step(4, False, True)),  # one leaves already
        (2, 5, 2, Step(5, True, False)),  # enough leave: nobody else, and a roll waits too
        (5, 5, 2, Step(5, True, False)),
        (5, 5, 1, Step(5, False, False)),
        (5, 4, 7, Step(5, True, False)),  # whatever made them leave
        (0, 1, 0, Step(0, False, True)),
    ],
)
def test_steps(wished: int, now: int | None, going: int, expected: Step) -> None:
    pods = fleet(3, going)
    assert step(resource(replicas=wished), None if now is None else told(now), pods, NOW) == expected


def test_the_number_is_that_of_surge_and_disruption() -> None:
    wide = resource(replicas=1, rollout={"maxSurge": 3}, disruption={"maxUnavailable": 2})
    assert step(wide, told(9), fleet(9, 0), NOW).replicas == 4
    assert wide.spec.drain_rate == pytest.approx(10.0)


def test_going_down_step_by_step_ends_at_the_wish() -> None:
    wish, now, seen = resource(replicas=2), 9, []
    while now != 2:
        now = step(wish, told(now), fleet(now, 0), NOW).replicas
        seen.append(now)
    assert seen == [7, 5, 3, 2]


def test_a_pod_that_never_ends_holds_nobody_up_after_its_grace_period() -> None:
    wish, pods = resource(replicas=2), fleet(5, 2)  # both on a node that is lost
    assert step(wish, told(5), pods, NOW + timedelta(seconds=59)) == Step(5, True, False)
    assert step(wish, told(5), pods, NOW + timedelta(seconds=61)) == Step(3, False, True)
