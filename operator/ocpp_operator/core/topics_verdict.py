"""What follows from a difference between the topics that a resource wishes and those that the brokers show.

A missing topic is created, with everything that the contract demands of it. A topic that exists is never altered: its data and
its settings belong to whoever runs the brokers, more partitions would send stations' commands to other mailboxes, and a
shorter retention would delete commands that somebody waits for. So a difference becomes a line for people, and the only
question is whether it stops the resource (`breaks_contract`, TopicsReady=False) or is just told (TopicsReady=True with a note):

- it stops when a command could be lost, executed twice or never be read, when an acknowledged record could vanish, or when
  gateways would refuse to start or to produce. Each such rule below has its reason beside it;
- it is only told when somebody chose otherwise and nothing promised is broken: longer or shorter retention of events, more
  replicas, more partitions for backends.

Trouble is what passes by itself or by a repair of brokers (no leader, too few replicas in sync); it is never a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ocpp_operator.core.topics import (
    CLEANUP,
    MESSAGE_BYTES,
    MIN_IN_SYNC,
    RETENTION,
    RETENTION_BYTES,
    SEGMENT,
    TIMESTAMP,
    UNCLEAN,
    Management,
    SeenTopic,
    TopicsWish,
    WishedTopic,
    milliseconds,
    wished_topics,
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A topic is not as wished."""

    topic: str
    what: str
    """`partitions`, `replicas`, `missing`, `settings` (unreadable), or the name of a topic setting."""
    wished: str
    seen: str
    breaks_contract: bool
    message: str


class Ailment(StrEnum):
    """What is wrong with partitions at the moment."""

    LEADERLESS = "leaderless"
    UNDER_MIN_IN_SYNC = "under min.insync.replicas"
    UNDER_REPLICATED = "under-replicated"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Partitions that cannot be written to, or could soon not be."""

    topic: str
    ailment: Ailment
    partitions: tuple[int, ...]
    message: str

    @property
    def stops(self) -> bool:
        """Under-replicated partitions still take every write; the others take none with `acks=all`."""
        return self.ailment is not Ailment.UNDER_REPLICATED


@dataclass(frozen=True, slots=True)
class TopicsVerdict:
    """What to create, and what to tell."""

    to_create: tuple[WishedTopic, ...]
    differences: tuple[Difference, ...]
    troubles: tuple[Trouble, ...]

    @property
    def ready(self) -> bool:
        """Whether gateways find what the contract promises them: condition TopicsReady."""
        return self.reason in ("AsWished", "AsWishedWithNotes")

    @property
    def reason(self) -> str:
        """CamelCase, for the condition. What needs a person comes first: nothing else brings it to an end."""
        breaking = [each for each in self.differences if each.breaks_contract]
        if any(each.what != "missing" for each in breaking):
            return "TopicsDiffer"
        if breaking:
            return "TopicsMissing"
        if self.to_create:
            return "TopicsBeingCreated"
        if any(trouble.ailment is Ailment.LEADERLESS for trouble in self.troubles):
            return "PartitionsWithoutLeader"
        if any(trouble.stops for trouble in self.troubles):
            return "TooFewInSyncReplicas"
        return "AsWishedWithNotes" if self.differences or self.troubles else "AsWished"

    @property
    def message(self) -> str:
        """For people: everything, the worst first."""
        parts = [each.message for each in self.differences if each.breaks_contract]
        if self.to_create:
            parts.append("to be created: " + ", ".join(topic.name for topic in self.to_create))
        parts += [each.message for each in sorted(self.troubles, key=lambda trouble: not trouble.stops)]
        parts += [f"note: {each.message}" for each in self.differences if not each.breaks_contract]
        return "; ".join(parts) or "all topics are as wished"


def compare(
    wish: TopicsWish, seen: Mapping[str, SeenTopic | None], management: Management = Management.DIRECT
) -> TopicsVerdict:
    """Judge what the brokers show. `seen` holds every wished topic's name; None (or no entry): there is no such topic."""
    wished = wished_topics(wish)
    present = {name: topic for name, topic in seen.items() if topic is not None}
    differences: list[Difference] = []
    troubles: list[Trouble] = []
    for topic in wished:
        if topic.name in present:
            differences += _differences(topic, wish, present)
            troubles += _troubles(topic, present[topic.name])
    missing = [topic for topic in wished if topic.name not in present]
    to_create: list[WishedTopic] = []
    for topic in missing:
        held_up = None if management is Management.DIRECT else "topics.management is None, so it is yours to create"
        held_up = held_up or _other_lane(topic, wish, present)
        if held_up is None:
            to_create.append(topic)
        else:
            message = (
                f"topic {topic.name} is missing ({topic.partitions} partitions, {topic.replicas} replicas): {held_up}"
            )
            differences.append(Difference(topic.name, "missing", str(topic.partitions), "", True, message))
    return TopicsVerdict(tuple(to_create), tuple(differences), tuple(troubles))


def _other_lane(topic: WishedTopic, wish: TopicsWish, present: Mapping[str, SeenTopic]) -> str | None:
    """Why this lane is not created now: the other one exists with another number, and either number would be a guess."""
    lanes = (wish.names.commands_down, wish.names.commands_urgent)
    if topic.name not in lanes:
        return None
    other = lanes[1 - lanes.index(topic.name)]
    if other not in present or present[other].partitions == topic.partitions:
        return None
    return f"not created while {other} has {present[other].partitions} partitions, since both must have the same number"


# --- differences ------------------------------------------------------------------------------------------------------


def _differences(topic: WishedTopic, wish: TopicsWish, present: Mapping[str, SeenTopic]) -> Iterator[Difference]:
    seen = present[topic.name]
    yield from _partitions(topic, wish, present)
    fewest = min(seen.replicas, default=0)
    if fewest != topic.replicas:
        # Fewer: what was acknowledged would die with fewer brokers than the resource promises. More harm nobody, and are
        # what the brokers show while partitions are being moved.
        why = "acknowledged records survive fewer broken brokers than promised" if fewest < topic.replicas else "fine"
        message = f"topic {topic.name} has {fewest} replicas, {topic.replicas} are wished: {why}"
        yield Difference(topic.name, "replicas", str(topic.replicas), str(fewest), fewest < topic.replicas, message)
    if seen.configs is None:
        message = f"the settings of topic {topic.name} cannot be read: our user needs DescribeConfigs on it"
        yield Difference(topic.name, "settings", "", "", False, message)
        return
    for name, value in topic.configs.items():
        there = seen.configs.get(name)
        if there is None or _same(name, value, there):
            continue
        breaks, why = _judge(name, value, there, topic, wish, seen)
        message = f"topic {topic.name} has {name}={_shown(name, there)}, {_shown(name, value)} is wished: {why}"
        yield Difference(topic.name, name, value, there, breaks, message)


def _partitions(topic: WishedTopic, wish: TopicsWish, present: Mapping[str, SeenTopic]) -> Iterator[Difference]:
    """Each number against the right measure."""
    count = present[topic.name].partitions
    down = present.get(wish.names.commands_down)
    commands = wish.command_partitions if down is None else down.partitions
    measure, whose, breaks, why = topic.partitions, f"{topic.partitions} are wished", False, ""
    if topic.name == wish.names.commands_urgent and down is not None:
        # Both lanes of a number are one mailbox with one owner. Gateways refuse to start.
        measure, whose, breaks = down.partitions, f"{wish.names.commands_down} has {down.partitions}", True
        why = "both are lanes of the same mailboxes, so gateways refuse to start; delete the one that is wrong"
    elif topic.name in (wish.names.commands_down, wish.names.commands_urgent):
        # Partitions above the plan would have no owner; those below it do not exist. And the number never changes: a
        # station's commands would go to other mailboxes, out of order.
        breaks = True
        why = "the number of mailboxes never changes; set commands.partitions of a new resource to it, or delete the topic"
    elif topic.name == wish.names.stations and count > commands:
        # The owner of command partition k projects partition k of the registry.
        breaks = True
        why = f"only the first {commands} are read (one by each command mailbox), stations in the others are unknown"
    else:
        why = "left as it is"
    if count != measure:
        message = f"topic {topic.name} has {count} partitions, {whose}: {why}"
        yield Difference(topic.name, "partitions", str(measure), str(count), breaks, message)


def _judge(
    name: str, wished: str, there: str, topic: WishedTopic, wish: TopicsWish, seen: SeenTopic
) -> tuple[bool, str]:
    """Whether a setting that differs stops the resource, and why (or why not)."""
    command = topic.name in (wish.names.commands_down, wish.names.commands_urgent)
    if name in (RETENTION, SEGMENT) and command:
        return _judge_command_retention(wish, seen.configs or {})
    if name == CLEANUP:
        # Keys are charge point ids: compaction keeps one record per station, deletion forgets stations.
        if topic.name == wish.names.stations:
            return True, "stations that were not edited for a while would be forgotten"
        return True, "only the latest record of each station would be kept"
    if name == TIMESTAMP:
        return True, "the deadline of a command would count from its backend's clock"
    if name == UNCLEAN:
        return True, "a broker that missed acknowledged records may become leader, and they are lost"
    if name == MIN_IN_SYNC:
        if _number(there) < _number(wished):
            return True, "records would be acknowledged with fewer copies than promised"
        if _number(there) > min(seen.replicas, default=0):
            return True, "there are not so many replicas, so nothing can be written"
        return False, "writes stop sooner than the resource says"
    if name == MESSAGE_BYTES:
        if _number(there) < wish.max_record_bytes:
            return True, "gateways could not produce their largest records, and the stations would never be answered"
        return False, "large enough"
    if name == RETENTION_BYTES:
        # Only command topics have it. Those that wait for their station are not read yet, and how many do until their deadline
        # depends on backends and outages: no size is surely large enough, and of what is deleted nobody hears an outcome.
        return True, "commands beyond that size would be deleted unread, without an outcome; time alone must limit them"
    return False, "left as it is"


def _judge_command_retention(wish: TopicsWish, configs: Mapping[str, str]) -> tuple[bool, str]:
    retention = _number(configs.get(RETENTION, milliseconds(wish.command_retention)))
    segment = _number(configs.get(SEGMENT, milliseconds(wish.command_segment)))
    if retention + segment >= wish.command_state_ttl * 1000:
        return True, (
            f"a command could be read again after its state is gone ({_span(wish.command_state_ttl * 1000)} after its "
            "deadline), and be executed twice"
        )
    if retention < wish.longest_deadline * 1000:
        return True, f"commands could be deleted before their deadline ({_span(wish.longest_deadline * 1000)})"
    return False, "left as it is"


# --- troubles ---------------------------------------------------------------------------------------------------------


def _troubles(topic: WishedTopic, seen: SeenTopic) -> Iterator[Trouble]:
    """Each partition under its worst ailment. The setting in force counts, whatever is wished: the brokers go by it."""
    least = _number((seen.configs or {}).get(MIN_IN_SYNC, topic.configs[MIN_IN_SYNC]))
    found: dict[Ailment, list[int]] = {ailment: [] for ailment in Ailment}
    for number, (replicas, in_sync) in enumerate(zip(seen.replicas, seen.in_sync, strict=True)):
        if number in seen.leaderless:
            found[Ailment.LEADERLESS].append(number)
        elif in_sync < least:
            found[Ailment.UNDER_MIN_IN_SYNC].append(number)
        elif in_sync < replicas:
            found[Ailment.UNDER_REPLICATED].append(number)
    words = {
        Ailment.LEADERLESS: "no leader: neither readable nor writable",
        Ailment.UNDER_MIN_IN_SYNC: f"fewer than {least:g} replicas in sync: not writable",
        Ailment.UNDER_REPLICATED: "replicas that are not in sync: still readable and writable",
    }
    for ailment, numbers in found.items():
        if numbers:
            message = f"topic {topic.name}: {len(numbers)} of {seen.partitions} partitions have {words[ailment]}"
            yield Trouble(topic.name, ailment, tuple(numbers), message)


# --- values -----------------------------------------------------------------------------------------------------------


def _same(name: str, wished: str, seen: str) -> bool:
    if name == CLEANUP:
        return {part.strip() for part in wished.split(",")} == {part.strip() for part in seen.split(",")}
    return wished.lower() == seen.strip().lower()


def _number(text: str) -> float:
    """A limit as a number; -1 is none at all. What is no number was never written by a broker: it sets no limit."""
    try:
        value = int(text)
    except ValueError:
        return float("inf")
    return float("inf") if value < 0 else value


def _shown(name: str, value: str) -> str:
    return _span(_number(value)) if name in (RETENTION, SEGMENT) else value


def _span(milliseconds: float) -> str:
    """The largest unit that leaves no fraction: `7d`, `90m`."""
    if milliseconds == float("inf"):
        return "unlimited"
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds / size:g}{unit}"
    return f"{milliseconds:g}ms"
