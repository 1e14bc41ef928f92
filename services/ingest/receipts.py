"""Receipts: their ids, and those that are known here. Pure but for the memory it keeps."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from contracts.receipts import codec
from contracts.receipts.codec import Receipt
from yumai import canary

KEPT_MS = 24 * 3_600_000
KEPT = 200_000
KEPT_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True)
class RequestIdentity:
    """Who a request is: the same sender, key and body have the same receipt, also after a crash."""

    receipt: bytes
    key_hash: str = ""
    body_hash: str = ""


def identify(sender: str, key: str | None, body: bytes, recorded_on: str | None) -> RequestIdentity:
    """`body` decompressed. Without a key every request is a receipt of its own."""
    if key is None:
        return RequestIdentity(secrets.token_bytes(16))
    body_hash = hashlib.sha256(body).hexdigest()
    if recorded_on:
        body_hash = hashlib.sha256(f"{body_hash}\x1f{recorded_on}".encode()).hexdigest()
    receipt = hashlib.sha256(f"{sender}\x1f{key}\x1f{body_hash}".encode()).digest()[:16]
    key_hash = hashlib.sha256(f"{sender}\x1f{key}".encode()).hexdigest()
    return RequestIdentity(receipt, key_hash, body_hash)


def feed_receipt(topic: str, topic_id: str, partition: int, offset: int) -> bytes:
    """Receipt of the Kafka door: 2^20 records share one; a record's row is offset mod 2^20."""
    whole = f"{topic}\x1f{topic_id}\x1f{partition}\x1f{offset >> 20}"
    return hashlib.sha256(whole.encode()).digest()[:16]


class RecentReceipts:
    """Receipts of the last day, bounded in number and bytes; the oldest go first."""

    def __init__(self, kept: int = KEPT, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept, self._kept_bytes = kept, kept_bytes
        self._receipts: OrderedDict[str, tuple[str, int, bytes]] = OrderedDict()
        self._keys: dict[str, str] = {}
        self._bytes = 0

    def add(self, receipt: Receipt) -> None:
        encoded = codec.encode(receipt)
        self._forget(receipt.receipt_id)
        self._receipts[receipt.receipt_id] = (receipt.key_hash, receipt.at, encoded)
        self._bytes += len(encoded)
        if receipt.key_hash:
            self._keys[receipt.key_hash] = receipt.receipt_id
        while self._receipts:
            oldest = next(iter(self._receipts))
            late = self._receipts[oldest][1] < receipt.at - KEPT_MS
            if not late and len(self._receipts) <= self._kept and self._bytes <= self._kept_bytes:
                break
            self._forget(oldest)

    def _forget(self, receipt_id: str) -> None:
        found = self._receipts.pop(receipt_id, None)
        if found is not None:
            self._bytes -= len(found[2])
            if self._keys.get(found[0]) == receipt_id:
                del self._keys[found[0]]

    def get(self, receipt_id: str) -> Receipt | None:
        found = self._receipts.get(receipt_id)
        return codec.decode(found[2]) if found else None

    def of_key(self, key_hash: str) -> str | None:
        """Id of the receipt that used this key."""
        return self._keys.get(key_hash) if key_hash else None

    def newest(self, sender: str | None, limit: int) -> list[Receipt]:
        """Newest first; `sender` None: everybody's but the canary's."""
        found: list[Receipt] = []
        for receipt_id in reversed(self._receipts):
            if len(found) >= limit:
                break
            receipt = self.get(receipt_id)
            if receipt is None:
                continue
            others = sender is None and receipt.platform_id != canary.PLATFORM
            if others or sender == receipt.platform_id:
                found.append(receipt)
        return found
