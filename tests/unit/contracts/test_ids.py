"""An id is what hashlib makes of platform and name, however many are hashed side by side."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.entries import murmur
from contracts.entries.ids import id_of, ids_of

VECTORS = json.loads(
    (Path(__file__).parents[3] / "contracts/entries/vectors.json").read_text(encoding="utf-8")
)["ids"]

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
rows_ = st.lists(
    st.tuples(st.sampled_from(["p", "unipay", "a" * 64]), names, st.booleans()), max_size=40
)


def columns(rows: list[tuple[str, str, bool]]):
    platforms = sorted({platform for platform, _, _ in rows})
    texts = [name.encode() for _, name, _ in rows]
    size = np.array([len(t) for t in texts], np.int32)
    return (
        platforms,
        np.array([platforms.index(platform) for platform, _, _ in rows], np.int32),
        np.frombuffer(b"".join(texts) or b"\0", np.uint8),
        np.cumsum([0, *size])[:-1].astype(np.int64),
        size,
        np.array([good for _, _, good in rows], np.bool_),
    )


@given(rows_)
def test_ids_of_many_rows_are_hashlibs_and_of_bad_rows_nothing(rows) -> None:
    found = ids_of(*columns(rows))
    for (platform, name, good), id_ in zip(rows, found, strict=True):
        digest = hashlib.sha256(platform.encode() + b"\x1f" + name.encode()).digest()
        assert id_.tobytes() == (digest[:16] if good else bytes(16))


@pytest.mark.parametrize("size", range(257))
def test_every_length_fills_its_blocks_as_the_standard_says(size: int) -> None:
    rows = [("p" * 64, "x" * max(0, size - lane), True) for lane in range(8)]
    assert [i.tobytes() for i in ids_of(*columns(rows))] == [id_of(p, n) for p, n, _ in rows]


def test_a_text_longer_than_any_id_is_refused_before_it_is_hashed() -> None:
    rows = [("p", "x" * 400, True)]
    with pytest.raises(ValueError, match="400 bytes"):
        ids_of(*columns(rows))
    with pytest.raises(ValueError, match="longer"):
        murmur.version_1_ids(*columns([("p", "x" * 4_000, True)]))
    assert not ids_of(*columns([("p", "x" * 400, False)])).any()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["entry_id"][:20])
def test_ids_and_slots_are_those_of_the_vectors(vector) -> None:
    rows = [(vector["platform_id"], vector["entry_id"], True)]
    assert id_of(vector["platform_id"], vector["entry_id"]).hex() == vector["id"]
    for hashed, said in (
        (ids_of(*columns(rows)), vector),
        (murmur.version_1_ids(*columns(rows)), vector["version_1"]),
    ):
        assert hashed[0].tobytes().hex() == said["id"]
        assert int(hashed[0, 0]) % 720 == said["slot"]
        assert said["slot"] % 4 == said["partition_of_4"]
