"""Broken bodies: never a 5xx, never a hung request, never a lost good row.

`YUMAI_E2E_FUZZ` bodies a format (default 300; 10,000 is the bar). Each is drawn from its own seed, which
a failure names. What a text body must give is asked of the recount; of a mutated Arrow or Parquet body,
which may still be one in a way that nobody can foretell, only that it is answered well. One file, since what is broken and what must come of it stand side by side.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.days import SHANGHAI
from simulation.city import City
from simulation.flow import Flow
from simulation.formats import MEDIA_TYPES, render
from tests.e2e import comparison, senders
from tests.e2e.comparison import Books
from tests.e2e.harness import Yumai
from tests.recount import BadRow, Expected, Recount

BODIES = int(os.environ.get("YUMAI_E2E_FUZZ", "300"))
SEED = int(os.environ.get("YUMAI_E2E_SEED", "7"))
AT_ONCE = 6
LONGEST_SECONDS = 20.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + BODIES // 4)]

FORMS = ("ndjson", "csv", "json", "arrow", "parquet")
STRANGE_TABLE = "strange table"
DAY = datetime.now(SHANGHAI).date() - timedelta(days=3)


@dataclass(frozen=True)
class Case:
    number: int
    form: str
    mutation: str
    body: bytes
    encoding: str | None
    kept: int | None
    """Rows that the mutation left as they were; None: not known."""


# -- mutations of any bytes ------------------------------------------------------------------------


def flip(body: bytes, rng: random.Random) -> bytes:
    found = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def overwrite(body: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(body)), rng.randint(1, 24)
    return body[:at] + rng.randbytes(size) + body[at + size :]


def insert(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + rng.randbytes(rng.randint(1, 40)) + body[at:]


def cut_out(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body))
    return body[:at] + body[at + rng.randint(1, 60) :]


def truncate(body: bytes, rng: random.Random) -> bytes:
    return body[: rng.randrange(len(body))]


def repeat(body: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(body)), rng.randint(1, 400)
    return body[:at] + body[at : at + size] * rng.randint(2, 5) + body[at + size :]


def swap_tokens(body: bytes, rng: random.Random) -> bytes:
    """What a text's grammar is made of, in wrong places."""
    tokens = [
        b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\n", b"\r\n", b"\r", b"null", b"true", b"NaN",
        b"1e400", b"-0", b"\\u0000", b"\\ud800", b"\xff", b"\x00", b"\xef\xbb\xbf", b" " * 70, b"9" * 40,
        b"\xe2\x80\xa8", b'""', b"|", b";", b"\t",
    ]  # fmt: skip
    found = body
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(found) + 1)
        found = found[:at] + rng.choice(tokens) + found[at + rng.randint(0, 2) :]
    return found


def noise(body: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(0, 600))


def nested(body: bytes, rng: random.Random) -> bytes:
    depth = rng.choice((10, 1_000, 200_000))
    deep = b"[" * depth + b"]" * rng.choice((depth, 0))
    at = rng.randrange(len(body))
    return rng.choice((deep, body[:at] + deep + body[at:], b'{"a":' * depth))


ANY: list[Callable[[bytes, random.Random], bytes]] = [
    flip, overwrite, insert, cut_out, truncate, repeat, noise,
]  # fmt: skip
TEXT = [*ANY, swap_tokens, swap_tokens, nested]


# -- mutations that leave rows as they are -----------------------------------------------------------


def garbage_line(rng: random.Random) -> bytes:
    made = rng.choice(
        [
            lambda: rng.randbytes(rng.randint(1, 80)),
            lambda: b"{" * rng.randint(1, 500),
            lambda: b'{"entry_id":"',
            lambda: b"null",
            lambda: b"\xff\xfe\x00",
            lambda: b"," * rng.randint(1, 40),
            lambda: b"x" * rng.randint(1, 70_000),
            lambda: b"[" * 5_000,
            lambda: json.dumps({"amount_fen": 1}).encode(),
        ]
    )()
    # A quote may open a field that reaches over the next lines; that is another test.
    return made.translate(None, b'\n"') if rng.random() < 0.7 else made.translate(None, b"\n")


def garbage_lines(body: bytes, rng: random.Random, form: str) -> tuple[bytes, int]:
    """Garbage between good lines; (body, good lines)."""
    lines = body.split(b"\n")[:-1]
    first = 1 if form == "csv" else 0
    good = len(lines) - first
    for _ in range(rng.randint(1, 5)):
        garbage = garbage_line(rng)
        if form == "csv":
            garbage = garbage.replace(b'"', b"")
        lines.insert(rng.randint(first, len(lines)), garbage)
    return b"\n".join(lines) + rng.choice((b"\n", b"")), good


def garbage_elements(body: bytes, rng: random.Random) -> tuple[bytes, int]:
    """Elements of another kind in a JSON array."""
    elements = body[1:-1].split(b",\n")
    good = len(elements)
    kinds = [b"null", b"17", b'"text"', b"[]", b"{}", b"[[{}]]", b"true", b'{"a":1}', b'"\xff"']
    for _ in range(rng.randint(1, 5)):
        elements.insert(rng.randint(0, len(elements)), rng.choice(kinds))
    return b"[" + b",".join(elements) + b"]", good


# -- tables as other programs write them, and with strange values ----------------------------------


NASTY: dict[str, list[Any]] = {
    "entry_id": [None, "", "a" * 64, "a" * 65, "é" * 64, "😀" * 33, "a\x00b", " "],
    "platform_id": [None, "", "-x", "a b", "unipay\n", "é", "a" * 65],
    "merchant_id": [None, "", "😀" * 64, "m" * 65],
    "kind": [None, "", "Sale", "sale ", "refund"],
    "amount_fen": [None, 0, -1, 1, 10**13, 10**13 + 1, 2**63 - 1, -(2**63)],
    "refers_to": ["", "r" * 65, "ok"],
    "district_code": ["500103", "500157", "000000", "50010", "５００１０３", "", "500199"],
    "mcc": ["0742", "742", "", "58 2", "9999", "五八一二"],
    "channel": ["", "online", "ONLINE"],
    "scene_tags": [[], [""], ["a"] * 17, ["b", "a"], ["x" * 65]],
    "program_id": ["", "p" * 64, "p" * 65],
    "subsidy_fen": [0, -1, 10**13, 10**13 + 1, -(2**63)],
}
INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64())
INSTANTS = (
    *(pa.timestamp(u, "Asia/Shanghai") for u in ("s", "ms", "us", "ns")),
    pa.timestamp("us", "UTC"),
)
STRANGE = (
    pa.float64(),
    pa.bool_(),
    pa.timestamp("ms"),
    pa.date32(),
    pa.decimal128(20, 2),
    pa.null(),
)


def recast(column: pa.ChunkedArray, name: str, rng: random.Random) -> pa.ChunkedArray:
    """Another type, mostly one that is allowed; unchanged where the values don't fit."""
    if rng.random() < 0.03:
        wanted: Any = rng.choice(STRANGE)
    elif name in ("amount_fen", "subsidy_fen"):
        wanted = rng.choice(INTEGERS)
    elif name == "occurred_at":
        wanted = rng.choice((*INSTANTS, pa.int64()))
    elif name == "scene_tags":
        wanted = rng.choice((pa.large_list(pa.string()), pa.list_(pa.large_string())))
    else:
        text = (pa.large_string(), pa.dictionary(pa.int32(), pa.string()))
        wanted = rng.choice((*text, pa.dictionary(pa.int8(), pa.string())))
    try:
        if pa.types.is_dictionary(wanted):
            return column.dictionary_encode().cast(wanted)
        return column.cast(wanted)
    except (pa.ArrowException, OSError):
        return column


def strange_table(batch: pa.RecordBatch, rng: random.Random) -> pa.Table:
    rows = batch.to_pylist()
    for _ in range(rng.choice((0, 1, 3))):
        name = rng.choice(list(NASTY))
        rng.choice(rows)[name] = rng.choice(NASTY[name])
    table = pa.Table.from_pylist(rows, schema=batch.schema)
    for at, name in enumerate(table.column_names):
        if rng.random() < 0.25:
            table = table.set_column(at, name, recast(table.column(name), name, rng))
    names = list(table.column_names)
    if rng.random() < 0.3:
        rng.shuffle(names)
    if rng.random() < 0.3:
        names.remove(rng.choice(names[6:] if rng.random() < 0.8 else names))
    table = table.select(names)
    if rng.random() < 0.03:
        table = table.append_column("payer", pa.array(["x"] * len(table)))
    if rng.random() < 0.3 and len(table) > 2:
        table = pa.concat_tables([table.slice(0, 1), table.slice(1, 0), table.slice(1)])
    return table.slice(rng.choice((0, 0, 0, 1)))


def written(table: pa.Table, form: str, rng: random.Random) -> bytes:
    sink = pa.BufferOutputStream()
    if form == "arrow":
        codec = rng.choice((None, None, "lz4", "zstd"))
        options = pa.ipc.IpcWriteOptions(compression=codec)
        with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
            writer.write_table(table)
    else:
        codec = rng.choice(("none", "snappy", "gzip", "zstd", "brotli"))
        pq.write_table(
            table, sink, compression=codec, row_group_size=rng.choice((1, 3, 1_000)),
            use_dictionary=rng.random() < 0.5, data_page_version=rng.choice(("1.0", "2.0")),
            store_schema=rng.random() < 0.5,
        )  # fmt: skip
    return sink.getvalue().to_pybytes()


# -- the cases -------------------------------------------------------------------------------------


def unique_rows(flow: Flow, rng: random.Random, rows: int) -> pa.RecordBatch:
    start = rng.randrange(2_000)
    batch = flow.rows(DAY, start, start + rows)
    ids = pa.array([rng.randbytes(12).hex() for _ in range(len(batch))])
    return batch.set_column(batch.schema.get_field_index("entry_id"), "entry_id", ids)


def case(flow: Flow, form: str, number: int) -> Case:
    rng = random.Random(f"{SEED}/{form}/{number}")
    rows = unique_rows(flow, rng, rng.choice((1, 2, 7, 30)))
    body = render(rows, form)
    encoding, kept = None, None
    text = form in ("ndjson", "csv", "json")
    chance = rng.random()
    if text and chance < 0.3:
        mutation = "garbage between"
        body, kept = (
            garbage_elements(body, rng) if form == "json" else garbage_lines(body, rng, form)
        )
    elif not text and chance < 0.6:
        mutation, body = STRANGE_TABLE, written(strange_table(rows, rng), form, rng)
    else:
        mutate = rng.choice(TEXT if text else ANY)
        mutation = mutate.__name__
        for _ in range(rng.randint(1, 2)):
            body = mutate(body, rng) if body else body
    if chance > 0.9:
        encoding = rng.choice(("gzip", "zstd"))
        body = senders.encoded(body, encoding)
        if rng.random() < 0.5:
            mutation, kept = f"{mutation}, {encoding} broken", None
            body = rng.choice(ANY)(body, rng) if body else body
    return Case(number, form, mutation, body, encoding, kept)


def send(yumai: Yumai, http: httpx.Client, one: Case) -> tuple[Case, int, Any, float]:
    headers = {
        "Authorization": f"Bearer {yumai.token()}",
        "Content-Type": MEDIA_TYPES[one.form],
        "Idempotency-Key": f"{one.form}-{one.number}",
    }
    headers |= {"Content-Encoding": one.encoding} if one.encoding else {}
    began = time.monotonic()
    answer = http.post(f"{yumai.ingest}/v1/entries", content=one.body, headers=headers)
    return one, answer.status_code, answer.json(), time.monotonic() - began


@pytest.fixture(scope="module")
def books() -> Books:
    return Books(Recount([], int(time.time() * 1000)))


@pytest.fixture(scope="module")
def flow() -> Flow:
    return Flow(City(SEED, 700), SEED, since=date(2025, 1, 1))


@pytest.mark.parametrize("form", FORMS)
def test_a_broken_body_is_answered_and_loses_no_good_row(
    yumai: Yumai, books: Books, flow: Flow, form: str
) -> None:
    yumai.token()
    pid = yumai.children()["ingest"]
    cases = (case(flow, form, number) for number in range(BODIES))
    limits = httpx.Limits(max_connections=AT_ONCE)
    wrong: list[str] = []
    statuses: Counter[int] = Counter()
    with (
        httpx.Client(timeout=LONGEST_SECONDS, trust_env=False, limits=limits) as http,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        for one, status, answer, _seconds in pool.map(lambda c: send(yumai, http, c), cases):
            statuses[status] += 1
            found = judged(books, one, status, answer)
            if found:
                wrong.append(
                    f"{one.form} {one.number} ({one.mutation}): {found}; {one.body[:300]!r}"
                )
    print(f"\n{form}: {dict(statuses)}")
    assert not wrong, f"{len(wrong)} of {BODIES}:\n" + "\n".join(wrong[:12])
    assert statuses[200] > BODIES // 20
    assert yumai.children()["ingest"] == pid, "ingest died"


def judged(books: Books, one: Case, status: int, answer: Any) -> str:
    """What is wrong with the answer, or nothing."""
    if status not in (200, 400, 413):
        return f"status {status}: {answer}"
    if status == 200 and answer["received"] != answer["accepted"] + answer["rejected"]:
        return f"counts: {answer}"
    if one.form in ("arrow", "parquet") and one.mutation != STRANGE_TABLE:
        return ""
    if one.kept is not None and (status != 200 or answer["accepted"] < one.kept):
        return f"of {one.kept} good rows only these are there: {status} {answer}"
    expected = books.recount.request(
        None, one.form, one.body, f"{one.form}-{one.number}", encoding=one.encoding
    )
    if one.form == "csv" and status == 200:
        # How the tags of a CSV field are written is open too.
        tags = any(error["field"] == "scene_tags" for error in answer["errors"])
        if tags or any(quote_within(bad) for bad in expected.bad):
            return ""
    if status == 200 and expected.status == 200:
        sent = senders.Sent(
            None, one.form, one.body, f"{one.form}-{one.number}", one.encoding, None, answer, 1
        )
        books.requests.append((sent, expected))
    if one.form == "json" and (status, expected.status) == (400, 200) and is_open(one):
        return ""
    return differs(expected, status, answer)


def quote_within(bad: BadRow) -> bool:
    """A quote within an unquoted field: for the recount no CSV, for the door a character like others."""
    return bad.faults == ((None, "not_csv"),) and bool(re.search(rb'[^,\n\r"]"', bad.raw or b""))


def is_open(one: Case) -> bool:
    """A JSON array that the door refuses as a whole and the recount does not.

    An element that is no UTF-8 is a bad row; where its grammar is broken as well, it is open whether the
    array can be read. A lone surrogate's escape has a test of its own.
    """
    try:
        return "\\ud" in senders.decoded(one.body, one.encoding).decode()
    except UnicodeDecodeError:
        return True


def differs(expected: Expected, status: int, answer: Any) -> str:
    if expected.status != status:
        return f"status {status}, recount {expected.status}: {str(answer)[:300]}"
    if status == 200:
        for name in ("received", "accepted", "rejected"):
            if answer[name] != getattr(expected, name):
                errors = [(e["index"], e["field"], e["code"]) for e in answer["errors"]][:5]
                bad = [(b.index, b.faults) for b in expected.bad][:5]
                return f"{name} {answer[name]}, recount {getattr(expected, name)}: {errors} / {bad}"
    return ""


@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_a_lone_surrogate_spoils_its_own_row_only(yumai: Yumai, flow: Flow, form: str) -> None:
    rows = unique_rows(flow, random.Random(f"{SEED}/{form}/lone"), 3)
    lines = render(rows, "ndjson").splitlines()
    lines[1] = lines[1].replace(b'"merchant_id":"', b'"merchant_id":"\\ud800')
    body = b"\n".join(lines) if form == "ndjson" else b"[" + b",".join(lines) + b"]"
    with httpx.Client(timeout=LONGEST_SECONDS, trust_env=False) as http:
        _, status, answer, _ = send(yumai, http, Case(-1, form, "lone surrogate", body, None, 2))
    assert status == 200
    assert (answer["accepted"], [error["index"] for error in answer["errors"]]) == (2, [1])


def test_what_was_accepted_of_them_is_in_the_books(yumai: Yumai, books: Books) -> None:
    yumai.settle()
    for sent, expected in books.requests[:: max(len(books.requests) // 300, 1)]:
        found = yumai.receipt(sent.answer["receipt_id"])
        for name in ("accepted", "booked", "duplicates", "conflicts"):
            assert found[name] == getattr(expected, name), (found, sent.body[:300])
    comparison.audit(yumai)
