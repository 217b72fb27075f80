"""What a pass knows at its end, before anything is judged of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocpp_operator.core.fleet import GatewayPod
from ocpp_operator.core.possession import Possession
from ocpp_operator.core.upgrade import Upgrade


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that keeps the resource from being what it should be. `reason` is a CamelCase word, `message` for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Topics:
    """What is known of the topics. `ready` None: the brokers could not be asked."""

    ready: bool | None
    reason: str
    message: str


NOT_ASKED = Topics(None, "NotAsked", "the brokers have not been asked yet")


@dataclass(frozen=True, slots=True)
class Swept:
    """The last look through all entries; `at` is RFC 3339."""

    scanned: int
    removed: int
    at: str


@dataclass(frozen=True, slots=True)
class Found:
    """All that a pass knows at its end."""

    version: str
    generation: int = 0
    """Of the plan."""
    upgrade: Upgrade | None = None
    """None: the pods are what this operator would make."""
    deployment: Mapping[str, Any] | None = None
    service: Mapping[str, Any] | None = None
    pods: Sequence[GatewayPod] = ()
    possession: Possession | None = None
    """None: the store could not be asked."""
    store_trouble: str | None = None
    topics: Topics = NOT_ASKED
    troubles: Sequence[Trouble] = ()
    """The worst first."""
    written: bool = True
    """Every child is as wished as far as we can make it so; False: another pass has to go on with that."""
    hindrance: Trouble | None = None
    """What keeps the resource from what its spec says and does not pass by itself (`core.hindrance`)."""
    stalled: bool = False
    """It has done so for long enough to be called stalled."""
    swept: Swept | None = None
