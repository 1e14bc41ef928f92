"""Bodies that were right until somebody turned a bit: of every format, packed or not."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
PACK = {"gzip": gzip.compress, "zstd": zstandard.compress}
_EDGES = [0, 1, 4, 8, 0x7F, 0xFF, 2**15, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1]
_TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()),
          pa.dictionary(pa.uint32(), pa.large_string())]  # fmt: skip
_INTEGERS = [pa.int64(), pa.int16(), pa.uint64(), pa.uint32(), pa.decimal128(20, 0)]
_INSTANTS = [pa.int64(), pa.timestamp("us", "UTC"), pa.timestamp("ns", "Asia/Shanghai")]


def rows(rng: random.Random, name: str) -> list[dict[str, Any]]:
    return [
        {
            "entry_id": f"{name}-{number}-{'x' * rng.randrange(20)}",
            "platform_id": "p1",
            "merchant_id": f"m{rng.randrange(3)}",
            "occurred_at": 1_769_864_706_789 + number,
            "kind": rng.choice(["sale", "refund"]),
            "amount_fen": rng.randrange(1, 10_000),
            "mcc": rng.choice(["5812", None]),
            "scene_tags": rng.choice([["a"], ["b", "渝"], [], None]),
        }
        for number in range(rng.randrange(1, 9))
    ]


def table(rng: random.Random, made: list[dict[str, Any]]) -> pa.Table:
    columns = {}
    for name in made[0]:
        values = [row[name] for row in made]
        if name == "scene_tags":
            kind = rng.choice([pa.list_(pa.string()), pa.large_list(pa.string())])
            columns[name] = pa.array(values, kind)
        elif name == "amount_fen":
            columns[name] = pa.array(values, rng.choice(_INTEGERS))
        elif name == "occurred_at":
            kind = rng.choice(_INSTANTS)
            array = pa.array(values)
            if pa.types.is_timestamp(kind):
                array = array.cast(pa.timestamp("ms", kind.tz)).cast(kind)
            columns[name] = array
        else:
            columns[name] = text(pa.array(values, pa.string()), rng.choice(_TEXTS))
    return pa.table(columns)


def text(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_dictionary(kind):
        return array.cast(kind)
    encoded = array.dictionary_encode()
    indices = encoded.indices.cast(kind.index_type)
    return pa.DictionaryArray.from_arrays(indices, encoded.dictionary.cast(kind.value_type))


def whole(rng: random.Random, form: str, name: str) -> bytes:
    """A right body. Texts of Arrow and Parquet stand in it as they are."""
    made = rows(rng, name)
    if form == "json":
        return json.dumps(made, ensure_ascii=False).encode()
    if form == "ndjson":
        return b"\n".join(json.dumps(row).encode() for row in made)
    if form == "csv":
        lines = [",".join(made[0])]
        lines += [",".join("" if v is None else f'"{v}"' if rng.random() < 0.3 else str(v)
                           for v in row.values()) for row in made]  # fmt: skip
        return rng.choice(["\n", "\r\n"]).join(lines).encode()
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(
            table(rng, made), sink, compression="none", row_group_size=rng.choice([2, 100])
        )
    else:
        made_table = table(rng, made)
        with pa.ipc.new_stream(sink, made_table.schema) as writer:
            writer.write_table(made_table, rng.choice([2, 100]))
    return sink.getvalue()


def mutated(rng: random.Random, body: bytes) -> bytes:
    """One to four faults: bits, bytes, lengths and offsets, pieces lost, doubled, moved or cut off."""
    out = bytearray(body)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        if len(out) < 12:
            break
        at = rng.randrange(len(out))
        aligned = at & ~3
        match rng.randrange(9):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.randrange(256)
            case 2:
                struct.pack_into("<I", out, min(aligned, len(out) - 4), rng.choice(_EDGES) % 2**32)
            case 3:
                struct.pack_into("<Q", out, min(aligned, len(out) - 8), rng.choice(_EDGES))
            case 4:
                # A little more or less: what an offset or a length says wrong most harmfully.
                place = min(aligned, len(out) - 4)
                (value,) = struct.unpack_from("<I", out, place)
                more = rng.choice([-8, -4, -1, 1, 4, 8, 64, 4_096])
                struct.pack_into("<I", out, place, (value + more) % 2**32)
            case 5:
                del out[at : at + rng.randrange(1, 32)]
            case 6:
                out[at:at] = out[at : at + rng.randrange(1, 64)]
            case 7:
                to = rng.randrange(len(out))
                piece = out[at : at + rng.randrange(1, 64)]
                out[to : to + len(piece)] = piece
            case 8:
                if rng.random() < 0.2:
                    del out[at:]
                else:
                    out[at] = rng.choice(b'"{}[],:\\\n\r\x00\xff')
    return bytes(out)
