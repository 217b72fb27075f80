"""The control plane. This module imports nothing: `ocpp_local` uses `ocpp_operator.core` without kopf or kubernetes installed."""
