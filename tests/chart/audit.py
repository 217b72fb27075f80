"""Who asked the API server for what, in its own words: the audit log, kopf's watches and the operator's own requests alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Right(NamedTuple):
    """One cell of a role: `resource` as rules name it, with its subresource."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'.' if self.group else ''}{self.group}"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and what came of it."""

    right: Right
    namespace: str
    """Empty: of the whole cluster."""
    name: str
    code: int
    message: str
    """Why it was refused."""


class AuditLog:
    """The log of a server that was started with `arguments`; it has what ServiceAccounts of `namespace` asked for."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self._namespace = namespace
        self._log, self._policy = folder / "audit.log", folder / "audit-policy.yaml"
        rules = [
            {"level": "Metadata", "userGroups": [f"system:serviceaccounts:{namespace}"]},
            {"level": "None"},
        ]
        # A watch is written when it begins (ResponseStarted), since it may never end.
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
        self._policy.write_text(json.dumps(policy))

    @property
    def arguments(self) -> tuple[str, ...]:
        """Flags of the API server."""
        return f"--audit-policy-file={self._policy}", f"--audit-log-path={self._log}"

    def of(self, account: str) -> list[Asked]:
        """What that ServiceAccount asked for objects, so far. Discovery is allowed to everybody and left out."""
        user = f"system:serviceaccount:{self._namespace}:{account}"
        lines = self._log.read_text().splitlines(keepends=True) if self._log.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        return [_asked(entry) for entry in entries if entry["user"]["username"] == user and "objectRef" in entry]


def _asked(entry: Mapping[str, Any]) -> Asked:
    about = entry["objectRef"]
    resource = "/".join(part for part in (about["resource"], about.get("subresource")) if part)
    right = Right(about.get("apiGroup", ""), resource, entry["verb"])
    status = entry.get("responseStatus") or {}
    where = about.get("namespace", ""), about.get("name", "")
    return Asked(right, *where, status.get("code", 0), status.get("message", ""))


def used(asked: Iterable[Asked]) -> set[Right]:
    """The rights that these requests needed. A server-side apply that makes an object is a patch that also needs `create`."""
    found = set()
    for each in asked:
        found.add(each.right)
        if each.right.verb == "patch" and each.code == 201:
            found.add(each.right._replace(verb="create"))
    return found


def granted(rules: Iterable[Mapping[str, Any]]) -> set[Right]:
    """The rights that the rules of a role give."""
    return {
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
