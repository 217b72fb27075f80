"""`python -m tests.operator_core.manifests`: write the golden files anew; look at `git diff` before you commit them."""

from tests.operator_core.manifests import variants

variants.write()
