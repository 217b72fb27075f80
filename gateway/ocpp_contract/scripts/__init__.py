"""The Lua scripts that change a record of the store in one step; gateway, operator and the local plane run the same ones.

One file, one operation, named as the protocol names it; its head tells keys, arguments and replies. The rules:

- a script touches one key, or keys of one station (one hash slot), and every key is declared;
- running it again changes nothing more (a reply may get lost), except ``take`` and ``register``, which nobody repeats;
- records are JSON that a person can read (``redis-cli GET conn:CP1``), numbers written with ``%.0f``: cjson would round
  microseconds to 14 digits;
- times are microseconds of the server's own clock (TIME), read inside the script.

Nothing here talks to a server: the text and its SHA-1 are constants, `ocpp_contract.scripts.calls` makes keys and
arguments out of types.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib import resources
from typing import Final


@dataclass(frozen=True, slots=True)
class Script:
    """One operation: its text and the name that EVALSHA knows it by."""

    name: str
    text: str = field(repr=False)
    sha1: str

    @classmethod
    def load(cls, name: str) -> Script:
        text = resources.files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
        return cls(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


# partition:<n>
TAKE: Final = Script.load("take")
RENEW: Final = Script.load("renew")
RESTORE: Final = Script.load("restore")
RELEASE: Final = Script.load("release")
RELEASE_DEAD: Final = Script.load("release_dead")
# conn:<id> and {conn:<id>}:last
REGISTER: Final = Script.load("register")
REFRESH: Final = Script.load("refresh")
DELETE: Final = Script.load("delete")
# {conn:<id>}:cmd:<command id>
CLAIM: Final = Script.load("claim")
PUT_BACK: Final = Script.load("put_back")
DONE: Final = Script.load("done")
ASSERT_RECORD: Final = Script.load("assert_record")
TIMED_OUT: Final = Script.load("timed_out")
# {conn:<id>}:boot
PUT_BOOT: Final = Script.load("put_boot")
# station:<id>, run:<run_id>
PROJECT_STATION: Final = Script.load("project_station")
MARK_RUN: Final = Script.load("mark_run")
# claim
CLAIM_STORE: Final = Script.load("claim_store")
LEAVE_STORE: Final = Script.load("leave_store")

ALL: Final = (
    TAKE, RENEW, RESTORE, RELEASE, RELEASE_DEAD,
    REGISTER, REFRESH, DELETE,
    CLAIM, PUT_BACK, DONE, ASSERT_RECORD, TIMED_OUT,
    PUT_BOOT, PROJECT_STATION, MARK_RUN,
    CLAIM_STORE, LEAVE_STORE,
)  # fmt: skip
