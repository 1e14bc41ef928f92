"""Who may read `/metrics`, and by which name a page that only this machine serves itself may be asked."""

from __future__ import annotations

import hmac
import ipaddress

REFUSED = {"WWW-Authenticate": "Bearer"}


def may_read(authorization: str | None, token: str) -> bool:
    """Whether the header has the token. No token: everybody, as where the network keeps others out."""
    if not token:
        return True
    scheme, _, given = (authorization or "").partition(" ")
    known = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    return known and scheme.lower() == "bearer"


def is_named(host: str, bound_to: str) -> bool:
    """Whether a request's Host is one of this machine, where only this machine is served.

    A page that has its own name point at 127.0.0.1 (DNS rebinding) sends that name.
    """
    if not _is_loopback(bound_to):
        return True
    name = host.rpartition("]")[0].removeprefix("[") or host.partition(":")[0]
    return _is_loopback(name.lower())


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
