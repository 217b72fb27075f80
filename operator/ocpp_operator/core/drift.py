"""Does what is there equal what is wished? Returns where not, in words: a write that nobody can explain is a write too many.

What is wished is a part of what is there: the server adds defaults, controllers and people add labels, annotations and list
entries of their own, and those stay. So each field that we wish is looked for, and nothing else, except where Kubernetes treats
a value as one whole (selectors, plain lists): there, what others added would be replaced by the next apply, and it counts.

That way alone a field which went out of the wish would stay for ever. Hence the fingerprint: `stamped` puts it on the child, and
`needs_apply` sees that the wish is another one than the one applied last; the server then removes what we no longer apply.

Equal by value: quantities (`1` and `1000m`) in the fields that hold them, numbers and the texts of the same numbers where both
are allowed (`port`, `maxUnavailable`), and absence and what the API leaves out: `null`, `{}`, `[]`, `""`, some zeros.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from json import dumps
from typing import Any, Final

from ocpp_operator.core.names import APPLIED_ANNOTATION

Manifest = Mapping[str, Any]

_MERGE_KEYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "containers": (("name",),),
    "initContainers": (("name",),),
    "env": (("name",),),
    "volumes": (("name",),),
    "volumeMounts": (("mountPath",),),
    "imagePullSecrets": (("name",),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "hostAliases": (("ip",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "ownerReferences": (("uid",),),
    "conditions": (("type",),),
}
"""Lists that the API merges by key (x-kubernetes-list-map-keys), by the name of their field. The first key that all wished entries
have is the one. Lists that are not here are replaced as a whole."""

_TYPE: Final = frozenset({"apiVersion", "kind"})
_KEY_DEFAULTS: Final = {"protocol": "TCP"}
_SETS: Final = frozenset({"finalizers"})
"""Lists of plain values of which each belongs to who added it."""
_WHOLE: Final = frozenset(
    {"selector", "matchLabels", "nodeSelector", "podSelector", "namespaceSelector", "labelSelector"}
)
"""Maps that the API replaces as a whole (x-kubernetes-map-type: atomic)."""
_MEAN_SOMETHING_EMPTY: Final = frozenset({"emptyDir", "podSelector", "namespaceSelector"})
"""`emptyDir: {}` says what kind of volume it is; without it the volume is of another kind."""
_EXACT: Final = frozenset({"ingress", "egress", "tolerations"})
"""Rules to which nobody adds, neither the server nor others: one more peer or port is another rule."""
_QUANTITIES: Final = frozenset({"limits", "requests", "sizeLimit", "averageValue", "divisor"})
"""Fields that hold a quantity, or a map of them."""
_ZERO_IS_ABSENT: Final = frozenset(
    {
        "hostNetwork", "hostPID", "hostIPC", "publishNotReadyAddresses", "readOnly", "stdin", "tty", "paused",
        "minReadySeconds", "initialDelaySeconds", "nodePort",
    }
)  # fmt: skip
"""Fields that the API leaves out when they are false or 0. (Elsewhere false is not absence: `automountServiceAccountToken`.)"""
_NUMBERS_OR_TEXTS: Final = frozenset({"port", "targetPort", "maxUnavailable", "minAvailable", "maxSurge"})
_VALUES_OF_ANYBODY: Final = frozenset({"data", "stringData", "labels", "annotations"})
"""Maps whose keys are no field names."""
_ANYBODYS: Final = "anybody's"


def needs_apply(wished: Manifest, seen: Manifest | None) -> str | None:
    """Why `wished` has to be applied; None: it is there already. `seen` None: there is nothing."""
    if seen is None:
        return "is not there"
    if found := differences(unstamped(wished), seen):
        return "differs in " + ", ".join(found)
    if _stamp(seen) != fingerprint(wished):
        return "the wish has changed"
    return None


def differences(wished: Manifest, seen: Manifest) -> list[str]:
    """Paths, as `spec.template.spec.containers[gateway].image`, where `seen` does not have what is wished. Empty: it has it all."""
    wished = _as_stored(wished)
    named = _TYPE & seen.keys()  # items of a list do not say what they are
    found: list[str] = []
    _compare({key: value for key, value in wished.items() if key not in _TYPE or key in named}, seen, "", "", found)
    return found


def fingerprint(manifest: Manifest) -> str:
    """Of a wish, whatever the order of its fields and without its stamp. Of a Secret only the names count: its values can be
    compared with what is there, and nothing of them is to stand in an annotation."""
    manifest = _as_stored(unstamped(manifest))
    if manifest.get("kind") == "Secret":
        manifest = {**manifest, "data": sorted(manifest.get("data") or {})}
    return sha256(dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


def stamped(manifest: Manifest) -> dict[str, Any]:
    """The manifest to apply: with its fingerprint as an annotation."""
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), APPLIED_ANNOTATION: fingerprint(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def unstamped(manifest: Manifest) -> Manifest:
    """The manifest without its fingerprint."""
    if _stamp(manifest) is None:
        return manifest
    metadata = manifest["metadata"]
    annotations = _without(metadata["annotations"], APPLIED_ANNOTATION)
    kept = _without(metadata, "annotations")
    return {**manifest, "metadata": {**kept, "annotations": annotations} if annotations else kept}


def _stamp(manifest: Manifest) -> str | None:
    return (manifest["metadata"].get("annotations") or {}).get(APPLIED_ANNOTATION)


def _as_stored(manifest: Manifest) -> Manifest:
    """A Secret's stringData is written only: the server keeps it in `data`, in base64."""
    if manifest.get("kind") != "Secret" or "stringData" not in manifest:
        return manifest
    texts = {key: b64encode(text.encode()).decode() for key, text in (manifest["stringData"] or {}).items()}
    return {**_without(manifest, "stringData"), "data": {**(manifest.get("data") or {}), **texts}}


# --- comparing --------------------------------------------------------------------------------------------------------


def _compare(wished: Any, seen: Any, field: str, path: str, found: list[str]) -> None:
    """`field` is the name that decides how the value is compared."""
    if field in _EXACT:
        if _bare(wished) != _bare(seen):
            found.append(path)
        return
    if wished is None or wished in ({}, []):
        emptied = seen is None and field in _MEAN_SOMETHING_EMPTY and wished is not None
        whole = field in _WHOLE or (wished == [] and field not in _MERGE_KEYS and field not in _SETS)
        if emptied or (seen and whole):
            found.append(path)
        return
    if isinstance(wished, Mapping):
        if not isinstance(seen, Mapping):
            found.append(path)
            return
        if field in _WHOLE:
            found.extend(_join(path, key) for key in sorted(seen.keys() - wished.keys()))
        for key, value in wished.items():
            _compare(value, seen.get(key), _inner(field, key), _join(path, key), found)
    elif isinstance(wished, list):
        _compare_lists(wished, seen, field, path, found)
    elif not _equal(wished, seen, field):
        found.append(path)


def _compare_lists(wished: Sequence[Any], seen: Any, field: str, path: str, found: list[str]) -> None:
    if not isinstance(seen, list):
        found.append(path)
        return
    if field in _SETS:
        found.extend(f"{path}[{each}]" for each in wished if each not in seen)
    elif key := _merge_key(wished, field):
        there = {_key(each, key): each for each in seen}
        for each in wished:
            name = _key(each, key)
            _compare(each, there.get(name), "", f"{path}[{'/'.join(map(str, name))}]", found)
    elif len(wished) != len(seen):
        found.append(path)
    else:
        for number, (each, other) in enumerate(zip(wished, seen, strict=True)):
            _compare(each, other, field, f"{path}[{number}]", found)


def _merge_key(wished: Sequence[Any], field: str) -> tuple[str, ...] | None:
    for key in _MERGE_KEYS.get(field, ()):
        if all(isinstance(each, Mapping) and key[0] in each for each in wished):
            return key
    return None


def _key(entry: Mapping[str, Any], key: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(entry.get(part, _KEY_DEFAULTS.get(part)) for part in key)


def _inner(field: str, key: str) -> str:
    """What decides about the value of `key` in a map called `field`."""
    if field in _VALUES_OF_ANYBODY:
        return _ANYBODYS
    return field if field in ("limits", "requests") or field in _WHOLE else key


def _join(path: str, key: str) -> str:
    if re.fullmatch(r"[\w-]+", key):
        return f"{path}.{key}" if path else key
    return f"{path}[{key}]"


def _bare(rules: Any) -> Any:
    """Without what means the same when it is left out. `{}` stays: an empty selector selects everything."""
    if isinstance(rules, Mapping):
        bare = {key: _bare(value) for key, value in rules.items() if value is not None and value != []}
        return bare if bare.get("protocol") != _KEY_DEFAULTS["protocol"] else _without(bare, "protocol")
    return [_bare(each) for each in rules] if isinstance(rules, list) else rules or None


def _without(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def _equal(wished: Any, seen: Any, field: str) -> bool:
    if seen is None:
        return field != _ANYBODYS and (wished == "" or (field in _ZERO_IS_ABSENT and not wished))
    if isinstance(wished, bool) or isinstance(seen, bool):
        return wished is seen
    if wished == seen:
        return True
    if field in _NUMBERS_OR_TEXTS:
        return str(wished) == str(seen)
    if field in _QUANTITIES:
        amount = _amount(str(wished))
        return amount is not None and amount == _amount(str(seen))
    return False


_QUANTITY: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)?|[eE]([+-]?\d{1,3}))")
_SUFFIXES: Final = {
    "": Decimal(1),
    **{
        suffix: Decimal(10) ** (3 * power)
        for suffix, power in zip("numkMGTPE", (-3, -2, -1, 1, 2, 3, 4, 5, 6), strict=True)
    },
    **{f"{suffix}i": Decimal(2) ** (10 * power) for power, suffix in enumerate("KMGTPE", 1)},
}


def _amount(text: str) -> Decimal | None:
    """The value of a quantity (k8s.io/apimachinery resource.Quantity); None: it is none."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, suffix, exponent = match.groups()
    return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""])
