"""A feed's record batches (Kafka's format, magic 2), decoded as far as the door needs them. Pure.

A batch is a header of 61 bytes and its records, compressed or not. Of a record only the value is
read, and its headers where traces are looked for: a key that is not UTF-8 concerns nobody. What a
batch becomes unpacked is bounded while it is unpacked; what can't be decoded is named, never guessed.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cramjam
import lz4.frame
import numpy as np
from kafka.record.util import calc_crc32c

from contracts import traces
from contracts.entries.kernel_types import kernel

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

UNPACKED_MAX_BYTES = 64 * 1024 * 1024
"""As much as a body of the HTTP door may become."""
RECORDS_MAX = 1 << 20
"""What a batch of entries can hold within UNPACKED_MAX_BYTES: the shortest is longer than 64 bytes."""
MEMBERS_MAX = 16
"""Gzip members and xerial's empty blocks: a client writes one, each costs a start."""

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LOG_OVERHEAD = 12
_CRC_FROM = 21
_RECORD_MIN_BYTES = 7
_HEADERS_LOOKED_AT = 64
_XERIAL = b"\x82SNAPPY\x00"
_CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Undecodable(Exception):
    """`code` of contracts/reasons; the text says what is wrong."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True)
class Batch:
    """One batch as it stands in the log. `last` is the offset of its last record, also of one that was removed."""

    raw: memoryview
    first: int
    last: int
    magic: int
    crc: int
    attributes: int
    producer_id: int
    records: int

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & 0x20)

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & 0x10)


@dataclass(frozen=True)
class Rows:
    """Records of one batch: record i has offset `offset[i]` and the value data[start[i]:start[i]+size[i]]."""

    data: np.ndarray
    offset: np.ndarray
    start: np.ndarray
    size: np.ndarray
    """-1: null."""
    headers: np.ndarray
    """Where each record's headers begin in `data`."""

    def __len__(self) -> int:
        return len(self.offset)

    def cut(self, begin: int, end: int) -> Rows:
        kept = slice(begin, end)
        return Rows(
            self.data, self.offset[kept], self.start[kept], self.size[kept], self.headers[kept]
        )

    def since(self, offset: int) -> Rows:
        """Only those from `offset` on."""
        at = int(np.searchsorted(self.offset, offset))
        return self.cut(at, len(self)) if at else self

    def parents(self) -> Iterator[str]:
        """The first traces that the records name."""
        for place in self.headers[:_HEADERS_LOOKED_AT].tolist():
            yield from traces.of_kafka(_headers(self.data, place))[:1]


def split(data: bytes | memoryview) -> Iterator[Batch]:
    """The whole batches of a fetch; the last may be cut off, and is left out."""
    view = memoryview(data)
    at = 0
    while len(view) - at >= _HEADER.size:
        first, length, _, magic, crc, attributes, delta, _, _, producer, _, _, records = (
            _HEADER.unpack_from(view, at)
        )
        end = at + _LOG_OVERHEAD + length
        if length < _HEADER.size - _LOG_OVERHEAD or end > len(view):
            return
        raw = view[at:end]
        yield Batch(raw, first, first + max(delta, 0), magic, crc, attributes, producer, records)
        at = end


def rows(batch: Batch) -> Rows:
    """The batch's records. Raises Undecodable."""
    if batch.magic != 2:
        raise Undecodable("batch_undecodable", f"message format {batch.magic}")
    if calc_crc32c(batch.raw[_CRC_FROM:]) != batch.crc:
        raise Undecodable("batch_undecodable", "its checksum is wrong")
    data = np.frombuffer(unpack(batch.attributes & 7, batch.raw[_HEADER.size :]), np.uint8)
    if batch.records > RECORDS_MAX:
        raise Undecodable("batch_too_large", f"{batch.records} records, at most {RECORDS_MAX}")
    if not 0 <= batch.records <= len(data) // _RECORD_MIN_BYTES:
        raise Undecodable("batch_undecodable", f"it can't hold {batch.records} records")
    delta, start, headers = (np.empty(batch.records, np.int64) for _ in range(3))
    size = np.empty(batch.records, np.int32)
    wrong = _walk(data, batch.last - batch.first, delta, start, size, headers)
    if wrong >= 0:
        raise Undecodable("batch_undecodable", f"record {wrong} of the batch is damaged")
    return Rows(data, delta + batch.first, start, size, headers)


def unpack(codec: int, packed: memoryview) -> bytes | bytearray | memoryview:
    """Raises Undecodable: damaged, cut off, an unknown codec, or more than UNPACKED_MAX_BYTES."""
    if codec == 0:
        return packed
    name = _CODECS[codec] if codec < len(_CODECS) else f"codec {codec}"
    try:
        if name == "gzip":
            return _gzip(packed)
        if name == "snappy":
            return _snappy(packed)
        if name == "lz4":
            frame = lz4.frame.LZ4FrameDecompressor()
            return _whole(frame.decompress(packed, UNPACKED_MAX_BYTES + 1), frame.eof)
        if name == "zstd":
            stream = zstd.ZstdDecompressor()
            return _whole(stream.decompress(packed, UNPACKED_MAX_BYTES + 1), stream.eof)
    except Undecodable:
        raise
    except (zlib.error, zstd.ZstdError, RuntimeError, ValueError, EOFError, OSError, MemoryError,
            cramjam.DecompressionError, struct.error) as error:  # fmt: skip
        raise Undecodable("batch_undecodable", f"not {name}: {str(error)[:100]}") from error
    raise Undecodable("batch_undecodable", f"{name} is not known here")


def _whole(data: bytes | bytearray, ended: bool) -> bytes | bytearray:
    _fits(len(data))
    if not ended:
        raise Undecodable("batch_undecodable", "it is cut off")
    return data


def _fits(size: int) -> None:
    if size > UNPACKED_MAX_BYTES:
        raise Undecodable(
            "batch_too_large", f"more than {UNPACKED_MAX_BYTES >> 20} MiB once unpacked"
        )


def _gzip(packed: memoryview) -> bytearray:
    out = bytearray()
    rest: bytes | memoryview = packed
    for _ in range(MEMBERS_MAX):
        member = zlib.decompressobj(31)
        out += member.decompress(rest, UNPACKED_MAX_BYTES + 1 - len(out))
        _whole(out, member.eof)
        rest = member.unused_data
        if not rest:
            return out
    raise Undecodable("batch_undecodable", f"more than {MEMBERS_MAX} gzip members")


def _snappy(packed: memoryview) -> bytes | bytearray:
    """One raw block, or xerial's stream of blocks, as the Java client writes it."""
    if bytes(packed[:8]) != _XERIAL:
        return _snappy_block(packed, 0)
    out = bytearray()
    at = 16
    empty = 0
    while at < len(packed):
        (size,) = struct.unpack_from(">i", packed, at)
        at += 4
        if size <= 0 or at + size > len(packed):
            raise Undecodable("batch_undecodable", "a snappy block is cut off")
        block = _snappy_block(packed[at : at + size], len(out))
        empty += not block
        if empty > MEMBERS_MAX:
            raise Undecodable("batch_undecodable", "empty snappy blocks")
        out += block
        at += size
    return out


def _snappy_block(packed: memoryview, before: int) -> bytes:
    # What it says of itself is looked at before it is believed with memory.
    _fits(before + int(cramjam.snappy.decompress_raw_len(packed)))
    return bytes(cramjam.snappy.decompress_raw(packed))


@kernel("UniTuple(int64, 2)(Array(uint8, 1, 'C', readonly=True), int64)")
def _varint(data, at):
    """(value, place after it) of a zigzag varint of at most 10 bytes; place -1 where there is none."""
    value = np.uint64(0)
    shift = np.uint64(0)
    for _ in range(10):
        if at >= len(data):
            return np.int64(0), np.int64(-1)
        byte = data[at]
        at += 1
        value |= np.uint64(byte & 0x7F) << shift
        if byte < 0x80:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), np.int64(at)
        shift += np.uint64(7)
    return np.int64(0), np.int64(-1)


@kernel(
    "int64(Array(uint8, 1, 'C', readonly=True), int64, int64[::1], int64[::1], int32[::1], int64[::1])"
)
def _walk(data, last, delta, start, size, headers):
    """Finds every record's value; the number of the first damaged one, or -1."""
    at = np.int64(0)
    before = np.int64(-1)
    for i in range(len(delta)):
        length, at = _varint(data, at)
        if at < 0 or length < 0 or length > len(data) - at:
            return i
        end = at + length
        at += 1  # attributes
        _, at = _varint(data, at)
        if at < 0:
            return i
        number, at = _varint(data, at)
        if at < 0 or number <= before or number > last:
            return i
        before = number
        delta[i] = number
        key, at = _varint(data, at)
        if at < 0 or key > end - at:
            return i
        at += max(key, 0)
        value, at = _varint(data, at)
        if at < 0 or value > end - at:
            return i
        start[i] = at
        size[i] = max(value, -1)
        headers[i] = at + max(value, 0)
        if headers[i] >= end:  # at least the number of headers stands there
            return i
        at = end
    return -1 if at == len(data) else len(delta)


def _headers(data: np.ndarray, at: int) -> list[tuple[str, bytes]]:
    """The first headers of a record whose keys are ASCII; what is damaged ends them."""
    found = []
    count, at = _varint(data, at)
    for _ in range(min(count, _HEADERS_LOOKED_AT) if at >= 0 else 0):
        key, at = _varint(data, at)
        if at < 0 or not 0 <= key <= len(data) - at:
            break
        name, at = data[at : at + key].tobytes() if key <= 32 else b"", at + key
        value, at = _varint(data, at)
        if at < 0 or value > len(data) - at:
            break
        if value >= 0 and name in (b"traceparent", b"tracelinks"):
            found.append((name.decode(), data[at : at + min(value, 8_192)].tobytes()))
        at += max(value, 0)
    return found
