"""What a real broker refuses for good is not repeated for ever: copies and dead letters that are too large."""

from __future__ import annotations

from typing import Any, cast

from ocpp_contract.ids import Partition
from ocpp_gateway.adapters.command_log import CommandLog
from ocpp_gateway.core.effects import Append, DeadLetter, Lane, SourceRecord
from tests.gateway.adapters.kafka_reading import read_topic
from tests.gateway.adapters.test_kafka_events import producing
from tests.testbed.kafka import KafkaServer

SMALL = {"max.message.bytes": "20000"}
HEADERS = (("traceparent", b"kept"), ("baggage", b"x" * 19_800))


async def test_a_record_at_the_limit_by_its_headers_gets_a_dead_letter_and_no_endless_copy(
    kafka: KafkaServer, make_topics
) -> None:
    down, dlq = await make_topics(SMALL, down=1, dlq=1)
    async with producing(kafka.bootstrap) as producer:
        await producer.ready(down, dlq)
        log = CommandLog(cast(Any, None), producer, {Lane.NORMAL: down}, "results", dlq, "source")
        source = SourceRecord(Lane.NORMAL, Partition(0), 7, 0, b"CP1", b"{}", HEADERS)
        copy = Append(Lane.NORMAL, Partition(0), source.key, source.value or b"", (*HEADERS, ("cg-hop", b"1" * 300)))
        refused = await log.append(copy)
        assert refused is not None
        assert "TooLarge" in refused
        await log.dead_letter(DeadLetter(source, "Invalid: " + "y" * 300))
        small = Append(Lane.NORMAL, Partition(0), source.key, b"{}", (("cg-hop", b"1"),))
        assert await log.append(small) is None
    (letter,) = await read_topic(kafka.bootstrap, dlq)
    assert [name for name, _ in letter.headers] == ["cg-reason", "cg-source"]
    assert dict(letter.headers)["cg-source"] == f"{down}/0/7".encode()
    assert len(await read_topic(kafka.bootstrap, down)) == 1
