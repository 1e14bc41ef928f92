"""Where Kafka is and who asks: the one place that makes the security options of every client.

A plain `host:port,…` is a cluster without users; `Cluster` says the rest. kafka-python, aiokafka and
Faust spell the same things differently; their spellings stand here and nowhere else.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PLAINTEXT, SASL_PLAINTEXT, SASL_SSL = "PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL"
PROTOCOLS = (PLAINTEXT, SASL_PLAINTEXT, SASL_SSL)
"""Nobody is asked who he is; users by SCRAM, for one machine; users by SCRAM, and TLS."""
_LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256")


@dataclass(frozen=True)
class Cluster:
    """`bootstrap`: `host:port,…`. `cafile`: PEM of whom to trust; None: whom the system trusts."""

    bootstrap: str
    protocol: str = PLAINTEXT
    mechanism: str = MECHANISMS[0]
    username: str = ""
    password: str = field(default="", repr=False)
    cafile: Path | None = None

    def __str__(self) -> str:
        return self.bootstrap

    @property
    def has_users(self) -> bool:
        return self.protocol != PLAINTEXT

    @property
    def is_encrypted(self) -> bool:
        return self.protocol == SASL_SSL

    @property
    def is_local(self) -> bool:
        """Whether all of it is reached without leaving this machine."""
        hosts = {address.strip().rpartition(":")[0] for address in self.bootstrap.split(",")}
        return hosts <= _LOOPBACK


Bootstrap = Cluster | str
"""What a function that talks to Kafka is given; a text is a plaintext address."""


def cluster(of: Bootstrap) -> Cluster:
    return of if isinstance(of, Cluster) else Cluster(of)


def tls(of: Cluster) -> ssl.SSLContext:
    """Verifies the broker's certificate and name. Raises OSError where the CA file can't be read."""
    context = ssl.create_default_context(cafile=None if of.cafile is None else str(of.cafile))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def client_options(of: Bootstrap) -> dict[str, Any]:
    """Keyword arguments of every kafka-python and aiokafka client. Raises OSError (see `tls`)."""
    # Here: who only reads settings does not wait for the catalogue of metrics.
    from yumai.broker import undecodable

    undecodable.guard()
    to = cluster(of)
    options: dict[str, Any] = {"bootstrap_servers": to.bootstrap}
    if to.is_encrypted:
        options["ssl_context"] = tls(to)
    if to.has_users:
        options |= {
            "security_protocol": to.protocol,
            "sasl_mechanism": to.mechanism,
            "sasl_plain_username": to.username,
            "sasl_plain_password": to.password,
        }
    return options


def java_properties(of: Cluster) -> dict[str, str]:
    """The same for a Java client's `client.properties`, which a platform is given."""
    found = {"bootstrap.servers": of.bootstrap, "security.protocol": of.protocol}
    if of.has_users:
        found |= {
            "sasl.mechanism": of.mechanism,
            "sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required"
            f' username="{of.username}" password="{of.password}";',
        }
        if of.cafile is not None:
            found |= {
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(of.cafile.resolve()),
            }
    return found
