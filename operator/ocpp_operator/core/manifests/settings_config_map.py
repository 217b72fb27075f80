"""The ConfigMap with the gateways' settings: those in force and those before, one file each.

A pod reads the settings that its own template names. In a roll that hangs (an image that cannot be pulled, say) old pods still
run; one that crashes then begins again with the settings of its version, and not with new ones that it may not understand.
"""

from __future__ import annotations

from collections.abc import Iterable

from ocpp_operator.core import gateway_settings, kinds, names
from ocpp_operator.core.manifests.metadata import Manifest, child
from ocpp_operator.core.manifests.pod_volumes import settings_key
from ocpp_operator.core.spec import Resource
from ocpp_operator.core.template import Rendered


def build(resource: Resource, kept: Iterable[Rendered]) -> Manifest:
    data = {
        settings_key(gateway_settings.fingerprint(rendered.settings)): gateway_settings.text(rendered.settings)
        for rendered in kept
    }
    return {**child(resource, kinds.CONFIG_MAP, names.settings(resource.name)), "data": dict(sorted(data.items()))}
