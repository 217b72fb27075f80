"""`chargegateway doctor`: what is wrong with a ChargeGateway, in words, and what to do about it.

A command of the command line, found through its entry point; the kubernetes package is imported only when it is run. Exit code 0:
healthy, 1: troubles found, or the cluster could not be asked, 2: wrong usage.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ocpp_operator.core import diagnosis
from ocpp_operator.core.advice import Level
from ocpp_operator.core.diagnosis import Finding

FOUND, USAGE = 1, 2
_IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_MARKS = {Level.OK: "ok", Level.NOTE: "note", Level.TROUBLE: "TROUBLE"}
_NO_KIND = "this cluster does not know ChargeGateways: the CustomResourceDefinition is not installed"
_EXTRAS = "in a checkout of the repository: pip install '.[client,operator]'"
"""No package of this name is published: whoever took it would be installed."""
_INSTALL = "helm install chargegateway charts/chargegateway, or: kubectl apply --server-side -f crds/"


@dataclass(frozen=True, slots=True)
class Examined:
    """One resource."""

    namespace: str
    name: str
    summary: str
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that was found."""

    resources: Sequence[Examined] = ()
    cluster: Sequence[Finding] = field(default_factory=tuple)
    """About no single resource."""

    @property
    def troubles(self) -> int:
        return sum(finding.level is Level.TROUBLE for finding in self.findings)

    @property
    def findings(self) -> list[Finding]:
        return [*(finding for each in self.resources for finding in each.findings), *self.cluster]


def doctor(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The resource; all of the namespace without.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", metavar="NAMESPACE", help="Its namespace; the context's without.")
    ] = None,
    operator_namespace: Annotated[
        str | None, typer.Option(metavar="NAMESPACE", help="Where the operator is; looked for everywhere without.")
    ] = None,
    kubeconfig: Annotated[Path | None, typer.Option(metavar="FILE", help="Instead of $KUBECONFIG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what is wrong with a ChargeGateway on Kubernetes, and what to do.

    \b
    Looks at the resource, its conditions, pods, Secrets and events, and at the operator. Only reads.
    Exit code 0: healthy, 1: troubles found, 2: wrong usage.
    \b
    Examples:
      chargegateway doctor
      chargegateway doctor city -n charging
      chargegateway doctor city --operator-namespace chargegateway-system --json
    """
    try:
        from ocpp_operator.adapters.connection import NoCluster
        from ocpp_operator.reconcile import access  # noqa: F401 - the same packages, all at once
    except ImportError as error:
        typer.echo(f"chargegateway doctor: {error}: {_EXTRAS}", err=True)
        raise typer.Exit(USAGE) from None
    try:
        account = asyncio.run(_examine(name, namespace, operator_namespace, kubeconfig))
    except NoCluster as error:
        typer.echo(f"chargegateway doctor: which cluster? {error}", err=True)
        raise typer.Exit(USAGE) from None
    typer.echo(as_document(account) if as_json else as_text(account))
    raise typer.Exit(FOUND if account.troubles else 0)


# --- looking ----------------------------------------------------------------------------------------------------------


async def _examine(
    name: str | None, namespace: str | None, operator_namespace: str | None, kubeconfig: Path | None
) -> Account:
    from ocpp_operator.adapters.api_errors import ClusterError, Forbidden, NotFound
    from ocpp_operator.adapters.cluster import Cluster
    from ocpp_operator.adapters.connection import Connection

    async with await Connection.open(kubeconfig=kubeconfig) as connection:
        where = namespace or context_namespace(kubeconfig)
        cluster = Cluster(connection, _never_write, "doctor")
        try:
            return await _account(cluster, where, name, operator_namespace)
        except NotFound:
            return Account(cluster=[await _absent(cluster, where, name)])
        except Forbidden as error:
            step = "whoever has the ClusterRole view or edit may (chart: crds.userRoles); or log in as somebody else"
            return Account(cluster=[Finding(Level.TROUBLE, "rights", "Forbidden", str(error), step)])
        except ClusterError as error:
            step = "does kubectl reach this cluster? pods go on without the API server, nothing is reassigned meanwhile"
            return Account(cluster=[Finding(Level.TROUBLE, "API server", "Unavailable", str(error), step)])


async def _account(cluster: Any, namespace: str, name: str | None, operator_namespace: str | None) -> Account:
    from ocpp_operator.adapters import examination

    found = await examination.resources(cluster, namespace, name)
    examined = []
    for resource in found:
        seen = await examination.examine(cluster, resource, _secrets(resource), _missing)
        told = diagnosis.diagnose(seen)
        examined.append(Examined(namespace, seen.name, diagnosis.summary(seen.resource), told))
    leases = await examination.leases(cluster, operator_namespace)
    if leases is None:
        hidden = f"no right to list Leases in {operator_namespace or 'all namespaces'}: whether an operator runs is not known"
        step = "" if operator_namespace else "name the operator's namespace with --operator-namespace"
        around = [Finding(Level.NOTE, "not looked at", "Forbidden", hidden, step)]
    else:
        around = diagnosis.operators(leases, datetime.now(UTC), namespace)
    if not found:
        around.insert(
            0, Finding(Level.TROUBLE, "resource", "None", f"there is no ChargeGateway in namespace {namespace}")
        )
    return Account(examined, around)


async def _absent(cluster: Any, namespace: str, name: str | None) -> Finding:
    """Why a resource was not found: the kind is not there, or only this one. Raises ClusterError."""
    from ocpp_operator.adapters import examination
    from ocpp_operator.adapters.api_errors import NotFound

    try:
        others = [each["metadata"]["name"] for each in await examination.resources(cluster, namespace, None)]
    except NotFound:
        return Finding(Level.TROUBLE, "CRD", "NotInstalled", _NO_KIND, _INSTALL)
    told = f"there is no ChargeGateway {name} in namespace {namespace}"
    return Finding(Level.TROUBLE, "resource", "NotFound", told, f"there: {', '.join(others)}" if others else "")


def _secrets(resource: dict[str, Any]) -> list[str]:
    """Names of the Secrets that it needs; none where the spec cannot be read, which a condition says."""
    from ocpp_operator.core.spec import Resource, SpecError
    from ocpp_operator.reconcile import access

    try:
        return [need.secret for need in access.needs(Resource.parse(resource))]
    except SpecError:
        return []


def _missing(resource: dict[str, Any], contents: Any) -> list[str]:
    from ocpp_operator.core.spec import Resource, SpecError
    from ocpp_operator.reconcile import access

    try:
        return [trouble.message for trouble in access.missing(Resource.parse(resource), contents)]
    except SpecError:
        return []


def _never_write() -> None:
    raise AssertionError("doctor only reads")


def context_namespace(kubeconfig: Path | None) -> str:
    """As kubectl chooses it: the pod's own inside a cluster, else that of the current context."""
    from kubernetes.aio.config import ConfigException
    from kubernetes.aio.config.kube_config import list_kube_config_contexts

    named = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG")
    if named is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _IN_POD.read_text().strip() if _IN_POD.is_file() else "default"
    try:
        _, current = list_kube_config_contexts(named)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError):
        return "default"  # whoever connects says what is wrong
    return str((current["context"] or {}).get("namespace") or "default")


# --- telling ----------------------------------------------------------------------------------------------------------


def as_text(account: Account) -> str:
    """For people: a paragraph per resource, what to do beneath each line."""
    paragraphs = [
        "\n".join([f"ChargeGateway {each.namespace}/{each.name}: {each.summary}", *_lines(each.findings)])
        for each in account.resources
    ]
    if account.cluster:
        paragraphs.append("\n".join(["Cluster:", *_lines(account.cluster)]))
    count = account.troubles
    verdict = f"{count} trouble{'' if count == 1 else 's'} found." if count else "No troubles found."
    return "\n\n".join([*paragraphs, verdict])


def _lines(findings: Sequence[Finding]) -> list[str]:
    mark = max((len(_MARKS[each.level]) for each in findings), default=0)
    subject = max((len(each.subject) for each in findings), default=0)
    lines: list[str] = []
    said: set[str] = set()
    for each in findings:
        told = f"{each.reason}: {each.message}" if each.message else each.reason
        lines.append(f"  {_MARKS[each.level]:{mark}}  {each.subject:{subject}}  {told}")
        if each.step and each.level is not Level.OK and each.step not in said:
            said.add(each.step)
            lines.append(f"  {'':{mark}}  {'':{subject}}  -> {each.step}")
    return lines


def as_document(account: Account) -> str:
    """For programs: the same as JSON."""
    document = {
        "healthy": account.troubles == 0,
        "troubles": account.troubles,
        "resources": [
            {
                "namespace": each.namespace,
                "name": each.name,
                "summary": each.summary,
                "findings": [asdict(finding) for finding in each.findings],
            }
            for each in account.resources
        ],
        "cluster": [asdict(finding) for finding in account.cluster],
    }
    return json.dumps(document, indent=2)
