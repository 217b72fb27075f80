"""The operator with very many resources: `python -m benchmarks.operator_scale`."""
