"""Named Secrets watched on a real API server: found, rotated, deleted, made again, forbidden, and through outages."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections import Counter, defaultdict

import pytest

from ocpp_operator.adapters.connection import Connection
from ocpp_operator.adapters.secrets import SecretName, SecretState, SecretWatches
from tests.operator_adapters.conftest import eventually
from tests.testbed.kubernetes import KubernetesServer

Requests = Counter[tuple[str, str, str]]


class Told:
    """What the watches told, by Secret."""

    def __init__(self) -> None:
        self.states: dict[SecretName, list[SecretState]] = defaultdict(list)

    def __call__(self, name: SecretName, state: SecretState) -> None:
        self.states[name].append(state)

    def tokens(self, name: SecretName) -> list[bytes | None]:
        return [state.data.get("token") if state.present else None for state in self.states[name]]


def put(kubernetes: KubernetesServer, name: SecretName, token: str) -> None:
    """Make it, or change it."""
    kubernetes.request(
        "PATCH",
        f"/api/v1/namespaces/{name.namespace}/secrets/{name.name}?fieldManager=test&force=true",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name.name},
            "data": {"token": b64encode(token.encode()).decode()},
        },
        content_type="application/apply-patch+yaml",
    )


def remove(kubernetes: KubernetesServer, name: SecretName) -> None:
    kubernetes.request("DELETE", f"/api/v1/namespaces/{name.namespace}/secrets/{name.name}")


async def test_a_secret_is_followed_through_its_life(
    connection: Connection, kubernetes: KubernetesServer, namespace: str, requests: Requests
) -> None:
    told, name = Told(), SecretName(namespace, "hook")
    put(kubernetes, name, "one")
    async with SecretWatches(connection, told) as watches:
        assert watches.state(name) is None
        watches.wanted({name})
        await eventually(lambda: told.tokens(name) == [b"one"])

        put(kubernetes, name, "two")
        await eventually(lambda: told.tokens(name)[-1] == b"two")
        remove(kubernetes, name)
        await eventually(lambda: told.tokens(name)[-1] is None)
        put(kubernetes, name, "three")
        await eventually(lambda: told.tokens(name)[-1] == b"three")
        assert told.tokens(name) == [b"one", b"two", None, b"three"]
        assert watches.state(name) == told.states[name][-1]
    assert requests[("list", "secrets", "200")] == 1
    assert requests[("watch", "secrets", "200")] == 1


async def test_one_that_is_not_there_is_told_as_absent_and_when_it_comes(
    connection: Connection, kubernetes: KubernetesServer, namespace: str
) -> None:
    told, name, neighbour = Told(), SecretName(namespace, "late"), SecretName(namespace, "neighbour")
    async with SecretWatches(connection, told) as watches:
        watches.wanted({name})
        await eventually(lambda: told.tokens(name) == [None])
        put(kubernetes, neighbour, "not asked for")
        put(kubernetes, name, "here")
        await eventually(lambda: told.tokens(name) == [None, b"here"])
    assert list(told.states) == [name]


async def test_a_change_that_changes_no_value_is_not_told(
    connection: Connection, kubernetes: KubernetesServer, namespace: str
) -> None:
    told, name = Told(), SecretName(namespace, "hook")
    put(kubernetes, name, "one")
    async with SecretWatches(connection, told) as watches:
        watches.wanted({name})
        await eventually(lambda: told.tokens(name) == [b"one"])
        kubernetes.kubectl("-n", namespace, "label", "secret", "hook", "a=b")
        put(kubernetes, name, "two")
        await eventually(lambda: told.tokens(name) == [b"one", b"two"])


async def test_what_is_no_longer_wanted_is_no_longer_watched(
    connection: Connection, kubernetes: KubernetesServer, namespace: str, requests: Requests
) -> None:
    told, kept, dropped = Told(), SecretName(namespace, "kept"), SecretName(namespace, "dropped")
    async with SecretWatches(connection, told) as watches:
        watches.wanted({kept, dropped})
        await eventually(lambda: told.tokens(kept) == [None] == told.tokens(dropped))
        watches.wanted({kept})
        watches.wanted({kept})
        assert watches.state(dropped) is None
        put(kubernetes, dropped, "unheard")
        put(kubernetes, kept, "heard")
        await eventually(lambda: told.tokens(kept) == [None, b"heard"])
        assert told.tokens(dropped) == [None]

        watches.wanted({kept, dropped})
        await eventually(lambda: told.tokens(dropped) == [None, b"unheard"])
    assert requests[("list", "secrets", "200")] == 3


async def test_more_watches_than_a_connection_pool_holds_leave_room_for_requests(
    connection: Connection, namespace: str
) -> None:
    """The library's pool ends at 100, and each watch keeps a connection."""
    told = Told()
    async with SecretWatches(connection, told) as watches:
        watches.wanted(SecretName(namespace, f"s{number}") for number in range(120))
        await eventually(lambda: len(told.states) == 120)
        await connection.request("get", "version", "GET", "/version")


async def test_a_role_that_names_the_secret_suffices_and_a_missing_one_is_told(
    kubernetes: KubernetesServer, namespace: str
) -> None:
    told, name = Told(), SecretName(namespace, "hook")
    put(kubernetes, name, "one")
    token = kubernetes.service_account_token(namespace, "default")
    kubeconfig = kubernetes.kubeconfig_for("watcher", token)
    async with await Connection.open(kubeconfig=kubeconfig) as connection, SecretWatches(connection, told) as watches:
        watches.wanted({name})
        await eventually(lambda: told.states[name])
        [refused] = told.states[name]
        assert 'cannot list resource "secrets"' in str(refused.trouble)

        kubernetes.kubectl(
            "-n",
            namespace,
            "create",
            "role",
            "one-secret",
            "--verb=list,watch",
            "--resource=secrets",
            "--resource-name=hook",
        )
        kubernetes.kubectl(
            "-n",
            namespace,
            "create",
            "rolebinding",
            "one-secret",
            "--role=one-secret",
            f"--serviceaccount={namespace}:default",
        )
        await eventually(lambda: told.states[name][-1].trouble is None)
        assert told.tokens(name)[-1] == b"one"
        put(kubernetes, name, "two")
        await eventually(lambda: told.tokens(name)[-1] == b"two")


async def test_values_stand_in_no_log_and_no_repr(
    connection: Connection, kubernetes: KubernetesServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    told, name = Told(), SecretName(namespace, "hook")
    put(kubernetes, name, "hunter2")
    with caplog.at_level(logging.DEBUG):
        async with SecretWatches(connection, told) as watches:
            watches.wanted({name})
            await eventually(lambda: told.tokens(name) == [b"hunter2"])
    seen = caplog.text + repr(told.states)
    assert "hunter2" not in seen
    assert b64encode(b"hunter2").decode() not in seen


async def test_an_api_server_that_restarts_is_followed_without_a_word_of_its_absence(
    private_kubernetes: KubernetesServer,
) -> None:
    told, name = Told(), SecretName("default", "hook")
    asked: Requests = Counter()
    put(private_kubernetes, name, "one")
    async with (
        await Connection.open(
            kubeconfig=private_kubernetes.kubeconfig, count=lambda *key: asked.update([key])
        ) as connection,
        SecretWatches(connection, told) as watches,
    ):
        watches.wanted({name})
        await eventually(lambda: told.tokens(name) == [b"one"])
        for number in range(20):  # others' changes: the version that was listed gets old
            put(private_kubernetes, SecretName("default", f"other-{number}"), "x")

        await asyncio.to_thread(private_kubernetes.stop_api)
        await private_kubernetes.start_api_async()
        put(private_kubernetes, name, "two")
        await eventually(lambda: told.tokens(name) == [b"one", b"two"])
        remove(private_kubernetes, name)
        await eventually(lambda: told.tokens(name) == [b"one", b"two", None])
    assert asked[("list", "secrets", "200")] == 2, "what was listed before the restart is too old to go on from"


async def test_a_silent_watch_is_begun_anew(
    private_kubernetes: KubernetesServer, caplog: pytest.LogCaptureFixture
) -> None:
    """No bookmark comes within a quarter of a second, so every watch counts as silent here; nothing is missed or told twice."""
    told, name = Told(), SecretName("default", "hook")
    asked: Requests = Counter()
    heard: list[int] = []
    async with (
        await Connection.open(
            kubeconfig=private_kubernetes.kubeconfig, request_timeout=1.0, count=lambda *key: asked.update([key])
        ) as connection,
        SecretWatches(connection, told, inactivity=0.25, heard=lambda: heard.append(1)) as watches,
    ):
        watches.wanted({name})
        await eventually(lambda: asked[("watch", "secrets", "200")] >= 3)
        assert len(heard) >= 3, "that a watch could be begun is a sign of life"
        assert "cannot be watched" not in caplog.text, "having nothing to tell is no trouble"

        private_kubernetes.pause_api()
        await eventually(lambda: asked[("watch", "secrets", "timeout")] >= 1)
        await eventually(lambda: "cannot be watched" in caplog.text)
        private_kubernetes.resume_api()
        put(private_kubernetes, name, "one")
        await eventually(lambda: told.tokens(name) == [None, b"one"])
    assert asked[("list", "secrets", "200")] == 1
