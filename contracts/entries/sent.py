"""The entry as Arrow columns: what a platform puts into an Arrow stream or a Parquet file.

`entry.schema.json` is the source; `tests/unit/contracts` holds the two equal. `occurred_at` may also
be a string (RFC 3339) or an int64 (epoch ms).
"""

from __future__ import annotations

import pyarrow as pa

SENT = pa.schema(
    [
        pa.field("entry_id", pa.string(), nullable=False),
        pa.field("platform_id", pa.string(), nullable=False),
        pa.field("merchant_id", pa.string(), nullable=False),
        pa.field("occurred_at", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("amount_fen", pa.int64(), nullable=False),
        pa.field("refers_to", pa.string()),
        pa.field("district_code", pa.string()),
        pa.field("mcc", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("scene_tags", pa.list_(pa.string())),
        pa.field("program_id", pa.string()),
        pa.field("subsidy_fen", pa.int64()),
    ]
)
