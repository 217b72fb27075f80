"""Names and keys exactly as protocol and contract write them: other languages use them literally."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition, PodName, check_command_id
from ocpp_contract.names import Keys, Topics

CP = ChargePointId("CP1")
ID = CommandId("6f1f0e0e-5a0c-4d0e-9d57-2f1d6f9f1c11")


def test_keys_as_the_protocol_names_them() -> None:
    keys = Keys("eu:")
    assert [
        keys.pod(PodName("gw-0")),
        keys.partition(Partition(17)),
        keys.conn(CP),
        keys.last(CP),
        keys.boot(CP),
        keys.cmd(CP, ID),
        keys.tx(CP, "d1"),
        keys.station(CP),
        keys.claim,
        keys.stations_projected,
        keys.run("0a1b"),
    ] == [
        "eu:pod:gw-0",
        "eu:partition:17",
        "eu:conn:CP1",
        "{eu:conn:CP1}:last",
        "{eu:conn:CP1}:boot",
        "{eu:conn:CP1}:cmd:6f1f0e0e-5a0c-4d0e-9d57-2f1d6f9f1c11",
        "{eu:conn:CP1}:tx:d1",
        "eu:station:CP1",
        "eu:claim",
        "eu:stations:projected",
        "eu:run:0a1b",
    ]


@pytest.mark.parametrize("prefix", ["", "eu:"])
def test_a_stations_entry_and_its_companions_share_a_hash_slot(prefix: str) -> None:
    keys = Keys(prefix)
    companions = [keys.last(CP), keys.boot(CP), keys.cmd(CP, ID), keys.tx(CP, "d")]
    assert {key_slot(key.encode()) for key in companions} == {key_slot(keys.conn(CP).encode())}


def test_a_prefix_with_braces_is_refused() -> None:
    with pytest.raises(ContractError, match="braces"):
        Keys("{eu}:")


def test_default_topics() -> None:
    assert Topics() == Topics(
        "ocpp-events-up", "commands-down", "commands-urgent", "command-results", "commands-dlq", "ocpp-stations"
    )


def test_an_incarnation_is_read_as_it_is_written() -> None:
    text = "gw-0/2f0e8a3e-7b8c-4c1e-9d9e-0c8f5b6a7d01/00c0ffee"
    assert str(Incarnation.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "gw-0", "gw-0/u", "gw-0/u/00C0FFEE", "gw-0/u/00c0ffee/x", "/u/00c0ffee", "a/u/00c0ffe", 5]
)
def test_what_is_no_incarnation_is_refused(text: object) -> None:
    with pytest.raises(ContractError):
        Incarnation.parse(text)


def test_a_restarted_container_is_the_same_but_for_its_run() -> None:
    first, second = Incarnation.parse("gw-0/u/00000001"), Incarnation.parse("gw-0/u/00000002")
    assert first.same_container(second)
    assert not first.same_container(Incarnation.parse("gw-0/v/00000001"))


def test_one_command_id_has_one_spelling() -> None:
    assert check_command_id(ID.upper()) == ID
    for broken in ("urn:uuid:" + ID, "{" + ID + "}", ID.replace("-", ""), " " + ID):
        with pytest.raises(ContractError):
            check_command_id(broken)
