"""Who keeps a store or mailboxes that two resources want: case by case, and for any two that look in any order."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.commit_metadata import encode_metadata
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.scripts.records import PartitionRecord, StoreClaim
from ocpp_operator.core.claims import (
    LEASE_US,
    Inherit,
    Keep,
    Mailboxes,
    Refresh,
    SeenClaim,
    Taken,
    handed_over,
    is_older,
    judge_mailboxes,
    judge_store,
    leaves,
    may_run,
)

NOW = 1_763_800_000_123_456
MINE = StoreClaim("uid-m", "charging", "city", "2026-11-22T10:00:00Z")
OLDER = StoreClaim("uid-o", "depot", "fleet", "2026-11-20T10:00:00Z")
YOUNGER = StoreClaim("uid-y", "test", "trial", "2026-11-25T10:00:00Z")
MY_POD = Incarnation(PodName("city-gateway-a"), "u1", "00000001")
THEIR_POD = Incarnation(PodName("fleet-gateway-b"), "u2", "00000001")
PODS = {(MY_POD.pod, MY_POD.uid)}


def held(claim: StoreClaim, left_us: int = LEASE_US) -> SeenClaim:
    claim = replace(claim, lease_until_us=NOW + left_us)
    return SeenClaim(claim.to_json(), claim)


def holders(*living: Incarnation, lapsed: Incarnation | None = None) -> dict[Partition, PartitionRecord]:
    records = {Partition(n): PartitionRecord(holder, 1, NOW + 1, "r") for n, holder in enumerate(living)}
    return records | {
        Partition(90): PartitionRecord(lapsed, 1, NOW, "r"),
        Partition(91): PartitionRecord(None, 1, 0, "r"),
    }


def test_pods_go_only_for_a_resource_that_is_known_and_none_are_made_otherwise() -> None:
    theirs, unreadable = Taken("uid-o", "another's"), Taken("", "no claim")
    assert may_run(None, [])
    assert not may_run(theirs, [MY_POD])
    assert may_run(unreadable, [MY_POD])
    assert not may_run(unreadable, [])


@pytest.mark.parametrize(
    ("seen", "living", "expected"),
    [
        pytest.param(held(MINE), (), Keep(), id="mine: nothing is written"),
        pytest.param(held(MINE, LEASE_US // 2 + 1), (), Keep(), id="... while more than half of the lease is left"),
        pytest.param(held(MINE, LEASE_US // 2), (), Refresh(), id="... and renewed from then on"),
        pytest.param(held(MINE, -1), (THEIR_POD,), Refresh(), id="... also when our operator was away for longer"),
        pytest.param(None, (), Refresh(), id="nobody's"),
        pytest.param(None, (MY_POD,), Refresh(), id="the store lost it: we are there, so it is ours"),
        pytest.param(None, (MY_POD, THEIR_POD), Refresh(), id="... whoever else is there"),
        pytest.param(None, (THEIR_POD,), "", id="the store lost it: somebody lives there, and not we"),
        pytest.param(held(OLDER), (), "uid-o", id="an older one's"),
        pytest.param(held(OLDER), (MY_POD,), "uid-o", id="... even if our pods have been faster"),
        pytest.param(held(OLDER, 0), (), Refresh(), id="... whose lease is over: deleted and never cleaned"),
        pytest.param(held(OLDER, 0), (MY_POD,), Refresh(), id="... the same, with pods of ours"),
        pytest.param(held(OLDER, 0), (THEIR_POD,), "uid-o", id="... its operator is away, its pods go on"),
        pytest.param(held(OLDER, 0), (THEIR_POD, MY_POD), "uid-o", id="... and ours do not change that"),
        pytest.param(held(YOUNGER), (), Refresh(), id="a younger one's: taken back"),
        pytest.param(held(YOUNGER), (MY_POD, THEIR_POD), Refresh(), id="... though its pods are there, too"),
        pytest.param(held(YOUNGER), (THEIR_POD,), "uid-y", id="... but not from one that is at work where we are not"),
        pytest.param(held(YOUNGER, 0), (THEIR_POD,), "uid-y", id="... whatever became of its operator"),
        pytest.param(SeenClaim(b"no claim", None), (), "", id="another application's key"),
        pytest.param(SeenClaim(None, None), (MY_POD,), "", id="... not even a string"),
    ],
)
def test_the_store(seen: SeenClaim | None, living: tuple[Incarnation, ...], expected: object) -> None:
    verdict = judge_store(MINE, seen, holders(*living, lapsed=THEIR_POD), PODS, NOW)
    if isinstance(expected, str):
        assert isinstance(verdict, Taken)
        assert verdict.uid == expected
    else:
        assert verdict == expected


BEFORE = replace(MINE, uid="uid-b", created_at="2026-11-21T10:00:00Z")


@pytest.mark.parametrize(
    ("seen", "living", "gone", "expected"),
    [
        pytest.param(held(BEFORE), (), {"uid-b"}, Inherit("uid-b"), id="of the same name, that we saw go"),
        pytest.param(held(BEFORE), (MY_POD,), {"uid-b"}, Inherit("uid-b"), id="... its pods still there"),
        pytest.param(held(BEFORE), (THEIR_POD,), {"uid-b"}, Inherit("uid-b"), id="... its pods gone a moment ago"),
        pytest.param(held(OLDER), (), {"uid-o"}, "uid-o", id="of another name: its keys are being taken away"),
        pytest.param(held(OLDER), (THEIR_POD,), {"uid-o"}, "uid-o", id="... its pods are leaving"),
        pytest.param(held(OLDER, 0), (THEIR_POD,), {"uid-o"}, "uid-o", id="... for longer than its lease"),
        pytest.param(held(OLDER, 0), (), {"uid-o"}, Refresh(), id="... it was never cleaned"),
        pytest.param(held(BEFORE, 0), (), (), Inherit("uid-b"), id="of the same name, lease over, nobody lives there"),
        pytest.param(held(BEFORE, 0), (MY_POD,), (), Inherit("uid-b"), id="... but we"),
        pytest.param(held(BEFORE), (), (), "uid-b", id="... lease running: it may be another cluster's"),
        pytest.param(held(BEFORE, 0), (THEIR_POD,), (), "uid-b", id="... its pods live: it is another cluster's"),
        pytest.param(held(OLDER, 0), (), (), Refresh(), id="of another name: the mailboxes are not inherited by that"),
    ],
)
def test_the_claim_of_one_that_is_gone_is_inherited(
    seen: SeenClaim, living: tuple[Incarnation, ...], gone: Collection[str], expected: object
) -> None:
    verdict = judge_store(MINE, seen, holders(*living, lapsed=THEIR_POD), PODS, NOW, gone)
    assert expected in (verdict, getattr(verdict, "uid", None))


def test_mailboxes_are_handed_over_with_what_is_finished() -> None:
    assert handed_over(metadata("uid-b"), "uid-m") == metadata("uid-m")
    assert handed_over("1;uid-b;", "uid-m") == encode_metadata("uid-m", 7, set())


def test_at_the_end_mailboxes_name_nobody_unless_they_remember_finished_records() -> None:
    idle, busy, other = (DOWN, Partition(0)), (DOWN, Partition(1)), (DOWN, Partition(2))
    seen = {idle: "1;uid-m;", other: "1;uid-o;", (DOWN, Partition(3)): ""}
    assert leaves("uid-m", seen) == ((idle,), True)
    assert leaves("uid-m", {**seen, busy: metadata("uid-m")}) == ((idle,), False)


def test_the_condition_names_the_other_and_what_to_change() -> None:
    verdict = judge_store(MINE, held(OLDER), {}, (), NOW)
    assert isinstance(verdict, Taken)
    assert "depot/fleet (uid uid-o)" in verdict.message
    assert "keyPrefix" in verdict.message
    verdict = judge_store(MINE, None, holders(THEIR_POD), (), NOW)
    assert isinstance(verdict, Taken)
    assert "fleet-gateway-b" in verdict.message


def test_a_pod_of_the_same_name_and_another_uid_is_a_stranger() -> None:
    namesake = replace(MY_POD, uid="u9")
    assert isinstance(judge_store(MINE, None, holders(namesake), PODS, NOW), Taken)


def test_what_stands_there_is_read_or_recognised_as_no_claim() -> None:
    assert SeenClaim.read(OLDER.to_json()) == SeenClaim(OLDER.to_json(), OLDER)
    assert SeenClaim.read(b'{"uid":"x"}') == SeenClaim(b'{"uid":"x"}', None)


moments = st.sampled_from(["2026-11-20T10:00:00Z", "2026-11-20T11:00:00+01:00", "2026-11-20T10:00:01Z"])
claims = st.builds(StoreClaim, st.sampled_from(["a", "b", "c"]), st.just("n"), st.just("r"), moments)


@given(claims, claims)
def test_of_two_resources_both_sides_call_the_same_one_older(one: StoreClaim, other: StoreClaim) -> None:
    if one.uid != other.uid:
        assert is_older(one, other) is not is_older(other, one)
    assert not is_older(one, one)


@given(claims, claims, st.lists(st.sampled_from([0, 1, "lost"]), min_size=1, max_size=12))
def test_whoever_looks_when_and_whatever_is_lost_the_older_has_it_once_both_have_looked_twice(
    one: StoreClaim, other: StoreClaim, events: list[object]
) -> None:
    other = replace(other, uid=other.uid + "'")
    both = (one, other)
    stored: SeenClaim | None = None
    for event in [*events, 0, 1, 0, 1]:
        if event == "lost":
            stored = None
            continue
        mine = both[event]  # type: ignore[call-overload]
        if judge_store(mine, stored, {}, (), NOW) == Refresh():
            stored = held(mine)
    elder = one if is_older(one, other) else other
    assert stored == held(elder)
    assert [type(judge_store(mine, stored, {}, (), NOW)) for mine in both] == [
        Keep if mine is elder else Taken for mine in both
    ]


def metadata(uid: str) -> str:
    return encode_metadata(uid, 100, {103})


DOWN, URGENT = "commands-down", "commands-urgent"


@pytest.mark.parametrize(
    ("found", "gone", "taken", "left_behind"),
    [
        pytest.param({}, (), None, (), id="nobody ever committed"),
        pytest.param({(DOWN, Partition(0)): metadata("uid-m")}, (), None, (), id="ours"),
        pytest.param({(DOWN, Partition(0)): ""}, (), None, (), id="a broker that drops metadata"),
        pytest.param({(DOWN, Partition(0)): "9;uid-o;"}, (), None, (), id="a release that we do not know"),
        pytest.param({(URGENT, Partition(3)): metadata("uid-o")}, (), "uid-o", (), id="another's, one lane is enough"),
        pytest.param({(DOWN, Partition(0)): "1;uid-o;x"}, (), "uid-o", (), id="... with broken run lengths"),
        pytest.param(
            {(DOWN, Partition(0)): metadata("uid-m"), (DOWN, Partition(1)): metadata("uid-o")},
            (), "uid-o", (), id="... beside ours",
        ),
        pytest.param(
            {(DOWN, Partition(1)): metadata("uid-o"), (DOWN, Partition(0)): metadata("uid-o")},
            ("uid-o",), None, ((DOWN, Partition(0)), (DOWN, Partition(1))), id="of one that is gone: to be taken over",
        ),
        pytest.param(
            {(DOWN, Partition(0)): metadata("uid-o"), (DOWN, Partition(1)): metadata("uid-y")},
            ("uid-y",), "uid-o", ((DOWN, Partition(1)),), id="of one that is gone, and of another",
        ),
    ],
)  # fmt: skip
def test_the_mailboxes(
    found: dict[tuple[str, Partition], str], gone: tuple[str, ...], taken: str | None, left_behind: tuple[object, ...]
) -> None:
    verdict = judge_mailboxes("uid-m", found, gone)
    assert (None if verdict.taken is None else verdict.taken.uid) == taken
    assert verdict.left_behind == left_behind


def test_the_one_with_most_mailboxes_is_named() -> None:
    found = {
        (DOWN, Partition(0)): metadata("uid-y"),
        (DOWN, Partition(1)): metadata("uid-o"),
        (URGENT, Partition(1)): metadata("uid-o"),
    }
    expected = (
        "2 partitions of commands-down, commands-urgent belong to the ChargeGateway with uid uid-o: "
        "use topics or a broker of your own"
    )
    assert judge_mailboxes("uid-m", found) == Mailboxes(Taken("uid-o", expected), ())
