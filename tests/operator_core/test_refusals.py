from ocpp_operator.core.found import Trouble
from ocpp_operator.core.refusals import LONGEST, Refusals

NO = Trouble("ChildRefused", "no")


def test_pauses_double_up_to_the_longest_and_begin_anew_with_another_wish_or_a_success() -> None:
    refusals, now, pauses = Refusals[str](), 100.0, []
    for _ in range(7):
        until = refusals.add("pod", NO, now, "red")
        pauses.append(until - now)
        now = until
    assert pauses == [1, 2, 4, 8, 16, LONGEST, LONGEST]
    assert refusals.add("pod", NO, now, "blue") == now + 1
    refusals.forget("pod")
    assert refusals.add("pod", NO, now, "blue") == now + 1


def test_it_stands_until_its_time_and_for_its_wish_alone() -> None:
    refusals = Refusals[str]()
    refusals.add("pod", NO, 10.0, "red")
    refusal = refusals.standing("pod", 10.9, "red")
    assert refusal is not None
    assert (refusal.trouble, refusal.until) == (NO, 11.0)
    assert refusals.standing("pod", 11.0, "red") is None
    assert refusals.standing("pod", 10.9, "blue") is None
    assert refusals.standing("other", 10.9, "red") is None
    assert "pod" in refusals
    refusals.keep({"other"})
    assert "pod" not in refusals


def test_what_the_api_server_asks_for_counts_within_the_longest() -> None:
    refusals = Refusals[str]()
    assert refusals.add("pod", NO, 0.0, asked=7.0) == 7.0
    assert refusals.add("pod", NO, 0.0, asked=0.5) == 2.0
    assert refusals.add("pod", NO, 0.0, asked=3_600.0) == LONGEST
