"""One pod put together: settings -> adapters -> core -> one task group. In reading order, and nothing else lives here.

stations --sockets--> listeners -> gatekeeper (admission) -> conversations (sessions) -> producer -> Kafka
Kafka -> consumer -> pod (ownership, directory, delivery) -> driver -> store (Redis), conversations, producer
annotations file -> pod            ocpp-stations -> projection -> Redis            admin port -> everybody
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from ocpp_contract.assignment import Assignment
from ocpp_contract.cloudevents import source
from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition
from ocpp_contract.internal_api import ConnectionItem
from ocpp_gateway.adapters.admin import AdminServer
from ocpp_gateway.adapters.admission import AdmissionPorts, Gatekeeper
from ocpp_gateway.adapters.assignment import AssignmentFile
from ocpp_gateway.adapters.background import Background
from ocpp_gateway.adapters.charge_points import ChargePointSocket
from ocpp_gateway.adapters.clocks import boottime
from ocpp_gateway.adapters.command_log import CommandLog
from ocpp_gateway.adapters.commands import CommandConsumer
from ocpp_gateway.adapters.conversation import Conversation, ConversationPorts
from ocpp_gateway.adapters.conversations import Conversations
from ocpp_gateway.adapters.decisions import Webhook
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.adapters.kafka_connection import KafkaConnection
from ocpp_gateway.adapters.listeners import HandshakeOptions, Listeners
from ocpp_gateway.adapters.metrics import Metrics
from ocpp_gateway.adapters.password_changes import PasswordChanges
from ocpp_gateway.adapters.procedures import Driver
from ocpp_gateway.adapters.redis_link import Address, RedisAccess
from ocpp_gateway.adapters.secret_files import followed_authorities, followed_context, followed_text
from ocpp_gateway.adapters.station_ports import ListenerOptions
from ocpp_gateway.adapters.station_projection import StationProjection
from ocpp_gateway.adapters.stations import Stations
from ocpp_gateway.adapters.store import Store, StoreSettings
from ocpp_gateway.adapters.tls import ListenerTls
from ocpp_gateway.adapters.transport import ConnectionHandler, Shared, SocketOptions
from ocpp_gateway.core.admission import AdmissionRules, Admitted, Handshake
from ocpp_gateway.core.calls import VersionCalls
from ocpp_gateway.core.decisions import Breaker, OnFailure
from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.directory import Refusal
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import Lane, Registered, SourceRecord, Unknown
from ocpp_gateway.core.flight import CallError, CallResult
from ocpp_gateway.core.limits import AcceptPacer, Logins
from ocpp_gateway.core.pod import Pod
from ocpp_gateway.core.policy import SessionPolicy, Validation
from ocpp_gateway.core.registry import RegistryRules, UnknownStations
from ocpp_gateway.core.session_effects import CallEnded
from ocpp_gateway.core.sockets import Socket
from ocpp_gateway.core.uplink import Flow, UplinkGate
from ocpp_gateway.core.versions import VERSIONS
from ocpp_gateway.settings import Listener, Settings

log = logging.getLogger(__name__)

_DECIDED_KINDS = frozenset({"boot", "authorize", "start", "dataTransfer", "certificate"})
_FLOW_INTERVAL = 0.25
_UNPROJECTED_INTERVAL = 0.1
"""Between looks at the registry's marker as long as the pod is unready for want of it."""
_STOP_TIMEOUT = 5.0
_KEY_AND_HEADERS = 1_024
"""More than the key of an event and what a batch adds to it."""


class Gateway:
    """Make it inside a running loop, then `run`. `stop` begins the drain."""

    def __init__(self, settings: Settings, run: str) -> None:
        """`run`: 8 random hex digits, the third part of the incarnation."""
        self._settings = settings
        self._incarnation = Incarnation.parse(f"{settings.pod.name}/{settings.pod.uid}/{run}")
        self._tasks = asyncio.TaskGroup()
        self._stopping = asyncio.Event()
        self._boots: dict[str, str | None] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._flow = UplinkGate(settings.uplink.hold, settings.uplink.close)
        self.metrics = Metrics()
        self._background = Background(self._tasks, lambda name: self._count("procedure_failures", name))

        connection = kafka_connection(settings)
        identity = source(settings.pod.resource_uid, self._incarnation.pod)
        topics = settings.topics
        self._producer = EventProducer(
            connection, linger=settings.kafka.linger, max_record_bytes=settings.kafka.max_request_bytes
        )
        self._store = Store(store_settings(settings), self._run_seen, lambda kind: self._count("store_trouble", kind))
        self._projection = StationProjection(self._store.shards, self._store.keys)
        self._stations = Stations(
            connection, topics.stations, self._projection, lambda what: self._count("registry", what)
        )
        self._webhook = webhook(settings, lambda kind, origin: self._count("decisions", kind, origin))

        dialects: dict[str, Dialect] = {
            name: Dialect(VERSIONS[name], check_outbound=settings.ocpp.outbound == "Strict")
            for name in settings.ocpp.versions
        }
        self._dialects = dialects
        policies = session_policies(settings)
        self.conversations = Conversations(
            ConversationPorts(
                producer=self._producer,
                events_topic=topics.events_up,
                source=identity,
                companions=self._store.companions,
                webhook=self._webhook,
                call_ended=self._call_ended,
                boot_changed=lambda connection: self.pod.boot_changed(connection),
                gone=self._gone,
                count=self._count,
                observe_command=self.metrics.command_seconds.observe,
                background=self._background,
            ),
            dialects,
            policies.__getitem__,
        )
        self.pod = Pod(
            downlink_settings(settings),
            self._incarnation,
            settings.pod.resource_uid,
            VersionCalls(dialects, self._may_call),
            self,
            random.random,
        )
        lanes = {Lane.NORMAL: topics.commands_down, Lane.URGENT: topics.commands_urgent}
        self._consumer = CommandConsumer(
            connection,
            lanes,
            settings.kafka.consumer_group,
            self._record_received,
            fetch_max_wait=settings.kafka.fetch_max_wait,
        )
        self._reached = False
        self._mailboxes = 0
        self._projected = False
        commands = CommandLog(
            self._consumer, self._producer, lanes, topics.command_results, topics.commands_dlq, identity
        )
        self._passwords = PasswordChanges(self._projection, self._producer, topics.stations)
        self._driver = Driver(self._tasks, self._store, commands, self.conversations, self._passwords, self._count)

        shared = Shared(socket_options(settings), lambda what, which: self._count("transport", what, which))
        gatekeeper = Gatekeeper(
            admission_rules(settings, tuple(dialects)),
            AcceptPacer(settings.limits.accept_rate, settings.limits.accept_waiting),
            Logins(settings.limits.connects_per_minute),
            AdmissionPorts(
                pod=lambda: (self.unready(), len(self.conversations)),
                look_up=self._projection.look_up,
                register=self._register,
                open_session=self._open_session,
                abandoned=self._abandoned,
                conflict=self._conflict,
                count=lambda what, which: self._count("admission", what, which),
            ),
        )
        self.listeners = Listeners(
            [listener_options(listener) for listener in settings.listeners],
            HandshakeOptions(
                timeout=settings.ocpp.handshake_timeout,
                max_pending=settings.limits.pending_handshakes,
                deflate=settings.ocpp.permessage_deflate,
            ),
            shared,
            gatekeeper,
        )
        self.admin = AdminServer(
            settings.admin.host, settings.admin.port, settings.admin.token_file, self, self.metrics.page
        )
        self._annotations = AssignmentFile(
            settings.pod.annotations_file, self._assigned, lambda reason: self._count("assignment_broken")
        )
        self._draining = False
        self._gauges()

    # -------------------------------------------------------------------------------------------------------------- life

    async def run(self) -> None:
        """Until `stop` and the drain behind it. Raises whatever makes this process useless."""
        await self.admin.start()
        try:
            async with self._tasks as tasks:
                work = [
                    tasks.create_task(self._annotations.follow(), name="assignment"),
                    tasks.create_task(self._follow_flow(), name="uplink flow"),
                ]
                self._producer.start((self._settings.topics.events_up, self._settings.topics.command_results))
                await self._store.start()
                # Partitions are taken only when Kafka can be read: a pod without it would hold mailboxes that nobody serves.
                self._consumer.start()
                reached = tasks.create_task(self._reach_kafka(), name="kafka")
                stopping = tasks.create_task(self._stopping.wait(), name="stop")
                await self._preload()
                await asyncio.wait((reached, stopping), return_when=asyncio.FIRST_COMPLETED)
                if reached.done():
                    self._loops = [self._driver.spawn(name, loop) for name, loop in self.pod.start(boottime())]
                    work += [
                        *self._loops,
                        tasks.create_task(self._stations.run(), name="stations"),
                        tasks.create_task(self._follow_partitions(), name="registry partitions"),
                    ]
                    await self.listeners.start()
                    log.info("serving", extra={"incarnation": str(self._incarnation), **self._addresses()})
                    await stopping
                    await self._drain()
                reached.cancel()
                await self.listeners.close()
                await self._consumer.stop()
                for task in work:
                    task.cancel()
                # Entries of the sockets just closed go, their DeviceOffline is published: before the producer stops.
                await self._background.finish(_STOP_TIMEOUT)
                await self._driver.finish(_STOP_TIMEOUT)
                left = await self._producer.stop(_STOP_TIMEOUT)
                if left:
                    log.error("stopped with events that Kafka has not acknowledged", extra={"events": left})
        finally:
            if self._webhook is not None:
                await self._webhook.close()
            await self._store.close()
            await self.admin.stop()

    def stop(self) -> None:
        """SIGTERM: drain, then end."""
        self.start_drain()

    async def _reach_kafka(self) -> None:
        self._mailboxes = await self._consumer.partition_count()  # raises where the lanes differ
        topics = self._settings.topics
        await self._producer.ready(topics.events_up, topics.command_results, topics.commands_dlq)
        self._reached = True

    async def _preload(self) -> None:
        """Compile the schemas: before the first station, because each holds the loop up for tens of milliseconds, and while
        brokers and store are about to answer, because a container restarted in place has no time to lose."""
        for dialect in self._dialects.values():
            await asyncio.sleep(0)
            dialect.preload()

    async def _drain(self) -> None:
        log.info("draining", extra={"connections": len(self.conversations)})
        await self._driver.run(self.pod.drain(boottime()))
        log.info("drained")

    async def _follow_flow(self) -> None:
        flow = Flow.OPEN
        while True:
            level = self._flow.judge(flow, self._producer.oldest_age(self._settings.topics.events_up))
            if level is not flow:
                log.warning("uplink", extra={"flow": level.name, "unacknowledged": self._producer.pending})
                flow = level
                self.conversations.change_flow(level)
            await asyncio.sleep(_FLOW_INTERVAL)

    async def _follow_partitions(self) -> None:
        """The owner of command partition k projects partition k of ocpp-stations."""
        while True:
            self._stations.set_partitions(self.pod.ownership.owned)
            if not self._projected:
                with contextlib.suppress(Unknown):
                    self._projected = await self._projection.complete()
            await asyncio.sleep(_FLOW_INTERVAL if self._projected else _UNPROJECTED_INTERVAL)

    # ---------------------------------------------------------------------------------------------- what others report

    def _run_seen(self, shard: str, run_id: str) -> None:
        procedure = self.pod.run_seen(shard, run_id, boottime())
        if procedure is not None:
            self._driver.spawn("run seen", procedure)

    def _record_received(self, record: SourceRecord) -> None:
        self._count("commands_received", record.lane.value)
        procedure = self.pod.record_received(record, boottime())
        if procedure is not None:
            self._driver.spawn("record", procedure)

    def _assigned(self, assignment: Assignment) -> None:
        if self.pod.assign(assignment.generation, assignment.partitions):
            log.info(
                "assignment",
                extra={"generation": assignment.generation, "partitions": len(assignment.partitions)},
            )
        elif assignment.generation < self.pod.ownership.generation:
            log.warning("an older assignment is ignored", extra={"generation": assignment.generation})
            self._count("assignment_ignored")

    def _call_ended(self, connection: str, ended: CallEnded) -> None:
        if ended.payload is not None:
            answer: CallResult | CallError = CallResult(ended.payload, ended.schema_errors)
        else:
            answer = CallError(ended.code, ended.description, ended.details or {})
        self.pod.answer_received(connection, CommandId(ended.message_id), answer)

    def _may_call(self, connection: str, action: str) -> bool:
        conversation = self.conversations.get(connection)
        return conversation is not None and conversation.session.may_call(action)

    def in_transaction(self, connection: str) -> bool:
        """See `pod.Stations`."""
        conversation = self.conversations.get(connection)
        return conversation is not None and conversation.session.in_transaction

    def data_lost(self, now: float) -> None:
        """See `pod.Stations`."""
        self._count("store_trouble", "data_lost")
        self._background.start("boot states", self.conversations.reassert_boots())

    # --------------------------------------------------------------------------------------------------------- admission

    async def _register(self, station: ChargePointId, subprotocol: str, connection: str) -> object:
        boot = asyncio.ensure_future(self._boot_status(station))
        since = self.conversations.clock.utc()
        found = await self._driver.run(self.pod.register(station, connection, subprotocol, since, boottime()))
        status = await boot
        if not isinstance(found, Socket):
            return found
        if not found.open:
            # Replaced while the boot state was read. Its entry is another connection's by now, so there is nothing to undo;
            # with a 101 it would be a socket that no command reaches and no newer connection closes.
            return Refusal("a newer connection of the station was accepted")
        self._boots[connection] = status
        return Registered(found.epoch)

    async def _boot_status(self, station: ChargePointId) -> str | None:
        try:
            record = await self._store.companions.boot(station)
        except Unknown:
            return None  # unknown counts as accepted
        return None if record is None else record.status

    def _open_session(self, admitted: Admitted, handshake: Handshake, socket: ChargePointSocket) -> ConnectionHandler:
        conversation = self.conversations.open(
            socket,
            handshake.connection,
            admitted.charge_point_id,
            admitted.epoch,
            admitted.subprotocol,
            admitted.policy.validation,
            self._boots.pop(handshake.connection, None),
        )
        log.info(
            "station connected",
            extra={
                "station": admitted.charge_point_id,
                "connection": handshake.connection,
                "version": admitted.subprotocol,
                "epoch": admitted.epoch,
                "peer": handshake.peer,
            },
        )
        online = {
            "connection": handshake.connection,
            "remoteAddress": handshake.peer,
            "securityProfile": admitted.security_profile,
        }
        self.conversations.announce(conversation, "DeviceOnline", online)
        self.pod.upgraded(handshake.connection)
        if admitted.credential_index:  # the first hash is the oldest: nothing is older than that
            self._background.start(
                "password change", self._passwords.settle(admitted.charge_point_id, admitted.credential_index)
            )
        return conversation

    def _conflict(self, station: ChargePointId, peer: str) -> None:
        identity = f"conflict-{station}-{self.conversations.clock.utc()}"
        self.conversations.publish(station, "IdentityConflict", identity, "", 0, {"remoteAddress": peer})

    def _gone(self, conversation: Conversation, code: int, reason: str) -> None:
        offline = {"connection": conversation.connection, "code": code, "reason": reason}
        self._socket_gone(
            conversation.connection, lambda: self.conversations.announce(conversation, "DeviceOffline", offline)
        )

    def _abandoned(self, admitted: Admitted, handshake: Handshake) -> None:
        """Registered, but there will be no session. The registration has replaced an earlier connection that was online, so
        this one has to say that the station is away."""
        connection = handshake.connection
        offline = {"connection": connection, "code": 1006, "reason": "gone before the 101"}
        self._socket_gone(
            connection,
            lambda: self.conversations.publish(
                admitted.charge_point_id, "DeviceOffline", connection, admitted.subprotocol, admitted.epoch, offline
            ),
        )

    def _socket_gone(self, connection: str, announce: Callable[[], None]) -> None:
        self._boots.pop(connection, None)
        # What must happen at once (nothing may be written any more) happens in this call.
        procedure = self.pod.socket_closed(connection, boottime())

        async def remove() -> None:
            if await self._driver.run(procedure):
                announce()

        self._background.start("removal", remove())

    # ------------------------------------------------------------------------------------------------ for the admin port

    def unready(self) -> str | None:
        """See `admin.View`; admission asks the same."""
        if self._draining:
            return "draining"
        if not self._reached:
            return f"Kafka at {', '.join(self._settings.kafka.bootstrap_servers)} is out of reach or lacks a topic"
        if not self._store.available:
            return f"Redis at {', '.join(self._settings.redis.addresses)} is out of reach"
        if self.conversations.flow is Flow.CLOSED:
            return "Kafka acknowledges no events"
        if not self.pod.ready(boottime()):
            return f"no partition held (assignment generation {self.pod.ownership.generation})"
        if not self._projected:
            # Once: later losses of Redis are handled per station, a station that is found is served.
            topics, partitions = self._settings.topics, self._projection.partitions
            if partitions is not None and partitions > self._mailboxes:
                # Partition k is projected by the owner of command partition k: nobody would ever read the others.
                return (
                    f"{topics.stations} has {partitions} partitions, but {topics.commands_down} only {self._mailboxes}"
                )
            return f"the station registry ({topics.stations}) is not projected yet"
        return None

    def unhealthy(self) -> str | None:
        """See `admin.View`. What runs for the pod's life must run: without its renewals, say, a pod is of no use to anybody."""
        ended = [task.get_name() for task in self._loops if task.done()]
        return f"{', '.join(ended)} ended by a mistake, see the log" if ended and not self._draining else None

    def connections(self, after: str, limit: int) -> Sequence[dict[str, Any]]:
        sockets = sorted(
            (socket for socket in self.pod.directory.sockets.values() if socket.charge_point_id > after),
            key=lambda socket: socket.charge_point_id,
        )
        return [
            ConnectionItem(
                socket.charge_point_id, socket.epoch, socket.connection, Partition(socket.partition)
            ).to_fields()
            for socket in sockets[:limit]
        ]

    def start_drain(self) -> None:
        self._draining = True
        self._stopping.set()

    def trace(self, charge_point_id: str) -> AsyncGenerator[bytes, None]:
        return self.conversations.trace(charge_point_id)

    # ----------------------------------------------------------------------------------------------------------- metrics

    def _count(self, name: str, *labels: str, by: float = 1) -> None:
        self.metrics.count(name, *labels, by=by)

    def _gauges(self) -> None:
        gauge = self.metrics.gauge
        gauge("connections", lambda: len(self.conversations))
        gauge("pending_handshakes", lambda: self.listeners.handshakes)
        gauge("partitions_held", lambda: len(self.pod.ownership.owned))
        gauge("parked_commands", lambda: self.pod.turns.parked)
        gauge("parked_bytes", lambda: self.pod.turns.parked_bytes)
        gauge("unacknowledged_events", lambda: self._producer.pending)
        gauge("oldest_unacknowledged_seconds", lambda: self._producer.oldest_age() or 0.0)
        gauge("ready", lambda: float(self.unready() is None))
        gauge("draining", lambda: float(self._draining))

    def _addresses(self) -> dict[str, Any]:
        ports = {name: f"{host}:{port}" for name, (host, port) in self.listeners.addresses.items()}
        return {"listeners": ports, "admin_port": self.admin.port}


# ------------------------------------------------------------------------------------------ settings -> what each part takes


def kafka_connection(settings: Settings) -> KafkaConnection:
    """Raises UnusableFile when a secret's file cannot be used."""
    kafka = settings.kafka
    encrypted = kafka.security_protocol in ("SSL", "SASL_SSL")
    return KafkaConnection(
        bootstrap_servers=kafka.bootstrap_servers,
        client_id=f"chargegateway-{settings.pod.name}",
        request_timeout=kafka.request_timeout,
        metadata_max_age=kafka.metadata_max_age,
        security_protocol=kafka.security_protocol,
        tls=followed_context(kafka.ca_file, kafka.certificate_file, kafka.key_file) if encrypted else None,
        sasl_mechanism=kafka.sasl_mechanism,
        username=kafka.username,
        password=followed_text(kafka.password_file) if kafka.password_file else None,
    )


def store_settings(settings: Settings) -> StoreSettings:
    """Raises UnusableFile when a secret's file cannot be used."""
    redis = settings.redis
    addresses = tuple(Address(host, int(port)) for host, _, port in (name.rpartition(":") for name in redis.addresses))
    access = RedisAccess(
        username=redis.username,
        password=followed_text(redis.password_file) if redis.password_file else None,
        tls=redis.tls,
        authorities=followed_authorities(redis.ca_file) if redis.tls and redis.ca_file else None,
        client_name=f"chargegateway-{settings.pod.name}",
        timeout=redis.socket_timeout,
    )
    return StoreSettings(
        addresses=addresses,
        access=access,
        cluster=redis.mode == "Cluster",
        key_prefix=redis.key_prefix,
        lease=settings.ownership.lease,
        connection_ttl=settings.ownership.entry_ttl,
    )


def downlink_settings(settings: Settings) -> DownlinkSettings:
    ownership, commands, drain = settings.ownership, settings.commands, settings.drain
    return DownlinkSettings(
        lease=ownership.lease,
        margin=ownership.margin,
        renew_interval=ownership.renew_interval,
        lonely_close=ownership.lonely_close,
        entry_refresh=ownership.entry_refresh,
        recommit_interval=ownership.commit_interval,
        # A request may take effect as long as its reply is waited for, and no longer.
        register_window=max(1.0, settings.redis.socket_timeout),
        claim_window=max(1.0, settings.redis.socket_timeout),
        call_timeout=settings.ocpp.call_timeout,
        late_window=commands.late_window,
        default_deadline=commands.default_deadline,
        max_deadline=commands.max_deadline,
        record_ttl=commands.record_ttl,
        claim_replicas=settings.redis.wait_replicas,
        mailbox_size=commands.mailbox_size,
        max_parked=commands.max_parked,
        max_parked_bytes=commands.max_parked_bytes,
        load_balancer_wait=drain.load_balancer_wait,
        closes_per_second=drain.connections_per_second,
        force_after=drain.force_after,
    )


def session_policies(settings: Settings) -> dict[str, SessionPolicy]:
    """One per validation mode: a station's record may choose its own. Rate and keepalive are the transport's."""
    asks = _DECIDED_KINDS if settings.decisions.type == "Webhook" else frozenset()
    return {
        mode.value: SessionPolicy(
            validation=mode,
            asks=asks,
            heartbeat_interval=round(settings.ocpp.heartbeat_interval),
            json_depth=settings.limits.json_depth,
            max_event_bytes=settings.kafka.max_request_bytes - _KEY_AND_HEADERS,
        )
        for mode in Validation
    }


def socket_options(settings: Settings) -> SocketOptions:
    return SocketOptions(
        max_message=settings.limits.message_bytes,
        ping_interval=settings.ocpp.ping_interval,
        missed_pings=settings.ocpp.missed_pings,
        write_timeout=settings.ocpp.write_timeout,
        messages_per_second=settings.limits.messages_per_second,
        message_burst=settings.limits.message_burst,
    )


def admission_rules(settings: Settings, versions: tuple[str, ...]) -> AdmissionRules:
    return AdmissionRules(
        registry=RegistryRules(
            versions=versions,
            unknown=UnknownStations(settings.stations.unknown),
            minimum_security_profile=settings.stations.minimum_security_profile,
            validation=settings.ocpp.inbound,
        ),
        max_connections=settings.limits.connections,
        complete_without_common_version=settings.ocpp.no_common_version == "CompleteAndClose",
    )


def listener_options(listener: Listener) -> ListenerOptions:
    """Raises TlsError when certificates cannot be used."""
    tls = None
    if listener.tls is not None:
        tls = ListenerTls(
            listener.tls.certificates,
            modern=listener.tls.cipher_suites == "Modern",
            minimum=listener.tls.minimum_version,
        )
    return ListenerOptions(
        name=listener.name,
        host=listener.host,
        port=listener.port,
        security_profiles=frozenset(listener.security_profiles),
        tls=tls,
        reuse_port=listener.reuse_port,
    )


def webhook(settings: Settings, count: Any) -> Webhook | None:
    """Raises UnusableFile when a secret's file cannot be used."""
    hook = settings.decisions.webhook
    if hook is None:
        return None
    return Webhook(
        hook.url,
        timeout=hook.timeout,
        max_concurrent=hook.max_concurrent,
        breaker=Breaker(hook.breaker_failures, hook.breaker_pause),
        on_failure=OnFailure(
            hook.on_failure_boot,
            hook.on_failure_authorize,
            hook.on_failure_transaction,
            hook.on_failure_data_transfer,
            hook.on_failure_certificate,
        ),
        count=count,
        clock=boottime,
        authorization=followed_text(hook.authorization_file) if hook.authorization_file else None,
        tls=followed_context(hook.ca_file) if hook.ca_file else None,
    )
