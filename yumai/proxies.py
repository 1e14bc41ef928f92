"""A proxy that the environment names is for the outside: what is ours is connected to directly."""

from __future__ import annotations

import os
from collections.abc import Iterable

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def bypass(hosts: Iterable[str] = LOOPBACK) -> None:
    """From now on this process and its children use no proxy for these hosts.

    Said by the environment, since some libraries (ClickHouse's client) take it from nowhere else.
    """
    for name in ("no_proxy", "NO_PROXY"):
        said = [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]
        if "*" not in said:
            os.environ[name] = ",".join(dict.fromkeys((*said, *LOOPBACK, *hosts)))
