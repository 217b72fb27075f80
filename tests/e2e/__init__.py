"""The packages that a user installs, on a real Kubernetes of one node: images built, pods run, stations connected.

`make e2e` runs these; `make test` leaves them out. They need root, and one run at a time fits on a machine.
"""
