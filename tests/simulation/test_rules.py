"""Every rule is needed: taken out, its directed run fails, and random schedules break an invariant."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation import test_delivery_rules, test_ownership_rules
from tests.simulation.rules import RULES, Rule, without
from tests.simulation.schedules import run


def directed(rule: Rule) -> Callable[[], None]:
    for module in (test_delivery_rules, test_ownership_rules):
        found: Callable[[], None] | None = getattr(module, rule.test, None)
        if found is not None:
            return found
    raise AssertionError(f"no test {rule.test}")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_directed_run_fails_without_the_rule(rule: Rule) -> None:
    test = directed(rule)
    test()
    # Whatever goes wrong is right: an assertion, a violated invariant, a request that never came.
    with without(rule), pytest.raises(Exception):  # noqa: B017, PT011
        test()
    test()  # and the rule is back


# Those that a few hundred schedules find; all of them need thousands.
FOUND_SOON = {
    "every write is claimed first": "P",
    "done is set only where none is": "P",
    "what is stored is published": "P",
    "stored before published": "P",
    "outcomes that say never written are legal only from none": "P",
    "command records are asserted again after a loss": "S",
    "a connection belongs to one run": "S",
    "take only when over or released": "P",
    "the right is shorter than the lease": "P",
    "a lapsed tenure is taken anew": "P",
    "a higher epoch wins": "P",
    "the low watermark is committed": "P",
    "finished means acknowledged": "P",
}


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.name in FOUND_SOON], ids=lambda rule: rule.name)
def test_random_schedules_notice_that_the_rule_is_missing(rule: Rule) -> None:
    mode = FOUND_SOON[rule.name]
    with without(rule):
        assert any(run(seed, mode) is not None for seed in range(1_000))


def test_every_name_in_the_tables_exists() -> None:
    assert FOUND_SOON.keys() <= {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)
