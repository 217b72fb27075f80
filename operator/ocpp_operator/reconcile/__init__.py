"""The loop: observe -> plan -> act -> report, one task per resource. Decisions are core's; here is the order of things.

No rule of the product may live here that could be a function of core, and nothing here speaks a protocol: adapters do.
"""
