"""`python -m tests.chart`: write everything that is generated for the chart, golden files included; look at `git diff` afterwards."""

from tests.chart import helm, publish

publish.main()
helm.write()
