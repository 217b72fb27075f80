"""What can be held true about pages without running anything."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from tests.examples import page
from tests.simulation.rules import RULES

HERE = Path(__file__).parent
TESTS = HERE.parent
DOCS = TESTS.parent / "docs"
GATEWAY = TESTS.parent / "gateway"


def test_every_program_of_the_backend_page_is_run_by_a_test() -> None:
    named = set(re.findall(r'"(\w+\.py)"', (HERE / "test_backend_page.py").read_text(encoding="utf-8")))
    assert set(page.programs()) == named


def test_the_tables_of_the_backend_page_are_those_of_the_contract() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.with_tables(text) == text, "run `make docs`"


def test_everything_that_the_page_of_invariants_names_exists() -> None:
    text = (DOCS / "invariants.md").read_text(encoding="utf-8")
    named = re.findall(r"`([^`]+)`", text)
    assert [name for name in named if not _exists(name)] == []


def test_the_page_of_invariants_names_every_rule_that_can_be_taken_out() -> None:
    text = (DOCS / "invariants.md").read_text(encoding="utf-8")
    taken_out = [
        name for list_ in re.findall(r"\*Without:\* ([^|\n]+)", text) for name in re.findall(r'"([^"]+)"', list_)
    ]
    assert set(taken_out) == {rule.name for rule in RULES}


def _exists(name: str) -> bool:
    """Whether a test, a test file or folder, a script or a module of that name is there; True for all other names."""
    if "::" in name:
        path, _, test = name.partition("::")
        file = TESTS / path
        return (
            file.is_file()
            and re.search(rf"^(?:async )?def {test}\(|^{test}\b|^class {test}\b", file.read_text(), re.M) is not None
        )
    if name.endswith(".lua"):
        return (GATEWAY / "ocpp_contract" / "scripts" / name).is_file()
    if name.endswith((".py", "/")):
        return (TESTS / name).exists()
    if re.fullmatch(r"(core|adapters|ocpp_\w+)(\.\w+)+|composition|settings", name):
        return importlib.util.find_spec(name if name.startswith("ocpp_") else f"ocpp_gateway.{name}") is not None
    return True
