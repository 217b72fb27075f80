"""What of a spec that cannot be read suffices to keep mailboxes with living owners.

A CRD of another version lets specs through that this operator refuses. Its children stay as they are until somebody mends it; but pods go
on dying meanwhile, and a dead one's partitions must not wait for a person. For them only brokers, store and number of partitions count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ocpp_operator.core.spec import Resource, SpecError

_NEEDED: Final = ("kafka", "redis", "commands")


def assignable(raw: Mapping[str, Any], last: Resource | None) -> Resource | None:
    """For assignment only: everything else in it means nothing. None: not even that can be read, nor was it ever by this process."""
    spec = raw.get("spec") or {}
    needed = {name: spec[name] for name in _NEEDED if name in spec}
    try:
        return Resource.parse({**raw, "spec": {**needed, "decisions": {"type": "Accept"}}})
    except SpecError:
        metadata = raw["metadata"]
        if last is None or last.uid != metadata["uid"]:
            return None
        return replace(
            last, raw=raw, annotations=metadata.get("annotations") or {}, deleting="deletionTimestamp" in metadata
        )
