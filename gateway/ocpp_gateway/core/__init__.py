"""Decisions of the data plane, pure: no asyncio, no clock (`now` is an argument), no randomness (ids are arguments), no I/O.

State machines take an input and return effects; longer procedures are generators that yield effects and are sent replies.
"""
