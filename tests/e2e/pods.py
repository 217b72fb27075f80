"""Pods for tests: one container without rights, as restricted pod security wants it."""

from __future__ import annotations

from typing import Any

SECURITY = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
WITHOUT_RIGHTS = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
PYTHON = "/opt/chargegateway/bin/python"


def container(image: str, *command: str, **more: Any) -> dict[str, Any]:
    """Without `command`: what the image starts by itself."""
    found: dict[str, Any] = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "securityContext": WITHOUT_RIGHTS,
    }
    if command:
        found["command"] = list(command)
    return found | more


def pod(namespace: str, name: str, main: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod labelled `app: <name>`."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "securityContext": SECURITY,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [main],
            **spec,
        },
    }


def service(namespace: str, name: str, port: int, target: int) -> dict[str, Any]:
    """A ClusterIP Service of the pods labelled `app: <name>`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": port, "targetPort": target, "protocol": "TCP"}]},
    }
