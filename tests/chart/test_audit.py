"""The judge of rights itself, on a log that was written by hand."""

from __future__ import annotations

import json
from pathlib import Path

from tests.chart.audit import AuditLog, Right, granted, used


def entry(verb: str, resource: str, code: int, account: str = "operator", **more: str) -> str:
    about = {"resource": resource, "namespace": "charging", **more}
    user = {"username": f"system:serviceaccount:system:{account}"}
    return json.dumps({"verb": verb, "user": user, "objectRef": about, "responseStatus": {"code": code}}) + "\n"


def test_what_was_asked_is_compared_with_what_is_granted(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path, "system")
    assert audit.of("operator") == []
    discovery = json.dumps({"verb": "get", "user": {"username": "system:serviceaccount:system:operator"}}) + "\n"
    (tmp_path / "audit.log").write_text(
        entry("patch", "deployments", 201, apiGroup="apps")
        + entry("patch", "chargegateways", 200, apiGroup="chargegateway.io", subresource="status")
        + entry("delete", "secrets", 403)
        + entry("list", "nodes", 200, account="other")
        + discovery
        + '{"verb": "get", half a line'
    )
    asked = audit.of("operator")
    assert [each.code for each in asked] == [201, 200, 403]
    assert used(asked) == {
        Right("apps", "deployments", "patch"),
        Right("apps", "deployments", "create"),  # it was made
        Right("chargegateway.io", "chargegateways/status", "patch"),
        Right("", "secrets", "delete"),
    }
    rules = [{"apiGroups": ["", "apps"], "resources": ["deployments"], "verbs": ["create", "patch"]}]
    assert granted(rules) - used(asked) == {Right("", "deployments", "create"), Right("", "deployments", "patch")}
    assert str(Right("apps", "deployments", "patch")) == "patch deployments.apps"
