"""What the operator needs to clean up after a resource, kept beside it: a ConfigMap that has no owner and so outlives it.

    $ kubectl get configmap city-farewell -o yaml
    data:
      configMap: 6b0c7e1e-...       # its own uid
      format: "1"
      resource: '{"metadata":{"name":"city","namespace":"grid","uid":"0d5e..."},"spec":{...}}'

A resource has no finalizer, and all its children go with it. An operator that was away at that time would know neither that there was
one nor where its Redis and Kafka are. A spec holds no secret, only names of Secrets, which are the user's and stay.

The record counts only as the object that we made: one that was copied, to another cluster from a backup say, has another uid. Somebody's
living resource would be taken for gone there. Its uid is known only once it is there, so it takes a second write to finish it: before
that nobody holds a mailbox yet, and there is nothing to remember.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ocpp_operator.core import kinds, names
from ocpp_operator.core.spec import Resource

FORMAT: Final = "1"

Raw = Mapping[str, Any]


class Unreadable(ValueError):
    """The message says why."""


class Unfinished(Unreadable):
    """A record as it is written first, and otherwise as it should be."""


def manifest(resource: Resource, there: Raw | None) -> dict[str, Any]:
    """The record of `resource`; `there` is the object as it stands, which alone has a uid to name."""
    metadata = {"name": resource.name, "namespace": resource.namespace, "uid": resource.uid}
    kept = {"metadata": metadata, "spec": resource.raw.get("spec") or {}}
    data = {"format": FORMAT, "resource": json.dumps(kept, sort_keys=True, separators=(",", ":"))}
    if there is not None:
        data["configMap"] = str(there["metadata"]["uid"])
    return {
        "apiVersion": kinds.CONFIG_MAP.api_version,
        "kind": kinds.CONFIG_MAP.kind,
        "metadata": {
            "name": names.farewell(resource.name),
            "namespace": resource.namespace,
            "labels": names.labels(resource.name),
        },
        "data": data,
    }


def read(there: Raw) -> Resource:
    """The resource that it was made for. Raises Unreadable (Unfinished is one), SpecError."""
    metadata, data = there["metadata"], there.get("data") or {}
    if data.get("format") != FORMAT:
        raise Unreadable(f"format {data.get('format')!r} is not known")
    if (own := data.get("configMap")) not in (None, metadata["uid"]):
        raise Unreadable("it is a copy")
    try:
        kept = json.loads(data.get("resource", ""))
        resource = Resource.parse(kept)
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise Unreadable(f"resource: {error}") from None
    if (resource.namespace, names.farewell(resource.name)) != (metadata["namespace"], metadata["name"]):
        raise Unreadable(f"it is about {resource.namespace}/{resource.name}")
    if own is None:
        raise Unfinished("it was never finished")
    return resource
