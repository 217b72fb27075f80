"""What a procedure of the downlink may ask of the world, and what the world answers (ADR 0015).

A procedure is a generator: it yields effects, one at a time, and is resumed with `Resumed(now, value)`, where `value` has
the type named at the effect. Whoever drives it - the asyncio runtime of a pod or the seeded simulation - executes the
effect and sends the reply; so the code that ships is the code that the simulation judges.

Rules of the driver:

- `now` is CLOCK_BOOTTIME in seconds, read right before the generator is resumed. Between that reading and the next yield
  nothing else runs, so a check of right or deadline and the WriteCall yielded after it are one step.
- Store and Kafka requests may end in `Unknown`, thrown into the procedure: the request may have happened, may not, may
  still happen later. Core repeats what is safe to repeat and waits out what is not; the driver and its libraries repeat
  nothing of a `Register`, `ClaimCommand`, `RecordDone` or `Take` by themselves.
- "Bound": a store reply counts only if request and reply belong to the same run (one server process, its `run_id` read
  when the connection was made). Everything else is `Unknown`. The driver reports a run with `Pod.run_seen` before it
  resumes anything with a reply of that run.
- Local effects (from `WriteCall` down) are executed at once, without anything running in between; `Wait`, `Sleep` and
  `Ping` suspend.

Times of the store are microseconds of Redis TIME (`..._us`), everything else is seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition, PodName
from ocpp_contract.outcome import CommandResult

V = TypeVar("V")
T = TypeVar("T")


class Resumed(NamedTuple, Generic[V]):
    """The reply to an effect and the moment at which the procedure goes on."""

    now: float
    value: V


class Unknown(Exception):
    """The request may or may not have taken effect, and may still do so. Thrown into the procedure; `now` as in Resumed."""

    def __init__(self, now: float, reason: str = "time-out") -> None:
        super().__init__(reason)
        self.now = now
        self.reason = reason


class Lane(StrEnum):
    """The two command topics: normal traffic cannot hold up the urgent one."""

    NORMAL = "normal"
    URGENT = "urgent"


# ------------------------------------------------------------------------------------------------ records of a command


@dataclass(frozen=True, slots=True)
class Claim:
    """`claimed`: somebody is about to write, or wrote, this command to the socket of that connection epoch."""

    incarnation: Incarnation
    epoch: int
    """Epoch of the connection under which it was claimed."""
    since_us: int
    """Redis TIME at which the script wrote it: tells two claims of the same pod and epoch apart."""
    timed_out_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """`done`: the whole result record; never changes again."""

    result: CommandResult


CommandRecord: TypeAlias = Claim | Done


# ----------------------------------------------------------------------------------------------------- store: partitions


@dataclass(frozen=True, slots=True)
class Take:
    """-> Taken | Refused | AbsentPartition. Allowed when released, lease over, held by another incarnation of the same pod
    name and uid, or absent with `absent_ok`. The new epoch is max(stored + 1, TIME in us, floor_us)."""

    partition: Partition
    incarnation: Incarnation
    floor_us: int
    absent_ok: bool


@dataclass(frozen=True, slots=True)
class Taken:
    epoch: int


@dataclass(frozen=True, slots=True)
class Refused:
    holder: Incarnation
    lease_until_us: int


@dataclass(frozen=True, slots=True)
class AbsentPartition:
    """No record (and `absent_ok` was false)."""


@dataclass(frozen=True, slots=True)
class IsAbsent:
    """-> bool: whether no record of the partition stands there that was written under the present run. Only a look."""

    partition: Partition


class HeldPartition(NamedTuple):
    partition: Partition
    epoch: int


@dataclass(frozen=True, slots=True)
class Renew:
    """-> Renewed. One pipeline: TIME, the `pod:` record (SET PX), and a renewal of every held partition."""

    incarnation: Incarnation
    held: tuple[HeldPartition, ...]
    generation: int
    connections: int
    draining: bool


class RenewState(StrEnum):
    HELD = "held"
    LOST = "lost"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    """Its shard of a cluster did not answer, others did."""


class RenewedPartition(NamedTuple):
    state: RenewState
    stored_epoch: int
    """What the record shows (0 when absent). Lower than mine with LOST: the store forgot my write."""


@dataclass(frozen=True, slots=True)
class Renewed:
    time_us: int
    partitions: tuple[RenewedPartition, ...]
    """In the order of `Renew.held`."""


@dataclass(frozen=True, slots=True)
class Restore:
    """-> RenewState (HELD or LOST). Writes the record again where it is absent: only for who held it."""

    partition: Partition
    incarnation: Incarnation
    epoch: int


@dataclass(frozen=True, slots=True)
class Release:
    """-> bool. Only for the same incarnation and epoch; keeps the epoch, sets leaseUntil 0."""

    partition: Partition
    incarnation: Incarnation
    epoch: int


@dataclass(frozen=True, slots=True)
class GetPods:
    """-> tuple[Incarnation | None, ...]: who stands in `pod:<pod>` of each, None where there is no live record."""

    pods: tuple[PodName, ...]


# ------------------------------------------------------------------------------------------------------ store: directory


@dataclass(frozen=True, slots=True)
class Register:
    """-> Registered | Late. epoch = max(stored + 1, last + 1, TIME in us, floor_us); writes `:last` too. Does nothing once
    Redis TIME has passed `not_after_us`. Never repeated."""

    charge_point_id: ChargePointId
    incarnation: Incarnation
    partition: Partition
    connection: str
    version: str
    since: str
    floor_us: int
    not_after_us: int


@dataclass(frozen=True, slots=True)
class Registered:
    epoch: int


@dataclass(frozen=True, slots=True)
class Late:
    """The request arrived after its `not_after_us`: nothing was done."""


class RefreshState(StrEnum):
    OK = "ok"
    LOST = "lost"
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Refresh:
    """-> RefreshState. Stored or `:last` epoch above mine: lost. Equal: extended, partition written. Absent or lower: my
    record is written when `proven`, else unproven."""

    charge_point_id: ChargePointId
    record: ConnectionRecord
    proven: bool


@dataclass(frozen=True, slots=True)
class Delete:
    """-> bool. Compare-and-delete by epoch, or by connection id after a registration whose reply was lost."""

    charge_point_id: ChargePointId
    epoch: int | None
    connection: str | None


@dataclass(frozen=True, slots=True)
class GetConn:
    """-> tuple[ConnectionRecord | None, ...] in the same order."""

    charge_point_ids: tuple[ChargePointId, ...]


# ------------------------------------------------------------------------------------------------------- store: commands


@dataclass(frozen=True, slots=True)
class ClaimCommand:
    """-> Claimed | Moved | Late | Claim | Done. `conn:` must show `epoch`, the stored record must equal `expected` (None: no
    record). A Claim or Done that stands instead is returned. Never repeated by library or driver."""

    charge_point_id: ChargePointId
    command_id: CommandId
    incarnation: Incarnation
    epoch: int
    expected: Claim | None
    not_after_us: int
    ttl: float
    """Seconds for which the record lives."""
    replicas: int = 0
    """WAIT for so many replicas (never-blindly types, when the setting says so)."""


@dataclass(frozen=True, slots=True)
class Claimed:
    claim: Claim


@dataclass(frozen=True, slots=True)
class Moved:
    """`conn:` does not show my epoch: the station may be elsewhere by now."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """-> bool. If the stored record is still `claim`: put back what it replaced (None: remove it)."""

    charge_point_id: ChargePointId
    command_id: CommandId
    claim: Claim
    previous: Claim | None


@dataclass(frozen=True, slots=True)
class RecordDone:
    """-> Claim | Done: what is stored now. Set only where no done stands; with `only_from_none` also not over a claim."""

    charge_point_id: ChargePointId
    command_id: CommandId
    result: CommandResult
    only_from_none: bool
    ttl: float


@dataclass(frozen=True, slots=True)
class AssertRecord:
    """-> Claim | Done: what is stored now. After data loss: none < claimed < done; a done is never overwritten."""

    charge_point_id: ChargePointId
    command_id: CommandId
    record: CommandRecord
    ttl: float


@dataclass(frozen=True, slots=True)
class MarkTimedOut:
    """-> bool. Adds `timedOutAt` (TIME) to the stored record if it is still this claim."""

    charge_point_id: ChargePointId
    command_id: CommandId
    claim: Claim


# ------------------------------------------------------------------------------------------------------------ store: run


@dataclass(frozen=True, slots=True)
class MarkRun:
    """-> RunMarked. SET `run:<run_id>` = TIME NX; whoever came first decides when the quiet began."""

    run_id: str


@dataclass(frozen=True, slots=True)
class RunMarked:
    first_seen_us: int
    time_us: int


@dataclass(frozen=True, slots=True)
class Batch:
    """-> tuple of the replies in order, an `Unknown` instance where one is unknown. One pipeline of independent requests."""

    requests: tuple[SingleRequest, ...]


# ---------------------------------------------------------------------------------------------------------------- Kafka


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One record of a command topic, exactly as it was read."""

    lane: Lane
    partition: Partition
    offset: int
    timestamp_ms: int
    """LogAppendTime."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        named = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + named

    def header(self, name: str) -> bytes | None:
        """The last header of that name, as Kafka's own clients read it."""
        return next((value for key, value in reversed(self.headers) if key == name), None)


@dataclass(frozen=True, slots=True)
class PublishResult:
    """-> None once acknowledged. To `command-results`, key charge point id, ce_id from the result itself."""

    result: CommandResult
    traceparent: bytes | None = None
    """The command's own, carried on (W3C Trace Context)."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """-> None once acknowledged. To `commands-dlq`: original bytes, key and headers plus `cg-reason` and `cg-source`."""

    source: SourceRecord
    reason: str


@dataclass(frozen=True, slots=True)
class Append:
    """-> str | None: None once acknowledged, else why Kafka will never take it (too large with its headers). To the command
    topic of `lane`, exactly this partition: forward and re-append."""

    lane: Lane
    partition: Partition
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """-> None once acknowledged. Offsets and metadata of one lane of one partition in the group."""

    lane: Lane
    partition: Partition
    offset: int
    metadata: str


@dataclass(frozen=True, slots=True)
class FetchCommitted:
    """-> Mapping[Lane, LanePosition]: both lanes of a partition."""

    partition: Partition


@dataclass(frozen=True, slots=True)
class StoreCredential:
    """-> str | None: None once acknowledged, else why this password must not be used. The hash of a new password goes to
    `ocpp-stations` beside the old ones, before the CALL that tells the station."""

    charge_point_id: ChargePointId
    password: str = field(repr=False)


class LanePosition(NamedTuple):
    committed: int | None
    """None: the group never committed here, so nobody ever owned the partition."""
    metadata: str
    beginning: int
    """First offset that the log still holds."""


@dataclass(frozen=True, slots=True)
class StartFetch:
    """-> None, local. Records go to `Pod.record_received`, in order per lane, from these offsets on."""

    partition: Partition
    offsets: Mapping[Lane, int]


@dataclass(frozen=True, slots=True)
class StopFetch:
    """-> None, local. After it no record of the partition may be handed over."""

    partition: Partition


# ---------------------------------------------------------------------------------------------------------------- local


class Signal:
    """Something that a procedure waits for: fired by core, waited on by the driver through `subscribe`.

    A signal stays fired until a Wait consumed it (the driver calls `consume` when it resumes the waiter), so nothing is
    lost between the check of a condition and the wait for its change. One waiter at a time.
    """

    __slots__ = ("_fired", "_waiter")

    def __init__(self) -> None:
        self._fired = False
        self._waiter: Callable[[], None] | None = None

    @property
    def fired(self) -> bool:
        return self._fired

    def fire(self) -> None:
        """Wake the waiter. The callback must only schedule, never resume a procedure from within another."""
        self._fired = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter()

    def subscribe(self, waiter: Callable[[], None] | None) -> None:
        self._waiter = waiter

    def consume(self) -> None:
        self._fired = False


@dataclass(frozen=True, slots=True)
class Wait:
    """-> bool: True when the signal fired (also before the wait began), False when `until` passed. None: no limit."""

    signal: Signal
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """-> None at `until` (boottime seconds)."""

    until: float


@dataclass(frozen=True, slots=True)
class Ping:
    """-> bool: whether this very ping was answered on that connection before `until`."""

    connection: str
    until: float


@dataclass(frozen=True, slots=True)
class WriteCall:
    """-> bool: whether the CALL went to the socket's buffer. False: nothing was written (socket gone, or the session has
    a CALL open). Local: executed at once. The command id is the message id, so that a late answer finds its command."""

    connection: str
    command_id: CommandId
    action: str
    payload: Mapping[str, Any]
    age: float = 0.0
    """Seconds since the record was written to Kafka, by the broker's and the store's clocks: for the metrics page."""


@dataclass(frozen=True, slots=True)
class CallTimedOut:
    """-> None, local. The session may send the next CALL; an answer that still comes counts as late."""

    connection: str
    command_id: CommandId


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """-> None, local. `Pod.socket_closed` still follows when the socket has gone."""

    connection: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Spawn:
    """-> None, local. Start another procedure; its return value is dropped."""

    name: str
    procedure: Procedure[Any] = field(hash=False, compare=False)


@dataclass(frozen=True, slots=True)
class Count:
    """-> None, local. A counter of the metrics page: name and labels, never a station id."""

    name: str
    labels: tuple[str, ...] = ()
    amount: int = 1


@dataclass(frozen=True, slots=True)
class Note:
    """-> None, local. A line for the log that a person can act on."""

    level: str
    message: str
    fields: Mapping[str, str | int | float] = field(default_factory=dict)


SingleRequest: TypeAlias = (
    Take
    | IsAbsent
    | Renew
    | Restore
    | Release
    | GetPods
    | Register
    | Refresh
    | Delete
    | GetConn
    | ClaimCommand
    | PutBack
    | RecordDone
    | AssertRecord
    | MarkTimedOut
    | MarkRun
)
StoreRequest: TypeAlias = SingleRequest | Batch
KafkaRequest: TypeAlias = PublishResult | DeadLetter | Append | Commit | FetchCommitted | StoreCredential
LocalEffect: TypeAlias = (
    StartFetch | StopFetch | Wait | Sleep | Ping | WriteCall | CallTimedOut | CloseSocket | Spawn | Count | Note
)
Effect: TypeAlias = StoreRequest | KafkaRequest | LocalEffect

Procedure: TypeAlias = Generator[Effect, Resumed[Any], T]
