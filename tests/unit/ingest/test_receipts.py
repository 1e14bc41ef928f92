"""Receipts: one request, one receipt; memory is bounded."""

from contracts.receipts.codec import Receipt
from services.ingest.receipts import KEPT_MS, RecentReceipts, feed_receipt, identify


def receipt(name: str, at: int = 0, key_hash: str = "", sender: str = "p1") -> Receipt:
    return Receipt(name, sender, 1, 1, 0, [], False, "json", at, key_hash)


def test_sender_key_body_and_recorded_date_make_a_receipt():
    same = identify("p1", "k", b"body", None)
    assert identify("p1", "k", b"body", None) == same
    others = [
        identify("p2", "k", b"body", None),
        identify("p1", "l", b"body", None),
        identify("p1", "k", b"bodx", None),
        identify("bureau", "k", b"body", "2025-01-01"),
        identify("bureau", "k", b"body", "2025-01-02"),
    ]
    assert len({same.receipt, *(other.receipt for other in others)}) == 6
    assert identify("p1", "k", b"x", None).key_hash == same.key_hash


def test_without_a_key_no_two_requests_are_the_same():
    assert identify("p1", None, b"", None).receipt != identify("p1", None, b"", None).receipt


def test_a_feeds_receipt_covers_2_to_the_20_records():
    first = feed_receipt("feed.p1.v1", "id", 0, 0)
    assert feed_receipt("feed.p1.v1", "id", 0, 2**20 - 1) == first
    others = {
        feed_receipt("feed.p1.v1", "id", 0, 2**20),
        feed_receipt("feed.p1.v1", "id", 1, 0),
        feed_receipt("feed.p1.v1", "other", 0, 0),
    }
    assert len(others | {first}) == 4


def test_the_oldest_receipts_are_forgotten_with_their_keys():
    known = RecentReceipts(kept=2)
    for number in range(3):
        known.add(receipt(f"r{number}", key_hash=f"k{number}"))
    assert known.get("r0") is None
    assert known.of_key("k0") is None
    assert [r.receipt_id for r in known.newest(None, 9)] == ["r2", "r1"]
    known.add(receipt("r3", at=KEPT_MS + 1))
    assert known.get("r2") is None


def test_bytes_are_bounded_too_and_a_sender_sees_its_own():
    known = RecentReceipts(kept_bytes=1_000)
    for number in range(20):
        known.add(receipt(f"r{number}", sender="p2" if number == 19 else "p1"))
    assert known.get("r19") is not None
    assert known.get("r0") is None
    assert {r.platform_id for r in known.newest("p1", 99)} == {"p1"}


def test_a_receipt_written_again_counts_once():
    known = RecentReceipts(kept=2)
    known.add(receipt("a", key_hash="k"))
    known.add(receipt("a", key_hash="k"))
    known.add(receipt("b"))
    assert known.of_key("k") == "a"
    assert known.get("a") is not None
