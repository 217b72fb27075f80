"""The children of each variant, word for word: what a change of the operator changes for users stands in the diff of `golden/`."""

from __future__ import annotations

import pytest

from tests.operator_core.manifests import variants


@pytest.mark.parametrize("variant", variants.NAMES)
def test_the_children_are_those_of_the_golden_file(variant: str) -> None:
    golden = variants.GOLDEN / f"{variant}.yaml"
    renew = f"if that is meant, run `{variants.RENEW}` and look at `git diff`"
    assert golden.exists(), f"{golden.name} is not there: {renew}"
    assert variants.rendered(variant) == golden.read_text(), f"{golden.name} would become another: {renew}"


def test_no_golden_file_is_left_over() -> None:
    expected = {f"{variant}{ending}" for variant in variants.NAMES for ending in (".in.yaml", ".yaml")}
    assert {path.name for path in variants.GOLDEN.iterdir()} == expected
