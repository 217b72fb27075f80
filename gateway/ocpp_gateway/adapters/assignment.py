"""The Downward API file with the assignment annotations: read whole when it changes, kept when it is broken.

kubelet replaces the file through a symlink, so the path is looked at anew each time and never watched by inode. A broken or
missing file keeps the last good assignment: partitions that nobody serves are the worse failure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from ocpp_contract.assignment import Assignment, parse_annotations_file
from ocpp_contract.errors import ContractError

log = logging.getLogger(__name__)

LOOK_INTERVAL = 0.2  # seconds; kubelet needs 0.1-1 s by itself


class AssignmentFile:
    """Follows one annotations file. `on_assignment` gets each assignment that differs; `on_broken` is called once per broken content."""

    def __init__(
        self, path: Path, on_assignment: Callable[[Assignment], None], on_broken: Callable[[str], None]
    ) -> None:
        self._path = path
        self._on_assignment = on_assignment
        self._on_broken = on_broken
        self._text: str | None = None
        self._given: Assignment | None = None
        self._complaint = ""

    def look(self) -> None:
        """Read the file once and report what is new."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self._complain(f"cannot read: {error}")
            return
        if text == self._text:
            return
        self._text = text
        try:
            assignment = Assignment.from_annotations(parse_annotations_file(text))
        except ContractError as error:
            self._complain(str(error))
            return
        self._complaint = ""
        if assignment is not None and assignment != self._given:
            self._given = assignment
            self._on_assignment(assignment)

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            self._complaint = reason
            log.warning("assignment file %s: %s; the last good one stays", self._path, reason)
            self._on_broken(reason)

    async def follow(self) -> None:
        """Look for ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_INTERVAL)
