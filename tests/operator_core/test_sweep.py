"""Which entries are stale: whose process is gone, what a pod does not know of, and which keys are ours at all."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition, PodName
from ocpp_contract.internal_api import ConnectionItem
from ocpp_contract.names import Keys
from ocpp_contract.scripts.records import PodRecord
from ocpp_contract.times import format_time, from_us
from ocpp_operator.core.sweep import (
    NEWBORN_US,
    Comparison,
    Entry,
    Judgement,
    OwnKeys,
    compare,
    is_gone,
    pattern,
    read_entry,
)

NOW = 1_763_800_000_123_456
HOUR = 3_600_000_000
A = Incarnation(PodName("gw-a"), "uid-a", "00000001")
A_AGAIN = Incarnation(PodName("gw-a"), "uid-a", "00000002")
A_REPLACED = Incarnation(PodName("gw-a"), "uid-z", "00000003")
B = Incarnation(PodName("gw-b"), "uid-b", "00000001")
PODS = {(A.pod, A.uid), (B.pod, B.uid)}


def record(incarnation: Incarnation) -> dict[PodName, PodRecord]:
    return {incarnation.pod: PodRecord(incarnation, 1, frozenset(), 0, False)}


def entry(station: str, epoch: int = NOW - HOUR, holder: Incarnation = A, since_us: int | None = None) -> Entry:
    since = format_time(from_us(epoch if since_us is None else since_us))
    return Entry(ChargePointId(station), str(holder), epoch, since)


def item(station: str, epoch: int) -> ConnectionItem:
    return ConnectionItem(ChargePointId(station), epoch, "c", Partition(1))


# --- whose pod is gone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("holder", "pods", "records", "gone"),
    [
        pytest.param(A, PODS, record(A), False, id="lives"),
        pytest.param(A, PODS, {}, False, id="listed without a record: silent is not gone"),
        pytest.param(A, PODS, record(B), False, id="another pod's record says nothing"),
        pytest.param(A, set(), record(A), True, id="not in the list: gone, whatever its record still says"),
        pytest.param(A, {(A.pod, "uid-z")}, record(A_REPLACED), True, id="a pod of the same name is another pod"),
        pytest.param(A, PODS, record(A_AGAIN), True, id="the container was restarted"),
        pytest.param(
            A, PODS, record(A_REPLACED), False, id="a record left behind by a namesake says nothing of this one"
        ),
    ],
)
def test_is_gone(
    holder: Incarnation, pods: set[tuple[PodName, str]], records: dict[PodName, PodRecord], gone: bool
) -> None:
    assert is_gone(holder, pods, records) is gone


def test_each_process_is_asked_about_once_per_pass() -> None:
    judgement = Judgement()
    entries = [entry("1"), entry("2", holder=B), entry("3", holder=B)]
    unknown = judgement.unknown(entries)
    assert unknown == {A, B}
    judgement.settle(unknown, {(A.pod, A.uid)}, {})
    assert judgement.unknown([*entries, entry("4", holder=B)]) == frozenset()
    assert judgement.stale(entries) == entries[1:]


def test_an_entry_of_nobody_we_know_how_to_name_is_left_alone() -> None:
    judgement = Judgement()
    strange = Entry(ChargePointId("1"), "somebody", 1, "s")
    assert judgement.unknown([strange]) == frozenset()
    assert judgement.stale([strange]) == []


def test_for_pods_that_died_nobody_else_is_judged() -> None:
    judgement = Judgement([B], only_these=True)
    entries = [entry("1"), entry("2", holder=B)]
    assert judgement.unknown(entries) == frozenset()
    assert judgement.stale(entries) == entries[1:]


incarnations = st.sampled_from([A, A_AGAIN, A_REPLACED, B])


@given(st.lists(incarnations, max_size=8), st.sets(incarnations), st.sets(incarnations))
def test_only_what_is_provably_gone_is_stale(
    holders: list[Incarnation], listed: set[Incarnation], recorded: set[Incarnation]
) -> None:
    pods = {(one.pod, one.uid) for one in listed}
    records = {one.pod: PodRecord(one, 1, frozenset(), 0, False) for one in recorded}
    entries = [entry(str(n), holder=holder) for n, holder in enumerate(holders)]
    judgement = Judgement()
    judgement.settle(judgement.unknown(entries), pods, records)
    stale = judgement.stale(entries)
    for one, holder in zip(entries, holders, strict=True):
        shown = records.get(holder.pod)
        ended = shown is not None and shown.incarnation != holder and shown.incarnation.uid == holder.uid
        assert (one in stale) is ((holder.pod, holder.uid) not in pods or ended)


# --- what stands in the store -----------------------------------------------------------------------------------------


def test_an_entry_is_read_as_its_pod_wrote_it() -> None:
    keys = Keys("eu:")
    station = ChargePointId("conn:1 €")
    written = ConnectionRecord(A.pod, A, Partition(1), NOW, "c", "ocpp1.6", "2026-11-22T10:00:00.000Z")
    read = read_entry(keys, keys.conn(station), written.to_json())
    assert read == Entry(station, str(A), NOW, "2026-11-22T10:00:00.000Z")


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"incarnation":"a/b/00000001","epoch":"1","since":"s"}', b"\xff"]
)
def test_what_is_no_entry_is_none(text: bytes) -> None:
    assert read_entry(Keys(), "conn:1", text) is None


# --- a pod's own list -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "listed", "stale"),
    [
        pytest.param(entry("1"), item("1", NOW - HOUR), False, id="both have it"),
        pytest.param(entry("1"), None, True, id="the pod does not know of it"),
        pytest.param(entry("1"), item("1", NOW - HOUR - 1), True, id="the pod has an older socket only"),
        pytest.param(
            entry("1"), item("1", NOW - HOUR + 1), False, id="registered again since: what was read is no more"
        ),
        pytest.param(entry("1", NOW - NEWBORN_US + 1), None, False, id="a newborn: its socket is not in the list yet"),
        pytest.param(entry("1", NOW - NEWBORN_US), None, True, id="... for a minute"),
        pytest.param(
            entry("1", NOW - 1, since_us=NOW - HOUR), None, False, id="... by its epoch if the pod's clock lags"
        ),
        pytest.param(entry("1", NOW - HOUR, since_us=NOW - 1), None, False, id="... by what the pod says"),
        pytest.param(entry("1", NOW - HOUR, since_us=NOW + HOUR), None, False, id="... also if its clock is ahead"),
        pytest.param(entry("1")._replace(since="long ago"), None, True, id="without a readable time the epoch counts"),
    ],
)
def test_what_the_store_has_and_the_pod_has_not(stored: Entry, listed: ConnectionItem | None, stale: bool) -> None:
    items = [item("other", NOW)] if listed is None else [listed]
    assert compare([stored], 5.0, items, 5.0, NOW).stale == ((stored,) if stale else ())


def test_a_list_older_than_the_entries_proves_nothing() -> None:
    assert compare([entry("1")], 5.0, [item("2", 1)], 4.9, NOW) == Comparison((), ())


def test_what_the_pod_has_and_the_store_has_not_is_only_told() -> None:
    items = [item("1", NOW - HOUR), item("3", NOW - HOUR), item("2", NOW - HOUR), item("new", NOW - NEWBORN_US + 1)]
    assert compare([entry("1")], 5.0, items, 6.0, NOW).missing == ("2", "3")


# --- keys -------------------------------------------------------------------------------------------------------------

prefixes = st.text(st.characters(codec="ascii", exclude_characters="{}\x00"), max_size=6)


@given(prefixes, st.text(st.characters(codec="utf-8", exclude_characters="{}/"), min_size=1, max_size=12))
def test_every_key_that_we_write_is_recognised(prefix: str, station_text: str) -> None:
    keys, station = Keys(prefix), ChargePointId(station_text.replace("\n", ""))
    if not station.isprintable() or not station:
        return
    own = OwnKeys(keys)
    command = CommandId("6f1f0e0e-5a0c-4d0e-9d57-2f1d6f9f1c11")
    assert own.kind(keys.conn(station)) == "conn"
    assert own.kind(keys.station(station)) == "station"
    assert own.kind(keys.pod(PodName("gw-0.x"))) == "pod"
    assert own.kind(keys.partition(Partition(17))) == "partition"
    assert own.kind(keys.run("0" * 40)) == own.kind(keys.run("f" * 40 + ".0a1b2c3d")) == "run"
    companions = [keys.last(station), keys.boot(station), keys.cmd(station, command), keys.tx(station, "d")]
    assert {own.kind(key) for key in [keys.stations_projected, *companions]} == {""}
    assert own.kind(keys.claim) is None


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("", "pods"),
        ("", "conn:"),
        ("", "eu:conn:CP1"),
        ("", "{eu:conn:CP1}:last"),
        ("", "partition:x"),
        ("", "run:today"),
        ("", "station:a/b"),
        ("", "{conn:CP1}:other"),
        ("", "stations:projected:2"),
        ("eu:", "conn:CP1"),
        ("eu:", "{conn:CP1}:last"),
        ("eu:", "EU:conn:CP1"),
        ("eu.", "eu:conn:CP1"),
    ],
)
def test_keys_of_others_are_not_ours(prefix: str, key: str) -> None:
    assert OwnKeys(Keys(prefix)).kind(key) is None


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("eu:", "eu:conn:*"), ("a*?", r"a\*\?conn:*"), ("[x]", r"\[x\]conn:*"), ("b\\", r"b\\conn:*"), ("", "conn:*")],
)
def test_a_prefix_is_matched_literally(prefix: str, expected: str) -> None:
    assert pattern(prefix + "conn:") == expected


def test_two_walks_find_all_keys_and_without_a_prefix_one() -> None:
    assert OwnKeys(Keys("eu:")).patterns == ("eu:*", "{eu:conn:*")
    assert OwnKeys(Keys()).patterns == ("*",)
    assert all(fnmatch.fnmatchcase("{eu:conn:1}:last", found) for found in OwnKeys(Keys("eu:")).patterns[1:])
