"""What can be held true about pages without running anything."""

from __future__ import annotations

import re
from pathlib import Path

from tests.examples import page

HERE = Path(__file__).parent


def test_every_program_of_the_backend_page_is_run_by_a_test() -> None:
    named = set(re.findall(r'"(\w+\.py)"', (HERE / "test_backend_page.py").read_text(encoding="utf-8")))
    assert set(page.programs()) == named


def test_the_tables_of_the_backend_page_are_those_of_the_contract() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.with_tables(text) == text, "run `make docs`"
