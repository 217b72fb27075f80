"""The pod: one container without rights, spread over zones and hosts, probed on its admin port.

It passes the `restricted` pod security standard. Neither user nor group is set: the image names a user by number, and clusters
that give each namespace users of its own (OpenShift) refuse any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ocpp_operator.core import gateway_settings, names
from ocpp_operator.core.manifests import pod_volumes
from ocpp_operator.core.spec import ContainerTemplate, EnvVar, Resource, Spec, Toleration, container_port

CONTAINER: Final = "gateway"
ADMIN: Final = "admin"
"""Name of the admin port."""
_MIB = 1_048_576


def build(resource: Resource, image: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """metadata and spec of the pods."""
    pod = resource.spec.template.pod
    fingerprint = gateway_settings.fingerprint(settings)
    ours = {
        "kubectl.kubernetes.io/default-container": CONTAINER,  # beside sidecars that others inject
        names.SETTINGS_ANNOTATION: fingerprint,
    }
    return {
        "metadata": {
            "labels": {**pod.labels, **names.pod_labels(resource.name)},
            "annotations": {**pod.annotations, **ours},
        },
        "spec": _pod(resource, image, fingerprint),
    }


def _pod(resource: Resource, image: str, fingerprint: str) -> dict[str, Any]:
    spec, pod = resource.spec, resource.spec.template.pod
    found: dict[str, Any] = {
        "serviceAccountName": names.gateway(resource.name),
        "automountServiceAccountToken": False,  # a gateway has nothing to ask of the API server
        "enableServiceLinks": False,  # variables for each Service of the namespace; some could look like settings of ours
        "terminationGracePeriodSeconds": spec.grace_period,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(resource, image)],
        "volumes": pod_volumes.volumes(resource, fingerprint),
    }
    if spread := _spread(resource):
        found["topologySpreadConstraints"] = spread
    if spec.image.pull_secrets:
        found["imagePullSecrets"] = [{"name": reference.name} for reference in spec.image.pull_secrets]
    if pod.node_selector:
        found["nodeSelector"] = dict(pod.node_selector)
    if pod.tolerations:
        found["tolerations"] = [_toleration(toleration) for toleration in pod.tolerations]
    if pod.affinity:
        found["affinity"] = dict(pod.affinity)
    if pod.priority_class_name:
        found["priorityClassName"] = pod.priority_class_name
    return found


def _container(resource: Resource, image: str) -> dict[str, Any]:
    spec = resource.spec
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": spec.image.pull_policy,
        "ports": [
            *(_port(listener.name, container_port(index)) for index, listener in enumerate(spec.listeners)),
            _port(ADMIN, names.ADMIN_PORT),
        ],
        "env": [
            {"name": "CHARGEGATEWAY_SETTINGS_FILE", "value": gateway_settings.SETTINGS_FILE},
            _field("CHARGEGATEWAY_POD__NAME", "metadata.name"),
            _field("CHARGEGATEWAY_POD__UID", "metadata.uid"),
            *(_variable(variable) for variable in spec.template.container.env),
        ],
        "resources": _resources(spec.template.container, spec),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # Python reads its schemas before the admin port answers, and shares its core with others: two minutes at most.
        "startupProbe": _probe("/livez", periodSeconds=1, timeoutSeconds=5, failureThreshold=120),
        # A restart closes every socket of the pod: only for a process that has been silent for half a minute.
        "livenessProbe": _probe("/livez", periodSeconds=10, timeoutSeconds=5, failureThreshold=3),
        # Quicker than drain.loadBalancerWait; one slow answer alone takes no pod out of service.
        "readinessProbe": _probe("/readyz", periodSeconds=3, timeoutSeconds=3, failureThreshold=2),
        "volumeMounts": pod_volumes.mounts(resource),
    }


def _resources(container: ContainerTemplate, spec: Spec) -> dict[str, Any]:
    """As the resource says, all or nothing: a request of theirs beside a limit of ours could be refused.

    Without a word: what was measured for limits.connectionsPerPod stations (4.7 KiB each, 34 KiB with TLS, see
    benchmarks/RESULTS.md) with room for what they send, and twice that as the limit. No limit of CPU: throttling stops
    the whole process, past the leases of its partitions.
    """
    theirs = container.resources
    if theirs.requests or theirs.limits:
        found = {"requests": dict(theirs.requests), "limits": dict(theirs.limits)}
        return {what: amounts for what, amounts in found.items() if amounts}
    each = 48 if any(listener.tls for listener in spec.listeners) else 12
    memory = 256 + spec.limits.connections_per_pod * each * 1024 // _MIB
    return {"requests": {"cpu": "500m", "memory": f"{memory}Mi"}, "limits": {"memory": f"{2 * memory}Mi"}}


def _spread(resource: Resource) -> list[dict[str, Any]]:
    """Over zones first, then over hosts; each revision by itself, or the pods that leave would push the new ones aside.

    Nodes that take no pod are not counted: otherwise a zone that is lost, or a node that is being drained, would stand there with
    too few pods, and the replacements would have to go there and nowhere else.
    """
    wish = resource.spec.template.pod.topology_spread
    if wish == "None":
        return []
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "DoNotSchedule" if wish == "Required" else "ScheduleAnyway",
            "labelSelector": {"matchLabels": names.pod_labels(resource.name)},
            "matchLabelKeys": ["pod-template-hash"],
            "nodeTaintsPolicy": "Honor",
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _toleration(toleration: Toleration) -> dict[str, Any]:
    found = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
        "tolerationSeconds": toleration.toleration_seconds,
    }
    return {name: value for name, value in found.items() if value is not None}


def _variable(variable: EnvVar) -> dict[str, Any]:
    if variable.value_from is not None:
        return {"name": variable.name, "valueFrom": dict(variable.value_from)}
    return {"name": variable.name, **({} if variable.value is None else {"value": variable.value})}


def _field(variable: str, path: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _probe(path: str, **times: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": ADMIN}, **times}
