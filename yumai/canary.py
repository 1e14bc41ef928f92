"""The canary's place in the books: synthetic entries that no figure ever includes. Pure.

Its platform is reserved. Two things keep it out, both from here:

* `HIDING` stands on every connection to the store that does not ask for the canary by name
  (`yumai/store/client.py`): cells, ledger, receipts, verdicts and dead letters are read without it.
  So a query that is written tomorrow leaves it out too. The workers read everything, for Seen
  must know its ids; `GET /v1/cells` shows it to its own platform and nobody else.
* What metrics counts and announces (`blocks`, `commits.v1`) leaves it out as it is booked: lag,
  rates, stream and alerts follow from those.

The audit recounts the books as published: ledger, cells and blocks, each without the canary.
"""

PLATFORM = "yumai-canary"
MERCHANT = "canary"
MCC = "6011"
"""Automated cash: excluded (X00), so that it is no consumption even where it is seen."""

_TABLES = ("entries", "cells", "receipts", "verdicts", "dead_letters")
FILTERS = "additional_table_filters"
HIDING = {FILTERS: "{" + ", ".join(f"'{t}': 'platform != \\'{PLATFORM}\\''" for t in _TABLES) + "}"}
"""ClickHouse settings of a connection that does not see it."""
SHOWING = {FILTERS: "{}"}
