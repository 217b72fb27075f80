"""Two resources on one store and prefix, or on one broker's mailbox topics, would fight. Who keeps them?

Operators in two namespaces do not see each other's resources, so each claim is written where the other would see it: the
key `claim` in the store, and the commit metadata of the command group, which names the uid of the resource whose pods
committed there. Who is at work there keeps it; between two that both are, or neither, the older (creationTimestamp, then
uid: both sides decide alike without talking). The other gets `MailboxesTaken` and no pods. So an old resource that is pointed
at somebody's store by a slip of the pen takes nothing from anybody (ADR 58).

The claim in the store has a lease of ten minutes, which the operator renews when half of it is over; it needs no better,
because nobody's right to deliver hangs on it. The reasons, case by case:

- the store lost the claim: the next look finds it absent and writes it again. If the younger was faster, the older takes it
  back, by being the older and having pods there;
- the resource was deleted: cleaning up takes the claim away (script leave_store), the next one need not wait;
- deleted without that (operator uninstalled, store away): nobody renews it, and after the lease it blocks nobody;
- the operator is away for longer than the lease, and its pods go on, as they should: then the lease is over and the store
  is in use all the same. So an absent or lapsed claim is not taken while pods that are not ours hold partitions there: their
  leases of 15 s are the sign of life that needs no operator. Whoever has pods there itself re-asserts without that question;
- the claim cannot be read: some other application's key, or a release that we do not know. It is never overwritten.

A claim is written only over what was judged (script claim_store), so two that decide at once do not both have it.

The metadata in Kafka have no lease, and a uid does not tell whether its resource lives. They are taken over only from
resources that the caller knows to be gone: this process saw them go, or the store's claim names one of our own namespace and
name, its lease is over and nobody lives there. The claim in the store is inherited only from one of our own namespace and name:
the pods of one of another name may still be leaving, which no list of ours shows, and its keys are being taken away, which
would take ours along. It is waited out. An inherited claim is left standing until the mailboxes have been committed anew
(`Inherit`): it is the only thing that tells an operator that comes next why they may be.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from ocpp_contract.commit_metadata import decode_metadata, encode_metadata
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.scripts.records import PartitionRecord, StoreClaim
from ocpp_contract.times import format_time, from_us, parse_time, to_us

LEASE_US: Final = 600_000_000
"""How long a claim stands without its operator."""

TopicPartition: TypeAlias = tuple[str, Partition]


@dataclass(frozen=True, slots=True)
class SeenClaim:
    """What stands at `claim`. ``claim`` None: something that is no claim. ``text`` None: a key that is no string at all."""

    text: bytes | None
    claim: StoreClaim | None

    @classmethod
    def read(cls, text: bytes) -> SeenClaim:
        try:
            return cls(text, StoreClaim.from_json(text))
        except ContractError:
            return cls(text, None)


@dataclass(frozen=True, slots=True)
class Keep:
    """It is ours, and nothing is to be written."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """Write it: it is to be taken, taken back or renewed; over exactly what was seen."""


@dataclass(frozen=True, slots=True)
class Inherit:
    """It is that of a resource which is gone. As good as ours; to be written once no mailbox names that one any more."""

    uid: str


@dataclass(frozen=True, slots=True)
class Taken:
    """It is another's. ``uid`` is empty where only the other's pods are seen; ``message`` is for the condition."""

    uid: str
    message: str


def may_run(taken: Taken | None, pods: Collection[object]) -> bool:
    """Whether a resource may have pods. Those that it has are taken away only for another resource that is known by name: what
    merely cannot be read (a claim of a later release, after the operator was set back) is a reason to make none, and to tell."""
    return taken is None or (not taken.uid and bool(pods))


def judge_store(
    mine: StoreClaim,
    seen: SeenClaim | None,
    holders: Mapping[Partition, PartitionRecord],
    pods: Collection[tuple[PodName, str]],
    now_us: int,
    gone: Collection[str] = frozenset(),
) -> Keep | Refresh | Inherit | Taken:
    """What to do about the store's claim. ``pods`` are name and uid of ours, ``gone`` uids of resources that certainly exist no
    more; the rest is one look at the store."""
    if seen is not None and seen.claim is None:
        return Taken(
            "", "the key `claim` in Redis holds something that is no claim of a ChargeGateway: use another keyPrefix"
        )
    other = None if seen is None else seen.claim
    if other is not None and other.uid == mine.uid:
        return Keep() if other.lease_until_us - now_us > LEASE_US // 2 else Refresh()
    before_us = other is not None and (other.namespace, other.name) == (mine.namespace, mine.name)
    if other is not None and before_us and other.uid in gone:
        return Inherit(other.uid)
    ours, strangers = _living(holders, pods, now_us)
    if other is not None:
        if is_older(mine, other) and (ours or not strangers):
            return Refresh()
        if other.lease_until_us > now_us:
            return _taken_by(other)
    if not strangers and other is not None and before_us:
        return Inherit(other.uid)
    if not strangers or (other is None and ours):
        return Refresh()
    if other is not None:
        return _taken_by(other)
    names = ", ".join(sorted({stranger.pod for stranger in strangers})[:3])
    return Taken("", f"pods of another ChargeGateway hold partitions in this Redis under the same keyPrefix: {names}")


def is_older(one: StoreClaim, other: StoreClaim) -> bool:
    """By creationTimestamp (whole seconds), then by uid: a total order, alike for everybody."""
    return _age(one) < _age(other)


def _age(claim: StoreClaim) -> tuple[int, str]:
    return to_us(parse_time(claim.created_at)), claim.uid


def _living(
    holders: Mapping[Partition, PartitionRecord], pods: Collection[tuple[PodName, str]], now_us: int
) -> tuple[frozenset[Incarnation], frozenset[Incarnation]]:
    """Who holds a partition under a running lease: of our pods, and of others."""
    living = {
        record.incarnation
        for record in holders.values()
        if record.incarnation is not None and record.lease_until_us > now_us
    }
    ours = frozenset(holder for holder in living if (holder.pod, holder.uid) in pods)
    return ours, frozenset(living - ours)


def _taken_by(other: StoreClaim) -> Taken:
    name = f"{other.namespace}/{other.name}"
    until = format_time(from_us(other.lease_until_us))
    return Taken(
        other.uid,
        f"this Redis and keyPrefix belong to the ChargeGateway {name} (uid {other.uid}): use another keyPrefix, or wait if that one "
        f"was deleted: its claim ends at {until}",
    )


# ------------------------------------------------------------------------------------------------------ mailboxes in Kafka


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """What the commit metadata of all lanes and partitions say."""

    taken: Taken | None
    """Some are another's."""
    left_behind: tuple[TopicPartition, ...]
    """Those of resources known to be gone. Pods refuse them until the metadata no longer name those: to be committed anew
    at the same offset, before any pod is told to serve them."""


def judge_mailboxes(uid: str, metadata: Mapping[TopicPartition, str], gone: Collection[str] = frozenset()) -> Mailboxes:
    """Whose mailboxes these are. ``gone``: uids of resources that certainly exist no more, such as an earlier one of the
    same namespace and name on the caller's own API server; without that knowledge another uid is another resource.

    Metadata that name nobody (never committed, dropped by the broker, of another release) claim nothing.
    """
    theirs: dict[str, list[TopicPartition]] = {}
    for where, text in sorted(metadata.items()):
        known = decode_metadata(text, 0)
        if known is not None and known.resource_uid != uid:
            theirs.setdefault(known.resource_uid, []).append(where)
    left_behind = tuple(sorted(where for other, places in theirs.items() if other in gone for where in places))
    others = {other: places for other, places in theirs.items() if other not in gone}
    if not others:
        return Mailboxes(None, left_behind)
    other, places = max(others.items(), key=lambda item: (len(item[1]), item[0]))
    topics = ", ".join(sorted({topic for topic, _ in places}))
    count = f"{len(places)} partition{'s' if len(places) > 1 else ''}"
    message = f"{count} of {topics} belong to the ChargeGateway with uid {other}: use topics or a broker of your own"
    return Mailboxes(Taken(other, message), left_behind)


def handed_over(text: str, uid: str) -> str:
    """The metadata with another owner. What is finished stays finished: the records of those commands may be gone with the store's
    keys, and they would be executed again."""
    known = decode_metadata(text, 0)
    return encode_metadata(uid, 0, set(known.finished if known is not None else ()))


def leaves(uid: str, metadata: Mapping[TopicPartition, str]) -> tuple[tuple[TopicPartition, ...], bool]:
    """At the end of the resource ``uid``: the mailboxes that need to name nobody any more, and whether those are all of its own.

    One that remembers finished records keeps its owner, so that they stay finished."""
    known = {where: decode_metadata(text, 0) for where, text in metadata.items()}
    own = {where: each for where, each in known.items() if each is not None and each.resource_uid == uid}
    free = tuple(sorted(where for where, each in own.items() if not each.finished))
    return free, len(free) == len(own)
