"""Typed settings, read once at the entry point and handed down; defaults run the embedded set-up.

Wrong values end the start with every problem listed.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from yumai.broker.security import (
    MECHANISMS,
    PLAINTEXT,
    PROTOCOLS,
    SASL_PLAINTEXT,
    SASL_SSL,
    Cluster,
)
from yumai.observability import logs, otel_variables
from yumai.store.address import Dsn, cluster_name, quorum, with_cluster, with_secrets

MASK = "***"
RULES = ("severity", "tianjin")


class BadSettings(Exception):
    """One line a problem: variable, what is wrong, an example."""


@dataclass(frozen=True)
class Settings:
    """What a service needs to know of the world. Times are seconds unless the name says else."""

    kafka_bootstrap: str = "127.0.0.1:8702"
    kafka_security_protocol: str = PLAINTEXT
    kafka_sasl_mechanism: str = MECHANISMS[0]
    kafka_sasl_username: str = ""
    kafka_sasl_password: str = field(default="", repr=False)
    kafka_ssl_cafile: Path | None = None
    """PEM of whom to trust as a broker; without it, whom the system trusts."""
    clickhouse_dsn: str = field(default="http://127.0.0.1:8703/yumai", repr=False)
    """With `?cluster=…` in it where CLICKHOUSE_CLUSTER names one (docs/clickhouse.md)."""
    clickhouse_cluster: str = ""
    """The cluster in ClickHouse's remote_servers; empty: one server, or the embedded engine."""
    clickhouse_insert_quorum: str = "auto"
    """Replicas that have an insert before it is acknowledged: a number, or auto (the majority)."""
    backup_to: str = "File('{name}')"
    """Where backups go, as ClickHouse's BACKUP names it; `{name}` is this backup's."""
    identity_dir: Path = Path(".yumai/identity")
    host: str = "127.0.0.1"
    port: int = 8700
    worker: str = ""
    work_dir: Path = Path(".yumai/work")
    ingest_url: str = "http://127.0.0.1:8701"
    gateway_url: str = "http://127.0.0.1:8700"
    canary_key: str = field(default="", repr=False)
    """The canary's platform key; without one it signs a token with what `identity_dir` holds."""
    service_urls: str = ""
    """`name=url,…` of all services, whose readiness the gateway's includes; empty: its own alone."""
    map_file: Path | None = None
    """GeoJSON of the districts; a public map in China needs an approved one (审图号)."""
    session_timeout: float = 6.0
    """Kafka group session: how soon a killed worker's partitions move on."""

    alerts_rules: str = RULES[0]
    """Which rules make levels: ours, or those of 天津 2022."""
    drain_seconds: float = 0.0
    """After SIGTERM the doors are not ready, and take requests for so long: until nobody sends any."""
    alerts_escalate_after: float = 7 * 86_400.0
    """An alert that nobody answered for so long goes to the bureau."""
    alerts_repeat_after: float = 14 * 86_400.0
    delivery_give_up_after: float = 3 * 86_400.0
    otlp_endpoint: str = ""
    """Where traces and metrics go by OTLP (HTTP, protobuf); more of OTEL_* is the SDK's own to read."""
    log: str = ""
    """`json` or `pretty`; without it pretty on a terminal."""
    metrics_token: str = field(default="", repr=False)
    """Who reads `/metrics` brings it; without one it is open, and the network keeps others out."""
    connections: int = 1_000
    """HTTP connections of one process; where they are used up, the oldest idle one makes room."""
    held_bytes: int = 1 << 30
    """Of all request bodies that one process holds, as they came and unpacked."""
    sender_bytes: int = 256 << 20
    """Of these, one sender's."""
    sender_requests: int = 128
    """Requests with a body that one sender may have in work at once."""
    reader_queries: int = 4
    """Queries of one reader that the store answers at once; others of its own wait."""
    reader_streams: int = 20
    """Streams of events that one reader may have open."""
    subscriptions_key: str = field(default="", repr=False)
    """Fernet keys that seal addresses in `subscriptions.v1`; without one `identity_dir` has it."""
    webhook_allow_networks: str = ""
    """CIDRs inside which webhooks may point though they are private; http only there."""

    @property
    def kafka(self) -> Cluster:
        """What every Kafka client is made from."""
        return Cluster(
            self.kafka_bootstrap,
            self.kafka_security_protocol,
            self.kafka_sasl_mechanism,
            self.kafka_sasl_username,
            self.kafka_sasl_password,
            self.kafka_ssl_cafile,
        )

    def masked(self) -> dict[str, str]:
        """What is in force, fit for printing."""
        shown = {f.name: str(getattr(self, f.name)) for f in fields(self)}
        shown["clickhouse_dsn"] = Dsn.parse(self.clickhouse_dsn).masked()
        # A key of the bucket may stand in it.
        shown["backup_to"] = f"{self.backup_to.partition('(')[0]}(…)"
        if self.kafka_sasl_password:
            shown["kafka_sasl_password"] = MASK
        if self.canary_key:
            shown["canary_key"] = MASK
        if self.metrics_token:
            shown["metrics_token"] = MASK
        if self.subscriptions_key:
            shown["subscriptions_key"] = MASK
        return shown


_VARIABLES = {
    "kafka_bootstrap": ("KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
    "kafka_security_protocol": ("KAFKA_SECURITY_PROTOCOL", SASL_SSL),
    "kafka_sasl_mechanism": ("KAFKA_SASL_MECHANISM", MECHANISMS[0]),
    "kafka_sasl_username": ("KAFKA_SASL_USERNAME", "yumai-ingest"),
    "kafka_sasl_password": ("KAFKA_SASL_PASSWORD", "…"),
    "kafka_ssl_cafile": ("KAFKA_SSL_CAFILE", "/etc/yumai/kafka/ca.crt"),
    "clickhouse_dsn": ("CLICKHOUSE_DSN", "http://127.0.0.1:8123/yumai"),
    "clickhouse_cluster": ("CLICKHOUSE_CLUSTER", "yumai"),
    "clickhouse_insert_quorum": ("CLICKHOUSE_INSERT_QUORUM", "auto"),
    "backup_to": ("YUMAI_BACKUP_TO", "S3(backups, '{name}')"),
    "identity_dir": ("YUMAI_IDENTITY_DIR", "/etc/yumai/identity"),
    "host": ("YUMAI_HOST", "0.0.0.0"),
    "port": ("YUMAI_PORT", "8700"),
    "worker": ("YUMAI_WORKER", "metrics-1"),
    "work_dir": ("YUMAI_WORK_DIR", "/var/lib/yumai"),
    "ingest_url": ("YUMAI_INGEST_URL", "http://ingest:8701"),
    "gateway_url": ("YUMAI_GATEWAY_URL", "https://yumai.example"),
    "canary_key": ("YUMAI_CANARY_KEY", "yk_…"),
    "service_urls": ("YUMAI_SERVICE_URLS", "ingest=http://ingest:8701"),
    "map_file": ("YUMAI_MAP_FILE", "/etc/yumai/map.geojson"),
    "session_timeout": ("YUMAI_SESSION_TIMEOUT", "6"),
    "alerts_rules": ("ALERTS_RULES", RULES[1]),
    "drain_seconds": ("YUMAI_DRAIN_SECONDS", "8"),
    "alerts_escalate_after": ("ALERTS_ESCALATE_AFTER", "P7D"),
    "alerts_repeat_after": ("ALERTS_REPEAT_AFTER", "P14D"),
    "delivery_give_up_after": ("DELIVERY_GIVE_UP_AFTER", "P3D"),
    "otlp_endpoint": ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel-collector:4318"),
    "log": ("YUMAI_LOG", "json"),
    "metrics_token": ("YUMAI_METRICS_TOKEN", "…"),
    "connections": ("YUMAI_CONNECTIONS", "1000"),
    "held_bytes": ("YUMAI_HELD_BYTES", "1073741824"),
    "sender_bytes": ("YUMAI_SENDER_BYTES", "268435456"),
    "sender_requests": ("YUMAI_SENDER_REQUESTS", "128"),
    "reader_queries": ("YUMAI_READER_QUERIES", "4"),
    "reader_streams": ("YUMAI_READER_STREAMS", "20"),
    "subscriptions_key": ("YUMAI_SUBSCRIPTIONS_KEY", "… (32 bytes in base64url)"),
    "webhook_allow_networks": ("WEBHOOK_ALLOW_NETWORKS", "10.20.0.0/16,fd00::/8"),
}

_FILES = (
    "KAFKA_SASL_PASSWORD",
    "CLICKHOUSE_PASSWORD",
    "YUMAI_METRICS_TOKEN",
    "YUMAI_SUBSCRIPTIONS_KEY",
)
"""Each also as `…_FILE`: a file that holds it, as a mounted secret does."""
_APART = ("CLICKHOUSE_PASSWORD", "CLICKHOUSE_CAFILE")
"""Set into the DSN, so that it can stand where everybody reads it."""
_CHOICES = {
    "kafka_security_protocol": PROTOCOLS,
    "kafka_sasl_mechanism": MECHANISMS,
    "alerts_rules": RULES,
    "log": logs.FORMS,
}

_COUNTS = (
    *("connections", "held_bytes", "sender_bytes", "sender_requests"),
    *("reader_queries", "reader_streams"),
)
DURATIONS = ("alerts_escalate_after", "alerts_repeat_after", "delivery_give_up_after")
_DURATION = re.compile(
    r"P(?=.)(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?"
    r"(?:T(?=.)(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)


def duration(text: str) -> float:
    """Seconds of an ISO 8601 duration without years and months. Raises ValueError."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ValueError("not an ISO 8601 duration in weeks, days, hours, minutes and seconds")
    units = (7 * 86_400, 86_400, 3_600, 60, 1)
    return float(sum(float(n) * unit for n, unit in zip(found.groups(), units, strict=True) if n))


def networks(text: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Networks of a list of CIDRs. Raises ValueError."""
    return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]


def variables() -> frozenset[str]:
    """Every environment variable that `read` looks at."""
    mine = {variable for variable, _ in _VARIABLES.values()}
    return frozenset({*mine, *_APART, *(f"{name}_FILE" for name in _FILES)})


def _backup_to(text: str) -> None:
    if text.count("{name}") != 1:
        raise ValueError("want {name} in it once")


def _sealing_keys(text: str) -> None:
    # Takes a while to import, and most processes have none.
    from yumai.sealing import keys_of

    keys_of(text)


_HIDDEN = ("clickhouse_dsn", "backup_to", "subscriptions_key")
"""What a complaint does not repeat."""
CHECKED: dict[str, Callable[[str], object]] = {
    "clickhouse_dsn": Dsn.parse,
    "clickhouse_cluster": cluster_name,
    "clickhouse_insert_quorum": quorum,
    "backup_to": _backup_to,
    "subscriptions_key": _sealing_keys,
    "webhook_allow_networks": networks,
}


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings of this process. Raises BadSettings with all problems at once."""
    environment = os.environ if environment is None else environment
    values: dict[str, object] = {}
    environment, problems = _with_files(environment)
    for name, (variable, example) in _VARIABLES.items():
        text = environment.get(variable)
        if text is None or text == "":
            continue
        try:
            if name in ("identity_dir", "work_dir", "map_file"):
                values[name] = Path(text)
            elif name == "kafka_ssl_cafile":
                values[name] = _pem(text)
            elif name in _CHOICES:
                if text not in _CHOICES[name]:
                    raise ValueError(f"not one of {', '.join(_CHOICES[name])}")
                values[name] = text
            elif name == "port":
                port = int(text)
                if not 0 < port < 65_536:
                    raise ValueError("not a port")
                values[name] = port
            elif name in ("session_timeout", "drain_seconds"):
                values[name] = float(text)
            elif name in _COUNTS:
                if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 48):
                    raise ValueError("not a whole number above 0")
                values[name] = int(text)
            elif name in DURATIONS:
                values[name] = duration(text)
            else:
                if name in CHECKED:
                    CHECKED[name](text)
                values[name] = text
        except ValueError as error:
            shown = "" if name in _HIDDEN else f"={text!r}"
            problems.append(f"{variable}{shown}: {error}; for example {variable}={example}")
    problems += otel_variables.problems(environment)
    if not problems:
        settings = Settings(**values)  # type: ignore[arg-type]
        problems = _contradictions(settings)
    if problems:
        raise BadSettings("\n".join(problems))
    password, cafile = (environment.get(name) for name in _APART)
    dsn = with_secrets(settings.clickhouse_dsn, password, cafile)
    # In the address, so that nobody can connect to a cluster without what it guarantees.
    dsn = with_cluster(dsn, settings.clickhouse_cluster, settings.clickhouse_insert_quorum)
    return replace(settings, clickhouse_dsn=dsn)


def _with_files(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The environment with what stands in `…_FILE`, and what is wrong with these."""
    found, problems = dict(environment), []
    for variable in _FILES:
        path = environment.get(f"{variable}_FILE")
        if not path:
            continue
        if environment.get(variable):
            problems.append(f"{variable} and {variable}_FILE: set one of them")
            continue
        try:
            found[variable] = Path(path).read_text().strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{variable}_FILE={path!r}: {error}; for example /etc/yumai/password")
            continue
        if not found[variable]:
            problems.append(f"{variable}_FILE={path!r}: the file is empty")
    return found, problems


def _pem(text: str) -> Path:
    try:
        ssl.create_default_context(cafile=text)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"no certificate can be read from it ({error})") from error
    return Path(text)


def _contradictions(settings: Settings) -> list[str]:
    secured = {
        "KAFKA_SASL_USERNAME": settings.kafka_sasl_username,
        "KAFKA_SASL_PASSWORD": settings.kafka_sasl_password,
    }
    protocol = settings.kafka_security_protocol
    wanted = {} if protocol == PLAINTEXT else secured
    problems = [
        f"{name}: not set, and KAFKA_SECURITY_PROTOCOL is {protocol}"
        for name, value in wanted.items()
        if not value
    ]
    if protocol != SASL_SSL:
        idle = {"KAFKA_SSL_CAFILE": str(settings.kafka_ssl_cafile or "")}
        problems += [
            # Or a user who believes to be protected would send in the clear.
            f"{name}: set, but KAFKA_SECURITY_PROTOCOL is {protocol}; want {SASL_SSL}, or leave it out"
            for name, value in (idle if wanted else {**secured, **idle}).items()
            if value
        ]
    if protocol == SASL_PLAINTEXT and not settings.kafka.is_local:
        problems.append(
            f"KAFKA_SECURITY_PROTOCOL={SASL_PLAINTEXT!r}: only to this machine, and KAFKA_BOOTSTRAP is"
            f" {settings.kafka_bootstrap!r}; want {SASL_SSL}"
        )
    return problems


def start(service: str, *quiet: str) -> Settings:
    """What every service does first: settings and logs. Loggers named `quiet` tell errors only.

    Ends the process with every problem listed (2), or, with `--check`, with what is in force (0).
    """
    try:
        settings = read()
    except BadSettings as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if "--check" in sys.argv:
        for name, value in settings.masked().items():
            print(f"{name} = {value}")
        sys.exit(0)
    logs.begin(service, settings.worker or service, settings.log)
    for name in quiet:
        logging.getLogger(name).setLevel(logging.ERROR)
    return settings
