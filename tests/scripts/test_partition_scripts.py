"""take, renew, restore, release, release_dead: one row or one sentence per rule of the protocol."""

from __future__ import annotations

from typing import Any

import pytest

from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import PartitionRecord
from tests.scripts.conftest import Server

MINE = Incarnation(PodName("gw-0"), "uid-a", "00000002")
EARLIER_SELF = Incarnation(PodName("gw-0"), "uid-a", "00000001")
NAMESAKE = Incarnation(PodName("gw-0"), "uid-z", "00000001")
OTHER = Incarnation(PodName("gw-1"), "uid-b", "00000001")
P = Partition(17)
RUN, OLD_RUN = "run-2", "run-1"
LEASE = 15_000_000
HOUR = 3_600_000_000
NOW = 1_763_800_000_123_457
FUTURE = 4_000_000_000_123_457


def held(server: Server, holder: Incarnation | None, epoch: int = NOW, left_us: int = HOUR, run: str = RUN) -> None:
    until = 0 if holder is None else server.now_us() + left_us
    text = None if holder is None else str(holder)
    server.put(server.keys.partition(P), incarnation=text, epoch=epoch, leaseUntil=until, run=run)


def take(server: Server, floor: int = 0, absent_ok: bool = False) -> Any:
    return server.run(calls.take(server.keys, P, MINE, floor, LEASE, absent_ok, RUN))


def stored(server: Server) -> PartitionRecord:
    text = server.text(server.keys.partition(P))
    assert text is not None
    return PartitionRecord.from_json(text)


@pytest.mark.parametrize(
    ("holder", "left_us", "run", "absent_ok", "expected"),
    [
        pytest.param(None, 0, RUN, False, "taken", id="released: at once"),
        pytest.param(OTHER, HOUR, RUN, False, "refused", id="another's lease runs: never"),
        pytest.param(OTHER, HOUR, RUN, True, "refused", id="... whatever the caller thinks it saw"),
        pytest.param(OTHER, -1, RUN, False, "taken", id="another's lease is over: at once"),
        pytest.param(EARLIER_SELF, HOUR, RUN, False, "taken", id="an earlier process of the own pod is dead: at once"),
        pytest.param(NAMESAKE, HOUR, RUN, False, "refused", id="same name, other uid: that is another pod"),
        pytest.param(MINE, HOUR, RUN, False, "refused", id="own take whose reply was lost: waited out, not resumed"),
        pytest.param(MINE, -1, RUN, False, "taken", id="own lapsed lease: taken anew"),
        pytest.param(OTHER, -1, OLD_RUN, False, "absent", id="another run: what it says may be old, a lease over too"),
        pytest.param(None, 0, OLD_RUN, False, "absent", id="another run, released: somebody may have taken it since"),
        pytest.param(EARLIER_SELF, HOUR, OLD_RUN, False, "absent", id="another run: an earlier self shortens nothing"),
        pytest.param(OTHER, HOUR, OLD_RUN, True, "taken", id="another run, watched for a lease: nobody restored it"),
    ],
)
def test_take(
    server: Server, holder: Incarnation | None, left_us: int, run: str, absent_ok: bool, expected: str
) -> None:
    held(server, holder, left_us=left_us, run=run)
    before = stored(server)
    assert take(server, absent_ok=absent_ok)[0] == expected
    if expected == "taken":
        assert stored(server).incarnation == MINE
        assert stored(server).run == RUN
    else:
        assert stored(server) == before


def test_an_absent_partition_is_taken_only_by_who_watched_it_for_a_lease(server: Server) -> None:
    assert take(server) == ["absent", ""]
    assert server.text(server.keys.partition(P)) is None
    word, epoch, lease_until = take(server, absent_ok=True)
    assert word == "taken"
    assert stored(server) == PartitionRecord(MINE, epoch, lease_until, RUN)
    assert 0 < lease_until - server.now_us() <= LEASE


@pytest.mark.parametrize(
    ("stored_epoch", "floor", "expected"),
    [
        pytest.param(FUTURE, 0, FUTURE + 1, id="above the stored one, even when the server's clock went back"),
        pytest.param(5, FUTURE, FUTURE, id="not below the floor of the caller"),
        pytest.param(FUTURE, FUTURE, FUTURE + 1, id="above both"),
    ],
)
def test_the_epoch_never_goes_back(server: Server, stored_epoch: int, floor: int, expected: int) -> None:
    held(server, None, epoch=stored_epoch)
    assert take(server, floor)[1] == expected
    assert stored(server).epoch == expected


def test_the_epoch_is_the_server_s_time_otherwise(server: Server) -> None:
    held(server, None, epoch=5)
    before = server.now_us()
    assert before <= take(server, floor=5)[1] <= server.now_us()


def test_the_refusal_shows_who_holds_it(server: Server) -> None:
    held(server, OTHER)
    word, text = take(server)
    assert word == "refused"
    assert PartitionRecord.from_json(text) == stored(server)


@pytest.mark.parametrize(
    ("holder", "epoch", "run", "expected"),
    [
        pytest.param(MINE, NOW, RUN, "held", id="same incarnation and epoch"),
        pytest.param(MINE, NOW, OLD_RUN, "held", id="... also right after a restart that kept the data"),
        pytest.param(MINE, NOW + 1, RUN, "lost", id="a later tenure of the same process is not this one"),
        pytest.param(OTHER, NOW + 1, RUN, "lost", id="somebody took it"),
        pytest.param(EARLIER_SELF, NOW, RUN, "lost", id="another incarnation"),
        pytest.param(None, NOW, RUN, "lost", id="released: a renewal under way does not bring it back"),
        pytest.param(
            OTHER, NOW - 9, OLD_RUN, "absent", id="an older record that came back: the store forgot, none succeeded"
        ),
        pytest.param(OTHER, NOW + 9, OLD_RUN, "lost", id="a newer record is a successor's, whatever the run"),
    ],
)
def test_renew(server: Server, holder: Incarnation | None, epoch: int, run: str, expected: str) -> None:
    held(server, holder, epoch, run=run, left_us=1_000)
    before = stored(server)
    assert server.run(calls.renew(server.keys, P, MINE, NOW, LEASE, RUN)) == [expected, before.epoch]
    if expected == "held":
        assert stored(server).lease_until_us > before.lease_until_us + LEASE - 1_000_000
        assert stored(server).run == RUN
    else:
        assert stored(server) == before


def test_renewing_an_absent_partition_writes_nothing(server: Server) -> None:
    assert server.run(calls.renew(server.keys, P, MINE, NOW, LEASE, RUN)) == ["absent", 0]
    assert server.text(server.keys.partition(P)) is None


@pytest.mark.parametrize(
    ("holder", "epoch", "run", "expected"),
    [
        pytest.param(MINE, NOW, RUN, "held", id="repeated: the reply was lost"),
        pytest.param(OTHER, NOW - 9, OLD_RUN, "held", id="an older record that came back with a failover"),
        pytest.param(None, NOW - 9, OLD_RUN, "held", id="... also a released one"),
        pytest.param(OTHER, NOW + 9, OLD_RUN, "lost", id="a newer record"),
        pytest.param(OTHER, NOW - 9, RUN, "lost", id="somebody took it in this run"),
        pytest.param(None, NOW, RUN, "lost", id="released in this run"),
    ],
)
def test_restore(server: Server, holder: Incarnation | None, epoch: int, run: str, expected: str) -> None:
    held(server, holder, epoch, run=run)
    before = stored(server)
    assert server.run(calls.restore(server.keys, P, MINE, NOW, LEASE, RUN)) == expected
    after = stored(server)
    assert (after.incarnation, after.epoch, after.run) == (MINE, NOW, RUN) if expected == "held" else after == before


def test_restoring_an_absent_partition_keeps_its_epoch(server: Server) -> None:
    assert server.run(calls.restore(server.keys, P, MINE, NOW, LEASE, RUN)) == "held"
    assert (stored(server).incarnation, stored(server).epoch) == (MINE, NOW)


@pytest.mark.parametrize(
    ("holder", "epoch", "released"),
    [(MINE, NOW, 1), (MINE, NOW + 1, 0), (OTHER, NOW, 0), (EARLIER_SELF, NOW, 0)],
    ids=["the own tenure", "a later one", "another's", "an earlier self's"],
)
def test_release(server: Server, holder: Incarnation, epoch: int, released: int) -> None:
    held(server, holder, epoch)
    before = stored(server)
    assert server.run(calls.release(server.keys, P, MINE, NOW)) == released
    assert stored(server) == (PartitionRecord(None, NOW, 0, RUN) if released else before)
    assert server.run(calls.release(server.keys, P, MINE, NOW)) == 0


@pytest.mark.parametrize(
    ("holder", "released"),
    [(EARLIER_SELF, 1), (MINE, 0), (OTHER, 0)],
    ids=["exactly that process", "the pod's next process keeps it", "another's"],
)
def test_release_dead(server: Server, holder: Incarnation, released: int) -> None:
    held(server, holder)
    before = stored(server)
    assert server.run(calls.release_dead(server.keys, P, EARLIER_SELF)) == released
    assert stored(server) == (PartitionRecord(None, NOW, 0, RUN) if released else before)
    assert take(server)[0] == ("taken" if released else "refused")


def test_nothing_is_released_where_nothing_is(server: Server) -> None:
    assert server.run(calls.release(server.keys, P, MINE, NOW)) == 0
    assert server.run(calls.release_dead(server.keys, P, MINE)) == 0
    assert server.text(server.keys.partition(P)) is None


def test_the_record_is_readable_and_lives_without_expiry(server: Server) -> None:
    held(server, None, epoch=FUTURE)
    _, epoch, until = take(server)
    assert server.record(server.keys.partition(P)) == {
        "incarnation": "gw-0/uid-a/00000002",
        "epoch": FUTURE + 1,
        "leaseUntil": until,
        "run": RUN,
    }
    assert f'"epoch":{epoch},' in str(server.text(server.keys.partition(P)))
    assert server.client.ttl(server.keys.partition(P)) == -1


def test_the_first_sight_of_a_run_stays(server: Server) -> None:
    before = server.now_us()
    first, now = server.run(calls.mark_run(server.keys, "abc"))
    assert before <= first == now <= server.now_us()
    again, later = server.run(calls.mark_run(server.keys, "abc"))
    assert again == first < later
