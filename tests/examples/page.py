"""`docs/backend.md` as a test sees it: its programs by name, and the tables that are made from the contract.

`python -m tests.examples.page` (part of `make docs`) writes the tables into the page.
"""

from __future__ import annotations

import re
from pathlib import Path

from ocpp_contract.command_types import COMMAND_TYPES, Redelivery

PAGE = Path(__file__).parents[2] / "docs" / "backend.md"


def programs() -> dict[str, str]:
    """File name (the first line of a code block) -> program."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    named = {}
    for block in blocks:
        title = re.match(r"# (\w+\.py)\n", block)
        if title is None or title[1] in named:
            raise ValueError(f"a program without a name of its own: {block[:60]!r}")
        named[title[1]] = block
    return named


def with_tables(page: str) -> str:
    """The page with the generated parts renewed."""
    lines = ["| type | again | evidence |", "| --- | --- | --- |"]
    lines += [
        f"| `{entry.name}` | {entry.redelivery} | {entry.evidence} |"
        for entry in sorted(COMMAND_TYPES.values(), key=lambda entry: entry.name)
        if entry.redelivery is not Redelivery.SAFE
    ]
    safe = sorted(name for name, entry in COMMAND_TYPES.items() if entry.redelivery is Redelivery.SAFE)
    page = _between(page, "uncertain", "\n" + "\n".join(lines) + "\n")
    return _between(page, "safe", ", ".join(f"`{name}`" for name in safe))


def _between(page: str, mark: str, text: str) -> str:
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    head, _, rest = page.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"{PAGE.name} lacks {begin} ... {end}")
    return head + begin + text + end + tail


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
