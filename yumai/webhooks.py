"""Where a webhook may point: public addresses only, unless configuration allows a network.

Judged is what a name resolves to, never its spelling: `2130706433`, `0x7f.1`, `[::ffff:127.0.0.1]` and a
name with an A record of 127.0.0.1 are all loopback. A client connects to one of the addresses that
were judged, so that a name which answers differently a moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")
"""All that was ever given to anybody (RFC 4291); site-local, unique local and whatever comes lie outside."""
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # a public number by which Azure's machines ask their host
        "192.0.0.0/24",  # protocols
        "192.88.99.0/24",  # relays of 6to4
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_COMPATIBLE = ipaddress.ip_network("::/96")
RESOLVE_SECONDS = 5.0
CONNECTS_MOST = 3


class Unsafe(Exception):
    """Refused: the text says why."""


class Unresolved(Exception):
    """The name has no address now: try again."""


def parts(url: str) -> tuple[str, str, int]:
    """(scheme, host, port). Raises Unsafe."""
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        raise Unsafe(f"not an address: {error}") from error
    if split.scheme not in ("http", "https"):
        raise Unsafe("want an address that begins with https://")
    if not split.hostname:
        raise Unsafe("the address names no host")
    if any(ord(c) <= 32 or c == "\\" for c in url):
        raise Unsafe("the address has a space, a control character or a backslash in it")
    if split.username is not None or split.password is not None:
        raise Unsafe("no user and password in the address")
    return split.scheme, split.hostname, port or (443 if split.scheme == "https" else 80)


def inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one carries (mapped, compatible, 6to4, Teredo, NAT64), else itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address.teredo is not None:
            return address.teredo[1]
        if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def judge(address: Address, scheme: str, allowed: Sequence[Network]) -> None:
    """Raises Unsafe."""
    seen = (address, inner(address))
    if any(a in network for a in seen for network in allowed if a.version == network.version):
        return
    for a in seen:
        if not _is_public(a):
            raise Unsafe(f"{address} is not a public address (WEBHOOK_ALLOW_NETWORKS)")
    if scheme != "https":
        raise Unsafe("http only inside an allowed network (WEBHOOK_ALLOW_NETWORKS): want https")


def _is_public(address: Address) -> bool:
    if any(address in network for network in _NEVER if network.version == address.version):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return True  # the address in it is judged too
        if address not in _GLOBAL_V6 or address.is_site_local:
            return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special


def connected(
    host: str, port: int, seconds: float, allowed: Sequence[Network], scheme: str = "https"
) -> socket.socket:
    """A connection to the name's first good address that takes it. Blocking.

    Looked up once, judged, and connected to: no second look-up lies between. Raises Unsafe, Unresolved, OSError.
    """
    try:
        found = socket.getaddrinfo(host.rstrip("."), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"{host} can't be resolved: {error}") from error
    last: OSError | None = None
    for address in _good(_of_entries(found), scheme, allowed)[:CONNECTS_MOST]:
        try:
            return socket.create_connection((str(address), port), seconds)
        except OSError as error:
            last = error
    raise last or Unresolved(f"{host} has no address")


async def addresses(host: str, port: int) -> list[Address]:
    """What a name or any spelling of a number resolves to. Raises Unresolved."""
    # The root's dot changes no name, but hides a number from the resolver.
    host = host.rstrip(".")
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
    except (OSError, UnicodeError, TimeoutError) as error:
        raise Unresolved(f"{host} can't be resolved: {error or 'no answer'}") from error
    of_host = _of_entries(found)
    if not of_host:
        raise Unresolved(f"{host} has no address")
    return of_host


def _of_entries(found: Iterable[Any]) -> list[Address]:
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [ipaddress.ip_address(text) for text in texts]


async def checked(url: str, allowed: Sequence[Network]) -> list[Address]:
    """The addresses that may be connected to. Raises Unsafe where there is none, Unresolved."""
    scheme, host, port = parts(url)
    return _good(await addresses(host, port), scheme, allowed)


def _good(found: Iterable[Address], scheme: str, allowed: Sequence[Network]) -> list[Address]:
    """Those that may be connected to. Raises Unsafe where there are only others."""
    good: list[Address] = []
    refused: Unsafe | None = None
    for address in found:
        try:
            judge(address, scheme, allowed)
        except Unsafe as error:
            refused = refused or error
        else:
            good.append(address)
    if refused is not None and not good:
        raise refused
    return good
