"""Conditions as `kubectl wait`, Flux and people read them."""

from __future__ import annotations

from typing import Any

from ocpp_operator.core.conditions import Condition, News, Type, judge, merge, news

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def written(*conditions: Condition) -> list[dict[str, Any]]:
    return merge([], conditions, 1, THEN)


def test_a_transition_time_moves_only_with_the_status() -> None:
    before = written(judge(Type.READY, False, "Starting", "0 of 2 pods are ready"))
    still = merge(before, [judge(Type.READY, False, "Starting", "1 of 2 pods are ready")], 1, NOW)
    assert still[0]["lastTransitionTime"] == THEN
    assert still[0]["message"] == "1 of 2 pods are ready"
    ready = merge(before, [judge(Type.READY, True, "Serving")], 2, NOW)
    assert ready[0]["lastTransitionTime"] == NOW
    assert ready[0]["observedGeneration"] == 2


def test_they_stand_in_one_order_whatever_was_judged_first() -> None:
    types = [condition["type"] for condition in written(judge(Type.HARDENED, True, "R"), judge(Type.READY, True, "R"))]
    assert types == ["Ready", "Hardened"]


def test_unknown_is_a_status_of_its_own() -> None:
    assert written(judge(Type.TOPICS_READY, None, "KafkaUnavailable"))[0]["status"] == "Unknown"


def test_a_long_message_is_cut_at_a_character() -> None:
    [condition] = written(judge(Type.DEGRADED, True, "R", "ü" * 5_000))
    assert condition["message"].endswith("ü...")
    assert len(condition["message"].encode()) <= 2_000


def test_a_turn_for_the_worse_is_a_warning_and_the_way_back_is_told_once() -> None:
    fine = written(judge(Type.TOPICS_READY, True, "Ready"))
    gone = judge(Type.TOPICS_READY, False, "TopicsDiffer", "commands-down has 64 partitions, not 128")
    assert news(fine, [gone]) == [News(True, "TopicsDiffer", "commands-down has 64 partitions, not 128")]
    assert news(written(gone), [gone]) == []
    back = judge(Type.TOPICS_READY, True, "Ready")
    assert news(written(gone), [back]) == [News(False, "Ready", "TopicsReady is True again")]
    assert news(written(back), [back]) == []


def test_another_reason_for_the_same_trouble_is_news() -> None:
    before = written(judge(Type.DEGRADED, True, "KafkaUnavailable", "no broker answers"))
    assert news(before, [judge(Type.DEGRADED, True, "SecretMissing", "Secret cg is not there")]) == [
        News(True, "SecretMissing", "Secret cg is not there")
    ]


def test_nobody_is_warned_of_what_only_informs_or_only_begins() -> None:
    assert news([], [judge(Type.READY, False, "Starting"), judge(Type.PROGRESSING, True, "Rolling")]) == []
    assert (
        news([], [judge(Type.HARDENED, False, "AcceptsUnknownStations"), judge(Type.UPGRADE_AVAILABLE, True, "R")])
        == []
    )


def test_partitions_without_owners_are_a_warning_once_they_had_some() -> None:
    ownerless = judge(Type.ASSIGNMENT_CONVERGED, False, "PartitionsUnowned", "128 of 128 partitions have no owner")
    for before in ([], written(judge(Type.ASSIGNMENT_CONVERGED, False, "NoPods"))):
        assert news(before, [ownerless]) == []
    converged = judge(Type.ASSIGNMENT_CONVERGED, True, "Converged", "all are owned")
    assert news(written(ownerless), [converged]) == [News(False, "Converged", "all are owned")]
    assert news(written(converged), [ownerless]) == [News(True, "PartitionsUnowned", ownerless.message)]


def test_an_operator_that_would_take_gateways_back_warns_once() -> None:
    older = judge(Type.UPGRADE_AVAILABLE, False, "Older", "this operator would run version 0.9")
    for before in ([], written(judge(Type.UPGRADE_AVAILABLE, False, "Current"))):
        assert news(before, [older]) == [News(True, "Older", "this operator would run version 0.9")]
    assert news(written(older), [older]) == []
    assert news(written(older), [judge(Type.UPGRADE_AVAILABLE, False, "Current")]) == []
