"""Every record becomes one line, and says which resource it is about."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from ocpp_operator.adapters.logs import JsonFormatter, TextFormatter, about


def record(**fields: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": "child applied", "levelname": "INFO", "name": "test"})
    vars(made).update(fields)
    return made


def shown(**fields: Any) -> dict[str, Any]:
    line = JsonFormatter().format(record(**fields))
    assert "\n" not in line
    document: dict[str, Any] = json.loads(line)
    return document


async def test_a_line_says_which_resource_it_is_about() -> None:
    async def work(name: str) -> Any:
        with about(f"prod/{name}"):
            inner = asyncio.create_task(asyncio.to_thread(shown))
            await asyncio.sleep(0)
            return (shown()["resource"], (await inner)["resource"])

    assert await asyncio.gather(work("a"), work("b")) == [("prod/a", "prod/a"), ("prod/b", "prod/b")]
    assert "resource" not in shown()


def test_kopfs_lines_bring_theirs_and_nothing_of_its_insides() -> None:
    reference = {
        "apiVersion": "chargegateway.io/v1alpha1",
        "kind": "ChargeGateway",
        "namespace": "prod",
        "name": "city",
    }
    line = shown(k8s_ref=reference, k8s_skip=False, settings=object())
    assert line["resource"] == "prod/city"
    assert not line.keys() & {"k8s_ref", "k8s_skip", "settings"}


def test_what_the_line_itself_says_of_its_resource_counts() -> None:
    with about("prod/a"):
        assert shown(resource="prod/b")["resource"] == "prod/b"


@pytest.mark.parametrize("value", ["caf\udce9", 2**70, "two\nlines"])
def test_a_json_line_holds_what_no_json_writer_likes(value: Any) -> None:
    assert shown(given=value)["given"] == value


@pytest.mark.parametrize("text", ["bye\n12:00:00.000 error   ocpp_operator  forged", "\x1b[2J", "a\rb"])
def test_a_text_line_stays_one_line(text: str) -> None:
    """What the API server answers may hold what somebody wrote into a manifest."""
    assert TextFormatter().format(record(msg=text, reason=text)).isprintable()
