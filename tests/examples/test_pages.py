"""What can be held true about pages without running anything."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from ocpp_client.cli import OWN, _entry_points
from ocpp_gateway.adapters.metrics import Metrics
from tests.examples import page
from tests.simulation.rules import RULES

HERE = Path(__file__).parent
TESTS = HERE.parent
ROOT = TESTS.parent
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.glob("*.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
]
GATEWAY = ROOT / "gateway"


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


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not _leads_somewhere(path, link)] == []


@pytest.mark.parametrize("path", [ROOT / "README.md", DOCS / "architecture.md"], ids=lambda path: path.name)
def test_modules_and_folders_that_a_page_names_exist(path: Path) -> None:
    named = re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8"))
    modules = [name for name in named if re.fullmatch(r"(core|adapters|reconcile|ocpp_\w+)(\.\w+)*|composition", name)]
    folders = [
        name for name in named if re.fullmatch(r"(gateway|operator|tests|docs|examples|benchmarks)(/\w+)*", name)
    ]
    assert len(modules) > 10
    assert [name for name in modules if not _exists(name)] == []
    assert [name for name in folders if not (ROOT / name).exists()] == []


def test_the_readme_shows_commands_that_exist() -> None:
    shown = set(
        re.findall(r"^ *(?:\$ )?chargegateway (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    known = {*_entry_points(), *OWN}
    assert shown
    assert shown <= known


def test_the_page_of_operations_lists_every_metric() -> None:
    page_text = (DOCS / "operations.md").read_text(encoding="utf-8")
    exposed = set(re.findall(r"^# TYPE (chargegateway_\w+)", Metrics().page().decode(), re.MULTILINE))
    exposed = {name for name in exposed if not name.endswith("_created")}
    assert set(re.findall(r"`(chargegateway_\w+)[`{]", page_text)) == exposed


def test_the_settings_that_the_page_of_operations_names_exist() -> None:
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    known = (DOCS / "settings.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:uplink|drain)\.\w+)`", text))
    assert named
    assert [name for name in named if f"`CHARGEGATEWAY_{name.upper().replace('.', '__')}`" not in known] == []


def test_the_page_of_invariants_names_every_rule_that_can_be_taken_out() -> None:
    text = (DOCS / "invariants.md").read_text(encoding="utf-8")
    taken_out = [
        name for list_ in re.findall(r"\*Without:\* ([^|\n]+)", text) for name in re.findall(r'"([^"]+)"', list_)
    ]
    assert set(taken_out) == {rule.name for rule in RULES}


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # nor is what it would be in
        return False


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
    if re.fullmatch(r"(core|adapters|reconcile|ocpp_\w+)(\.\w+)*|composition|settings", name):
        packages = ("",) if name.startswith("ocpp_") else ("ocpp_gateway.", "ocpp_operator.")
        return any(_is_module(f"{package}{name}") for package in packages)
    return True


def _leads_somewhere(path: Path, link: str) -> bool:
    target, _, anchor = link.partition("#")
    if target.startswith(("http://", "https://")):
        return True
    file = (path.parent / target) if target else path
    if not file.exists():
        return False
    if not anchor:
        return True
    titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
