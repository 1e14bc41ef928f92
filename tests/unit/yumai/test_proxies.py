"""A proxy for the outside is not used for what is ours."""

import pytest
from clickhouse_connect.driver.httputil import check_env_proxy

from yumai import proxies


@pytest.mark.parametrize("before", [None, "example.org", "*", ""])
def test_no_proxy_stands_between_us_and_our_own(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        if before is not None:
            monkeypatch.setenv(name, before)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    proxies.bypass(["clickhouse-yumai"])
    for host in ("127.0.0.1", "localhost", "clickhouse-yumai"):
        assert check_env_proxy("http", host, 8123) is None
    outside = check_env_proxy("http", "example.com", 80)
    assert outside == (None if before == "*" else "http://127.0.0.1:9")
