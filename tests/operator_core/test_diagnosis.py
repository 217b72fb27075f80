"""What `doctor` makes of what a cluster shows: as golden texts (a new case is a new file beside its YAML), and rule by rule."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocpp_operator import doctor
from ocpp_operator.core import diagnosis, names
from ocpp_operator.core.advice import Level
from ocpp_operator.core.diagnosis import Finding, Seen
from tests.operator_core.test_fleet import raw as pod

CASES = Path(__file__).with_name("doctor")
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def resource(**status: Any) -> dict[str, Any]:
    whole = {"observedGeneration": 4, "conditions": []} | status
    return {"metadata": {"namespace": "grid", "name": "city", "uid": "u", "generation": 4}, "spec": {}, "status": whole}


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def lease(renewed: str = "2026-01-01T11:59:57.000000Z", **spec: Any) -> dict[str, Any]:
    whole = {"holderIdentity": "operator-1_0f", "leaseDurationSeconds": 15, "renewTime": renewed} | spec
    return {"metadata": {"namespace": "system", "name": "chargegateway-operator"}, "spec": whole}


def told(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.level.value, finding.subject, finding.reason) for finding in findings]


@pytest.mark.parametrize("case", sorted(CASES.glob("*.yaml")), ids=lambda path: path.stem)
def test_as_people_read_it(case: Path) -> None:
    seen = yaml.safe_load(case.read_text())
    found = Seen(
        **{"resource": seen["resource"]} | {name: seen[name] for name in seen if name not in ("resource", "leases")}
    )
    examined = doctor.Examined(
        found.namespace, found.name, diagnosis.summary(found.resource), diagnosis.diagnose(found)
    )
    account = doctor.Account([examined], diagnosis.operators(seen["leases"], NOW, found.namespace))
    assert doctor.as_text(account) + "\n" == case.with_suffix(".txt").read_text()


def test_a_reason_of_another_version_is_judged_by_its_condition() -> None:
    conditions = [
        condition("Ready", "True", "AllFine"),
        condition("Degraded", "True", "NewTrouble", "as said"),
        condition("Hardened", "False", "NewEnd"),
        condition("Brandnew", "True", "Unheard"),
    ]
    assert told(diagnosis.diagnose(Seen(resource(conditions=conditions)))) == [
        ("ok", "Ready", "AllFine"),
        ("trouble", "Degraded", "NewTrouble"),
        ("note", "Hardened", "NewEnd"),
        ("note", "Brandnew", "Unheard"),
    ]


def test_a_resource_that_nobody_looked_at_is_no_healthy_one() -> None:
    fresh = {**resource(), "status": {}}
    assert told(diagnosis.diagnose(Seen(fresh))) == [("trouble", "operator", "NeverSeen")]
    as_filled_in = {**resource(), "status": {"observedGeneration": 0}}
    assert told(diagnosis.diagnose(Seen(as_filled_in))) == [("trouble", "operator", "NeverSeen")]
    assert told(diagnosis.diagnose(Seen(resource(observedGeneration=3)))) == [("trouble", "operator", "Stale")]


def test_nobody_misses_an_operator_where_it_was_told_to_look_away() -> None:
    told_so = [condition("Progressing", "False", "Paused")]
    paused = resource(observedGeneration=3, conditions=told_so)
    paused["metadata"]["annotations"] = {"chargegateway.io/pause-reconciliation": "true"}
    assert told(diagnosis.diagnose(Seen(paused))) == [("note", "Progressing", "Paused")]


def test_what_is_for_programs_is_not_told_twice() -> None:
    conditions = [condition(kind, "True", "SecretMissing", "x") for kind in ("Degraded", "Stalled", "Reconciling")]
    assert told(diagnosis.diagnose(Seen(resource(conditions=conditions)))) == [("trouble", "Degraded", "SecretMissing")]


@pytest.mark.parametrize(
    ("status", "events", "reason"),
    [
        ({"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}, [], "CrashLoopBackOff"),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "NeverHeard"}}}]}, [], "NeverHeard"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no cpu"}]},
            [],
            "Unschedulable",
        ),
        (
            {
                "containerStatuses": [{"lastState": {"terminated": {"reason": "OOMKilled"}}}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
            [],
            "OOMKilled",
        ),
        ({}, [("FailedMount", "2026-01-01T11:00:00Z"), ("Unhealthy", "2026-01-01T10:00:00Z")], "FailedMount"),
        ({}, [("FailedMount", "2026-01-01T10:00:00Z"), ("Unhealthy", "2026-01-01T11:00:00Z")], "NotReady"),
        ({}, [], "NotReady"),
    ],
)  # fmt: skip
def test_a_pods_trouble_is_named(status: dict[str, Any], events: list[tuple[str, str]], reason: str) -> None:
    one = pod("a")
    one["status"] = status
    happened = [
        {"type": "Warning", "reason": why, "eventTime": at, "note": why, "regarding": {"uid": one["metadata"]["uid"]}}
        for why, at in events
    ]
    [finding] = diagnosis.diagnose(Seen(resource(), pods=[one], events=happened))
    assert (finding.level, finding.subject, finding.reason) == (Level.TROUBLE, "pod a", reason)
    assert finding.step
    assert "POD" not in finding.step
    assert "NAME" not in finding.step


def test_pods_that_are_ready_or_leave_are_none() -> None:
    ready, leaving = pod("a", conditions=[{"type": "Ready", "status": "True"}]), pod("b")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert diagnosis.diagnose(Seen(resource(), pods=[ready, leaving])) == []


def test_a_refusal_to_make_pods_is_told() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    [finding] = diagnosis.diagnose(Seen(resource(), deployment={"status": {"conditions": [failure]}}))
    assert (finding.level, finding.subject, finding.message) == (Level.TROUBLE, "pods", "exceeded quota")


@pytest.mark.parametrize(
    ("leases", "expected"),
    [
        ([], ("trouble", "NoOperator")),
        ([lease()], ("ok", "Leads")),
        ([lease("2026-01-01T12:00:09Z")], ("ok", "Leads")),  # its clock is ahead of ours
        ([lease("2026-01-01T11:00:00Z")], ("trouble", "LeaseNotRenewed")),
        ([lease(holderIdentity=None)], ("trouble", "NoLeader")),
        ([lease("")], ("trouble", "LeaseNotRenewed")),
        ([lease("2026-01-01T11:00:00Z"), lease()], ("ok", "Leads")),
    ],
)
def test_who_leads(leases: list[dict[str, Any]], expected: tuple[str, str]) -> None:
    [finding] = diagnosis.operators(leases, NOW, "grid")
    assert (finding.level.value, finding.reason) == expected


def serving(namespaces: str, renewed: str = "2026-01-01T11:59:57.000000Z") -> dict[str, Any]:
    there = lease(renewed)
    return {**there, "metadata": {**there["metadata"], "annotations": {names.SERVES_ANNOTATION: namespaces}}}


@pytest.mark.parametrize(
    ("leases", "expected"),
    [
        ([serving("*")], ["Leads"]),
        ([serving("depot,grid"), serving("harbour")], ["Leads"]),
        ([serving("*"), serving("grid")], ["Leads", "Leads", "SeveralOperators"]),
        ([serving("*"), serving("grid", "2026-01-01T11:00:00Z")], ["Leads"]),  # it ran once
        ([serving("*"), serving("harbour")], ["Leads"]),
        ([serving("harbour")], ["NotServed"]),
        ([serving("grid"), lease()], ["Leads", "Leads"]),  # of an earlier version: nobody knows
    ],
)
def test_one_operator_serves_a_namespace(leases: list[dict[str, Any]], expected: list[str]) -> None:
    assert [finding.reason for finding in diagnosis.operators(leases, NOW, "grid")] == expected
