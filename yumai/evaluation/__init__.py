"""How far districts are on the way to their targets: the same evaluation for gateway, alerts and `make truth`.

`reads` says what is asked of the store, `columns` holds what came, `judge` makes a course of it by the
formulae of `yumai.methods`, `rows` says what is known of one day; only `books` (which keeps columns
fresh) has a memory.
"""
