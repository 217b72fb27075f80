"""Resources go while no operator is there, as `helm uninstall` right after `kubectl delete cgw`: the next operator cleans up."""

from __future__ import annotations

from typing import Any

import pytest

from ocpp_contract.commit_metadata import decode_metadata, encode_metadata
from ocpp_contract.names import GROUP_ID
from ocpp_operator.adapters.kafka_admin import Commit, KafkaAccess, KafkaAdmin
from tests.operator_cluster.rig import Place, eventually, serving
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import KubernetesServer
from tests.testbed.redis import RedisServer

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]


async def test_what_an_operator_leaves_undone_the_next_one_does(
    kubernetes: KubernetesServer, crd: str, namespace: str, kafka: KafkaServer, redis_server: RedisServer
) -> None:
    async with serving(kubernetes, namespace, kafka.bootstrap, redis_server.port) as place:
        admin = KafkaAdmin(KafkaAccess((kafka.bootstrap,)))
        going, again = await at_rest(place, "city"), await at_rest(place, "town")
        assert await place.operator.stop() == 0
        for resource in (going, again):  # as pods would have left it
            await place.redis.set(f"{prefix_of(resource)}partition:3", '{"incarnation":null,"epoch":7}')
            await admin.commit(GROUP_ID, lane(resource), {3: Commit(0, encode_metadata(uid(resource), 0, set()))})
            await place.delete(resource["metadata"]["name"])
        await place.apply(place.resource("town", replicas=0))

        async def children_went() -> bool:
            there = {each["metadata"]["name"] for each in await place.objects("configmaps")}
            return there == {"city-farewell", "town-farewell"}

        await eventually(children_went, "Kubernetes took the children away")
        assert await keys(place, going)

        place.another_operator().start()

        async def cleaned() -> bool:
            there = {each["metadata"]["name"] for each in await place.objects("configmaps")}
            return not await keys(place, going) and "city-farewell" not in there

        await eventually(cleaned, timeout=120)
        assert (await admin.commits(GROUP_ID, lane(going), [3]))[3].metadata == "", "anybody may have its mailboxes"

        now = uid(await place.get("town"))
        assert now != uid(again)

        async def inherited() -> bool:
            text = (await admin.commits(GROUP_ID, lane(again), [3]))[3].metadata
            known = decode_metadata(text, 0)
            claim = await place.redis.get(f"{prefix_of(again)}claim")
            return known is not None and known.resource_uid == now and now in str(claim)

        await eventually(inherited, "the one that was made again need not wait for the claim's lease")


async def at_rest(place: Place, name: str) -> dict[str, Any]:
    """A resource without pods, looked at by the operator, whose record is finished."""
    await place.apply(place.resource(name, replicas=0))
    await place.condition(name, "TopicsReady", "True")

    async def recorded() -> bool:
        records = [each for each in await place.objects("configmaps") if each["metadata"]["name"] == f"{name}-farewell"]
        return bool(records) and records[0]["data"].get("configMap") == records[0]["metadata"]["uid"]

    await eventually(recorded)
    return await place.get(name)


def uid(resource: dict[str, Any]) -> str:
    return str(resource["metadata"]["uid"])


def prefix_of(resource: dict[str, Any]) -> str:
    return str(resource["spec"]["redis"]["keyPrefix"])


def lane(resource: dict[str, Any]) -> str:
    return str(resource["spec"]["kafka"]["topics"]["commandsDown"]["name"])


async def keys(place: Place, resource: dict[str, Any]) -> list[Any]:
    return [key async for key in place.redis.scan_iter(f"{prefix_of(resource)}*", count=1000)]
