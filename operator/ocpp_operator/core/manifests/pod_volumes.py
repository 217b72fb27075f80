"""What is mounted into a pod: its settings, its assignment (the Downward API shows the annotations), and Secrets as files.

Whole directories are mounted, never a `subPath`: only then do a rotated Secret and a new assignment reach a running pod. The settings
alone must not change under it: after a crash a container would begin with those of another version, whose words it may not
know. So the ConfigMap holds the settings of each revision, and a pod names its own.
"""

from __future__ import annotations

import posixpath
from typing import Any, Final

from ocpp_contract.names import ANNOTATIONS_PATH
from ocpp_operator.core import gateway_settings, names
from ocpp_operator.core.gateway_settings import SETTINGS_FILE, SecretFiles
from ocpp_operator.core.spec import Resource

_READABLE: Final = 0o444
"""By whichever user the cluster lets the pod run as; nobody else is in it."""


def settings_key(fingerprint: str) -> str:
    """The settings of one revision in the ConfigMap of all."""
    return f"settings-{fingerprint}.json"


def volumes(resource: Resource, fingerprint: str) -> list[dict[str, Any]]:
    """`fingerprint` is that of the settings."""
    settings = {"key": settings_key(fingerprint), "path": posixpath.basename(SETTINGS_FILE)}
    annotations = {
        "path": posixpath.basename(ANNOTATIONS_PATH),
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.annotations"},
    }
    return [
        {
            "name": "settings",
            "configMap": {"name": names.settings(resource.name), "defaultMode": _READABLE, "items": [settings]},
        },
        {"name": "podinfo", "downwardAPI": {"defaultMode": _READABLE, "items": [annotations]}},
        *(_secret(files) for files in gateway_settings.secret_files(resource)),
    ]


def _secret(files: SecretFiles) -> dict[str, Any]:
    items = [{"key": key, "path": file} for file, key in files.keys.items()]
    return {
        "name": files.folder,
        "secret": {"secretName": files.secret, "defaultMode": _READABLE, "items": items},
    }


def mounts(resource: Resource) -> list[dict[str, Any]]:
    """Of the same volumes."""
    return [
        _mount("settings", posixpath.dirname(SETTINGS_FILE)),
        _mount("podinfo", posixpath.dirname(ANNOTATIONS_PATH)),
        *(
            _mount(files.folder, f"{gateway_settings.SECRETS}/{files.folder}")
            for files in gateway_settings.secret_files(resource)
        ),
    ]


def _mount(volume: str, path: str) -> dict[str, Any]:
    return {"name": volume, "mountPath": path, "readOnly": True}
