"""Reading topics back in the tests of the Kafka adapters."""

from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition


async def read_topic(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    """All records of `topic`, ordered by partition and offset."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(partitions)
        records: list[ConsumerRecord] = []
        while sum(ends.values()) > len(records):
            for batch in (await consumer.getmany(timeout_ms=1_000)).values():
                records += batch
    return sorted(records, key=lambda record: (record.partition, record.offset))
