"""Which pod template is in force: the one stored when the spec last changed, or a new one.

A change of the operator's own version must roll no pod, although it may render them differently. So what was rendered is kept in
a ControllerRevision, together with the fields that it was rendered from (`template_inputs`), and applied again as long as those
fields stay. A newer rendering waits until a field changes (any of them: the fleet rolls then anyway) and is announced until then.

Revisions are numbered like a StatefulSet's: the highest number is in force. A few older ones stay, for people to look at and for
pods that still run by them. Those of a deleted resource of the same name, which garbage collection may not have reached yet, are
nobody's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ocpp_operator.core import gateway_settings, kinds, names
from ocpp_operator.core.manifests import pod_template
from ocpp_operator.core.manifests.metadata import Manifest, child
from ocpp_operator.core.spec import Resource
from ocpp_operator.core.template_inputs import Inputs
from ocpp_operator.core.upgrade import Upgrade

KEPT: Final = 5
"""Revisions, the one in force included."""


class RevisionError(ValueError):
    """A ControllerRevision that no `to_revision` made."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A pod template, the settings that its pods read, and what both were made of."""

    template: Mapping[str, Any]
    settings: Mapping[str, Any]
    made_of: Inputs

    @property
    def inputs(self) -> str:
        """Fingerprint of what both were made of."""
        return self.made_of.fingerprint

    @property
    def version(self) -> str:
        """Version of the gateway: the tag of its image."""
        image: str = self.template["spec"]["containers"][0]["image"]
        return image.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The template in force."""

    rendered: Rendered
    write: Manifest | None
    """The revision to write before anything that follows from it; None: it is stored."""
    upgrade: Upgrade | None
    """Where this operator would render something else than what is stored."""
    stale: tuple[str, ...]
    """Names of revisions to delete, once the one in force is written."""
    kept: tuple[Rendered, ...]
    """In force and before: pods that still run by them need their settings."""
    changed: tuple[str, ...] = ()
    """Fields for which a new one was rendered (JSON pointers); empty also for the very first."""


def render(resource: Resource, version: str, repository: str) -> Rendered:
    """What this operator makes of the resource. `version` and `repository` are for one that names none."""
    spec = resource.spec
    image = f"{spec.image.repository or repository}:{spec.version or version}"
    settings = gateway_settings.render(resource)
    return Rendered(pod_template.build(resource, image, settings), settings, Inputs.of(spec))


def to_revision(resource: Resource, rendered: Rendered, number: int) -> Manifest:
    """The ControllerRevision. Its data never changes under one name; the number may, when a spec is what it was before."""
    data = {
        "template": rendered.template,
        "settings": rendered.settings,
        "inputs": rendered.made_of.to_data(),
    }
    fingerprint = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    name = names.revision(resource.name, fingerprint)
    return {
        **child(resource, kinds.REVISION, name, {names.INPUTS_ANNOTATION: rendered.inputs}),
        "revision": number,
        "data": data,
    }


def from_revision(raw: Mapping[str, Any]) -> Rendered:
    """What was stored. Raises RevisionError."""
    try:
        data = raw["data"]
        rendered = Rendered(data["template"], data["settings"], Inputs.from_data(data["inputs"]))
        _ = rendered.version
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise RevisionError(f"ControllerRevision {_name(raw)} holds no pod template of ours: {error!r}") from None
    return rendered


def choose(resource: Resource, revisions: Sequence[Mapping[str, Any]], fresh: Rendered) -> Chosen:
    """`revisions` are those found by label, in any order; `fresh` is what this operator renders now."""
    ours = sorted((raw for raw in revisions if _owned(resource, raw)), key=_number, reverse=True)
    readable = [(raw, rendered) for raw in ours if (rendered := _read(raw)) is not None]
    if readable:
        raw, stored = readable[0]
        changed = fresh.made_of.changes(stored.made_of)
        if not changed:
            differs = (stored.template, stored.settings) != (fresh.template, fresh.settings)
            upgrade = Upgrade(running=stored.version, offered=fresh.version) if differs else None
            return _chosen(stored, _name(raw), None, ours, upgrade)
    else:
        changed = []
    written = to_revision(resource, fresh, max(map(_number, ours), default=0) + 1)
    return _chosen(fresh, _name(written), written, ours, None, changed)


def _chosen(
    rendered: Rendered,
    name: str,
    write: Manifest | None,
    ours: Sequence[Mapping[str, Any]],
    upgrade: Upgrade | None,
    changed: Sequence[str] = (),
) -> Chosen:
    others = [raw for raw in ours if _name(raw) != name]
    before = (_read(raw) for raw in others[: KEPT - 1])
    return Chosen(
        rendered=rendered,
        write=write,
        upgrade=upgrade,
        stale=tuple(_name(raw) for raw in others[KEPT - 1 :]),
        kept=(rendered, *(older for older in before if older is not None)),
        changed=tuple(changed),
    )


def _read(raw: Mapping[str, Any]) -> Rendered | None:
    """None for one that a later version wrote in a form of its own: then it is as if it were not there."""
    try:
        return from_revision(raw)
    except RevisionError:
        return None


def _owned(resource: Resource, raw: Mapping[str, Any]) -> bool:
    owners = raw["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == resource.uid for owner in owners)


def _number(raw: Mapping[str, Any]) -> int:
    return int(raw.get("revision", 0))


def _name(raw: Mapping[str, Any]) -> str:
    return str(raw["metadata"]["name"])
