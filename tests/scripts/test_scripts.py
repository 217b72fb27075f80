"""What holds for every script."""

from __future__ import annotations

import hashlib
import re

import pytest
from redis.crc import key_slot

from ocpp_contract import scripts
from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition, PodName
from ocpp_contract.names import Keys
from ocpp_contract.scripts import Script, calls
from ocpp_contract.scripts.calls import ScriptCall
from ocpp_contract.scripts.records import BootRecord, ClaimedRecord

ME = Incarnation(PodName("gw-0"), "u", "00000001")
CP = ChargePointId("a:b c")
COMMAND = CommandId("00000000-0000-4000-8000-000000000001")
CLAIM = ClaimedRecord(ME, 1, 2)
ENTRY = ConnectionRecord(ME.pod, ME, Partition(1), 1, "c", "ocpp1.6", "s")

by_name = pytest.mark.parametrize("script", scripts.ALL, ids=lambda script: script.name)


@by_name
def test_its_text_is_known_by_its_digest(script: Script) -> None:
    assert script.sha1 == hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()


@by_name
def test_its_head_tells_what_it_takes_and_says(script: Script) -> None:
    head = script.text.split("\nlocal ", 1)[0]
    assert head.startswith(f"-- {script.name}: ")
    for word in ("-- KEYS ", "-- ARGV ", "-- reply "):
        assert word in head
    named = {int(number) for number in re.findall(r"KEYS\[(\d)\]", script.text)}
    assert named == set(range(1, len(named) + 1))


@by_name
def test_it_touches_only_declared_keys_and_writes_no_rounded_number(script: Script) -> None:
    code = re.sub(r"--.*", "", script.text)
    assert "cjson.encode" not in code  # rounds microseconds to 14 digits
    for first_argument in re.findall(r"redis\.call\('(?!TIME)[A-Z]+',\s*([^,)]+)", code):
        assert re.fullmatch(r"KEYS\[[12]\]", first_argument), first_argument


@pytest.mark.parametrize("prefix", ["", "tenant-1:"])
def test_all_keys_of_a_call_lie_in_one_slot(prefix: str) -> None:
    keys = Keys(prefix)
    made: list[ScriptCall] = [
        calls.register(keys, CP, ENTRY, 0, 0, 1, 1),
        calls.refresh(keys, CP, ENTRY, True, 1, 1),
        calls.delete(keys, CP, 1, epoch=1),
        calls.claim(keys, CP, COMMAND, ME, 1, CLAIM, 0, 1),
        calls.put_boot(keys, CP, BootRecord("Accepted", 1, "t"), 1, 1),
    ]
    for call in made:
        assert len(call.keys) == 2
        assert len({key_slot(key.encode()) for key in call.keys}) == 1
    assert key_slot(keys.conn(CP).encode()) == key_slot(keys.tx(CP, "x").encode())
