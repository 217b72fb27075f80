"""claim, put_back, done, assert_record, timed_out: one record, none -> claimed -> done."""

from __future__ import annotations

from typing import Any

import pytest

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition, PodName
from ocpp_contract.outcome import CommandResult, CommandState, Outcome
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import ClaimedRecord, DoneRecord, command_state, parse_command_record
from tests.scripts.conftest import Server

CP = ChargePointId("CP-1")
COMMAND = CommandId("00000000-0000-4000-8000-000000000001")
A = Incarnation(PodName("gw-0"), "uid-a", "00000001")
B = Incarnation(PodName("gw-1"), "uid-b", "00000001")
EPOCH = 1_763_800_000_123_457
FAR = 2**52
TTL = 60_000
SEEN = ClaimedRecord(B, EPOCH - 9, EPOCH - 7)
DONE = DoneRecord(
    CommandResult(
        COMMAND, CP, "DataTransfer", Outcome.ACCEPTED, PodName("gw-1"), "t",
        payload={"data": '{"state":"claimed"}', "amount": 0.1, "deep": [[[{}]]]},
    )
)  # fmt: skip


@pytest.fixture(autouse=True)
def connected(server: Server) -> None:
    record = ConnectionRecord(A.pod, A, Partition(1), EPOCH, "c1", "ocpp1.6", "s")
    server.client.set(server.keys.conn(CP), record.to_json())


def key(server: Server) -> str:
    return server.keys.cmd(CP, COMMAND)


def stored(server: Server) -> ClaimedRecord | DoneRecord | None:
    text = server.text(key(server))
    return None if text is None else parse_command_record(text)


def put(server: Server, record: ClaimedRecord | DoneRecord | None) -> None:
    if record is not None:
        server.client.set(key(server), record.to_json(), px=5_000)


def claim(server: Server, expected: ClaimedRecord | None = None, epoch: int = EPOCH, not_after: int = FAR) -> Any:
    return server.run(calls.claim(server.keys, CP, COMMAND, A, epoch, expected, not_after, TTL))


def done(server: Server, record: DoneRecord = DONE, only_from_none: bool = False) -> Any:
    return server.run(calls.done(server.keys, CP, COMMAND, record, only_from_none, TTL))


# --------------------------------------------------------------------------------------------------------------- claim


@pytest.mark.parametrize(
    ("before", "expected", "word"),
    [
        pytest.param(None, None, "ok", id="none: claimed"),
        pytest.param(SEEN, None, "exists", id="a claim that the caller did not know"),
        pytest.param(SEEN, SEEN, "ok", id="the claim that the caller may replace"),
        pytest.param(
            ClaimedRecord(B, SEEN.epoch, SEEN.since_us, EPOCH), SEEN, "ok", id="... though it timed out since"
        ),
        pytest.param(ClaimedRecord(A, SEEN.epoch, SEEN.since_us), SEEN, "exists", id="another's claim instead"),
        pytest.param(ClaimedRecord(B, SEEN.epoch + 1, SEEN.since_us), SEEN, "exists", id="one of another connection"),
        pytest.param(ClaimedRecord(B, SEEN.epoch, SEEN.since_us + 1), SEEN, "exists", id="a later one of the same"),
        pytest.param(None, SEEN, "ok", id="the replaced one was put back meanwhile"),
        pytest.param(DONE, None, "exists", id="done: never claimed again"),
        pytest.param(DONE, SEEN, "exists", id="... whatever was expected"),
    ],
)
def test_claim(
    server: Server, before: ClaimedRecord | DoneRecord | None, expected: ClaimedRecord | None, word: str
) -> None:
    put(server, before)
    reply = claim(server, expected)
    assert reply[0] == word
    after = stored(server)
    assert after == parse_command_record(reply[1])
    if word == "ok":
        assert isinstance(after, ClaimedRecord)
        assert after == ClaimedRecord(A, EPOCH, after.since_us)
        assert 0 <= server.now_us() - after.since_us < 5_000_000
        assert 5_000 < server.client.pttl(key(server)) <= TTL
    else:
        assert after == before


@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH + 1], ids=["the station has moved", "the entry is an old one"])
def test_a_claim_needs_the_station_s_present_connection(server: Server, epoch: int) -> None:
    assert claim(server, epoch=epoch)[0] == "moved"
    assert stored(server) is None


def test_a_claim_needs_an_entry(server: Server) -> None:
    server.client.delete(server.keys.conn(CP))
    assert claim(server) == ["moved", ""]
    assert stored(server) is None


def test_a_claim_that_arrives_late_does_nothing(server: Server) -> None:
    assert claim(server, not_after=server.now_us() - 1)[0] == "late"
    assert stored(server) is None


# ------------------------------------------------------------------------------------------------------------ put_back


@pytest.mark.parametrize("previous", [None, SEEN], ids=["to none", "to the claim it replaced"])
def test_a_claim_is_put_back_to_what_it_replaced(server: Server, previous: ClaimedRecord | None) -> None:
    put(server, previous)
    mine = parse_command_record(claim(server, previous)[1])
    assert isinstance(mine, ClaimedRecord)
    assert server.run(calls.put_back(server.keys, CP, COMMAND, mine, previous)) == 1
    assert stored(server) == previous
    assert server.run(calls.put_back(server.keys, CP, COMMAND, mine, previous)) == 0
    if previous is not None:
        assert 0 < server.client.pttl(key(server)) <= TTL


def test_a_late_put_back_does_not_undo_the_next_claim(server: Server) -> None:
    first = parse_command_record(claim(server)[1])
    assert isinstance(first, ClaimedRecord)
    server.run(calls.put_back(server.keys, CP, COMMAND, first, None))
    second = parse_command_record(claim(server)[1])
    assert server.run(calls.put_back(server.keys, CP, COMMAND, first, None)) == 0
    assert stored(server) == second


@pytest.mark.parametrize("before", [None, DONE, SEEN], ids=["none", "done", "another's claim"])
def test_nothing_else_is_put_back(server: Server, before: ClaimedRecord | DoneRecord | None) -> None:
    put(server, before)
    mine = ClaimedRecord(A, EPOCH, EPOCH)
    assert server.run(calls.put_back(server.keys, CP, COMMAND, mine, None)) == 0
    assert stored(server) == before


# ---------------------------------------------------------------------------------------------------------------- done


def other_outcome(outcome: Outcome) -> DoneRecord:
    return DoneRecord(CommandResult(COMMAND, CP, "DataTransfer", outcome, PodName("gw-0"), "t2"))


@pytest.mark.parametrize(
    ("before", "outcome", "wins"),
    [
        pytest.param(None, Outcome.EXPIRED, "new", id="never claimed: Expired is true"),
        pytest.param(SEEN, Outcome.EXPIRED, "old", id="claimed: it may have been written, Expired is not true"),
        pytest.param(DONE, Outcome.EXPIRED, "old", id="done: the stored outcome is the outcome"),
        pytest.param(None, Outcome.UNCERTAIN, "new", id="the claim was forgotten"),
        pytest.param(SEEN, Outcome.UNCERTAIN, "new", id="claimed: ended"),
        pytest.param(DONE, Outcome.UNCERTAIN, "old", id="two never differ"),
    ],
)
def test_done(server: Server, before: ClaimedRecord | DoneRecord | None, outcome: Outcome, wins: str) -> None:
    put(server, before)
    record = other_outcome(outcome)
    expected = record if wins == "new" else before
    assert parse_command_record(done(server, record, outcome.only_from_none)) == expected
    assert stored(server) == expected
    assert parse_command_record(done(server, record, outcome.only_from_none)) == expected


def test_a_result_is_stored_byte_by_byte(server: Server) -> None:
    text = DONE.to_json().decode()
    assert done(server) == text == server.text(key(server))
    assert 5_000 < server.client.pttl(key(server)) <= TTL


# ------------------------------------------------------------------------------------------------------- assert_record


CLAIM = ClaimedRecord(A, EPOCH, EPOCH)


@pytest.mark.parametrize(
    ("before", "asserted", "after"),
    [
        pytest.param(None, CLAIM, CLAIM, id="none < claimed"),
        pytest.param(None, DONE, DONE, id="none < done"),
        pytest.param(SEEN, CLAIM, SEEN, id="a claim does not replace a claim"),
        pytest.param(SEEN, DONE, DONE, id="claimed < done"),
        pytest.param(DONE, CLAIM, DONE, id="done stays"),
        pytest.param(DONE, other_outcome(Outcome.UNCERTAIN), DONE, id="... also against another outcome"),
    ],
)
def test_assert_record_only_moves_up(
    server: Server,
    before: ClaimedRecord | DoneRecord | None,
    asserted: ClaimedRecord | DoneRecord,
    after: ClaimedRecord | DoneRecord,
) -> None:
    put(server, before)
    for _ in range(2):
        reply = server.run(calls.assert_record(server.keys, CP, COMMAND, asserted, TTL))
        assert parse_command_record(reply) == after == stored(server)


# ------------------------------------------------------------------------------------------------ timed_out and status


def test_a_time_out_is_noted_once_and_keeps_the_record_s_life(server: Server) -> None:
    put(server, CLAIM)
    assert server.run(calls.timed_out(server.keys, CP, COMMAND, CLAIM)) == 1
    marked = stored(server)
    assert isinstance(marked, ClaimedRecord)
    assert marked.timed_out_at_us is not None
    assert 0 <= server.now_us() - marked.timed_out_at_us < 5_000_000
    assert 0 < server.client.pttl(key(server)) <= 5_000
    assert server.run(calls.timed_out(server.keys, CP, COMMAND, CLAIM)) == 1
    assert stored(server) == marked


@pytest.mark.parametrize("before", [None, SEEN, DONE], ids=["none", "another's claim", "done"])
def test_nothing_else_is_noted(server: Server, before: ClaimedRecord | DoneRecord | None) -> None:
    put(server, before)
    assert server.run(calls.timed_out(server.keys, CP, COMMAND, CLAIM)) == 0
    assert stored(server) == before


def test_the_record_tells_the_state(server: Server) -> None:
    states = [command_state(server.text(key(server)))]
    claimed = parse_command_record(claim(server)[1])
    assert isinstance(claimed, ClaimedRecord)
    states.append(command_state(server.text(key(server))))
    server.run(calls.timed_out(server.keys, CP, COMMAND, claimed))
    states.append(command_state(server.text(key(server))))
    done(server)
    states.append(command_state(server.text(key(server))))
    assert states == [CommandState.NOT_SENT, CommandState.SENT, CommandState.TIMED_OUT, CommandState.ACCEPTED]
