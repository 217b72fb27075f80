"""register, refresh, delete, put_boot, project_station."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, Incarnation, Partition, PodName
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import BootRecord
from tests.scripts.conftest import Server

CP = ChargePointId('CP "1"\\ "epoch":7, é')
A = Incarnation(PodName("gw-0"), "uid-a", "00000001")
B = Incarnation(PodName("gw-1"), "uid-b", "00000001")
NOW = 1_763_800_000_123_457
FUTURE = 4_000_000_000_123_457
FAR = 2**52
TTL, LAST_TTL = 900_000, 86_400_000


def entry(epoch: int, connection: str = "c1", incarnation: Incarnation = A, partition: int = 17) -> ConnectionRecord:
    return ConnectionRecord(incarnation.pod, incarnation, Partition(partition), epoch, connection, "ocpp1.6", "s")


def register(server: Server, record: ConnectionRecord, floor: int = 0, not_after: int = FAR) -> Any:
    return server.run(calls.register(server.keys, CP, record, floor, not_after, TTL, LAST_TTL))


def refresh(server: Server, record: ConnectionRecord, proven: bool = False) -> Any:
    return server.run(calls.refresh(server.keys, CP, record, proven, TTL, LAST_TTL))


def delete(server: Server, epoch: int | None = None, connection: str | None = None) -> Any:
    return server.run(calls.delete(server.keys, CP, LAST_TTL, epoch, connection))


def stored(server: Server) -> ConnectionRecord | None:
    text = server.text(server.keys.conn(CP))
    return None if text is None else ConnectionRecord.from_json(text)


def last(server: Server) -> str | None:
    return server.text(server.keys.last(CP))


def put(server: Server, epoch: int | None, last_epoch: int | None = None, connection: str = "c1") -> None:
    if epoch is not None:
        server.client.set(server.keys.conn(CP), entry(epoch, connection).to_json(), px=1_000)
    if last_epoch is not None:
        server.client.set(server.keys.last(CP), str(last_epoch), px=1_000)


# ------------------------------------------------------------------------------------------------------------ register


@pytest.mark.parametrize(
    ("epoch", "last_epoch", "floor", "expected"),
    [
        pytest.param(FUTURE, None, 0, FUTURE + 1, id="above the stored one"),
        pytest.param(None, FUTURE, 0, FUTURE + 1, id="above the last one, when the entry is gone"),
        pytest.param(FUTURE, FUTURE + 5, 0, FUTURE + 6, id="above both"),
        pytest.param(None, None, FUTURE, FUTURE, id="not below the floor, when the store forgot everything"),
    ],
)
def test_the_epoch_of_a_registration_never_goes_back(
    server: Server, epoch: int | None, last_epoch: int | None, floor: int, expected: int
) -> None:
    put(server, epoch, last_epoch)
    assert register(server, entry(0, "c2", B), floor) == ["ok", expected]
    assert stored(server) == entry(expected, "c2", B)
    assert last(server) == str(expected)


def test_the_epoch_is_the_server_s_time_otherwise(server: Server) -> None:
    before = server.now_us()
    word, epoch = register(server, entry(0))
    assert word == "ok"
    assert before <= epoch <= server.now_us()


def test_the_entry_is_exactly_the_contract_s_record_and_expires(server: Server) -> None:
    put(server, FUTURE)
    register(server, entry(0, 'a "epoch":1 b'))
    assert server.record(server.keys.conn(CP)) == {
        "pod": "gw-0",
        "incarnation": "gw-0/uid-a/00000001",
        "partition": 17,
        "epoch": FUTURE + 1,
        "connection": 'a "epoch":1 b',
        "version": "ocpp1.6",
        "since": "s",
    }
    assert 0 < server.client.pttl(server.keys.conn(CP)) <= TTL
    assert TTL < server.client.pttl(server.keys.last(CP)) <= LAST_TTL


def test_a_registration_that_arrives_late_does_nothing(server: Server) -> None:
    put(server, 5, 5)
    not_after = server.now_us() - 1
    assert register(server, entry(0, "c2"), not_after=not_after)[0] == "late"
    assert stored(server) == entry(5)
    assert last(server) == "5"


# ------------------------------------------------------------------------------------------------------------- refresh


@pytest.mark.parametrize(
    ("epoch", "last_epoch", "connection", "proven", "expected"),
    [
        pytest.param(NOW, NOW, "c1", False, ["ok", "same"], id="mine: extended"),
        pytest.param(NOW + 1, NOW + 1, "c2", True, ["lost"], id="a higher epoch: the station has moved"),
        pytest.param(None, NOW + 1, "c1", True, ["lost"], id="gone, but a higher one is remembered"),
        pytest.param(NOW - 1, NOW + 1, "c1", True, ["lost"], id="an older one came back, a higher one is remembered"),
        pytest.param(NOW, NOW, "c2", True, ["lost"], id="another connection under the same epoch"),
        pytest.param(None, None, "c1", True, ["ok", "none"], id="forgotten, the socket lives: written again"),
        pytest.param(None, NOW, "c1", True, ["ok", "none"], id="expired, the socket lives: written again"),
        pytest.param(NOW - 1, NOW - 1, "c0", True, ["ok", "older"], id="an older one came back, the socket lives"),
        pytest.param(None, None, "c1", False, ["unproven", "none"], id="forgotten, the socket may be half open"),
        pytest.param(NOW - 1, None, "c0", False, ["unproven", "older"], id="an older one, the socket may be half open"),
    ],
)
def test_refresh(
    server: Server, epoch: int | None, last_epoch: int | None, connection: str, proven: bool, expected: list[str]
) -> None:
    put(server, epoch, last_epoch, connection)
    before, last_before = server.text(server.keys.conn(CP)), last(server)
    mine = entry(NOW, partition=18)
    assert refresh(server, mine, proven)[: len(expected)] == expected
    if expected[0] == "ok":
        assert stored(server) == mine  # with the partition as it is now
        assert last(server) == str(NOW)
        assert server.client.pttl(server.keys.conn(CP)) > 1_000
        assert server.client.pttl(server.keys.last(CP)) > TTL
    else:
        assert server.text(server.keys.conn(CP)) == before
        assert last(server) == last_before


# -------------------------------------------------------------------------------------------------------------- delete


@pytest.mark.parametrize(
    ("epoch", "connection", "deleted"),
    [(NOW, None, 1), (NOW - 1, None, 0), (None, "c1", 1), (None, "c2", 0), (None, None, 0)],
    ids=["own epoch", "another epoch", "own connection", "another connection", "nothing named"],
)
def test_delete_compares(server: Server, epoch: int | None, connection: str | None, deleted: int) -> None:
    put(server, NOW, NOW - 5)
    assert delete(server, epoch, connection) == deleted
    assert (stored(server) is None) == bool(deleted)
    assert delete(server, epoch, connection) == 0
    if deleted:
        assert last(server) == str(NOW)  # the next one must be higher, and an older socket must not come back
        assert refresh(server, entry(NOW - 1), proven=True)[0] == "lost"


def test_a_higher_last_epoch_survives_a_delete(server: Server) -> None:
    put(server, NOW, NOW + 5)
    assert delete(server, NOW) == 1
    assert last(server) == str(NOW + 5)


# ---------------------------------------------------------------------------------------------------- boot, projection


@pytest.mark.parametrize(
    ("epoch", "kept"),
    [(NOW + 1, 0), (NOW, 1), (NOW - 1, 1), (None, 1)],
    ids=["a newer connection", "this connection", "an entry that came back", "an entry that was forgotten"],
)
def test_the_boot_answer_of_the_newest_connection_counts(server: Server, epoch: int | None, kept: int) -> None:
    put(server, epoch)
    assert server.run(calls.put_boot(server.keys, CP, BootRecord("Pending", 30, "t"), NOW, TTL)) == kept
    expected = {"status": "Pending", "interval": 30, "at": "t"} if kept else None
    assert server.record(server.keys.boot(CP)) == expected


def test_record_and_credential_are_projected_by_offsets_of_their_own(server: Server) -> None:
    def project(half: Any, offset: int, value: bytes | None) -> Any:
        return server.run(calls.project_station(server.keys, CP, half, offset, value, TTL))

    key = server.keys.station(CP)
    assert project("record", 10, b"r10") == 1
    assert project("credential", 4, b"c4") == 1
    assert [project("record", 10, b"x"), project("record", 9, b"x"), project("credential", 3, b"x")] == [0, 0, 0]
    assert project("credential", 5, b"c5") == 1
    assert server.client.hmget(key, "record", "credential") == ["r10", "c5"]
    assert server.client.ttl(key) == -1
    assert project("record", 11, None) == 1
    assert server.client.hmget(key, "record", "credential") == [None, "c5"]
    assert server.client.ttl(key) == -1
    assert project("credential", 6, None) == 1
    assert 0 < server.client.pttl(key) <= TTL
    assert project("record", 10, b"late") == 0  # a tombstone keeps its offset
    assert project("record", 12, b"r12") == 1
    assert server.client.hmget(key, "record", "credential") == ["r12", None]
    assert server.client.ttl(key) == -1


def test_a_record_survives_as_it_was_sent(server: Server) -> None:
    value = json.dumps({"tags": {"place": "Zürich {A}"}}, ensure_ascii=False).encode()
    server.run(calls.project_station(server.keys, CP, "record", 0, value, TTL))
    assert server.client.hget(server.keys.station(CP), "record") == value.decode()
