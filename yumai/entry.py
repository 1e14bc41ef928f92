"""The words of an entry: kinds and their signs, limits. Pure."""

from __future__ import annotations

KINDS: dict[str, int] = {"sale": 1, "refund": 2, "sale_reversal": 3, "refund_reversal": 4}
SIGNS: dict[int, int] = {1: 1, 2: -1, 3: -1, 4: 1}

AMOUNT_MAX_FEN = 10**13
TEXT_MAX = 64
SCENE_TAGS_MAX = 16
FUTURE_TOLERANCE_MS = 5 * 60_000
AGE_MAX_YEARS = 5

BATCH_MAX_ENTRIES = 4_096
"""Rows of one record of entries.v1 at most."""

BLOCK_OFFSETS = 1_024
"""Offsets of a partition's log that make one block (block = offset // 1,024)."""

SLOTS = 720

IDS_SINCE_FUNCTION = 2
"""Version of metrics' function from which on the ledger has the ids of today. What an older one wrote
is rewritten from the log, complete or not: until then the log must keep it."""
