"""From a record to a command with a deadline: every header and every default."""

from __future__ import annotations

import orjson
import pytest

from ocpp_contract.outcome import Outcome
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import Lane, SourceRecord
from ocpp_gateway.core.intake import Readable, Unreadable, onward_headers, read
from ocpp_gateway.core.routing import Travelled

SETTINGS = DownlinkSettings(default_deadline=60.0, max_deadline=600.0)
ID = "3b6f1d2a-0000-4000-8000-000000000001"
APPENDED_MS = 1_763_800_000_000
APPENDED = "2025-11-22T08:26:40Z"
SECOND = 1_000_000


def record(*headers: tuple[str, bytes], **fields: object) -> SourceRecord:
    value = {"id": ID, "chargePointId": "CP1", "type": "ClearCache", "payload": {}, **fields}
    return SourceRecord(Lane.NORMAL, 1, 7, APPENDED_MS, b"another key", orjson.dumps(value), headers)  # type: ignore[arg-type]


def readable(source: SourceRecord) -> Readable:
    content = read(source, SETTINGS)
    assert isinstance(content, Readable), content
    return content


def unreadable(source: SourceRecord) -> Unreadable:
    content = read(source, SETTINGS)
    assert isinstance(content, Unreadable), content
    return content


def seconds_left(content: Readable) -> float:
    return (content.deadline_us - APPENDED_MS * 1_000) / SECOND


def test_without_a_deadline_the_default_counts_from_the_log_s_own_time() -> None:
    content = readable(record())
    assert seconds_left(content) == 60
    assert not content.cut
    assert content.travelled == Travelled(0, None)


@pytest.mark.parametrize(
    ("expires_at", "left", "cut"),
    [
        ("2025-11-22T08:26:50Z", 10, False),
        ("2025-11-22T08:36:40Z", 600, False),
        ("2025-11-22T08:36:41Z", 600, True),
        ("2025-11-22T08:26:30Z", -10, False),
    ],
)
def test_expires_at_up_to_the_maximum(expires_at: str, left: float, cut: bool) -> None:
    content = readable(record(expiresAt=expires_at))
    assert (seconds_left(content), content.cut) == (left, cut)


def test_the_deadline_that_travelled_wins_over_what_the_value_says() -> None:
    content = readable(record(("cg-deadline", b"2025-11-22T08:26:45.250Z"), expiresAt="2025-11-22T08:30:00Z"))
    assert seconds_left(content) == 5.25
    assert content.cut


def test_a_deadline_that_travelled_uncut_is_not_called_cut() -> None:
    content = readable(record(("cg-deadline", b"2025-11-22T08:26:45.123Z"), expiresAt="2025-11-22T08:26:45.123456Z"))
    assert not content.cut


def test_a_travelled_deadline_cannot_exceed_the_maximum() -> None:
    assert seconds_left(readable(record(("cg-deadline", b"2099-01-01T00:00:00Z")))) == 600


def test_hop_and_entry_epoch_are_read_from_their_headers() -> None:
    content = readable(record(("cg-hop", b"2"), ("cg-entry-epoch", b"1763800000123456")))
    assert content.travelled == Travelled(2, 1_763_800_000_123_456)


@pytest.mark.parametrize(
    "header",
    [
        ("cg-hop", b"4"),
        ("cg-hop", b"-1"),
        ("cg-hop", b"01"),
        ("cg-hop", b""),
        ("cg-hop", "²".encode()),
        ("cg-entry-epoch", b"x"),
        ("cg-entry-epoch", b"9" * 30),
        ("cg-deadline", b"tomorrow"),
        ("cg-deadline", b"\xff"),
    ],
)
def test_headers_that_nobody_of_ours_writes_make_it_invalid_with_an_outcome(header: tuple[str, bytes]) -> None:
    content = unreadable(record(header))
    assert (content.outcome, content.command_id, content.charge_point_id) == (Outcome.INVALID, ID, "CP1")
    assert header[0] in content.reason


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"[]", b"nonsense", b'{"id": 5}', b"[" * 100_000])
def test_bytes_that_are_no_command_have_nobody_to_tell(value: bytes | None) -> None:
    content = unreadable(SourceRecord(Lane.NORMAL, 1, 7, APPENDED_MS, None, value))  # type: ignore[arg-type]
    assert content.outcome is Outcome.INVALID
    assert content.command_id is None or content.charge_point_id is None


def test_a_type_that_no_version_knows_is_unsupported() -> None:
    assert unreadable(record(type="MakeCoffee")).outcome is Outcome.UNSUPPORTED


def test_the_last_header_of_a_name_counts() -> None:
    assert readable(record(("cg-hop", b"1"), ("cg-hop", b"2"))).travelled.hop == 2


def test_foreign_headers_travel_on_and_ours_are_set_anew() -> None:
    source = record(("traceparent", b"00-ab"), ("cg-hop", b"1"), ("cg-deadline", b"x"), ("cg-entry-epoch", b"1"))
    headers = onward_headers(source, APPENDED_MS * 1_000 + 5 * SECOND, Travelled(2, 99))
    assert headers == (
        ("traceparent", b"00-ab"),
        ("cg-hop", b"2"),
        ("cg-deadline", b"2025-11-22T08:26:45.000Z"),
        ("cg-entry-epoch", b"99"),
    )
    assert "cg-entry-epoch" not in dict(onward_headers(source, 0, Travelled(0, None)))


def test_a_header_name_that_was_no_utf_8_makes_the_command_invalid() -> None:
    """It may have been meant for one of ours; so the adapter lets it arrive with U+001A in place of what cannot be read."""
    content = unreadable(record(("cg-h\x1ap", b"1")))
    assert content.reason == "headers: the name of a header is no UTF-8"
    assert (content.outcome, content.command_id, content.charge_point_id) == (Outcome.INVALID, ID, "CP1")
