"""Content encodings: several members are one body, a cut one is refused, none goes past the limit."""

import gzip

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.formats import compression
from services.ingest.formats.compression import BODY_MAX_BYTES, decompress
from services.ingest.refused import BodyRefused

PACK = {"gzip": gzip.compress, "zstd": zstandard.compress}


@pytest.mark.parametrize("name", PACK)
@given(parts=st.lists(st.binary(max_size=100), min_size=1, max_size=4))
def test_members_are_joined(name, parts):
    assert decompress(name, b"".join(PACK[name](part) for part in parts)) == b"".join(parts)


@pytest.mark.parametrize("name", PACK)
def test_a_body_cut_anywhere_is_refused(name):
    packed = PACK[name](b"entries" * 100) + PACK[name](b"more" * 100)
    first = len(PACK[name](b"entries" * 100))
    for cut in range(1, len(packed)):
        if cut == first:
            continue
        with pytest.raises(BodyRefused) as refused:
            decompress(name, packed[:cut])
        assert refused.value.code == "body_undecodable"


@pytest.mark.parametrize("name", PACK)
def test_the_limit_is_exact_and_a_bomb_stops_there(name, monkeypatch):
    assert len(decompress(name, PACK[name](bytes(BODY_MAX_BYTES)))) == BODY_MAX_BYTES
    for bomb in (bytes(BODY_MAX_BYTES + 1), bytes(4 * BODY_MAX_BYTES)):
        with pytest.raises(BodyRefused) as refused:
            decompress(name, PACK[name](bomb))
        assert refused.value.code == "too_large"
    half = PACK[name](bytes(BODY_MAX_BYTES // 2 + 1))
    with pytest.raises(BodyRefused):
        decompress(name, half + half)


def test_what_is_not_packed_stays_as_it_is():
    assert decompress("", b"x") == b"x"
    assert decompress("gzip", b"") == b""
    assert "br" not in compression.ENCODINGS


@pytest.mark.parametrize("name", PACK)
@given(
    parts=st.lists(
        st.tuples(st.binary(max_size=300), st.integers(1, 3_000)), min_size=1, max_size=4
    )
)
def test_long_parts_are_joined_wherever_the_pieces_end(name, parts):
    whole = [part * times for part, times in parts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "_PIECE", 97)
        patch.setattr(compression, "_UNPACKED", 1_000)
        assert decompress(name, b"".join(map(PACK[name], whole))) == b"".join(whole)


@pytest.mark.parametrize("unpack", [compression._gunzip, compression._unzstd])
def test_what_is_unpacked_comes_in_pieces_that_are_soon_copied(unpack):
    pack = PACK["gzip" if unpack is compression._gunzip else "zstd"]
    pieces = [piece for _, piece in unpack(memoryview(pack(bytes(8 << 20))))]
    assert sum(map(len, pieces)) == 8 << 20
    assert max(map(len, pieces)) <= 1 << 20
