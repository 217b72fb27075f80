"""Identity of station messages and of OCPP 1.6 transactions. No counters anywhere: everything is a hash.

- `ce_id` is the same again when a station repeats itself: by natural key where the message has one (2.x: transactionId and
  seqNo; 1.6: the fields of StartTransaction, the transactionId of StopTransaction), else by message id and payload - and
  by connection epoch when the payload carries no time, for then only the connection tells two equal messages apart.
- 1.6 transaction ids: the low 31 bits, not 0, of a hash of station, natural key and generation. So a retry gets the same
  id on any pod and after any data loss; the generation tells a repetition by a station with a broken clock (its earlier
  transaction has ended) from a retry. What is needed for that is remembered in `{conn:<id>}:tx:<digest>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from ocpp_gateway.core.frames import encode_default

ENDED = b'{"ended":true}'


def message_ce_id(charge_point_id: str, message_id: str, action: str, payload: Any, epoch: int | None) -> str:
    """For a message without natural key; `epoch` only when the payload has no time of its own."""
    # Sorted: some stations serialise from hash maps, and a retry may then order its keys anew.
    text = orjson.dumps(
        [charge_point_id, message_id, action, epoch, payload], default=encode_default, option=orjson.OPT_SORT_KEYS
    )
    return blake2b(text, digest_size=16, person=b"cg-message").hexdigest()


def natural_ce_id(charge_point_id: str, action: str, key: Sequence[str | int], generation: int) -> str:
    """For a message with a natural key."""
    return _hash(b"cg-natural", charge_point_id, action, generation, *key)


def start_digest(charge_point_id: str, key: Sequence[str | int]) -> str:
    """Where the answer to a StartTransaction is remembered."""
    return _hash(b"cg-tx-start", charge_point_id, *key)


def end_digest(charge_point_id: str, transaction_id: str | int) -> str:
    """Where the end of a transaction is remembered."""
    return _hash(b"cg-tx-end", charge_point_id, str(transaction_id))


def make_transaction_id(charge_point_id: str, key: Sequence[str | int], generation: int) -> int:
    """1 .. 2^31 - 1: a JSON integer that every 1.6 station can hold; some take 0 for "no transaction"."""
    digest = blake2b(_text([charge_point_id, generation, *key]), digest_size=16, person=b"cg-tx-id").digest()
    for start in range(0, 13, 4):
        number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF
        if number:
            return number
    return 1


class Remembered(NamedTuple):
    """The whole answer to a StartTransaction."""

    transaction_id: int
    generation: int
    answer: dict[str, Any]

    def to_json(self) -> bytes:
        return orjson.dumps(
            {"transactionId": self.transaction_id, "generation": self.generation, "answer": self.answer},
            default=encode_default,
        )

    @classmethod
    def from_json(cls, value: bytes | str) -> Remembered | None:
        """None for what nobody of ours wrote: the transaction is then computed again."""
        try:
            record = orjson.loads(value)
            transaction_id, generation, answer = record["transactionId"], record["generation"], record["answer"]
        except (ValueError, LookupError, TypeError):
            return None
        if type(transaction_id) is not int or type(generation) is not int or type(answer) is not dict:
            return None
        return cls(transaction_id, generation, answer)


def _hash(person: bytes, *parts: str | int) -> str:
    return blake2b(_text(parts), digest_size=16, person=person).hexdigest()


def _text(parts: Sequence[Any]) -> bytes:
    # A key taken from a payload that breaks its schema may hold any JSON.
    return orjson.dumps(parts, default=encode_default, option=orjson.OPT_SORT_KEYS)
