from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_gateway.core.uplink import Flow, UplinkGate

GATE = UplinkGate(hold=15, close=60)


@pytest.mark.parametrize(
    ("before", "oldest", "after"),
    [
        (Flow.OPEN, None, Flow.OPEN),
        (Flow.OPEN, 14.9, Flow.OPEN),
        (Flow.OPEN, 15, Flow.HELD),
        (Flow.OPEN, 60, Flow.CLOSED),
        (Flow.HELD, 59, Flow.HELD),
        (Flow.HELD, 3, Flow.OPEN),
        (Flow.CLOSED, 20, Flow.CLOSED),
        (Flow.CLOSED, 2, Flow.OPEN),
        (Flow.CLOSED, None, Flow.OPEN),
    ],
)
def test_level_follows_the_oldest_unacknowledged_event(before: Flow, oldest: float | None, after: Flow) -> None:
    assert GATE.judge(before, oldest) is after


@given(st.sampled_from(list(Flow)), st.floats(min_value=15, max_value=1e6))
def test_a_level_never_relaxes_while_kafka_is_silent(before: Flow, oldest: float) -> None:
    assert GATE.judge(before, oldest) >= before
