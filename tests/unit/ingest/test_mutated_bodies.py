"""Bodies with a bit turned: no process of ours dies but a decoder, and nothing foreign is read.

`YUMAI_MUTATED=20000` reads that many a format (the bar); as it stands some hundred.
"""

import asyncio
import os
import random

import pytest

from services.ingest import formats
from services.ingest.classify import MerchantIndex
from services.ingest.decoder.pool import Decoders
from services.ingest.formats import arrow_table, compression
from services.ingest.judging import Request, judge
from services.ingest.refused import BodyRefused
from tests.mutations import PACK, TYPES, mutated, whole

BODIES = int(os.environ.get("YUMAI_MUTATED", "300"))
NOW_MS = 1_782_864_000_000

pytestmark = pytest.mark.timeout(180 + BODIES // 5)


def accepted(rows: formats.Read, form: str) -> tuple[int, list[bytes]]:
    """(rows received, entry ids of those that would be booked)."""
    received, ids = 0, []
    for columns in rows.pieces():
        received += columns.rows
        chunk = judge(
            [Request(bytes(16), "p1", form, columns, rows.header)], MerchantIndex(), 4, NOW_MS
        )
        good = [row for row in range(columns.rows) if columns.flaw_code[row] == 0]
        assert len(good) == chunk.outcomes[0].accepted
        ids += [columns.entry_id.at(row) for row in good]
    return received, ids


@pytest.mark.parametrize("form", TYPES)
async def test_no_mutated_body_ends_a_process_or_reads_anothers_memory(form: str):
    rng = random.Random(f"mutated-{form}")
    decoders = Decoders(1)
    if form in formats.DECODED:
        await decoders.start()
    booked = refused = died = 0
    codes: set[str] = set()
    try:
        for number in range(BODIES):
            body = mutated(rng, whole(rng, form, f"{form}{number}"))
            encoding = rng.choice(["gzip", "zstd"]) if rng.random() < 0.1 else ""
            came = PACK[encoding](body) if encoding else body
            if encoding and rng.random() < 0.5:
                came = mutated(rng, came)
            try:
                body = compression.decompress(encoding, came)
                if form in formats.DECODED:
                    decoded = await decoders.decode("p", form, body, len(came))
                    rows = arrow_table.read(decoded.stream, decoded.rows)
                else:
                    rows = formats.read(form, body, len(came))
                received, ids = accepted(rows, form)
            except BodyRefused as error:
                codes.add(error.code)
                refused += 1
                died += "died of it" in error.detail
                continue
            assert received == rows.rows
            booked += len(ids)
            for entry_id in ids:
                # An escape is written otherwise than it is meant.
                assert entry_id in body or b"\\" in body or b'""' in body, (number, entry_id)
    finally:
        await decoders.close()
    print(f"{form}: {booked} rows booked, {refused} bodies refused, {died} decoders died")
    assert booked
    assert refused
    assert codes <= {
        "body_undecodable", "too_large", "unknown_column", "missing_column", "column_type"
    }  # fmt: skip


async def test_a_decoder_that_is_killed_costs_nobody_his_body():
    rng = random.Random("killed")
    body = whole(rng, "arrow", "k")
    decoders = Decoders(1)
    await decoders.start()
    try:
        rows = (await decoders.decode("p", "arrow", body, len(body))).rows
        for _ in range(2):
            os.kill(decoders.pids()[0], 9)
            again = [decoders.decode("p", "arrow", body, len(body)) for _ in range(3)]
            assert [found.rows for found in await asyncio.gather(*again)] == [rows] * 3
    finally:
        await decoders.close()
    assert decoders.pids() == []
