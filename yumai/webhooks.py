"""Where a webhook may point: public addresses only, unless configuration allows a network.

Judged is what a name resolves to, never its spelling: `2130706433`, `0x7f.1`, `[::ffff:127.0.0.1]` and a
name with an A record of 127.0.0.1 are all loopback. Whoever connects takes one of the addresses that
were judged, so that a name which answers differently a moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
RESOLVE_SECONDS = 5.0


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
        if not a.is_global or a.is_multicast or a.is_reserved or a.is_unspecified:
            raise Unsafe(f"{address} is not a public address (WEBHOOK_ALLOW_NETWORKS)")
    if scheme != "https":
        raise Unsafe("http only inside an allowed network (WEBHOOK_ALLOW_NETWORKS): want https")


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
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    if not texts:
        raise Unresolved(f"{host} has no address")
    return [ipaddress.ip_address(text) for text in texts]


async def checked(url: str, allowed: Sequence[Network]) -> list[Address]:
    """The addresses that may be connected to. Raises Unsafe where there is none, Unresolved."""
    scheme, host, port = parts(url)
    good: list[Address] = []
    refused: Unsafe | None = None
    for address in await addresses(host, port):
        try:
            judge(address, scheme, allowed)
        except Unsafe as error:
            refused = refused or error
        else:
            good.append(address)
    if refused is not None and not good:
        raise refused
    return good
