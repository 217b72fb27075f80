"""What operator, gateway and backends agree on: topics, keys, headers, messages, outcomes, annotations.

Pure: types with strict JSON (de)serialisation, tables and text (Lua scripts, JSON Schemas). No I/O, no asyncio, no clock,
no randomness may live here, and nothing of ours is imported: every other package imports this one.
"""
