"""Which events are news: copies are left out, so are goodbyes of connections that were replaced."""

from __future__ import annotations

from ocpp_client.events import Sieve
from ocpp_contract.events import Event
from ocpp_contract.ids import ChargePointId


def event(type_name: str, epoch: int, station: str = "CP1") -> Event:
    at = "2026-11-22T10:00:00.000Z"
    return Event(type_name, ChargePointId(station), at, at, epoch, {})


def handed_on(sieve: Sieve, *events: tuple[str, Event]) -> list[str]:
    found = []
    for ce_id, one in events:
        if sieve.is_news(ce_id, one):
            found.append(ce_id)
            sieve.remember(ce_id, one)
    return found


def test_a_copy_is_left_out() -> None:
    assert handed_on(Sieve(), ("a", event("MeterValues", 1)), ("a", event("MeterValues", 1))) == ["a"]


def test_what_was_not_handled_comes_again() -> None:
    sieve = Sieve()
    assert sieve.is_news("a", event("MeterValues", 1))
    assert sieve.is_news("a", event("MeterValues", 1))


def test_the_late_offline_of_an_older_connection_is_ignored() -> None:
    events = ("1", event("DeviceOnline", 1)), ("2", event("DeviceOnline", 2)), ("3", event("DeviceOffline", 1))
    assert handed_on(Sieve(), *events) == ["1", "2"]


def test_any_event_of_a_newer_connection_makes_older_ones_old() -> None:
    assert handed_on(Sieve(), ("1", event("MeterValues", 5)), ("2", event("DeviceOnline", 4))) == ["1"]


def test_offline_of_the_present_connection_counts() -> None:
    assert handed_on(Sieve(), ("1", event("DeviceOnline", 5)), ("2", event("DeviceOffline", 5))) == ["1", "2"]


def test_late_measurements_of_an_older_connection_still_count() -> None:
    assert handed_on(Sieve(), ("1", event("DeviceOnline", 5)), ("2", event("MeterValues", 4))) == ["1", "2"]


def test_one_stations_epoch_says_nothing_about_another() -> None:
    assert handed_on(Sieve(), ("1", event("DeviceOnline", 5)), ("2", event("DeviceOnline", 4, "CP2"))) == ["1", "2"]


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    sieve = Sieve(ids=2, stations=2)
    for number in range(4):
        sieve.remember(str(number), event("DeviceOnline", 10, f"CP{number}"))
    assert [number for number in range(4) if not sieve.is_news(str(number), event("MeterValues", 10))] == [2, 3]
    assert sieve.is_news("x", event("DeviceOffline", 1, "CP0"))
    assert not sieve.is_news("x", event("DeviceOffline", 1, "CP3"))
