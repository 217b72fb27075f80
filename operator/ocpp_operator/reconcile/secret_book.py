"""Which Secrets the resources of this process name, and what is in them: the sum of all loops' wishes, watched by one adapter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from ocpp_operator.adapters.secrets import SecretName, SecretState, SecretWatches
from ocpp_operator.core.findings import Trouble
from ocpp_operator.core.mirror import Key


class SecretBook:
    """`wake` is called with the resources that a change concerns. `watches` is set once, before the first loop."""

    watches: SecretWatches

    def __init__(self, wake: Callable[[Collection[Key]], None]) -> None:
        self._wake = wake
        self._wants: dict[Key, frozenset[SecretName]] = {}

    def changed(self, name: SecretName, _: SecretState) -> None:
        """The watches' word that a Secret came, went or changed."""
        self._wake([key for key, names in self._wants.items() if name in names])

    def want(self, key: Key, names: Iterable[str]) -> None:
        """These Secrets, and no others, are of interest to a resource."""
        wanted = frozenset(SecretName(key.namespace, name) for name in names)
        if wanted != self._wants.get(key, frozenset()):
            self._wants[key] = wanted
            self._follow()

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        if self._wants.pop(key, None):
            self._follow()

    def _follow(self) -> None:
        self.watches.wanted(frozenset[SecretName]().union(*self._wants.values()))

    def known(self, key: Key) -> bool:
        """Whether every Secret of the resource has been looked at."""
        return all(self.watches.state(name) is not None for name in self._wants.get(key, ()))

    def contents(self, key: Key, name: str) -> Mapping[str, bytes] | None:
        """None: there is no such Secret."""
        state = self.watches.state(SecretName(key.namespace, name))
        return state.data if state is not None and state.present else None

    def troubles(self, key: Key) -> list[Trouble]:
        """Secrets that we may not read."""
        states = {name: self.watches.state(name) for name in sorted(self._wants.get(key, ()))}
        return [
            Trouble("SecretUnreadable", f"Secret {name.name} cannot be read: {state.trouble}")
            for name, state in states.items()
            if state is not None and state.trouble
        ]
