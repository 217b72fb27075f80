from __future__ import annotations

from ocpp_gateway.core.decisions import Breaker, OnFailure


def test_the_breaker_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(3, 5.0)
    for _ in range(2):
        breaker.failed(0.0)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(1.0)
    assert breaker.allows(1.0)
    breaker.failed(1.0)
    assert not breaker.allows(1.1)


def test_an_open_breaker_lets_one_request_through_per_pause_and_closes_on_success() -> None:
    breaker = Breaker(1, 5.0)
    breaker.failed(0.0)
    assert [breaker.allows(now) for now in (4.9, 5.0, 5.1, 9.9, 10.0)] == [False, True, False, False, True]
    breaker.succeeded()
    assert breaker.allows(10.1)
    assert breaker.allows(10.1)


def test_without_a_decision_transactions_are_kept_and_strangers_refused() -> None:
    policy = OnFailure()
    assert policy.decision("start") == {"idTokenInfo": {"status": "Accepted"}}
    assert policy.decision("authorize") == {"idTokenInfo": {"status": "Invalid"}}
    assert policy.decision("boot") == {"status": "Pending"}
    assert policy.decision("dataTransfer") == {"status": "Rejected"}
    assert policy.decision("certificate") == {"status": "Rejected"}


def test_the_policy_is_what_was_set() -> None:
    policy = OnFailure("Accepted", "Accept", "Reject", "Accept")
    assert policy.decision("boot") == {"status": "Accepted"}
    assert policy.decision("authorize") == {"idTokenInfo": {"status": "Accepted"}}
    assert policy.decision("start") == {"idTokenInfo": {"status": "Invalid"}}
    assert policy.decision("dataTransfer") == {"status": "Accepted"}
