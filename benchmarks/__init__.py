"""Reproducible measurements; see `make bench`."""
