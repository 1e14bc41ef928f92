"""Where the store is, and whether it is a cluster. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

_OPTIONS = ("ca_cert", "cluster", "insert_quorum")


@dataclass(frozen=True)
class Cluster:
    """A cluster of ClickHouse's remote_servers. `insert_quorum`: replicas, or `auto`."""

    name: str
    insert_quorum: str = "auto"


@dataclass(frozen=True)
class Dsn:
    """`http[s]://[user[:password]@]host:port/database[?ca_cert=FILE][&cluster=NAME&insert_quorum=N]`.

    User and password are percent-encoded.
    """

    host: str
    port: int
    database: str
    username: str | None
    password: str = field(repr=False)
    secure: bool
    ca_cert: str | None = None
    """PEM of whom to trust; None: whom the client trusts by itself."""
    cluster: Cluster | None = None

    @classmethod
    def parse(cls, text: str) -> Dsn:
        """Raises ValueError, which never shows the password."""
        parts = urlsplit(text)
        try:
            port = parts.port
        except ValueError:  # its own text may show a piece of the password
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ValueError("want http[s]://[user[:password]@]host:port/database")
        options = {k: v[-1] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        unknown = set(options) - set(_OPTIONS)
        if unknown:
            raise ValueError(f"unknown {', '.join(sorted(unknown))}; want {', '.join(_OPTIONS)}")
        name, replicas = options.get("cluster", ""), quorum(options.get("insert_quorum", "auto"))
        return cls(
            parts.hostname,
            port or (8443 if parts.scheme == "https" else 8123),
            parts.path.strip("/") or "default",
            None if parts.username is None else unquote(parts.username),
            unquote(parts.password or ""),
            parts.scheme == "https",
            options.get("ca_cert"),
            Cluster(cluster_name(name), replicas) if name else None,
        )

    def masked(self) -> str:
        """The address as it was written, with the password hidden."""
        user = "" if self.username is None else quote(self.username, safe="")
        secret = ":***" if self.password else ""
        at = f"{user}{secret}@" if user or secret else ""
        options = {"ca_cert": self.ca_cert} if self.ca_cert else {}
        if self.cluster:
            options |= {"cluster": self.cluster.name, "insert_quorum": self.cluster.insert_quorum}
        query = f"?{urlencode(options)}" if options else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.secure else ''}://{at}{host}:{self.port}/{self.database}{query}"


def with_secrets(dsn: str, password: str | None, cafile: str | None) -> str:
    """The DSN with a password and a CA that were given apart. Raises ValueError."""
    if not password and not cafile:
        return dsn
    to, parts = Dsn.parse(dsn), urlsplit(dsn)
    place, query = parts.netloc, parts.query
    if password:
        user = quote(to.username or "default", safe="")
        place = f"{user}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}"
    if cafile:
        query = urlencode({"ca_cert": cafile})
    return urlunsplit((parts.scheme, place, parts.path, query, ""))


def with_cluster(dsn: str, name: str, insert_quorum: str) -> str:
    """The address with the cluster in it; an empty name leaves it as it is."""
    if not name:
        return dsn
    parts = urlsplit(dsn)
    options = {**dict(parse_qsl(parts.query)), "cluster": name, "insert_quorum": insert_quorum}
    return urlunsplit(parts._replace(query=urlencode(options)))


def cluster_name(text: str) -> str:
    """A name that can stand in SQL as it is. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", text):
        raise ValueError(f"cluster {text!r}: want letters, digits, - and _")
    return text


def quorum(text: str) -> str:
    """`auto`, or the number of replicas. Raises ValueError.

    One replica would be no quorum: what it alone has is gone with its disk.
    """
    if text != "auto" and not (text.isdigit() and int(text) >= 2):
        raise ValueError(f"insert quorum {text!r}: want auto, or 2 or more")
    return text
