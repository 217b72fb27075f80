"""The data plane: OCPP-J WebSockets on one side, Kafka and Redis on the other.

`core` decides (pure), `adapters` do (one outside thing each), `__main__` puts them together. Imports only `ocpp_contract`.
"""
