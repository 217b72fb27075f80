"""The operator, in reading order: settings -> identity -> lease -> complete lists -> watches and loops -> farewell.

A replica that does not lead watches the Lease and nothing else. The one that leads reads the complete lists, starts a loop per
resource and lets kopf watch. It leaves when it is told to (SIGTERM), when the lease is lost, or when a watch fails for good (its kind is
gone); whatever it was doing, the next one goes on from what is there. The lease is given back last, so that another takes over at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable
from functools import partial

import kopf

from ocpp_operator import settings as settings_module
from ocpp_operator.adapters import logs
from ocpp_operator.adapters.admin import AdminServer
from ocpp_operator.adapters.api_errors import ClusterError
from ocpp_operator.adapters.cluster import Cluster
from ocpp_operator.adapters.connection import Connection, NoCluster
from ocpp_operator.adapters.election import LeaderElection, boottime
from ocpp_operator.adapters.election_apart import ElectionApart
from ocpp_operator.adapters.handlers import Watches
from ocpp_operator.adapters.lookups import LookupLoop
from ocpp_operator.adapters.metrics import Metrics
from ocpp_operator.adapters.secrets import SecretWatches
from ocpp_operator.core import kinds, names
from ocpp_operator.core.election import Timing
from ocpp_operator.core.mirror import Mirror
from ocpp_operator.reconcile.resource import ResourceLoop
from ocpp_operator.reconcile.secret_book import SecretBook
from ocpp_operator.reconcile.supervisor import Supervisor
from ocpp_operator.reconcile.surroundings import Surroundings
from ocpp_operator.reconcile.vitals import Vitals
from ocpp_operator.settings import Settings, SettingsError

log = logging.getLogger("ocpp_operator")

_USAGE = """usage: python -m ocpp_operator

The operator of ChargeGateway resources. Its settings are environment variables that begin with CHARGEGATEWAY_OPERATOR_
(docs/operator-settings.md); who it is comes from KUBECONFIG, or from the pod's ServiceAccount.
"""


async def run(settings: Settings) -> int:
    """Serve until told to leave; the exit code."""
    metrics = Metrics()
    vitals = Vitals(metrics, settings.watch_inactivity, boottime)
    stop = asyncio.Event()
    _on_signals(stop)
    connect = partial(Connection.open, request_timeout=settings.request_timeout, count=metrics.request)
    async with await connect() as connection:
        timing = Timing(settings.lease_duration, settings.lease_renew_deadline, settings.lease_retry)
        served = {names.SERVES_ANNOTATION: ",".join(settings.watch_namespaces) or names.EVERYWHERE}

        def candidate(apart: Connection) -> LeaderElection:
            lease = settings.lease_namespace, settings.lease_name, settings.identity
            return LeaderElection(apart, *lease, timing, vitals.elected, served)

        election = ElectionApart(connect, candidate)
        metrics.leader(election.leads)
        admin = AdminServer(settings.admin_host, settings.admin_port, vitals.trouble, lambda: None, metrics.page)
        await admin.start()
        try:
            async with election:
                if await _first(election.leading.wait(), stop.wait(), election.lost.wait()) == 0:
                    await _lead(settings, connection, election, metrics, vitals, stop)
                # Who lost the lease has to come back as another process; so has one whose watches failed.
                return 0 if stop.is_set() else 1
        finally:
            await admin.stop()


async def _lead(
    settings: Settings,
    connection: Connection,
    election: ElectionApart,
    metrics: Metrics,
    vitals: Vitals,
    stop: asyncio.Event,
) -> None:
    """Serve all resources until told to leave, or the lease is lost."""
    vitals.leads()
    cluster = Cluster(connection, election.check, settings.identity)
    answering = asyncio.create_task(_until_answered(cluster, vitals), name="kinds")
    if await _first(answering, stop.wait(), election.lost.wait()) != 0:
        return
    available = answering.result()
    mirror, secrets = Mirror(), SecretBook(lambda keys: supervisor.wake(keys))
    around = Surroundings(settings, cluster, mirror, secrets, metrics, vitals, election.check, available)
    watched = tuple(kind for kind in kinds.WATCHED if kind not in kinds.OPTIONAL or kind in available)
    supervisor = Supervisor(around, watched, lambda key: ResourceLoop(around, key, supervisor.complete))

    async def login() -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**await connection.login())

    watches = Watches(
        mirror, supervisor.wake, watched, settings.watch_namespaces, settings.watch_inactivity, login, supervisor.doubt
    )
    async with SecretWatches(
        connection, secrets.changed, inactivity=settings.watch_inactivity, heard=vitals.heard
    ) as secrets.watches:
        # kopf cancels at its end every task that was begun after it: the loops have to be over before.
        supervising = asyncio.create_task(supervisor.run(), name="supervisor")
        stop_watching = asyncio.Event()
        watching = asyncio.create_task(watches.run(stop_watching, lambda: _on_signals(stop)), name="watches")
        await _first(_over(supervising), _over(watching), stop.wait(), election.lost.wait())
        supervising.cancel()
        await asyncio.wait((supervising,))
        stop_watching.set()
        await asyncio.wait((watching,))
    for task in (supervising, watching):
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: %s", task.get_name(), error, exc_info=error)


async def _until_answered(cluster: Cluster, vitals: Vitals) -> frozenset[kinds.Kind]:
    """Which optional kinds there are, once the API server says so and knows ours.

    kopf looks for kinds once, at its start: begun before the CRD is there, it would never watch a resource.
    """
    told = ""
    while True:
        try:
            if await cluster.has(kinds.RESOURCE):
                return await cluster.kinds_available()
            trouble = f"the cluster does not know {kinds.RESOURCE.plural}.{kinds.RESOURCE.group}: its CRD is not there"
        except ClusterError as error:
            trouble = str(error)
        if trouble != told:
            log.warning("waiting: %s", trouble)
        told = trouble
        vitals.passed()
        await asyncio.sleep(1.0)


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _over(task: asyncio.Task[None]) -> None:
    await asyncio.wait((task,))


async def _first(*waits: Awaitable[object]) -> int:
    """Which of them is done first."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(index for index, task in enumerate(tasks) if task.done())
    finally:
        for task in tasks:
            task.cancel()


def main(arguments: list[str]) -> int:
    """The program."""
    if arguments:
        print(_USAGE, end="")
        return 0 if arguments in (["--help"], ["-h"]) else 2
    try:
        settings = settings_module.load(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logs.configure(settings.log_level, settings.log_format)
    try:
        with asyncio.Runner(loop_factory=LookupLoop) as runner:
            return runner.run(run(settings))
    except (NoCluster, OSError) as error:
        log.error("%s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
