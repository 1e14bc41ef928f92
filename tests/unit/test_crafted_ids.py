"""A platform that crafts ids: by version 1's MurmurHash3 it could meet any other's, now it meets nobody."""

from __future__ import annotations

import json
import random
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from contracts.entries import codec
from contracts.entries.ids import id_of
from contracts.entries.murmur import version_1_ids
from contracts.merchants.codec import Span
from services.ingest import formats
from services.ingest.classify import MerchantIndex
from services.ingest.judging import Request, judge
from services.metrics.decoding import EntriesRecord
from services.metrics.ledger import LedgerBuffer
from services.metrics.processor import BookedBefore, Processor
from services.metrics.round import Round
from services.metrics.seen import Filter
from tests.unit.contracts.test_version_1 import as_version_1

NOW_MS = 1_782_864_000_000
MASK = (1 << 64) - 1
C1, C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
A1, A2 = np.uint64(0x52DCE729), np.uint64(0x38495AB5)
M1, M2 = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53
VICTIM = ("unipay", "order-2026-000124")
ATTACKER = "evil"


def old_id(platform: str, name: str) -> bytes:
    data = np.frombuffer(name.encode(), np.uint8)
    one = np.zeros(1, np.int64)
    size = np.array([len(data)], np.int32)
    codes = np.zeros(1, np.int32)
    return version_1_ids([platform], codes, data, one, size, np.ones(1, np.bool_))[0].tobytes()


# -- MurmurHash3_x64_128 backwards -----------------------------------------------------------------


def inverse(odd: int) -> int:
    return pow(odd, -1, 1 << 64)


def unmixed(k: int) -> int:
    for factor in (inverse(M2), inverse(M1)):
        k ^= k >> 33
        k = k * factor & MASK
    return k ^ k >> 33


def state_before_the_end(hashed: bytes, length: int) -> tuple[int, int]:
    h1, h2 = int.from_bytes(hashed[:8], "little"), int.from_bytes(hashed[8:], "little")
    h2 = (h2 - h1) & MASK
    h1 = (h1 - h2) & MASK
    h1, h2 = unmixed(h1), unmixed(h2)
    h2 = (h2 - h1) & MASK
    h1 = (h1 - h2) & MASK
    return h1 ^ length, h2 ^ length


def turned(x: np.ndarray, bits: int) -> np.ndarray:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


def after_block(k1: np.ndarray, k2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The state after a text's first block."""
    h1 = turned(k1 * C1, 31) * C2
    h1 = turned(h1, 27) * np.uint64(5) + A1
    h2 = turned(k2 * C2, 33) * C1
    return h1, (turned(h2, 31) + h1) * np.uint64(5) + A2


def block_between(h1: np.ndarray, h2: np.ndarray, goal: tuple[int, int]) -> np.ndarray:
    """The blocks (uint64[n, 2]) that lead from these states to the goal."""
    fifth = np.uint64(inverse(5))
    after1, after2 = (np.full_like(h1, g) for g in goal)
    k1 = turned((after1 - A1) * fifth - h2, 37) ^ h1
    k2 = turned((after2 - A2) * fifth - after1, 33) ^ h2
    return np.stack(
        [
            turned(k1 * np.uint64(inverse(int(C2))), 33) * np.uint64(inverse(int(C1))),
            turned(k2 * np.uint64(inverse(int(C1))), 31) * np.uint64(inverse(int(C2))),
        ],
        axis=1,
    )


def crafted(hashed: bytes, platform: str = ATTACKER) -> str:
    """A name of the platform's own whose old id is `hashed`: 32 bytes of ASCII, found among 2^18 tries."""
    prefix = f"{platform}\x1f".encode()
    first = np.random.default_rng(7).integers(97, 123, (1 << 18, 16), dtype=np.uint8)
    first[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    words = first.view(np.uint64)
    goal = state_before_the_end(hashed, 32)
    second = block_between(*after_block(words[:, 0], words[:, 1]), goal).view(np.uint8)
    (hits,) = np.nonzero((second < 0x80).all(axis=1))
    return (first[hits[0]].tobytes() + second[hits[0]].tobytes())[len(prefix) :].decode()


@pytest.fixture(scope="module")
def aimed() -> str:
    name = crafted(old_id(*VICTIM))
    assert old_id(ATTACKER, name) == old_id(*VICTIM)
    return name


def entry(platform: str, name: str, fen: int, merchant: str = "m") -> dict:
    return {
        "entry_id": name, "platform_id": platform, "merchant_id": merchant, "kind": "sale",
        "occurred_at": "2026-06-30T13:05:06.789+08:00", "amount_fen": fen,
    }  # fmt: skip


def logged(
    rows: list[dict], version: str, index: MerchantIndex | None = None
) -> tuple[dict, bytes]:
    """Headers and value of the one record of these rows."""
    columns = formats.read("ndjson", "\n".join(map(json.dumps, rows)).encode()).columns
    assert columns is not None
    request = Request(random.Random(str(rows)).randbytes(16), None, "ndjson", columns)
    (record,) = judge([request], index or MerchantIndex(), 1, NOW_MS).entries
    value = record.value.to_pybytes()
    if version == "1":
        names = [(row["platform_id"], row["entry_id"], row["merchant_id"]) for row in rows]
        value = as_version_1(record.value, names)
    header = codec.Header(1, len(rows), slots="murmur3-720", version=version)
    return dict(header.to_kafka()), value


def booked(*records: tuple[dict, bytes]) -> Round:
    nothing = np.empty(0, np.uint64)
    none = BookedBefore(nothing.reshape(0, 2), [], nothing, nothing, nothing.astype(np.uint32))
    processor = Processor(1, lambda *_: none, "murmur3-720")
    processor.assign(0, 0, Filter())
    log = [EntriesRecord(0, n, NOW_MS, *record) for n, record in enumerate(records)]
    round_ = processor.process({0: log}, LedgerBuffer(64))
    assert not processor.states[0].stopped
    return round_


@pytest.mark.parametrize("first", ["1", "2"])
@pytest.mark.parametrize("then", ["1", "2"])
def test_an_id_crafted_to_meet_anothers_next_order_meets_nothing(aimed, first, then) -> None:
    round_ = booked(
        logged([entry(ATTACKER, aimed, 1)], first),
        logged([entry(*VICTIM, 9_999_999)], then),
    )
    rows = round_.ledger.batch(round_.platforms).to_pylist()
    assert [(r["platform"], r["amount_fen"]) for r in rows] == [
        (ATTACKER, 1),
        ("unipay", 9_999_999),
    ]
    assert (round_.verdicts, round_.letters) == ([], [])


@pytest.mark.parametrize("version", ["1", "2"])
def test_two_names_of_its_own_that_had_one_id_are_two_entries(version) -> None:
    mine = "order-1"
    other = crafted(old_id(ATTACKER, mine))
    assert other != mine
    assert old_id(ATTACKER, other) == old_id(ATTACKER, mine)
    round_ = booked(logged([entry(ATTACKER, mine, 5), entry(ATTACKER, other, 7)], version))
    assert round_.ledger.rows == 2
    assert round_.verdicts == []


def test_a_merchant_crafted_to_be_anothers_is_nobody_of_the_registry() -> None:
    index = MerchantIndex()
    index.put("unipay", "shop", (Span("500103", date(2020, 1, 1), mcc="5812"),))
    aimed = crafted(old_id("unipay", "shop"))
    rows = [entry(ATTACKER, "e", 1, aimed), entry("unipay", "e", 1, "shop")]
    _, value = logged(rows, "2", index)
    evil, good = codec.decode(value).to_pylist()
    assert (evil["district"], good["district"]) == (0, 500103)
    assert evil["merchant"] != good["merchant"]
    for version in ("1", "2"):
        evil, good = codec.decode(logged(rows, version)[1], version).to_pylist()
        assert evil["merchant"] != good["merchant"]


def test_equal_ids_of_two_platforms_stay_two_entries_in_memory_and_from_the_ledger() -> None:
    """Nobody can make them; and if somebody could, still nothing would be lost."""
    shared = id_of(*VICTIM)

    def record(offset: int, *rows: dict) -> EntriesRecord:
        headers, value = logged(list(rows), "2")
        batch = codec.decode(value)
        sent, metadata = codec.decode_sent(value)
        ids = pa.array([shared] * len(rows), pa.binary(16))
        same = batch.set_column(0, batch.schema.field("id"), ids)
        return EntriesRecord(
            0, offset, NOW_MS, headers, codec.encode(same, sent, metadata).to_pybytes()
        )

    ledger: list[dict] = []

    def look_up(part: int, below: int, ids: np.ndarray) -> BookedBefore:
        rows = [r for r in ledger if r["off"] < below and r["id"] in {i.tobytes() for i in ids}]
        return BookedBefore(
            np.frombuffer(b"".join(r["id"] for r in rows), np.uint64).reshape(-1, 2),
            [r["platform"] for r in rows],
            np.array([r["content"] for r in rows], np.uint64),
            np.array([r["receipt_low"] for r in rows], np.uint64),
            np.array([r["receipt_row"] for r in rows], np.uint32),
        )

    def worker(start: int) -> Processor:
        processor, filter_ = Processor(1, look_up, "murmur3-720"), Filter()
        if ledger:
            filter_.add(np.frombuffer(shared, np.uint64)[1:])
        processor.assign(0, start, filter_)
        return processor

    def run(processor: Processor, record_: EntriesRecord) -> list[int]:
        round_ = processor.process({0: [record_]}, LedgerBuffer(8))
        ledger.extend(round_.ledger.batch(round_.platforms).to_pylist())
        return [v.verdict for _, v in round_.verdicts]

    processor = worker(0)
    assert run(processor, record(0, entry("unipay", "a", 1))) == []
    assert run(processor, record(1, entry("daojia", "b", 2))) == []
    assert len(ledger) == 2
    for again in (processor, worker(2)):  # from memory; from the ledger
        offset = again.states[0].next_offset
        assert run(again, record(offset, entry("evil", "c", 3 + offset))) == []
        said = run(again, record(offset + 1, entry("daojia", "b", 2), entry("unipay", "a", 7)))
        assert sorted(said) == [2, 3]
        ledger[:] = [r for r in ledger if r["platform"] != "evil"]
