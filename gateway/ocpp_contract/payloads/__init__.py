"""What a command carries: one model per command type, version-neutral, in the words of OCPP 2.x.

OCPP 1.6 is narrower: a version table refuses what it cannot say (Unsupported, Invalid). Values are checked, never
converted: a number in quotes is no number. Unknown fields are dropped, absent and null are the same. Bounds are the
widest of the three versions; the narrower ones are checked against the official schemas of the negotiated version
before anything is sent. Nothing here knows how a message of a version looks.
"""
