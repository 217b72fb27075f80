"""What happens before the loop: limits of the process, and its cycle collector."""

from __future__ import annotations

import gc
import resource

import pytest

from ocpp_gateway.__main__ import allow_files, calm_collector


@pytest.mark.parametrize(
    ("before", "after", "warned"),
    [
        ((1_024, 1_048_576), (10_512, 1_048_576), False),
        ((1_024, resource.RLIM_INFINITY), (10_512, resource.RLIM_INFINITY), False),
        ((1_024, 4_096), (4_096, 4_096), True),
        ((20_000, 20_000), None, False),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None, False),
    ],
)
def test_the_file_limit_follows_the_settings(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    before: tuple[int, int],
    after: tuple[int, int] | None,
    warned: bool,
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: before)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: told.append(limits))
    allow_files(10_000)
    assert told == ([] if after is None else [after])
    assert bool(caplog.records) is warned


def test_the_collector_that_the_start_switched_off_is_on_for_stations() -> None:
    before = gc.get_threshold()
    gc.disable()
    try:
        calm_collector()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.enable()
        gc.unfreeze()
        gc.set_threshold(*before)
