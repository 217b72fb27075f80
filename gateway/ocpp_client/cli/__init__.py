"""The `chargegateway` command line: one module per command."""
