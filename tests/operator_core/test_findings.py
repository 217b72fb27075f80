"""The status that follows from what a pass has found."""

from __future__ import annotations

from typing import Any

import pytest

from ocpp_contract.ids import Partition, PodName
from ocpp_operator.core.findings import Found, Report, Swept, Topics, Trouble, addresses, paused, refusal, report
from ocpp_operator.core.fleet import pods_of
from ocpp_operator.core.possession import Possession
from ocpp_operator.core.spec import Resource
from ocpp_operator.core.status import Status
from ocpp_operator.core.upgrade import Upgrade
from tests.operator_core.test_fleet import raw as pod

NOW = "2026-01-01T00:00:00Z"
TOPICS = Topics(True, "AsWished", "all topics are as wished")
DEPLOYED = {
    "metadata": {"generation": 2},
    "status": {"observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2},
}
READY = [{"type": "Ready", "status": "True"}]
PODS = pods_of([pod("a", conditions=READY), pod("b", conditions=READY)])
ALL = Possession(128, frozenset(), 0, (), {PodName("a"): 3, PodName("b"): 4})


def resource(status: dict[str, Any] | None = None, **spec: Any) -> Resource:
    whole = {
        "kafka": {"bootstrapServers": "kafka:9092"},
        "redis": {"addresses": ["redis:6379"]},
        "decisions": {"type": "Accept"},
        "stations": {"unknown": "Accept"},
    }
    metadata = {"namespace": "grid", "name": "city", "uid": "u", "generation": 4}
    return Resource.parse({"metadata": metadata, "spec": whole | spec, "status": status or {}})


def found(**changes: Any) -> Found:
    values: dict[str, Any] = {
        "version": "1.0",
        "deployment": DEPLOYED,
        "pods": PODS,
        "possession": ALL,
        "topics": TOPICS,
        "generation": 7,
    }
    return Found(**values | changes)


def conditions(made: Report) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in made.status["conditions"]}


def deployed(**status: int) -> dict[str, Any]:
    return {**DEPLOYED, "status": DEPLOYED["status"] | status}


def test_all_is_well() -> None:
    made = report(resource(), found(), NOW)
    assert conditions(made) == {
        "Ready": ("True", "Serving"),
        "Progressing": ("False", "Settled"),
        "Degraded": ("False", "AsWished"),
        "AssignmentConverged": ("True", "Converged"),
        "TopicsReady": ("True", "AsWished"),
        "Hardened": ("False", "OpenEnds"),
        "UpgradeAvailable": ("False", "Current"),
    }
    assert made.status["connections"] == 7
    assert made.status["partitions"] == {"assigned": 128, "unowned": 0, "generation": 7}
    assert made.status["selector"].startswith("app.kubernetes.io/component=gateway,app.kubernetes.io/instance=city,")
    assert made.status["pods"] == []
    assert all(each["observedGeneration"] == 4 for each in made.status["conditions"])


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ("1.1", ("True", "Newer")),
        ("1.0", ("True", "Differs")),
        ("nightly", ("True", "Differs")),
        ("0.9", ("False", "Older")),
    ],
)
def test_going_back_is_no_upgrade(offered: str, expected: tuple[str, str]) -> None:
    upgrade = Upgrade(running="1.0", offered=offered)
    made = report(resource(), found(upgrade=upgrade), NOW)
    assert conditions(made)["UpgradeAvailable"] == expected
    assert str(upgrade) in [each["message"] for each in made.status["conditions"]]


UNOWNED = Possession(128, frozenset({Partition(5)}), 0, (), {})
REFUSED = Trouble("ChildRefused", "Service city-gateway: port is taken")


@pytest.mark.parametrize(
    ("changes", "spec", "expected"),
    [
        ({"deployment": deployed(readyReplicas=1)}, {}, ("False", "PodsNotReady")),
        ({"possession": UNOWNED}, {}, ("False", "PartitionsUnowned")),
        ({"possession": None, "store_trouble": "no answer"}, {}, ("Unknown", "StoreUnavailable")),
        ({"possession": None, "deployment": None}, {}, ("False", "StoreUnavailable")),
        ({"topics": Topics(False, "TopicsDiffer", "64, not 128")}, {}, ("False", "TopicsDiffer")),
        ({"topics": Topics(None, "KafkaUnavailable", "no broker")}, {}, ("True", "Serving")),
        ({"troubles": [REFUSED]}, {}, ("False", "ChildRefused")),
        ({"troubles": [Trouble("SecretMissing", "Secret x is not there")]}, {}, ("True", "Serving")),
        ({}, {"replicas": 0}, ("False", "ScaledToZero")),
    ],
)  # fmt: skip
def test_ready_is_whether_stations_can_connect_and_commands_reach_them(
    changes: dict[str, Any], spec: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert conditions(report(resource(**spec), found(**changes), NOW))["Ready"] == expected


def leaving(name: str) -> dict[str, Any]:
    gone = pod(name, conditions=READY)
    gone["metadata"]["deletionTimestamp"] = NOW
    return gone


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"deployment": {**DEPLOYED, "metadata": {"generation": 3}}}, "Rolling", "not taken up"),
        ({"deployment": deployed(updatedReplicas=1)}, "Rolling", "1 of 2 pods run the latest template"),
        ({"deployment": deployed(replicas=3)}, "Rolling", "1 pods are being replaced"),
        ({"pods": pods_of([pod("a"), leaving("b")])}, "Draining", "b (4 stations left)"),
        ({"possession": Possession(128, frozenset(), 3, (), {})}, "MovingPartitions", "3 partitions are on their way"),
        ({"deployment": deployed(readyReplicas=1)}, "Starting", "starting"),
    ],
)
def test_progress_says_what_ends_by_itself(changes: dict[str, Any], reason: str, words: str) -> None:
    made = report(resource(), found(**changes), NOW)
    assert conditions(made)["Progressing"] == ("True", reason)
    [message] = [each["message"] for each in made.status["conditions"] if each["type"] == "Progressing"]
    assert words in message


def test_the_worst_trouble_leads_and_the_others_are_counted() -> None:
    made = report(resource(), found(troubles=[REFUSED, Trouble("KafkaUnavailable", "no broker")]), NOW)
    [degraded] = [each for each in made.status["conditions"] if each["type"] == "Degraded"]
    assert (degraded["status"], degraded["reason"]) == ("True", "ChildRefused")
    assert degraded["message"] == "Service city-gateway: port is taken (and 1 more)"


def test_a_hardened_resource_has_no_open_ends() -> None:
    key = {"name": "s", "key": "k"}
    spec = {
        "stations": {"unknown": "Reject"},
        "decisions": {"type": "Webhook", "webhook": {"url": "https://backend/ocpp"}},
        "listeners": [{"name": "wss", "port": 443, "securityProfiles": [2], "tls": {"certificateRefs": [{"name": "cert"}]}}],
        "kafka": {
            "bootstrapServers": "kafka:9093", "tls": {},
            "authentication": {"type": "ScramSha512", "username": "cg", "passwordSecretRef": key},
        },
        "redis": {"addresses": ["redis:6379"], "tls": {}, "passwordSecretRef": key},
    }  # fmt: skip
    assert conditions(report(resource(**spec), found(), NOW))["Hardened"] == ("True", "Hardened")
    [hint] = [
        each["message"] for each in report(resource(), found(), NOW).status["conditions"] if each["type"] == "Hardened"
    ]
    assert hint.startswith("stations.unknown Accept lets in everybody who knows the address; decisions Accept says yes")


def test_figures_stay_as_last_seen_while_the_store_is_away() -> None:
    before = report(resource(), found(swept=Swept(10, 2, NOW)), NOW).status
    after = report(resource(status=before), found(possession=None, store_trouble="no answer"), NOW).status
    assert [after[name] for name in ("connections", "partitions", "pools", "sweep")] == [
        before[name] for name in ("connections", "partitions", "pools", "sweep")
    ]


def test_pods_that_need_a_look_are_named_and_no_more_than_fit() -> None:
    waiting = {"state": {"waiting": {"reason": "ErrImagePull"}}}
    many = [pod(f"p{n:02}", containerStatuses=[waiting]) for n in range(40)]
    shown = report(resource(), found(pods=pods_of([*many, pod("a", conditions=READY)])), NOW).status["pods"]
    assert len(shown) == 32
    assert shown[0] == {"name": "p00", "pool": "default", "reason": "Waiting", "message": "ErrImagePull"}


@pytest.mark.parametrize(
    ("service", "ingress", "url"),
    [
        ({"type": "ClusterIP"}, None, "ws://city-gateway.grid.svc/"),
        ({"type": "LoadBalancer"}, [], None),
        ({"type": "LoadBalancer"}, [{"ip": "203.0.113.7"}], "ws://203.0.113.7/"),
        ({"type": "LoadBalancer"}, [{"ip": "2001:db8::7"}], "ws://[2001:db8::7]/"),
        ({"type": "LoadBalancer"}, [{"hostname": "lb.example"}], "ws://lb.example/"),
    ],
)
def test_addresses_are_where_stations_connect(service: dict[str, Any], ingress: Any, url: str | None) -> None:
    seen = {"status": {"loadBalancer": {"ingress": ingress}}} if ingress is not None else {}
    wanted = [] if url is None else [{"listener": "ws", "url": url}]
    assert addresses(resource(service=service), seen) == wanted
    assert addresses(resource(service=service), None) == []


def test_a_port_that_is_not_the_usual_one_is_shown() -> None:
    tls = {"certificateRefs": [{"name": "cert"}]}
    listeners = [{"name": "wss", "port": 443, "securityProfiles": [2], "tls": tls}, {"name": "ws", "port": 8080}]
    assert [each["url"] for each in addresses(resource(listeners=listeners), {})] == [
        "wss://city-gateway.grid.svc/",
        "ws://city-gateway.grid.svc:8080/",
    ]


def test_a_spec_that_cannot_be_read_leaves_everything_else_as_it_was() -> None:
    before = report(resource(), found(), NOW).status
    raw = {"metadata": {"generation": 5}, "status": before}
    made = refusal(raw, Trouble("InvalidSpec", "spec.kafka: is needed"), "2026-01-01T00:09:00Z")
    assert conditions(made)["Ready"] == ("False", "InvalidSpec")
    assert conditions(made)["AssignmentConverged"] == ("True", "Converged")
    assert made.status["connections"] == 7
    assert {news.reason for news in made.news} == {"InvalidSpec"}


def test_while_a_spec_cannot_be_read_it_is_told_how_the_assignment_fares() -> None:
    before = report(resource(), found(), NOW).status
    raw = {"metadata": {"generation": 5}, "status": before}
    unreadable = Trouble("InvalidSpec", "spec.kafka: is needed")
    refused = found(possession=UNOWNED, generation=8, troubles=[REFUSED])
    made = refusal(raw, unreadable, NOW, found=refused)
    assert conditions(made)["AssignmentConverged"] == ("False", "PartitionsUnowned")
    assert conditions(made)["Degraded"] == ("True", "InvalidSpec")
    [degraded] = [each for each in made.status["conditions"] if each["type"] == "Degraded"]
    assert degraded["message"] == "spec.kafka: is needed (and 1 more)"
    partitions = {"assigned": 127, "unowned": 1, "generation": 8}
    assert made.status["partitions"] == partitions
    assert made.status["connections"] == UNOWNED.stations
    [pool] = made.status["pools"]
    assert pool == {**before["pools"][0], "partitions": partitions, "connections": UNOWNED.stations}
    assert made.unowned == 1
    assert {news.reason for news in made.news} == {"InvalidSpec", "PartitionsUnowned"}

    away = found(possession=None, store_trouble="no answer", troubles=[Trouble("RedisUnreachable", "no answer")])
    made = refusal({**raw, "status": made.status}, unreadable, NOW, found=away)
    assert conditions(made)["AssignmentConverged"] == ("Unknown", "StoreUnavailable")
    assert made.status["partitions"] == partitions  # as last seen
    assert made.unowned is None


def test_a_paused_resource_says_so_and_keeps_the_rest() -> None:
    before = report(resource(), found(), NOW).status
    made = paused({"metadata": {"generation": 4}, "status": before}, NOW)
    assert conditions(made)["Progressing"] == ("False", "Paused")
    assert conditions(made)["Ready"] == ("True", "Serving")
    assert made.news == []


def test_every_status_fits_the_schema_that_the_api_server_keeps() -> None:
    for changes in (
        {},
        {"possession": UNOWNED, "pods": pods_of([leaving("a"), pod("b")])},
        {"swept": Swept(1, 0, NOW)},
    ):
        made = report(resource(), found(**changes), NOW).status
        raw = {"metadata": {"generation": 5}}
        held = refusal(raw, Trouble("InvalidSpec", "spec.kafka: is needed"), NOW, found=found(**changes)).status
        for status in (made, held, refusal({**raw, "status": made}, REFUSED, NOW, found=found(**changes)).status):
            kept = Status.model_validate(status).model_dump(by_alias=True, exclude_unset=True, mode="json")
            assert kept == status
