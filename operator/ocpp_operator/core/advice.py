"""What each reason of a condition means and what to do about it, for `chargegateway doctor` and docs/kubernetes.md.

Complete: a test reads the reasons out of the modules that give them, and fails for one that has no line here. `NAME` and
`NAMESPACE` in a step are those of the resource.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Level(StrEnum):
    """How much something matters."""

    OK = "ok"
    NOTE = "note"
    """Passes by itself, or is a choice that somebody should know of."""
    TROUBLE = "trouble"
    """Somebody has to act, or at least look."""


@dataclass(frozen=True, slots=True)
class Advice:
    """`meaning` goes on after a colon; `step` is what to do, empty where nothing is."""

    level: Level
    meaning: str
    step: str = ""


def _ok(meaning: str) -> Advice:
    return Advice(Level.OK, meaning)


def _note(meaning: str, step: str = "") -> Advice:
    return Advice(Level.NOTE, meaning, step)


def _trouble(meaning: str, step: str) -> Advice:
    return Advice(Level.TROUBLE, meaning, step)


_PODS: Final = "kubectl -n NAMESPACE get pods -l app.kubernetes.io/instance=NAME"
_SECRET: Final = "pods start and connect by themselves once it is there"

REASONS: Final[Mapping[str, Advice]] = {
    # Ready, Progressing, Degraded
    "Serving": _ok("every wished pod is ready and every partition is served"),
    "AsWished": _ok("everything is as the resource says"),
    "Settled": _ok("nothing is on its way"),
    "InvalidSpec": _trouble(
        "the operator cannot read the spec, which the CRD let through: CRD and operator are of different versions; children stay as they "
        "are meanwhile, and partitions keep living owners as long as spec.kafka, spec.redis and spec.commands are readable",
        "mend the fields that the message names, and apply the CRD of the operator's version",
    ),
    "MailboxesTaken": _trouble(
        "another ChargeGateway uses this Redis and key prefix, or these command topics; who is at work there keeps them",
        "give this resource its own spec.redis.keyPrefix and topic names (both are immutable: delete and create it), or delete the other; "
        "if that one is gone: docs/kubernetes.md, What a deleted resource may leave behind",
    ),
    "NameTaken": _trouble(
        "an object of a child's name exists and belongs to somebody else",
        "rename or delete that object, or create the resource under another name",
    ),
    "ChildRefused": _trouble(
        "the API server refuses a child: a quota, an admission webhook, a policy, or a right that the operator lacks",
        "the message is the API server's own: change what it names; rights come with the chart",
    ),
    "ChildrenNotWritten": _trouble(
        "a child could not be written or deleted: the API server or a webhook of it does not answer, or a right is missing; pods "
        "and mailboxes are looked after all the same",
        "it is tried again by itself; if it stays, the message is the API server's own: look at what it names",
    ),
    "PodNotTold": _trouble(
        "the API server refuses to annotate a pod, which so does not learn of its partitions: a policy, a webhook that is away, or a right "
        "that the operator lacks; the other pods are looked after all the same",
        "the message is the API server's own: let the policy except changes of annotations under chargegateway.io/ by the operator; it is "
        "tried again by itself",
    ),
    "PodWithoutLabels": _trouble(
        "somebody took the labels of a pod that serves: no list shows it, the Service sends it nobody, and it keeps its partitions",
        "delete the pod; its partitions go to the others at once",
    ),
    "ScaledToZero": _note(
        "spec.replicas is 0: stations are refused and commands wait", "kubectl -n NAMESPACE scale cgw/NAME --replicas=2"
    ),
    "PodsNotReady": _trouble(
        "fewer pods than wished are ready",
        f"the message names the first trouble; then {_PODS}, kubectl describe and kubectl logs of one that is not ready",
    ),
    "RolloutStuck": _trouble(
        "pods of the latest template do not come up; those of before serve on",
        "the message names a pod and why: mend that, or put back the field of the spec that was changed last; "
        "kubectl -n NAMESPACE describe pod and kubectl logs --previous of that pod say more",
    ),
    "PartitionsUnowned": _trouble(
        "no living pod serves some mailbox partitions, so their commands wait; after a pod died this ends within half a minute",
        "if it stays: are pods ready, and does Redis answer them and the operator?",
    ),
    "StoreUnavailable": _trouble(
        "the operator cannot ask Redis, so it neither knows nor changes who serves what; pods go on as they are",
        "see the reason of Degraded, which says what is wrong with Redis",
    ),
    "Rolling": _note("pods are being replaced by those of the latest template"),
    "Draining": _note("pods that leave send their stations away at the drain rate"),
    "MovingPartitions": _note("partitions are on their way from one pod to another"),
    "Starting": _note("pods are starting"),
    "Paused": _note(
        "the annotation chargegateway.io/pause-reconciliation is true: nothing is looked at or written",
        "kubectl -n NAMESPACE annotate cgw/NAME chargegateway.io/pause-reconciliation-",
    ),
    # Secrets
    "SecretMissing": _trouble(
        "a Secret that the spec names, or a key in it, is not there, or is no text",
        f"create the Secret or correct its name and key in the spec; {_SECRET}",
    ),
    "SecretUnreadable": _trouble(
        "the operator may not read a Secret that the spec names",
        "let the operator serve this namespace (chart: watchNamespaces), or mend its Role",
    ),
    # Redis
    "RedisUnreachable": _trouble(
        "no usable connection to Redis, or it is loading, or its cluster is changing",
        "check spec.redis.addresses, DNS, network policies and whether Redis runs; nothing else is to be done when it comes back",
    ),
    "RedisAuthenticationFailed": _trouble(
        "Redis refuses the user or its password, or wants one and none is given",
        "compare spec.redis.username and the Secret of spec.redis.passwordSecretRef with Redis' ACL; a corrected Secret is used at once",
    ),
    "RedisPermissionDenied": _trouble(
        "the ACL of the Redis user lacks a command or keys", "grant the user the ACL line of docs/redis.md"
    ),
    "RedisTlsFailed": _trouble(
        "no TLS with Redis, or its certificate is not trusted",
        "does this port speak TLS, is spec.redis.tls.caSecretRef its authority, and is the address in the certificate?",
    ),
    "RedisWrongMode": _trouble("spec.redis.mode and the server do not fit", "set spec.redis.mode as the message says"),
    "RedisNotWritable": _trouble(
        "Redis takes no writes: a replica, memory used up, or too few replicas",
        "give the master's address; free or add memory (maxmemory-policy must be noeviction)",
    ),
    "RedisRefused": _trouble(
        "Redis refuses a command for another reason", "is it Redis 7.0 or newer, or Valkey? The message is the server's own"
    ),
    # Kafka and its topics
    "KafkaUnavailable": _trouble(
        "no broker answers the operator",
        "check spec.kafka.bootstrapServers, DNS, network policies and whether Kafka runs; nothing else is to be done when it comes back",
    ),
    "KafkaDenied": _trouble(
        "a broker refuses the operator, or is not to be trusted: password, certificate, authority, or a missing right",
        "correct what the message names; the rights are in docs/kubernetes.md; a corrected Secret is used at once",
    ),
    "NotAsked": _note("the brokers have not been asked yet"),
    "AsWishedWithNotes": _note("the topics keep the contract, but are not exactly as the resource says"),
    "TopicsBeingCreated": _note("topics are being created, or have no leaders yet"),
    "TopicsDiffer": _trouble(
        "a topic exists and is not as the contract needs it; the operator never alters a topic that exists",
        "alter the topic as the message says, or use another topic name in a new resource",
    ),
    "TopicsMissing": _trouble(
        "topics are missing and the operator is not to create them", "create them as the message says (number of partitions, replicas)"
    ),
    "TopicsNotCreated": _trouble(
        "a broker refused to create topics",
        "grant the user Create on them, lower spec.kafka.topics.replicas to the number of brokers, or create them yourself",
    ),
    "PartitionsWithoutLeader": _trouble(
        "partitions of a topic have no leader: brokers are down", "look at the brokers; pods go on by themselves"
    ),
    "TooFewInSyncReplicas": _trouble(
        "partitions have fewer replicas in sync than writes need", "look at the brokers; stations are answered again when they are back"
    ),
    # AssignmentConverged, Hardened, UpgradeAvailable
    "Converged": _ok("every pod serves what it was told"),
    "Moving": _note("pods are still taking over or letting go of partitions"),
    "NoPods": _trouble("there is no pod that could serve partitions", f"see Ready; {_PODS}"),
    "Hardened": _ok("no open ends"),
    "OpenEnds": _note(
        "choices of the spec that a person in charge of security should know of", "change what the message names, where it is not meant"
    ),
    "Current": _ok("pods are what this operator would make"),
    "Newer": _note(
        "the operator would make newer pods; it rolls none for that",
        "set spec.version when it suits you: the pods are replaced one by one",
    ),
    "Differs": _note(
        "the operator would make other pods than those that run; it rolls none for that",
        "nothing has to be done: the next change of the spec that concerns pods takes it along",
    ),
    "Older": _note(
        "the operator would make pods of an older version, as after helm rollback; it rolls none for that, but the next change of the spec "
        "takes them back",
        "set spec.version to what runs (status.version) to keep it, or to the older version to go back now",
    ),
    # Of single pods, in status.pods
    "Waiting": _trouble("a container of the pod waits", "kubectl -n NAMESPACE describe pod of the one that is named"),
    "AssignmentPending": _note("the pod has not applied its latest partitions yet"),
    "NotReady": _trouble("the pod is not ready", "its log says why; so does GET /readyz on its port 9090"),
}  # fmt: skip

_NO_IMAGE: Final = _trouble(
    "the image cannot be fetched",
    "look at spec.image and spec.version; for a private registry at spec.image.pullSecrets",
)
PODS: Final[Mapping[str, Advice]] = {
    "CrashLoopBackOff": _trouble(
        "the gateway ends again and again",
        "kubectl -n NAMESPACE logs POD --previous: exit code 2 is a setting or a file of a Secret that makes no sense, and is named",
    ),
    "ImagePullBackOff": _NO_IMAGE,
    "ErrImagePull": _NO_IMAGE,
    "InvalidImageName": _trouble("the image's name is none", "spec.image.repository and spec.version"),
    "CreateContainerConfigError": _trouble(
        "something that the container needs is not there", "the message names it: a Secret or ConfigMap, or its key"
    ),
    "Unschedulable": _trouble(
        "no node takes the pod", "the message says why: free or add nodes, or change spec.template (resources, nodeSelector, tolerations)"
    ),
    "FailedMount": _trouble("a volume is not there", f"the message names the Secret or ConfigMap; {_SECRET}"),
    "FailedCreate": _trouble("Kubernetes refuses to make pods", "the message names the quota, policy or webhook"),
    "OOMKilled": _trouble("the container used more memory than its limit", "raise spec.template.container.resources.limits.memory"),
    "NotReady": REASONS["NotReady"],
}  # fmt: skip
"""By the reason that Kubernetes gives; `POD` in a step is the pod's name."""

ANY_POD: Final = _trouble("the pod does not run", "kubectl -n NAMESPACE describe pod POD")


def addressed(step: str, namespace: str, name: str, pod: str = "") -> str:
    """The step with the names of one resource."""
    return step.replace("NAMESPACE", namespace).replace("NAME", name).replace("POD", pod)


def table() -> str:
    """All reasons as Markdown, for docs/kubernetes.md."""
    return "\n".join(_rows())


def _rows() -> Iterator[str]:
    yield "| reason | what it means | what to do |"
    yield "| --- | --- | --- |"
    for reason, advice in REASONS.items():
        if advice.level is not Level.OK:
            yield f"| `{reason}` | {advice.meaning} | {advice.step or 'nothing: it passes by itself'} |"
