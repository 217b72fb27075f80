"""What the API server showed last: objects by kind, folded together from complete lists and watch events.

A watch alone is not enough. When its stream had to begin anew (the resource version was too old, as after a restart of the API
server), kopf lists the objects again and hands over those that exist; nobody tells of those that went in between, and they would
stay here as ghosts: pods that are gone would keep their partitions, children that somebody deleted would never come back. A
listing by kopf shows as events without a type. The mirror then wants the complete lists (`wants_lists`), of every kind, because what
ended one stream usually ended all, and a kind whose objects are all gone is not heard of. Whether the objects are known already
says nothing: of a kind with one object another may have come in its place. A wish that comes up while lists are being read stands
until the next ones: what was read before it may hold a ghost.

Lists and events overtake one another, so an object is replaced only by a newer one: resource versions are compared as numbers, as
Kubernetes 1.35 and newer promise that they can be and etcd has always made them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ocpp_operator.core import kinds, names
from ocpp_operator.core.kinds import Kind

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A resource by name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Mirror:
    """The objects of every watched kind. Nothing here is changed by us: objects are replaced whole."""

    def __init__(self) -> None:
        self._objects: dict[Kind, dict[Key, Raw]] = {kind: {} for kind in kinds.WATCHED}
        self._by_resource: dict[Kind, dict[Key, set[Key]]] = {kind: {} for kind in kinds.WATCHED}
        """Which of them belong to a resource: each loop asks every second, and there may be thousands of others'."""
        self._gone: dict[Kind, dict[str, int]] = {kind: {} for kind in kinds.WATCHED}
        """uid -> version at which it went: an older event must not bring it back."""
        self.wants_lists = True

    # --- filling --------------------------------------------------------------------------------------------------

    def replace(self, kind: Kind, items: Iterable[Raw], version: str, namespace: str | None = None) -> set[Key]:
        """A complete list of `namespace` (None: of all) as of `version`.

        Returns the resources that it concerns: whose objects changed, came or went.
        """
        listed = {_key(item): item for item in items}
        known = self._objects[kind]
        concerned = set()
        ghosts = [
            key
            for key, item in known.items()
            if key not in listed and namespace in (None, key.namespace) and _version(item) <= _number(version)
        ]
        for key in ghosts:
            concerned |= self._forget(kind, key, _number(version))
        for item in listed.values():
            concerned |= self._take(kind, item)
        return concerned

    def listing(self) -> None:
        """All kinds are going to be listed now."""
        self.wants_lists = False

    def bury(self, uid: str) -> None:
        """It was told otherwise than by a watch that this resource exists no more."""
        self._gone[kinds.RESOURCE].setdefault(uid, 0)

    def forget(self, namespace: str, keeping: Collection[Key] = ()) -> None:
        """We may look there no more: what was seen counts no longer, and is not said to be gone. What belongs to one of `keeping` stays."""
        for kind, objects in self._objects.items():
            for key in [key for key in objects if key.namespace == namespace]:
                if not _concerned(kind, objects[key]) & set(keeping):
                    self._drop(kind, key)

    def note(self, kind: Kind, event: str | None, item: Raw) -> set[Key]:
        """A watch event as kopf hands it over. Returns the resources that it concerns."""
        key = _key(item)
        if event == "DELETED":
            there = self._objects[kind].get(key)
            if there is not None and _uid(there) != _uid(item):
                self._gone[kind][_uid(item)] = _version(item)
                return set()  # its successor of the same name is here already
            return self._forget(kind, key, _version(item), item)
        if event is None:
            self.wants_lists = True
        return self._take(kind, item)

    def _take(self, kind: Kind, item: Raw) -> set[Key]:
        key, version = _key(item), _version(item)
        there = self._objects[kind].get(key)
        if there is not None and 0 <= version <= _version(there):
            return set()
        if self._gone[kind].get(_uid(item), -2) >= version:
            return set()
        if there is not None and _uid(there) != _uid(item):
            self._gone[kind][_uid(there)] = version  # made again: the one before is gone, whoever told of its end
        self._put(kind, key, item)
        # A label may have been edited: both the resource that it was of and the one that it is of are concerned.
        return _concerned(kind, item) | (set() if there is None else _concerned(kind, there))

    def _forget(self, kind: Kind, key: Key, version: int, item: Raw | None = None) -> set[Key]:
        gone = self._drop(kind, key) or item
        if gone is None:
            return set()
        remembered = self._gone[kind]
        remembered[_uid(gone)] = version
        while len(remembered) > 1_000:  # only as long as events may still be under way
            del remembered[next(iter(remembered))]
        return _concerned(kind, gone)

    def _put(self, kind: Kind, key: Key, item: Raw) -> None:
        self._drop(kind, key)
        self._objects[kind][key] = item
        if (resource := _resource(item)) is not None:
            self._by_resource[kind].setdefault(resource, set()).add(key)

    def _drop(self, kind: Kind, key: Key) -> Raw | None:
        item = self._objects[kind].pop(key, None)
        if item is not None and (resource := _resource(item)) is not None:
            there = self._by_resource[kind][resource]
            there.discard(key)
            if not there:
                del self._by_resource[kind][resource]
        return item

    # --- asking ---------------------------------------------------------------------------------------------------

    def resource(self, key: Key) -> Raw | None:
        """The resource as it was last seen."""
        return self._objects[kinds.RESOURCE].get(key)

    def resources(self) -> Iterator[Raw]:
        """All resources."""
        yield from self._objects[kinds.RESOURCE].values()

    def left_behind(self) -> list[Key]:
        """Resources that are not there, but the record of what is to be cleaned up after them."""
        records = {
            resource for at, item in self._objects[kinds.CONFIG_MAP].items()
            if (resource := _resource(item)) is not None and at.name == names.farewell(resource.name)
        }  # fmt: skip
        return sorted(records - self._objects[kinds.RESOURCE].keys())

    def gone(self) -> frozenset[str]:
        """uids of resources that were here and certainly exist no more."""
        return frozenset(self._gone[kinds.RESOURCE])

    def of(self, kind: Kind, key: Key) -> list[Raw]:
        """The objects of a resource, by name."""
        return [self._objects[kind][at] for at in sorted(self._by_resource[kind].get(key, ()))]

    def one(self, kind: Kind, namespace: str, name: str) -> Raw | None:
        """One object."""
        return self._objects[kind].get(Key(namespace, name))


def _concerned(kind: Kind, item: Raw) -> set[Key]:
    if kind == kinds.RESOURCE:
        return {_key(item)}
    resource = _resource(item)
    return set() if resource is None else {resource}


def _resource(item: Raw) -> Key | None:
    """Whose child it is, by its labels."""
    instance = names.instance_of(item["metadata"].get("labels") or {})
    return None if instance is None else Key(item["metadata"]["namespace"], instance)


def _key(item: Raw) -> Key:
    return Key(item["metadata"]["namespace"], item["metadata"]["name"])


def _uid(item: Raw) -> str:
    return str(item["metadata"]["uid"])


def _version(item: Raw) -> int:
    return _number(str(item["metadata"].get("resourceVersion", "")))


def _number(version: str) -> int:
    """-1 for what is no number: then the newest word counts."""
    return int(version) if version.isascii() and version.isdigit() else -1
