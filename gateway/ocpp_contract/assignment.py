"""The operator's wish, as a pod reads it: two annotations in one Downward API file.

Kubernetes writes the file as lines ``key="value"`` with the value quoted as Go's ``strconv.Quote`` does
(k8s.io/kubernetes/pkg/fieldpath: ``fmt.Sprintf("%v=%q\\n", key, value)``, keys sorted). Partitions are in the list syntax of
cpuset(7), readable with kubectl. The annotation is only the wish: taking a partition over is safe by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import Partition
from ocpp_contract.names import ASSIGNMENT_GENERATION_ANNOTATION, COMMAND_PARTITIONS_ANNOTATION

MAX_PARTITION = 65_535  # bounds what a broken annotation such as "0-99999999999" can make a pod allocate
MAX_GENERATION = 10**18 - 1  # as many digits as are read

_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_GENERATION = re.compile(r"\d{1,18}", re.ASCII)
_LINE = re.compile(r'([^="\n]+)="((?:[^"\\\n]|\\.)*)"')
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\\"'])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.?))", re.DOTALL
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'"}
_QUOTED = {ord(char): f"\\{name}" for name, char in _SIMPLE.items() if name != "'"}


@dataclass(frozen=True, slots=True)
class Assignment:
    """A plan's part for one pod. ``generation`` grows with every plan; a pod ignores an older one."""

    generation: int
    partitions: frozenset[Partition]

    def to_annotations(self) -> dict[str, str]:
        return {
            COMMAND_PARTITIONS_ANNOTATION: format_cpuset(self.partitions),
            ASSIGNMENT_GENERATION_ANNOTATION: str(self.generation),
        }

    @classmethod
    def from_annotations(cls, annotations: Mapping[str, str]) -> Assignment | None:
        """None when the operator has written neither annotation yet; raises ContractError when one is broken or alone."""
        partitions = annotations.get(COMMAND_PARTITIONS_ANNOTATION)
        generation = annotations.get(ASSIGNMENT_GENERATION_ANNOTATION)
        if partitions is None and generation is None:
            return None
        if partitions is None:
            raise ContractError(COMMAND_PARTITIONS_ANNOTATION, "is missing")
        if generation is None:
            raise ContractError(ASSIGNMENT_GENERATION_ANNOTATION, "is missing")
        if not _GENERATION.fullmatch(generation):
            raise ContractError(ASSIGNMENT_GENERATION_ANNOTATION, "must be a non-negative integer")
        return cls(int(generation), parse_cpuset(partitions, COMMAND_PARTITIONS_ANNOTATION))


def parse_cpuset(text: str, field: str = COMMAND_PARTITIONS_ANNOTATION) -> frozenset[Partition]:
    """``"0-41,96"``; an empty text is the empty set. Order and overlaps do not matter. Raises ContractError."""
    if not text.strip():
        return frozenset()
    numbers: set[Partition] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ContractError(field, f"{part.strip()[:40]!r} is neither a number nor a range")
        first = int(match[1])
        last = int(match[2] or match[1])
        if last < first:
            raise ContractError(field, f"the range {part.strip()} runs backwards")
        if last > MAX_PARTITION:
            raise ContractError(field, f"{last} is beyond the largest partition number {MAX_PARTITION}")
        numbers.update(map(Partition, range(first, last + 1)))
    return frozenset(numbers)


def format_cpuset(numbers: Iterable[int]) -> str:
    """The shortest list: ascending, without overlaps, a range from two neighbours on."""
    parts: list[str] = []
    ordered = sorted(set(numbers))
    start = 0
    for at, number in enumerate(ordered):
        if at + 1 == len(ordered) or ordered[at + 1] != number + 1:
            parts.append(str(number) if at == start else f"{ordered[start]}-{number}")
            start = at + 1
    return ",".join(parts)


def parse_annotations_file(text: str) -> dict[str, str]:
    """All annotations of the pod; raises ContractError when a line is not ``key="Go-quoted value"``."""
    annotations: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ContractError(f"line {number}", 'must be key="value" with a Go-quoted value')
        try:
            annotations[match[1]] = _unquote(match[2])
        except ValueError as error:
            raise ContractError(f"line {number}", str(error)) from None
    return annotations


def format_annotations_file(annotations: Mapping[str, str]) -> str:
    """The file as the kubelet writes it; for whoever plays the kubelet on one machine."""
    return "".join(f'{key}="{_quote(value)}"\n' for key, value in sorted(annotations.items()))


def _unquote(text: str) -> str:
    if "\\" not in text:
        return text
    out = bytearray()
    at = 0
    for match in _ESCAPE.finditer(text):
        out += text[at : match.start()].encode()
        at = match.end()
        simple, byte, short, long, octal, other = match.groups()
        if simple is not None:
            out += _SIMPLE[simple].encode()
        elif byte is not None:
            out.append(int(byte, 16))
        elif short is not None or long is not None:
            out += _rune(int(short or long, 16))
        elif octal is not None and int(octal, 8) <= 0xFF:
            out.append(int(octal, 8))
        else:
            raise ValueError(f"\\{other or octal} is no escape of Go")
    out += text[at:].encode()
    # \x escapes are bytes; annotations of others may hold any. Ours are ASCII, so nothing is lost where it counts.
    return out.decode("utf-8", errors="replace")


def _rune(code: int) -> bytes:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"U+{code:04X} is no Unicode character")
    return chr(code).encode()


def _quote(text: str) -> str:
    out: list[str] = []
    for char in text:
        code = ord(char)
        if code in _QUOTED:
            out.append(_QUOTED[code])
        elif char.isprintable():
            out.append(char)
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\x{code:02x}")
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return "".join(out)
