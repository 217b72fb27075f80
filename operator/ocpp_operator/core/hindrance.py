"""What keeps a resource from becoming what its spec says and does not pass by itself: the ground of the condition `Stalled`.

To kstatus, and so to Flux, `Stalled` is a failure: it ends the wait for a deployment at once. So it must not be said of what merely takes
long (a drain, a node that is being bought, brokers that restart) nor of one pod that is lost, and not of the moment between two
objects that were applied together (a Secret that External Secrets brings a little later). Hence three rules:

* A trouble counts if a person has to change something (`SOMEBODYS`). An outage of Kafka or Redis does not.
* Pods that do not come up count while Kubernetes calls the roll unfinished, the very first included. Once it was finished, a pod that
  fails makes `Ready` False and is replaced; a scale-up that finds no room waits. Nor does a pod of an earlier template count, which waits
  for its turn in the roll that may be its cure.
* It has to last (`Patience`), and begins anew with each spec, replicas aside: an autoscaler changes them all the time. What was put
  right is looked at with fresh eyes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ocpp_operator.core.fleet import GatewayPod
from ocpp_operator.core.found import Trouble

SOMEBODYS: Final = frozenset(
    {
        "InvalidSpec", "MailboxesTaken", "NameTaken", "ChildRefused", "SecretMissing", "SecretUnreadable", "KafkaDenied",
        "TopicsDiffer", "TopicsMissing", "TopicsNotCreated", "RedisAuthenticationFailed", "RedisPermissionDenied",
        "RedisTlsFailed", "RedisWrongMode", "RedisNotWritable", "RedisRefused",
    }
)  # fmt: skip
"""Reasons of troubles that stay until somebody acts."""


def find(
    troubles: Sequence[Trouble], deployment: Mapping[str, Any] | None, pods: Sequence[GatewayPod]
) -> Trouble | None:
    """The first of them; None: it is on its way, or there. `deployment` as Kubernetes shows it."""
    found = next((trouble for trouble in troubles if trouble.reason in SOMEBODYS), None)
    if found is not None or deployment is None or not _unfinished(deployment):
        return found
    conditions = _conditions(deployment)
    refused = conditions.get("ReplicaFailure", {})
    if refused.get("status") == "True":
        return Trouble("RolloutStuck", f"Kubernetes cannot make pods: {refused.get('message', '')}")
    if failing := [pod for pod in _newest(deployment, pods) if pod.failing is not None]:
        more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
        return Trouble("RolloutStuck", f"pod {failing[0].name} does not come up: {failing[0].failing}{more}")
    progress = conditions.get("Progressing", {})
    if progress.get("status") == "False" and not deployment["spec"].get("paused"):
        seconds = deployment["spec"].get("progressDeadlineSeconds", 600)
        why = next((f": {pod.name}: {pod.trouble}" for pod in pods if pod.trouble), "")
        return Trouble("RolloutStuck", f"no further pod has become ready for {seconds} s{why}")
    return None


def _unfinished(deployment: Mapping[str, Any]) -> bool:
    """Whether Kubernetes has taken up the template and not yet once seen all its pods available."""
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return False
    reason = _conditions(deployment).get("Progressing", {}).get("reason")
    if deployment["spec"].get("paused") or reason in ("DeploymentPaused", "DeploymentResumed"):
        # A pause takes the place of what was said before, also where nothing rolls (`core.pacing` pauses for a scale-down, too).
        return bool(status.get("updatedReplicas", 0) < status.get("replicas", 0))
    return reason != "NewReplicaSetAvailable"


def _newest(deployment: Mapping[str, Any], pods: Sequence[GatewayPod]) -> list[GatewayPod]:
    """Those of the latest template that stay. None where it is not sure which they are: then only the roll's own deadline tells.

    Kubernetes says it of no pod. But the ReplicaSet of that template has as many pods as the status calls updated, and among several of
    that size it is the one that `Progressing` names. Age tells nothing: a pod of an earlier template that dies is replaced by a
    younger one, and a spec that is taken back makes the older template the latest.
    """
    updated = (deployment.get("status") or {}).get("updatedReplicas", 0)
    staying = [pod for pod in pods if pod.template is not None and not pod.deleting]
    latest = [template for template, size in Counter(pod.template for pod in staying).items() if size == updated]
    if len(latest) > 1:
        name, said = deployment["metadata"]["name"], _conditions(deployment).get("Progressing", {}).get("message", "")
        latest = [template for template in latest if f'"{name}-{template}"' in said]
    return [pod for pod in staying if latest == [pod.template]]


def _conditions(deployment: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {each["type"]: each for each in (deployment.get("status") or {}).get("conditions") or ()}


class Patience:
    """Since when this observer has seen one spec hindered, by its own clock. `seconds`: how long it waits before it calls that stalled."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._spec: Mapping[str, Any] = {}
        self._since: float | None = None

    def over(self, spec: Mapping[str, Any], hindrance: Trouble | None, said: bool, now: float) -> bool:
        """Whether it is stalled. `spec` is raw; `said`: the status says so of this very spec, and a process that begins goes on with
        that."""
        if hindrance is None:
            self._since = None
            return False
        spec = {**spec, "replicas": None}
        if self._since is None:
            self._since = now - self._seconds if said else now
        elif spec != self._spec:
            self._since = now
        self._spec = spec
        return now >= self._since + self._seconds

    def ends(self, now: float) -> float | None:
        """When it will be over, if nothing changes; None: it is over, or there is nothing to be patient with."""
        if self._since is None or now >= self._since + self._seconds:
            return None
        return self._since + self._seconds
