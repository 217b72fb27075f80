"""Fetched bytes with odd header names: readable afterwards, and nothing else about them changed. Without a broker."""

from __future__ import annotations

import random
from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords

from ocpp_client import fetched_records as of_the_client
from ocpp_contract.errors import ContractError
from ocpp_contract.header_names import check_header_names
from ocpp_gateway.adapters import fetched_records as of_the_gateway
from tests.gateway.adapters.odd_records import CODECS, OddRecord, odd_batch

ODD = b"odd-\xff\xc3"
GOOD = [(b"CP1", b"%d" % n, [(b"traceparent", b"x")]) for n in range(3)]


def records_in(fetched: bytes) -> list[Any]:
    """As aiokafka's fetcher reads them: every checksum is looked at."""
    found, memory = [], MemoryRecords(fetched)
    while memory.has_next():
        batch = memory.next_batch()
        assert batch is not None
        assert batch.validate_crc()
        found += list(batch)
    return found


def substituted(name: bytes) -> str:
    """Another way to say it: a byte of its own for what does not decode."""
    text = name.decode("utf-8", "surrogateescape")
    return "".join("\x1a" if "\udc80" <= letter <= "\udcff" else letter for letter in text)


@pytest.mark.parametrize("ours", [of_the_gateway, of_the_client], ids=["gateway", "client"])
@pytest.mark.parametrize("codec", CODECS)
def test_only_the_name_changes(codec: str, ours: Any) -> None:
    """Seeded: keys, values and headers of any length and any bytes."""
    rng = random.Random(codec)
    for _ in range(30):
        records: list[OddRecord] = [
            (
                rng.choice([None, rng.randbytes(rng.randrange(40))]),
                rng.choice([None, rng.randbytes(rng.randrange(200))]),
                [
                    (
                        rng.choice([ODD, "schön-er".encode(), b"plain", rng.randbytes(9)]),
                        rng.choice([None, b"", b"\xff"]),
                    )
                    for _ in range(rng.randrange(4))
                ],
            )
            for _ in range(rng.randrange(1, 80))
        ]
        fetched = odd_batch(GOOD, codec) + odd_batch(records, codec) + odd_batch(GOOD, codec)
        found = [(each.key, each.value, list(each.headers)) for each in records_in(ours._readable(fetched))]
        assert found == [
            (key, value, [(substituted(name), content) for name, content in headers])
            for key, value, headers in [*GOOD, *records, *GOOD]
        ]


def test_offsets_and_times_stay() -> None:
    batch = bytearray(odd_batch([*GOOD, (b"k", b"v", [(ODD, b"")]), *GOOD], "zstd"))
    batch[:8] = (7_000_000_000).to_bytes(8)  # as the broker numbers them: the checksum does not cover it
    found = records_in(of_the_gateway._readable(bytes(batch)))
    assert [each.offset for each in found] == list(range(7_000_000_000, 7_000_000_007))
    assert all(each.timestamp > 1_700_000_000_000 for each in found)


def test_what_can_be_read_is_handed_on_as_the_same_object() -> None:
    fetched = odd_batch(GOOD, "lz4")
    assert of_the_gateway._readable(fetched) is fetched


@pytest.mark.parametrize("cut", [1, 30, 60, 100])
def test_a_batch_that_was_cut_off_stays_for_the_next_fetch(cut: int) -> None:
    odd = odd_batch([(b"k", b"v" * 200, [(ODD, b"")])])
    read = of_the_gateway._readable(odd + odd[:cut])
    assert [each.headers[0][0] for each in records_in(read)] == ["odd-\x1a\x1a"]
    assert read.endswith(odd[:cut])


def test_damaged_bytes_stay_damaged_so_that_the_client_tells() -> None:
    """A wrong checksum must not become a right one."""
    odd = bytearray(odd_batch([(b"k", b"value", [(ODD, b"")])]))
    odd[odd.index(b"value")] ^= 1
    assert of_the_gateway._readable(bytes(odd)) == odd


def test_no_bytes_crash_it() -> None:
    rng = random.Random(53)
    whole = odd_batch([*GOOD, (b"k", b"v", [(ODD, b"")])], "gzip") + odd_batch(GOOD)
    for _ in range(2_000):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        of_the_gateway._readable(bytes(damaged))
        of_the_gateway._readable(rng.randbytes(rng.randrange(120)))


def test_the_substitute_tells_a_name_that_was_no_utf_8() -> None:
    check_header_names([("traceparent", b"\x1a"), ("", None)])
    with pytest.raises(ContractError, match="headers: the name of a header is no UTF-8"):
        check_header_names([("traceparent", b""), ("odd-\x1a", b"")])
