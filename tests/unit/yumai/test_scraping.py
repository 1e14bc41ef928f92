"""Who may read `/metrics`, and by which name a local page is asked."""

import pytest

from yumai.observability.scraping import is_named, may_read


@pytest.mark.parametrize(
    ("header", "token", "may"),
    [
        (None, "", True),
        ("Bearer x", "", True),
        ("Bearer word", "word", True),
        ("bearer word", "word", True),
        (None, "word", False),
        ("", "word", False),
        ("Bearer", "word", False),
        ("Bearer ", "word", False),
        ("Bearer wor", "word", False),
        ("Bearer words", "word", False),
        ("Basic word", "word", False),
        ("word", "word", False),
        ("Bearer \udce4", "word", False),
    ],
)
def test_only_the_token_opens_it(header: str | None, token: str, may: bool) -> None:
    assert may_read(header, token) is may


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1:9111", True),
        ("127.0.0.1", True),
        ("localhost:9111", True),
        ("LocalHost:1", True),
        ("[::1]:9111", True),
        ("127.9.9.9:1", True),
        ("", False),
        ("evil.example:9111", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:9111", False),
        ("0.0.0.0:9111", False),
        ("10.1.2.3:9111", False),
        ("[::2]:9111", False),
    ],
)
def test_on_loopback_only_loopback_is_a_name(host: str, is_ours: bool) -> None:
    assert is_named(host, "127.0.0.1") is is_ours
    assert is_named(host, "0.0.0.0")
