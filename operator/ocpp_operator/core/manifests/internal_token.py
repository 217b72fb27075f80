"""The Secret with the token of the pods' internal API. Pods read the file at each request, so a new one needs no roll."""

from __future__ import annotations

from base64 import b64encode

from ocpp_operator.core import kinds, names
from ocpp_operator.core.gateway_settings import TOKEN_KEY
from ocpp_operator.core.manifests.metadata import Manifest, child
from ocpp_operator.core.spec import Resource


def build(resource: Resource, token: str) -> Manifest:
    """The token is drawn by the caller, once, and read back from the Secret ever after."""
    return {
        **child(resource, kinds.SECRET, names.internal_token(resource.name)),
        "type": "Opaque",
        "data": {TOKEN_KEY: b64encode(token.encode()).decode("ascii")},
    }
