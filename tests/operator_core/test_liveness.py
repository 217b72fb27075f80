"""When the process counts as stuck."""

from __future__ import annotations

import pytest

from ocpp_operator.core.liveness import Liveness

LIMIT = 210.0  # three times 70 s


def leading(since: float = 0.0) -> Liveness:
    liveness = Liveness(0.0, 70.0)
    liveness.leads(since)
    return liveness


def test_a_process_that_does_nothing_at_all_is_stuck() -> None:
    assert leading().unhealthy(LIMIT) is None
    assert leading().unhealthy(LIMIT + 1) == "no pass ended and no watch brought anything for 211 s"


@pytest.mark.parametrize("sign", [Liveness.pass_ended, Liveness.heard], ids=["passes end", "bookmarks come"])
def test_one_sign_of_life_suffices(sign: object) -> None:
    liveness = leading()
    assert callable(sign)
    sign(liveness, 1_000.0)
    assert liveness.unhealthy(1_000.0 + LIMIT) is None
    assert liveness.unhealthy(1_001.0 + LIMIT)


def test_a_leader_that_only_renews_its_lease_is_stuck() -> None:
    liveness = leading()
    liveness.election_looked(LIMIT + 1)
    assert liveness.unhealthy(LIMIT + 1)


def test_a_replica_that_stands_by_lives_by_its_looks_at_the_lease() -> None:
    liveness = Liveness(0.0, 70.0)
    liveness.election_looked(1_000.0)
    assert liveness.unhealthy(1_000.0 + LIMIT) is None
    assert liveness.unhealthy(1_001.0 + LIMIT) == "no look at the lease ended for 211 s"


def test_a_new_leader_is_given_its_time() -> None:
    liveness = leading(since=10_000.0)
    assert liveness.unhealthy(10_000.0 + LIMIT) is None
