"""The whole system on one machine without Kubernetes: embedded broker and store, gateways as processes, simulated stations.

For `demo` and `up`. It plays the operator with the operator's own planner. Nobody imports this package.
"""
