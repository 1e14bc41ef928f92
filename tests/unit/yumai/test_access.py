"""Who is let in: keys and tokens, taken back, replaced, half written."""

import json
import os
import time
from pathlib import Path

import jwt
import pytest

from yumai import access, topics
from yumai.access import Identity, Principal
from yumai.platforms import PLATFORM_ID, folded, is_platform_id

DISTRICT = "district:500103"


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Identity(tmp_path)


def let_in(identity: Identity, credential: str) -> Principal | None:
    return identity.authenticate(f"Bearer {credential}")


def signed(identity: Identity, **claims: object) -> str:
    identity.issue_token("bureau")  # so that there is a key
    key = (identity._directory / "signing.key").read_text()
    whole = {"role": "bureau", "sub": "x", "exp": int(time.time()) + 100} | claims
    return jwt.encode(whole, key, algorithm="HS256")


@pytest.mark.parametrize(
    "name",
    ["bureau", "Bureau", "district", "public", "operator", "yumai", "yumai-ops", "Yumai_canary"],
)
def test_a_name_of_a_role_is_no_platform(identity: Identity, name: str) -> None:
    assert not is_platform_id(name)
    with pytest.raises(ValueError, match="reserved"):
        identity.issue_key(name)
    with pytest.raises(ValueError, match="platform:ID"):
        identity.issue_token(f"platform:{name}")
    assert topics.feed_platform(f"feed.{name}.v1") is None


def test_a_reserved_name_issued_long_ago_lets_nobody_in(identity: Identity, tmp_path: Path) -> None:
    key = identity.issue_key("wxpay")
    keys = json.loads((tmp_path / "keys.json").read_text())
    (tmp_path / "keys.json").write_text(json.dumps(dict.fromkeys(keys, "bureau")))
    assert let_in(identity, key) is None
    assert let_in(identity, signed(identity, role="platform:bureau")) is None


def test_the_canary_is_a_platform(identity: Identity) -> None:
    key = identity.issue_key("yumai-canary")
    assert let_in(identity, key) == Principal("platform", "yumai-canary", "yumai-canary")


@pytest.mark.parametrize("other", ["a_b", "A.b", "A_B"])
def test_an_id_that_another_platform_is_mistaken_for_gets_no_key(
    identity: Identity, other: str
) -> None:
    identity.issue_key("a.b")
    with pytest.raises(ValueError, match=r"too like 'a\.b'"):
        identity.issue_key(other)
    identity.issue_key("a.b")
    identity.issue_key("a-b")
    with pytest.raises(topics.TooAlike):
        topics.check_feeds([topics.feed(other).name], [topics.feed("a.b").name])


def test_the_longest_id_makes_a_topic_that_kafka_takes() -> None:
    longest = "a" * 64
    assert is_platform_id(longest)
    assert not PLATFORM_ID.fullmatch("a" * 65)
    assert len(topics.feed(longest).name) <= 249
    assert folded("A.B") == "a_b"


def test_a_key_that_is_taken_back_lets_nobody_in(identity: Identity) -> None:
    first, second, other = (identity.issue_key(p) for p in ("p1", "p1", "p2"))
    names = {name for name, platform in identity.platforms().items() if platform == "p1"}
    (name,) = {n for n in names if access._hash(first).startswith(n)}
    assert identity.revoke_keys("p1", name) == 1
    assert let_in(identity, first) is None
    assert let_in(identity, second) is not None
    assert identity.revoke_keys("p2", name) == 0
    assert identity.revoke_keys("p1") == 1
    assert [let_in(identity, k) is None for k in (first, second, other)] == [True, True, False]


def test_tokens_are_taken_back_by_role_and_person(identity: Identity) -> None:
    mine, yours = identity.issue_token(DISTRICT, "李雷"), identity.issue_token(DISTRICT, "韩梅梅")
    bureau = identity.issue_token("bureau")
    identity.revoke_tokens(DISTRICT, "李雷")
    assert let_in(identity, mine) is None
    assert let_in(identity, yours) is not None
    # One that is issued in the same second is new.
    assert let_in(identity, identity.issue_token(DISTRICT, "李雷")) is not None
    identity.revoke_tokens(DISTRICT)
    assert let_in(identity, yours) is None
    assert let_in(identity, bureau) is not None


def test_a_token_without_iat_falls_with_its_role(identity: Identity) -> None:
    token = signed(identity)
    assert let_in(identity, token) is not None
    identity.revoke_tokens("bureau")
    assert let_in(identity, token) is None


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"iat": 5}, True),
        ({"iat": 50, "nbf": 50}, True),
        ({"nbf": 300}, False),
        ({"iat": 300}, False),
        ({"exp": -1}, False),
    ],
)
def test_clocks_may_be_a_minute_apart_but_what_has_ended_has_ended(
    identity: Identity, claims: dict[str, int], good: bool
) -> None:
    now = int(time.time())
    token = signed(identity, **{name: now + ahead for name, ahead in claims.items()})
    assert (let_in(identity, token) is not None) is good


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", True, [], None])
def test_claims_of_a_wrong_kind_let_nobody_in(identity: Identity, value: object) -> None:
    assert let_in(identity, signed(identity, iat=value)) is None
    assert let_in(identity, signed(identity, nbf=value)) is None


@pytest.mark.parametrize("text", ["", "x", "é", "a.b.c", "W10.W10.", "eyJ" + "[" * 100_000, "\x00"])
def test_what_is_no_token_lets_nobody_in(identity: Identity, text: str) -> None:
    assert let_in(identity, text) is None


def test_a_replaced_signing_key_is_in_force_at_once(identity: Identity, tmp_path: Path) -> None:
    old = identity.issue_token("bureau")
    assert let_in(identity, old) is not None
    fresh = tmp_path / "fresh"
    fresh.write_text("another key, of more than thirty-two bytes")
    fresh.replace(tmp_path / "signing.key")
    assert let_in(identity, old) is None
    assert let_in(identity, identity.issue_token("bureau")) is not None
    assert let_in(Identity(tmp_path), identity.issue_token("bureau")) is not None


@pytest.mark.parametrize("said", ["", "short"])
def test_a_key_that_anybody_could_guess_signs_nothing(tmp_path: Path, said: str) -> None:
    (tmp_path / "signing.key").write_text(said)
    identity = Identity(tmp_path)
    forged = jwt.encode({"role": "bureau", "sub": "x", "exp": 2**33}, said.strip() or " ", "HS256")
    assert let_in(identity, forged) is None
    with pytest.raises(ValueError, match=r"signing\.key"):
        identity.issue_token("bureau")


@pytest.mark.parametrize("file", ["keys.json", "signing.key", "revoked.json"])
def test_a_half_written_file_lets_nobody_in_for_long(
    identity: Identity,
    tmp_path: Path,
    file: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    identity.revoke_tokens("district:500101")
    credential = identity.issue_key("p1") if file == "keys.json" else identity.issue_token("bureau")
    assert let_in(identity, credential) is not None
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[: len(whole) // 4])
    assert let_in(identity, credential) is not None
    monkeypatch.setattr(access, "GRACE_SECONDS", 0.0)
    assert let_in(identity, credential) is None
    assert "nobody is let in" in caplog.text
    (tmp_path / file).write_bytes(whole)
    os.utime(tmp_path / file)
    assert let_in(identity, credential) is not None


def test_what_was_never_read_has_no_grace(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{")
    assert let_in(Identity(tmp_path), "yk_x") is None
