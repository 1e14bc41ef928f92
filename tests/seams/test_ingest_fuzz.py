"""Bodies that nobody would send: never a 5xx, never a hung request, never a lost good row.

`YUMAI_FUZZ=10000` sends that many a format; as it stands some hundred.
"""

import gzip
import io
import json
import os
import random
from collections.abc import Iterator

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.seams.ingest_place import Place, entry, ndjson, place_of

BODIES = int(os.environ.get("YUMAI_FUZZ", "250"))
TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
ODD = [
    None,
    True,
    -1,
    0,
    1.5,
    2**63,
    2**64,
    10**30,
    "",
    "x" * 70,
    "渝",
    "\x00",
    "\x1f",
    "😀",
    [],
    {},
    [None],
    ["t"],
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, store: str) -> Iterator[Place]:
    with place_of(tmp_path_factory.mktemp("fuzz"), f"{store}/ingest_fuzz") as place:
        yield place


def rows(rng: random.Random, name: str) -> list[dict]:
    made = []
    for number in range(rng.randrange(1, 8)):
        row = entry(f"{name}-{number}", mcc="5812", scene_tags=["a"])
        if rng.random() < 0.5:
            field = rng.choice([*row, "subsidy_fen", "refers_to", "phone"])
            row[field] = rng.choice(ODD)
        made.append(row)
    return made


def whole(rng: random.Random, form: str, name: str) -> bytes:
    made = rows(rng, name)
    if form == "json":
        return json.dumps(
            made if rng.random() < 0.8 else made[0], ensure_ascii=rng.random() < 0.5
        ).encode()
    if form == "ndjson":
        return ndjson(*made)
    if form == "csv":
        names = list(made[0])
        lines = [",".join(names)]
        lines += [
            ",".join(f'"{row.get(n)}"' if rng.random() < 0.3 else str(row.get(n)) for n in names)
            for row in made
        ]
        return rng.choice(["\n", "\r\n"]).join(lines).encode()
    columns = {}
    for field in entry("x"):
        values = [row.get(field) for row in made]
        try:
            columns[field] = pa.array(values)
            if pa.types.is_struct(columns[field].type):  # no format has empty structs
                raise TypeError
        except (pa.ArrowException, TypeError, OverflowError):
            columns[field] = pa.array([str(value) for value in values])
    table = pa.table(columns)
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, sink, compression=rng.choice(["snappy", "zstd", "none"]))
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, 2)
    return sink.getvalue()


def damaged(rng: random.Random, body: bytes) -> bytes:
    out = bytearray(body)
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        if not out:
            break
        at = rng.randrange(len(out))
        match rng.randrange(5):
            case 0:
                out[at] = rng.randrange(256)
            case 1:
                del out[at : at + rng.randrange(1, 20)]
            case 2:
                out[at:at] = rng.choice(
                    [b'"', b"\n", b"{", b"]", b",", b"\xff", b"\x00", b"\\"]
                ) * rng.randrange(1, 4)
            case 3:
                del out[at:]
            case 4:
                out[at : at + 4] = rng.randbytes(4)
    return bytes(out)


@pytest.mark.parametrize("form", TYPES)
def test_no_body_gets_a_5xx_or_hangs(form: str, place: Place, unique: str):
    rng = random.Random(f"{form}-1")
    statuses = set()
    with httpx.Client(base_url=place.url, timeout=15, trust_env=False) as client:
        for number in range(BODIES):
            body = damaged(rng, whole(rng, form, f"{unique}-{number}"))
            headers = {"Authorization": f"Bearer {place.key}", "Content-Type": TYPES[form]}
            if rng.random() < 0.1:
                headers["Content-Encoding"] = rng.choice(["gzip", "zstd"])
                pack = (
                    gzip.compress if headers["Content-Encoding"] == "gzip" else zstandard.compress
                )
                body = damaged(rng, pack(body)) if rng.random() < 0.5 else pack(body)
            answer = client.post("/v1/entries", content=body, headers=headers)
            statuses.add(answer.status_code)
            assert answer.status_code in (200, 400, 413), (answer.text, body)
            told = answer.json()
            if answer.status_code == 200:
                assert told["accepted"] + told["rejected"] == told["received"]
                assert len(told["errors"]) == min(100, told["rejected"])
    assert 200 in statuses


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_a_good_row_is_never_lost_between_broken_ones(form: str, place: Place, unique: str):
    rng = random.Random(f"{form}-2")
    names = list(entry("x"))
    for number in range(BODIES // 5):
        lines: list[bytes] = []
        good = 0
        for place_in in range(12):
            row = entry(f"{unique}-{number}-{place_in}")
            line = json.dumps(row) if form == "ndjson" else ",".join(str(row[n]) for n in names)
            if rng.random() < 0.5:
                good += 1
                lines.append(line.encode())
            else:
                # What breaks it stays within the line, and can't make it good again.
                broken = damaged(rng, line.encode()).replace(b"\n", b" ").replace(b'"', b"'")
                lines.append(b"\xff" + broken)
        body = b"\n".join(
            [b",".join(n.encode() for n in names), *lines] if form == "csv" else lines
        )
        told = place.post(body, TYPES[form]).json()
        assert (told["received"], told["accepted"]) == (12, good), body
