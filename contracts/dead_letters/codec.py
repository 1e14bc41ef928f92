"""The record of `dead-letters.v1`: an Arrow IPC stream with a batch of refused rows.

Key: platform. At least once: (receipt, row) says which are the same.
"""

from __future__ import annotations

import pyarrow as pa

KEPT_BYTES = 64 * 1024
"""A row's bytes are kept up to here; `size` and `sha256` are of the whole."""

SCHEMA = pa.schema(
    [
        pa.field("receipt", pa.binary(16), nullable=False),
        pa.field("row", pa.uint32(), nullable=False),
        pa.field("platform", pa.string(), nullable=False),
        pa.field("code", pa.string(), nullable=False),
        pa.field("field", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("size", pa.uint32(), nullable=False),
        pa.field("sha256", pa.binary(32), nullable=False),
        pa.field("bytes", pa.binary(), nullable=False),
    ]
)
"""`field` is the contract's name, empty where the whole row is meant."""


def encode(batch: pa.RecordBatch) -> pa.Buffer:
    """The record's value; `batch` has the columns of SCHEMA."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("lz4"))
    with pa.ipc.new_stream(sink, SCHEMA, options=options) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def decode(value: bytes | pa.Buffer) -> pa.RecordBatch:
    """Raises pa.ArrowException where the value is not such a record."""
    with pa.ipc.open_stream(pa.py_buffer(value)) as reader:
        return reader.read_next_batch().cast(SCHEMA)
