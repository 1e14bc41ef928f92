"""What stands in the books, against a recount of what was acknowledged."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tests import recount as recounting
from tests.e2e.harness import CANARY, Yumai
from tests.e2e.senders import Feed, Put, Sent
from tests.recount import Cell, Expected, Recount


@dataclass
class Books:
    """What must stand in the books after all that was acknowledged."""

    recount: Recount
    requests: list[tuple[Sent, Expected]] = field(default_factory=list)
    feeds: dict[str, Counter[str]] = field(default_factory=dict)
    feed_dead: dict[str, list[bytes]] = field(default_factory=dict)

    def take(self, done: Iterable[Sent | Put]) -> None:
        for one in done:
            if isinstance(one, Put):
                self.recount.put_merchants(one.rows)
                continue
            expected = self.recount.request(
                one.sender, one.form, one.body, one.key, recorded_on=one.recorded_on
            )
            self.requests.append((one, expected))

    def take_feed(self, feed: Feed, records: list[bytes]) -> None:
        verdicts = self.feeds.setdefault(feed.platform, Counter())
        dead = self.feed_dead.setdefault(feed.platform, [])
        for record in records:
            verdict = self.recount.feed(feed.platform, record)
            verdicts[verdict] += 1
            if verdict in ("rejected", "conflict"):
                dead.append(record)

    def total(self, name: str) -> int:
        """`booked`, `duplicates`, `conflicts`, `rejected` over all doors, each receipt once."""
        word = {"duplicates": "duplicate", "conflicts": "conflict"}.get(name, name)
        of_feeds = sum(verdicts[word] for verdicts in self.feeds.values())
        return of_feeds + sum(getattr(e, name) for _, e in self.requests if not e.repeated)


def compare_cells(yumai: Yumai, books: Books, grains: Iterable[str] = ("day", "hour")) -> None:
    for grain in grains:
        assert_cells(yumai.cells(grain), books.recount.cells(grain), grain)


def assert_cells(found: dict[Any, Cell], expected: dict[Any, Cell], what: str) -> None:
    wrong = {
        at: (found.get(at), expected.get(at))
        for at in found.keys() | expected.keys()
        if found.get(at) != expected.get(at)
    }
    fen = sum(c.net_fen for c in found.values()) - sum(c.net_fen for c in expected.values())
    entries = sum(c.entries for c in found.values()) - sum(c.entries for c in expected.values())
    some = "\n".join(f"{at}: found {f}, recount {e}" for at, (f, e) in sorted(wrong.items())[:10])
    assert not wrong, (
        f"{what}: {len(wrong)} of {len(expected)} cells differ, in all by {fen} fen and "
        f"{entries} entries (found − recount)\n{some}"
    )


def compare_receipts(yumai: Yumai, books: Books, rows_of: int = 25) -> None:
    """Every receipt as acknowledged and as booked; of some, which rows were set aside and why."""
    with_rows = 0
    for sent, expected in books.requests:
        receipt_id = sent.answer["receipt_id"]
        for name in ("received", "accepted", "rejected"):
            assert sent.answer[name] == getattr(expected, name), (receipt_id, name, sent.form)
        indexes = [error["index"] for error in sent.answer["errors"]]
        assert indexes == [bad.index for bad in expected.bad[:100]], receipt_id
        assert sent.answer["errors_truncated"] == (expected.rejected > 100)
        for error, bad in zip(sent.answer["errors"], expected.bad, strict=False):
            assert _fits(error["field"], error["code"], bad.faults), (receipt_id, error, bad)
        found = yumai.receipt(receipt_id)
        assert found["state"] == "booked", found
        for name in ("received", "accepted", "rejected", "booked", "duplicates", "conflicts"):
            assert found[name] == getattr(expected, name), (receipt_id, name, found, sent.form)
        aside = expected.rejected + expected.duplicates + expected.conflicts
        if aside and with_rows < rows_of:
            with_rows += 1
            _compare_rows(yumai, receipt_id, expected)


def _fits(field: str | None, code: str, faults: Iterable[tuple[str | None, str]]) -> bool:
    """What is said of a row is one of the things that are wrong with it."""
    # The contract leaves open what too many tags are called.
    return (field, code) in faults or (field, code, ("scene_tags", "invalid_value") in faults) == (
        "scene_tags", "too_long", True,
    )  # fmt: skip


def _compare_rows(yumai: Yumai, receipt_id: str, expected: Expected) -> None:
    url = f"{yumai.ingest}/v1/receipts/{receipt_id}/rows"
    for verdict, rows in (
        ("rejected", [bad.index for bad in expected.bad]),
        ("duplicate", expected.duplicate_rows),
        ("conflict", expected.conflict_rows),
    ):
        data = yumai.get(url, verdict=verdict)["data"]
        assert [row["index"] for row in data] == rows, (receipt_id, verdict)


def compare_totals(yumai: Yumai, books: Books, keys: dict[str, str], most: int = 150) -> None:
    """Control totals of each platform, asked with its own key; `most` days at most, spread."""
    asked = [(p, d) for p in sorted(keys) for d in books.recount.days()]
    for platform, day in asked[:: max(len(asked) // most, 1)]:
        found = yumai.get(f"{yumai.ingest}/v1/control-totals", keys[platform], date=day)
        expected = books.recount.control_totals(platform, day)
        for name, value in vars(expected).items():
            assert found[name] == value, (platform, day, name, found, expected)


def compare_dead_letters(yumai: Yumai, books: Books) -> None:
    """Every bad row's own bytes, each (receipt, row) once; conflicts too."""
    conflict: tuple[tuple[str | None, str], ...] = (("entry_id", "conflict"), (None, "conflict"))
    wanted: dict[tuple[str, int], tuple[Any, bytes | None]] = {}
    for sent, expected in books.requests:
        receipt_id = sent.answer["receipt_id"]
        for bad in expected.bad:
            wanted[receipt_id, bad.index] = (bad.faults, bad.raw)
        if expected.conflict_rows and not expected.repeated:
            raws = [raw for _, raw in recounting._rows(sent.body, sent.form)]
            for row in expected.conflict_rows:
                wanted[receipt_id, row] = (conflict, raws[row])
    letters = [
        letter
        for letter in yumai.json("dead-letters", "list", "--bytes")
        if letter["platform_id"] != CANARY
    ]
    found = {(letter["receipt_id"], letter["row"]): letter for letter in letters}
    assert len(found) == len(letters), "a dead letter twice"
    for at, (faults, raw) in wanted.items():
        assert at in found, f"no dead letter {at} {faults} {raw!r}"
        letter = found.pop(at)
        assert _fits(letter["field"], letter["code"], faults), (at, faults, letter)
        _check_bytes(letter, raw)
    by_platform: dict[str, list[dict[str, Any]]] = {}
    for letter in found.values():
        by_platform.setdefault(letter["platform_id"], []).append(letter)
    for platform, rows in books.feed_dead.items():
        rest = by_platform.pop(platform, [])
        shas = Counter(hashlib.sha256(row).hexdigest() for row in rows)
        assert Counter(letter["sha256"] for letter in rest) == shas, platform
        raws = {hashlib.sha256(row).hexdigest(): row for row in rows}
        for letter in rest:
            _check_bytes(letter, raws[letter["sha256"]])
    left = [letter for rest in by_platform.values() for letter in rest]
    assert not left, f"{len(left)} dead letters of nothing sent: {left[:3]}"


def _check_bytes(letter: dict[str, Any], raw: bytes | None) -> None:
    held = base64.b64decode(letter["bytes"])
    if raw is None:  # of Arrow and Parquet: a stream of the one row
        if letter["size"] <= 65_536:
            with pa.ipc.open_stream(held) as reader:
                assert reader.read_all().num_rows == 1
            assert letter["sha256"] == hashlib.sha256(held).hexdigest()
        return
    assert letter["size"] == len(raw), (letter["receipt_id"], letter["row"], held[:200], raw[:200])
    assert held == raw[:65_536], (letter["receipt_id"], letter["row"], held[:200], raw[:200])
    assert letter["sha256"] == hashlib.sha256(raw).hexdigest()


def compare_counts(yumai: Yumai, books: Books) -> None:
    """`status` of the whole ledger; canaries are booked too."""
    counts = yumai.status()["counts"]
    canaries = sum(
        row["entries"]
        for row in yumai.get(f"{yumai.gateway}/v1/cells", platform=CANARY, group_by="platform")[
            "data"
        ]
    )
    assert counts == {
        "booked": books.total("booked") + canaries,
        "duplicate": books.total("duplicates"),
        "conflicting": books.total("conflicts"),
        "dead": books.total("rejected"),
    }


def audit(yumai: Yumai) -> dict[str, Any]:
    """Exit code 0, and not a fen of difference."""
    report = yumai.json("audit", seconds=600)
    assert report["difference_fen"] == 0
    return report


def compare(yumai: Yumai, books: Books, keys: dict[str, str]) -> None:
    """Everything that the recount knows."""
    compare_cells(yumai, books)
    compare_receipts(yumai, books)
    compare_totals(yumai, books, keys)
    compare_dead_letters(yumai, books)
    compare_counts(yumai, books)
    audit(yumai)


# -- what is sent ----------------------------------------------------------------------------------
