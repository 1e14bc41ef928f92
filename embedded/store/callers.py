"""Who may ask the store: somebody with its password, on this machine, and never a page in a browser.

Named as ClickHouse is told it: Basic, `X-ClickHouse-User` and `-Key`, or `user` and `password` in the address.
"""

import base64
import hmac
from collections.abc import Mapping

from .errors import EngineError, refused

USER = "default"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_OWN_SITES = ("none", "same-origin")


class Callers:
    """Knows the password, and the names under which this server is asked."""

    def __init__(self, password: str, host: str) -> None:
        self._password = password.encode()
        self._hosts = {*_LOOPBACK, f"[{host}]" if ":" in host else host}

    def check_page(self, headers: Mapping[bytes, str], port: int) -> None:
        """Raises EngineError 497 for a request that a page sent, or that came by another name.

        A name that its owner points at 127.0.0.1 (DNS rebinding) shows in Host.
        """
        name, _, asked_port = headers.get(b"host", "").lower().rpartition(":")
        if name not in self._hosts or asked_port != str(port):
            raise refused(497, "ACCESS_DENIED", "Not a Host of this server")
        if b"origin" in headers or headers.get(b"sec-fetch-site", "none") not in _OWN_SITES:
            raise refused(497, "ACCESS_DENIED", "Pages of a browser are not answered")

    def check_password(self, headers: Mapping[bytes, str], parameters: Mapping[str, str]) -> None:
        """Raises EngineError 516."""
        user, password = _named(headers, parameters)
        known = hmac.compare_digest(password.encode("utf-8", "surrogateescape"), self._password)
        if not known or user != USER:
            raise _unknown()


def _named(headers: Mapping[bytes, str], parameters: Mapping[str, str]) -> tuple[str, str]:
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, coded = authorization.partition(" ")
        if scheme.lower() != "basic":
            raise _unknown()
        try:
            user, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
        except ValueError:
            raise _unknown() from None
        return user, password
    if b"x-clickhouse-user" in headers or b"x-clickhouse-key" in headers:
        return headers.get(b"x-clickhouse-user", USER), headers.get(b"x-clickhouse-key", "")
    return parameters.get("user", USER), parameters.get("password", "")


def _unknown() -> EngineError:
    return refused(
        516,
        "AUTHENTICATION_FAILED",
        f"{USER}: Authentication failed: password is incorrect, or there is no user with such name",
    )
