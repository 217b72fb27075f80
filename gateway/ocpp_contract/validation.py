"""pydantic's complaints as ours: a JSON path and a sentence that never repeats the input, which may be a secret."""

from __future__ import annotations

import re

from pydantic import ValidationError

from ocpp_contract.errors import ContractError

_SUBJECT = re.compile(r"^(Input|String|List|Dictionary|Value) should ")


def first_error(error: ValidationError) -> ContractError:
    """The first complaint; fixing one at a time is how people do it anyway."""
    detail = error.errors(include_url=False, include_input=False)[0]
    path = ""
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    if detail["type"] == "missing":
        return ContractError(path, "is missing")
    if detail["type"] == "model_type":
        return ContractError(path, "must be an object")
    reason = detail["msg"].removeprefix("Value error, ")
    return ContractError(path, _SUBJECT.sub("must ", reason).removesuffix(" after validation, not 0"))
