from __future__ import annotations

from pathlib import Path

import pytest

from ocpp_contract.assignment import Assignment, format_annotations_file
from ocpp_gateway.adapters.assignment import AssignmentFile


class Heard:
    def __init__(self) -> None:
        self.assignments: list[tuple[int, list[int]]] = []
        self.complaints: list[str] = []

    def assignment(self, found: Assignment) -> None:
        self.assignments.append((found.generation, sorted(found.partitions)))


def write(path: Path, generation: int, *partitions: int) -> None:
    path.write_text(format_annotations_file(Assignment(generation, frozenset(partitions)).to_annotations()))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "annotations"


@pytest.fixture
def file(path: Path, heard: Heard) -> AssignmentFile:
    return AssignmentFile(path, heard.assignment, heard.complaints.append)


def test_each_change_is_reported_once(file: AssignmentFile, path: Path, heard: Heard) -> None:
    write(path, 1, 0, 1)
    file.look()
    file.look()
    write(path, 2, 0, 1, 5)
    file.look()
    assert heard.assignments == [(1, [0, 1]), (2, [0, 1, 5])]


@pytest.mark.parametrize(
    "text",
    [
        "no annotations",
        'chargegateway.io/command-partitions="3-1"\nchargegateway.io/assignment-generation="2"\n',
    ],
)
def test_a_broken_file_keeps_the_last_good_one(file: AssignmentFile, path: Path, heard: Heard, text: str) -> None:
    write(path, 1, 4)
    file.look()
    path.write_text(text)
    file.look()
    file.look()
    assert heard.assignments == [(1, [4])]
    assert len(heard.complaints) == 1


def test_a_missing_file_is_said_once_and_followed_when_it_comes(file: AssignmentFile, path: Path, heard: Heard) -> None:
    file.look()
    file.look()
    assert len(heard.complaints) == 1
    write(path, 3, 7)
    file.look()
    assert heard.assignments == [(3, [7])]


def test_a_file_replaced_through_a_symlink_is_seen(tmp_path: Path, heard: Heard) -> None:
    """kubelet writes `..data -> ..2026_11_22` and renames the link."""
    for name, generation in (("first", 1), ("second", 2)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "annotations", generation, generation)
    (tmp_path / "..data").symlink_to("first")
    file = AssignmentFile(tmp_path / "..data" / "annotations", heard.assignment, heard.complaints.append)
    file.look()
    (tmp_path / "next").symlink_to("second")
    (tmp_path / "next").rename(tmp_path / "..data")
    file.look()
    assert heard.assignments == [(1, [1]), (2, [2])]
