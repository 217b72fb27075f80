"""Every reason that the operator can give has its advice, and docs/kubernetes.md shows it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocpp_operator.adapters.redis_access import Fault
from ocpp_operator.core import advice
from ocpp_operator.core.advice import REASONS, Level

ROOT = Path(__file__).parents[2]
OPERATOR = ROOT / "operator" / "ocpp_operator"
GIVERS = [
    OPERATOR / "core" / "findings.py",
    OPERATOR / "core" / "found.py",
    OPERATOR / "core" / "hindrance.py",
    OPERATOR / "core" / "judgement.py",
    OPERATOR / "core" / "topics_verdict.py",
    OPERATOR / "core" / "upgrade.py",
    *(OPERATOR / "reconcile").glob("*.py"),
]
CAMEL = re.compile(r"[A-Z][a-z]+([A-Z][a-z]+)*")
POSITION = {"judge": 2, "Topics": 1, "Trouble": 0, "_fail": 0}
"""Where a reason stands among the arguments of what takes one."""


def words(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and CAMEL.fullmatch(each.value):
            yield each.value


def given(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            place = POSITION.get(called)
            if place is not None and len(node.args) > place:
                yield from words(node.args[place])
        elif isinstance(node, ast.Assign):  # `reason, message = "Waiting", ...`
            target = node.targets[0]
            if isinstance(target, ast.Tuple) and getattr(target.elts[0], "id", "") == "reason":
                assert isinstance(node.value, ast.Tuple)
                yield from words(node.value.elts[0])
        elif isinstance(node, ast.FunctionDef) and node.name == "reason":
            for each in ast.walk(node):
                if isinstance(each, ast.Return) and each.value is not None:
                    yield from words(each.value)


def reasons() -> set[str]:
    found = {str(fault) for fault in Fault}
    for path in GIVERS:
        found |= set(given(ast.parse(path.read_text())))
    return found


def test_the_reasons_are_found_where_they_are_given() -> None:
    """So that the next test tests something."""
    known = {
        "Serving",
        "PartitionsUnowned",
        "NoPods",
        "Newer",
        "Older",
        "Waiting",
        "Draining",
        "TopicsDiffer",
        "AsWishedWithNotes",
    }
    known |= {
        "ChildRefused",
        "NameTaken",
        "SecretMissing",
        "SecretUnreadable",
        "KafkaDenied",
        "MailboxesTaken",
        "InvalidSpec",
    }
    known |= {"TopicsNotCreated", "StoreUnavailable", "RedisUnreachable", "Paused", "NotAsked"}
    assert known <= reasons()


def test_every_reason_has_its_advice_and_there_is_no_other() -> None:
    assert reasons() == set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_advice_says_what_to_do_wherever_somebody_has_to(reason: str) -> None:
    found = REASONS[reason]
    assert found.meaning
    assert not found.meaning.endswith(".")
    assert bool(found.step) or found.level is not Level.TROUBLE
    assert not (found.step and found.level is Level.OK)


def test_the_page_shows_the_table() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    assert advice.table() in page, (
        "copy what `python -c 'from ocpp_operator.core import advice; print(advice.table())'` says"
    )
