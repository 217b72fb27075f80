"""For backends: commands, results, events, station registry, and the `chargegateway` command line. Imports only `ocpp_contract`."""
