"""How far districts are on the way to their targets: the same evaluation for gateway and alerts.

`reads` says what is asked of the store, `columns` holds what came, `judge` makes progress rows of it
with `yumai.methods`; only `books` (which keeps columns fresh) has a memory.
"""
