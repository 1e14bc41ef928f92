"""The record of `dead-letters.v1`: an Arrow IPC stream with a batch of refused rows.

Key: platform. At least once: (receipt, row) says which are the same.
"""

from __future__ import annotations

import struct

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


def decoded_bytes(value: bytes | pa.Buffer) -> int:
    """Bytes that `decode` will allocate, by the record's own header. Raises pa.ArrowException or ValueError.

    A compressed buffer begins with its size once decoded (Arrow columnar format, "Compression"); where
    the buffers are stands in each message's flatbuffer: Message.header is field 2, RecordBatch.buffers too,
    RecordBatch.compression is field 3.
    """
    total = 0
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(value)):
        if message.type != "record batch":
            continue
        said, body = memoryview(message.metadata), memoryview(message.body)
        try:
            root = _number("<I", said, 0)
            batch = _follow(said, _field(said, root, 2))
            buffers = _follow(said, _field(said, batch, 2))
            compressed = _field(said, batch, 3) != 0
            for at in range(buffers + 4, buffers + 4 + 16 * _number("<I", said, buffers), 16):
                offset, length = _number("<q", said, at), _number("<q", said, at + 8)
                size = _number("<q", body, offset) if compressed and length else length
                total += size if size >= 0 else length
        except struct.error as error:
            raise ValueError(f"not an Arrow message: {error}") from error
    return total


def _number(form: str, data: memoryview, at: int) -> int:
    if at < 0:
        raise struct.error("a place before the beginning")
    return int(struct.unpack_from(form, data, at)[0])


def _field(data: memoryview, table: int, number: int) -> int:
    """Where a flatbuffer table has its field; 0: nowhere."""
    slots = table - _number("<i", data, table)
    slot = 4 + 2 * number
    within = _number("<H", data, slots + slot) if slot < _number("<H", data, slots) else 0
    return table + within if within else 0


def _follow(data: memoryview, at: int) -> int:
    return at + _number("<I", data, at)


def decode(value: bytes | pa.Buffer) -> pa.RecordBatch:
    """Raises pa.ArrowException where the value is not such a record."""
    with pa.ipc.open_stream(pa.py_buffer(value)) as reader:
        return reader.read_next_batch().cast(SCHEMA)
