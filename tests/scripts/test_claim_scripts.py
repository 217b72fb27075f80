"""claim_store, leave_store: whose keys these are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import StoreClaim
from tests.scripts.conftest import Server

CITY = StoreClaim("6c1f9a3e-0b1d-4e53-8f0e-2b7d3f5a9c10", "charging", "city", "2026-11-22T10:00:00Z")
DEPOT = StoreClaim("f2f52a51-7d55-4b29-8d0e-0f5d8f9be001", "depot", "fleet", "2026-11-20T10:00:00Z")
LEASE = 600_000_000


def claim(server: Server, mine: StoreClaim, seen: str | None) -> Any:
    return server.run(calls.claim_store(server.keys, mine, None if seen is None else seen.encode(), LEASE))


def test_an_absent_claim_is_taken_with_a_lease_in_the_store_s_time_and_no_expiry(server: Server) -> None:
    before = server.now_us()
    taken, text = claim(server, CITY, None)
    assert (taken, text) == (1, server.text(server.keys.claim))
    written = StoreClaim.from_json(text)
    assert before + LEASE <= written.lease_until_us <= server.now_us() + LEASE
    assert replace(written, lease_until_us=0) == CITY
    assert server.client.ttl(server.keys.claim) == -1


def test_of_two_who_saw_nothing_one_gets_it_and_the_other_sees_whose_it_is(server: Server) -> None:
    _, text = claim(server, CITY, None)
    assert claim(server, DEPOT, None) == [0, text]
    assert server.text(server.keys.claim) == text


def test_who_saw_another_s_claim_replaces_exactly_that_one(server: Server) -> None:
    _, seen = claim(server, CITY, None)
    _, renewed = claim(server, CITY, seen)
    assert renewed != seen
    assert claim(server, DEPOT, seen) == [0, renewed]  # its lease was over when it was seen; it was renewed since
    assert claim(server, DEPOT, renewed)[0] == 1


def test_repeating_it_renews_whatever_was_seen(server: Server) -> None:
    _, first = claim(server, CITY, None)
    taken, second = claim(server, CITY, None)
    assert taken == 1
    assert StoreClaim.from_json(second).lease_until_us > StoreClaim.from_json(first).lease_until_us


def test_something_that_is_no_claim_is_left_alone(server: Server) -> None:
    server.client.set(server.keys.claim, "another application's")
    assert claim(server, CITY, None) == [0, "another application's"]
    assert server.run(calls.leave_store(server.keys, CITY.uid)) == 0


def test_a_claim_that_went_meanwhile_is_looked_at_again(server: Server) -> None:
    assert claim(server, CITY, "what was seen") == [0, ""]


def test_only_the_own_claim_is_taken_away(server: Server) -> None:
    assert server.run(calls.leave_store(server.keys, CITY.uid)) == 0
    _, text = claim(server, CITY, None)
    assert server.run(calls.leave_store(server.keys, DEPOT.uid)) == 0
    assert server.text(server.keys.claim) == text
    assert server.run(calls.leave_store(server.keys, CITY.uid)) == 1
    assert server.text(server.keys.claim) is None
