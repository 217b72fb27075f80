"""What Flux (kstatus) and Argo CD make of each state: on its way, failed, or there."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from ocpp_operator.core import hindrance
from ocpp_operator.core.advice import REASONS, Level
from ocpp_operator.core.conditions import Type, holds
from ocpp_operator.core.findings import Topics, Trouble, paused, refusal, report
from ocpp_operator.core.fleet import pods_of
from ocpp_operator.core.hindrance import SOMEBODYS, Patience
from tests.operator_core.test_findings import ALL, NOW, PODS, READY, REFUSED, UNOWNED, found, leaving, resource
from tests.operator_core.test_fleet import raw as pod
from tests.testbed.redis import RedisServer

PATIENCE = 120.0
SAID = {"Current": "Healthy", "InProgress": "Progressing", "Failed": "Degraded"}


def kstatus(raw: dict[str, Any]) -> str:
    """The generic rule of kstatus (kubernetes-sigs/cli-utils), in our words."""
    if "deletionTimestamp" in raw["metadata"]:
        return "Terminating"
    status = raw.get("status") or {}
    if status.get("observedGeneration", raw["metadata"]["generation"]) != raw["metadata"]["generation"]:
        return "InProgress"
    for condition in status.get("conditions") or ():
        if condition["status"] == "True" and condition["type"] in ("Reconciling", "Stalled"):
            return "InProgress" if condition["type"] == "Reconciling" else "Failed"
    ready = next((each["status"] for each in status.get("conditions") or () if each["type"] == "Ready"), "True")
    return "Current" if ready == "True" else "InProgress"


# --- states -----------------------------------------------------------------------------------------------------------


NEW, OLD = "7d4b9c5f6", "5c8f6d9b7"
"""Hashes of templates, as ReplicaSets put them on their pods."""


def rolling(
    reason: str = "ReplicaSetUpdated", status: str = "True", message: str = "", **figures: int
) -> dict[str, Any]:
    """A Deployment that Kubernetes has taken up; by default one new pod of two, beside both of before."""
    return {
        "metadata": {"name": "city-gateway", "generation": 2},
        "spec": {"replicas": 2, "progressDeadlineSeconds": 1090},
        "status": {
            "observedGeneration": 2, "replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, **figures,
            "conditions": [{"type": "Progressing", "status": status, "reason": reason, "message": message}],
        },
    }  # fmt: skip


def held(**figures: int) -> dict[str, Any]:
    """While pods leave, as `core.pacing` has it."""
    deployment = rolling("DeploymentPaused", "Unknown", "Deployment is paused", **figures)
    return {**deployment, "spec": {**deployment["spec"], "paused": True}}


def resumed(**figures: int) -> dict[str, Any]:
    """And they have left: nothing is said of progress before there is some."""
    return rolling("DeploymentResumed", "Unknown", "Deployment is resumed", **figures)


def made_by(hash: str, *raws: dict[str, Any]) -> list[dict[str, Any]]:
    """Pods of that template."""
    labels = {"labels": {"pod-template-hash": hash}}
    return [{**raw, "metadata": {**raw["metadata"], **labels}} for raw in raws]


def settled(**figures: int) -> dict[str, Any]:
    return rolling("NewReplicaSetAvailable", **{"replicas": 2, "updatedReplicas": 2, **figures})


def waiting(reason: str, message: str = "as the kubelet says", name: str = "new") -> dict[str, Any]:
    return pod(name, containerStatuses=[{"state": {"waiting": {"reason": reason, "message": message}}}])


def crashing(ready_since: str = "2026-01-01T00:00:00Z", ended: str = "2026-01-01T00:00:09Z") -> dict[str, Any]:
    """Runs once more, for a second."""
    end = {"exitCode": 2, "finishedAt": ended, "message": "CHARGEGATEWAY_KAFKA: needed"}
    return pod(
        "new",
        conditions=[{"type": "Ready", "status": "False", "lastTransitionTime": ready_since}],
        containerStatuses=[{"state": {"running": {}}, "lastState": {"terminated": end}}],
    )


def beside(*more: dict[str, Any]) -> Any:
    """New ones, beside both of before."""
    return pods_of([*made_by(OLD, pod("a", conditions=READY), pod("b", conditions=READY)), *made_by(NEW, *more)])


def cured() -> Any:
    """By two new ones: one of before never came up."""
    new = [pod("b", conditions=READY), pod("c", conditions=READY)]
    return pods_of([*made_by(OLD, waiting("CrashLoopBackOff", name="a")), *made_by(NEW, *new)])


def one_fails(hash: str = NEW) -> Any:
    """Of two, all of one template."""
    return pods_of(made_by(hash, pod("a", conditions=READY), crashing()))


UNSCHEDULED = pod(
    "new", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no cpu"}]
)
MISSING = Trouble("SecretMissing", "Secret hook (spec.decisions.webhook.authorizationSecretRef) is not there")
AWAY = Trouble("KafkaUnavailable", "no broker")
UNWRITTEN = Trouble("ChildrenNotWritten", "Deployment city-gateway: the webhook does not answer")
ONE = {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 1}
"""One pod of each template."""
FIRST = rolling(replicas=2, updatedReplicas=2, readyReplicas=0)
"""Nothing was ever ready."""


def one_each() -> Any:
    """The new one fails."""
    return pods_of([*made_by(OLD, pod("a", conditions=READY)), *made_by(NEW, crashing())])


def names_set(hash: str) -> str:
    """Kubernetes' message on progress."""
    return f'ReplicaSet "city-gateway-{hash}" is progressing.'


def without_room(deployment: dict[str, Any]) -> dict[str, Any]:
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    status = deployment["status"]
    return {**deployment, "status": {**status, "conditions": [*status["conditions"], refused]}}


def of(deployment: Any = None, troubles: Any = (), pods: Any = PODS, **more: Any) -> dict[str, Any]:
    """A state, as a pass finds it."""
    return {"deployment": deployment or settled(), "troubles": list(troubles), "pods": pods, **more}


ROWS = {
    # all is well
    "serving": (of(), "Current", "Current"),
    "brokers away, pods serve": (of(troubles=[AWAY]), "Current", "Current"),
    "partitions move": (of(possession=ALL.__class__(128, frozenset(), 3, (), {})), "Current", "Current"),
    "pods leave after a scale-down": (of(settled(replicas=3, updatedReplicas=3, readyReplicas=3)), "Current", "Current"),
    "old pods drain at the end of a roll": (of(pods=beside(leaving("c"))), "Current", "Current"),
    # on its way, however long
    "just made": (of({"metadata": {"generation": 1}, "spec": {}}), "InProgress", "InProgress"),
    "not taken up": (of({**settled(), "metadata": {"generation": 3}}), "InProgress", "InProgress"),
    "roll": (of(rolling()), "InProgress", "InProgress"),
    "roll, all new pods there, an old one left": (of(rolling(updatedReplicas=2)), "InProgress", "InProgress"),
    "roll, the next pod needs a node": (of(rolling(), pods=beside(UNSCHEDULED)), "InProgress", "InProgress"),
    "roll, the next pod starts": (of(rolling(), pods=beside(waiting("ContainerCreating"))), "InProgress", "InProgress"),
    "roll, held while pods leave": (of(held()), "InProgress", "InProgress"),
    "a child cannot be written for the moment": (of(troubles=[UNWRITTEN]), "InProgress", "InProgress"),
    "children are still to be written": (of(written=False), "InProgress", "InProgress"),
    "an autoscaler wants more": (of(settled(replicas=2, readyReplicas=1)), "InProgress", "InProgress"),
    "no room for what an autoscaler wants": (
        of(settled(readyReplicas=1), pods=beside(UNSCHEDULED)), "InProgress", "InProgress",
    ),
    "one pod is lost": (of(settled(readyReplicas=1), pods=beside(waiting("ContainerCreating"))), "InProgress", "InProgress"),
    "one pod fails long after the roll": (of(settled(readyReplicas=1), pods=one_fails()), "InProgress", "InProgress"),
    "one pod fails while others leave after a scale-down": (
        of(held(replicas=2, updatedReplicas=2, readyReplicas=1), pods=one_fails()), "InProgress", "InProgress",
    ),
    "one pod fails after others left": (
        of(resumed(replicas=2, updatedReplicas=2, readyReplicas=1), pods=one_fails()), "InProgress", "InProgress",
    ),
    "a quota takes no pod while others leave": (
        of(without_room(held(replicas=1, updatedReplicas=1, readyReplicas=1))), "InProgress", "InProgress",
    ),
    "what fails waits for its turn in the roll that cures it": (
        of(rolling(updatedReplicas=2), pods=cured()), "InProgress", "InProgress",
    ),
    "what fails waits for its turn, held while pods leave": (
        of(held(updatedReplicas=2), pods=cured()), "InProgress", "InProgress",
    ),
    "what fails waits for its turn, and Kubernetes has not begun": (
        of(rolling(replicas=2, updatedReplicas=0, readyReplicas=1), pods=one_fails(OLD)), "InProgress", "InProgress",
    ),
    "back to the template of before: its pods serve": (
        of(rolling(updatedReplicas=2), pods=beside(waiting("CrashLoopBackOff"))), "InProgress", "InProgress",
    ),
    "back to the template of before, and Kubernetes still names the other": (
        of(rolling(message=names_set(NEW), updatedReplicas=2), pods=beside(waiting("CrashLoopBackOff"))),
        "InProgress", "InProgress",
    ),
    "which template is the newest is not sure: the deadline tells": (of(resumed(**ONE), pods=one_each()), "InProgress", "InProgress"),
    "as many of both templates, and those of before fail": (
        of(rolling(message=names_set(OLD), **ONE), pods=one_each()), "InProgress", "InProgress",
    ),
    "partitions unowned": (of(possession=UNOWNED), "InProgress", "InProgress"),
    "store away": (of(possession=None), "InProgress", "InProgress"),
    "topics are being created": (of(topics=Topics(False, "TopicsBeingCreated", "x")), "InProgress", "InProgress"),
    # a while on its way, then failed: somebody has to act
    "an image that is not there": (of(rolling(), pods=beside(waiting("ImagePullBackOff"))), "InProgress", "Failed"),
    "an image that is not there, asked again": (of(rolling(), pods=beside(waiting("ErrImagePull"))), "InProgress", "Failed"),
    "new pods crash": (of(rolling(), pods=beside(waiting("CrashLoopBackOff"))), "InProgress", "Failed"),
    "new pods crash, and run once more": (of(rolling(), pods=beside(crashing())), "InProgress", "Failed"),
    "new pods crash, held while pods leave": (of(held(), pods=beside(crashing())), "InProgress", "Failed"),
    "new pods crash, after others left": (of(resumed(), pods=beside(crashing())), "InProgress", "Failed"),
    "as many of both templates, and the new ones fail": (
        of(rolling(message=names_set(NEW), **ONE), pods=one_each()), "InProgress", "Failed",
    ),
    "the very first pods crash": (
        of(FIRST, pods=pods_of(made_by(NEW, crashing(), waiting("CrashLoopBackOff", name="b")))), "InProgress", "Failed",
    ),
    "the roll's deadline is over": (of(rolling("ProgressDeadlineExceeded", "False")), "InProgress", "Failed"),
    "a quota takes no pod": (
        of(without_room(rolling())),
        "InProgress", "Failed",
    ),
    "a Secret is missing": (of(FIRST, [MISSING]), "InProgress", "Failed"),
    "a Secret is missing, pods serve": (of(troubles=[AWAY, MISSING]), "InProgress", "Failed"),
    "mailboxes of another": (
        of({"metadata": {"generation": 1}, "spec": {}}, [Trouble("MailboxesTaken", "they are town's")]), "InProgress", "Failed",
    ),
    "a child is refused": (of(troubles=[REFUSED]), "InProgress", "Failed"),
    # no failure after all
    "a pod that once ended waits for the store": (
        of(rolling(), pods=beside(crashing(ready_since="2026-01-01T00:00:10Z"))), "InProgress", "InProgress",
    ),
    "a pod that no ReplicaSet made fails": (of(resumed(**ONE), pods=pods_of([crashing()])), "InProgress", "InProgress"),
    "failing pods are taken away": (
        of(rolling(), pods=beside({**waiting("CrashLoopBackOff"), "metadata": leaving("new")["metadata"]})),
        "InProgress", "InProgress",
    ),
}  # fmt: skip


def judged(state: dict[str, Any], patience: Patience, now: float, raw: dict[str, Any] | None = None) -> dict[str, Any]:
    """The resource with the status that the loop would write."""
    before = raw or resource().raw
    generation = before["metadata"]["generation"]
    hindered = hindrance.find(state["troubles"], state["deployment"], state["pods"])
    said = holds((before.get("status") or {}).get("conditions") or (), Type.STALLED, generation)
    stalled = patience.over(before["spec"], hindered, said, now)
    read = type(resource()).parse(before)
    made = report(
        read, found(**{"topics": Topics(True, "AsWished", "")} | state, hindrance=hindered, stalled=stalled), NOW
    )
    return {**before, "status": made.status}


def after(state: dict[str, Any]) -> dict[str, Any]:
    """In the long run."""
    patience = Patience(PATIENCE)
    return judged(state, patience, PATIENCE, judged(state, patience, 0.0))


def told(raw: dict[str, Any], kind: str) -> dict[str, Any] | None:
    return next((each for each in raw["status"]["conditions"] if each["type"] == kind), None)


@pytest.mark.parametrize(("state", "first", "last"), ROWS.values(), ids=ROWS)
def test_each_state_at_first_and_in_the_long_run(state: dict[str, Any], first: str, last: str) -> None:
    assert kstatus(judged(state, Patience(PATIENCE), 0.0)) == first
    assert kstatus(after(state)) == last


@pytest.mark.parametrize("state", [row[0] for row in ROWS.values()], ids=ROWS)
def test_kstatus_own_conditions_are_there_only_while_they_hold_and_never_both(state: dict[str, Any]) -> None:
    for raw in (judged(state, Patience(PATIENCE), 0.0), after(state)):
        own = [each for each in raw["status"]["conditions"] if each["type"] in ("Reconciling", "Stalled")]
        assert len(own) <= 1
        assert all(each["status"] == "True" and each["message"] for each in own)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("an image that is not there", "pod new does not come up: ImagePullBackOff: as the kubelet says"),
        (
            "new pods crash, and run once more",
            "pod new does not come up: it ended with exit code 2: CHARGEGATEWAY_KAFKA: needed",
        ),
        ("the roll's deadline is over", "no further pod has become ready for 1090 s"),
        ("a quota takes no pod", "Kubernetes cannot make pods: exceeded quota"),
        ("a Secret is missing", MISSING.message),
        ("mailboxes of another", "they are town's"),
    ],
)
def test_a_failure_says_what_to_act_on(row: str, words: str) -> None:
    stalled = told(after(ROWS[row][0]), "Stalled")
    assert stalled is not None
    assert stalled["message"] == words


# --- patience ---------------------------------------------------------------------------------------------------------

SPEC = {"replicas": 2, "version": "1"}
STUCK = Trouble("RolloutStuck", "pod new does not come up")


def test_an_autoscaler_does_not_begin_the_wait_anew_and_another_spec_does() -> None:
    patience = Patience(PATIENCE)
    assert not patience.over(SPEC, STUCK, False, 0.0)
    assert patience.ends(0.0) == PATIENCE
    assert patience.over({**SPEC, "replicas": 9}, STUCK, False, PATIENCE)
    assert patience.ends(PATIENCE) is None
    assert not patience.over({**SPEC, "version": "2"}, STUCK, False, PATIENCE + 1)
    assert patience.ends(PATIENCE + 1) == 2 * PATIENCE + 1


def test_what_was_mended_is_forgotten() -> None:
    patience = Patience(PATIENCE)
    patience.over(SPEC, STUCK, False, 0.0)
    assert not patience.over(SPEC, None, False, 60.0)
    assert patience.ends(60.0) is None
    assert not patience.over(SPEC, STUCK, False, PATIENCE)


def test_an_operator_that_begins_goes_on_with_what_the_status_says() -> None:
    state = ROWS["new pods crash"][0]
    stalled = after(state)
    again = judged(state, Patience(PATIENCE), 0.0, stalled)
    assert kstatus(again) == "Failed"
    changed = {**stalled, "metadata": {**stalled["metadata"], "generation": 5}}
    assert kstatus(changed) == "InProgress"
    assert kstatus(judged(state, Patience(PATIENCE), 0.0, changed)) == "InProgress"


def test_every_reason_that_counts_is_one_that_somebody_has_to_act_on() -> None:
    assert {REASONS[reason].level for reason in SOMEBODYS} == {Level.TROUBLE}


# --- without a look at everything -------------------------------------------------------------------------------------


def test_a_spec_that_cannot_be_read_fails_once_that_lasts_and_forgets_the_way_it_was_on() -> None:
    raw = judged(ROWS["roll"][0], Patience(PATIENCE), 0.0)
    raw = {**raw, "metadata": {**raw["metadata"], "generation": 5}}
    trouble = Trouble("InvalidSpec", "spec.kafka: is needed")
    for stalled, expected in ((False, "InProgress"), (True, "Failed")):
        made = {**raw, "status": refusal(raw, trouble, NOW, stalled=stalled).status}
        assert kstatus(made) == expected
        assert told(made, "Reconciling" if stalled else "Stalled") is None


def test_a_paused_resource_whose_spec_changes_is_not_there_before_somebody_looks() -> None:
    before = judged(ROWS["serving"][0], Patience(PATIENCE), 0.0)
    assert kstatus({**before, "status": paused(before, NOW).status}) == "Current"
    changed = {**before, "metadata": {**before["metadata"], "generation": 5}}
    made = {**changed, "status": paused(changed, NOW).status}
    assert kstatus(made) == "InProgress"
    ready = told(made, "Ready")
    assert ready is not None
    assert ready["observedGeneration"] == 4


def test_one_that_nobody_looked_at_yet_is_on_its_way() -> None:
    """As the API server fills it in."""
    assert kstatus({**resource().raw, "status": {"observedGeneration": 0}}) == "InProgress"
    assert kstatus({**resource().raw, "status": paused(resource().raw, NOW).status}) == "InProgress"


# --- Argo CD ----------------------------------------------------------------------------------------------------------


def argo(server: RedisServer, raw: dict[str, Any]) -> str:
    """The health that the rule in docs/kubernetes.md tells, by Redis' Lua: 5.1, as Argo CD's is."""
    page = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
    rule = page.partition("chargegateway.io_ChargeGateway: |\n")[2].partition("\n\n")[0]
    script = f"local obj = cjson.decode(ARGV[1])\nlocal function rule()\n{textwrap.dedent(rule)}\nend\nreturn cjson.encode(rule())"
    with Redis(port=server.port) as redis:
        answer: bytes = redis.eval(script, 0, json.dumps(raw))  # type: ignore[assignment]  # typed for both kinds of clients
    health: dict[str, str] = json.loads(answer)
    assert health.keys() == {"status", "message"}
    return health["status"]


def test_argo_cd_says_the_same_by_the_rule_of_the_docs(redis_server: RedisServer) -> None:
    for name, (state, *_) in ROWS.items():
        for raw in (judged(state, Patience(PATIENCE), 0.0), after(state)):
            assert argo(redis_server, raw) == SAID[kstatus(raw)], name
    assert argo(redis_server, {**resource().raw, "status": {"observedGeneration": 0}}) == "Progressing"


def test_argo_cd_calls_what_is_paused_or_scaled_to_nothing_suspended(redis_server: RedisServer) -> None:
    serving = judged(ROWS["serving"][0], Patience(PATIENCE), 0.0)
    assert argo(redis_server, {**serving, "status": paused(serving, NOW).status}) == "Suspended"
    nothing = judged(
        of(settled(replicas=0, readyReplicas=0, updatedReplicas=0)), Patience(PATIENCE), 0.0, resource(replicas=0).raw
    )
    assert argo(redis_server, nothing) == "Suspended"
