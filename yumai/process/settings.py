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
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

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


# -- kinds of values; each raises ValueError -----------------------------------------------------------

_DURATION = re.compile(
    r"P(?=.)(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?"
    r"(?:T(?=.)(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)


def duration(text: str) -> float:
    """Seconds of an ISO 8601 duration without years and months. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError("not an ISO 8601 duration in weeks, days, hours, minutes and seconds")
    units = (7 * 86_400, 86_400, 3_600, 60, 1)
    return float(sum(float(n) * unit for n, unit in zip(match.groups(), units, strict=True) if n))


def networks(text: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Networks of a list of CIDRs. Raises ValueError."""
    return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]


def _port(text: str) -> int:
    if not 0 < int(text) < 65_536:
        raise ValueError("not a port")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 48):
        raise ValueError("not a whole number above 0")
    return int(text)


def _backup_to(text: str) -> None:
    if text.count("{name}") != 1:
        raise ValueError("want {name} in it once")


def _sealing_keys(text: str) -> None:
    # Takes a while to import, and most processes have none.
    from yumai.sealing import keys_of

    keys_of(text)


def _pem(text: str) -> Path:
    try:
        ssl.create_default_context(cafile=text)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"no certificate can be read from it ({error})") from error
    return Path(text)


def _of_text(read: Callable[[str], Any]) -> BeforeValidator:
    """A variable's text through `read`; what code gives stays as it is."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


def _checked(check: Callable[[str], object]) -> AfterValidator:
    def checked(text: str) -> str:
        if text:
            check(text)
        return text

    return AfterValidator(checked)


def _one_of(choices: tuple[str, ...]) -> AfterValidator:
    def chosen(text: str) -> str:
        if text and text not in choices:
            raise ValueError(f"not one of {', '.join(choices)}")
        return text

    return AfterValidator(chosen)


Port = Annotated[int, _of_text(_port)]
Count = Annotated[int, _of_text(_count)]
Seconds = Annotated[float, _of_text(float)]
Duration = Annotated[float, _of_text(duration)]


# -- the settings ---------------------------------------------------------------------------------------


def _variable(
    name: str, default: Any, example: str, *, secret: bool = False, hidden: bool = False
) -> Any:
    """A setting: its environment variable, its default, an example for who set it wrong.

    `secret`: is shown to nobody. `hidden`: a complaint does not repeat it.
    """
    told: dict[str, Any] = {"secret": secret, "hidden": secret or hidden}
    return Field(
        default,
        validation_alias=name,
        examples=[example],
        repr=not (secret or hidden),
        json_schema_extra=told,
    )


class Settings(BaseModel):
    """What a service needs to know of the world. Times are seconds unless the name says else."""

    model_config = ConfigDict(frozen=True, validate_by_name=True, validate_by_alias=True)

    kafka_bootstrap: str = _variable("KAFKA_BOOTSTRAP", "127.0.0.1:8702", "127.0.0.1:9092")
    kafka_security_protocol: Annotated[str, _one_of(PROTOCOLS)] = _variable(
        "KAFKA_SECURITY_PROTOCOL", PLAINTEXT, SASL_SSL
    )
    kafka_sasl_mechanism: Annotated[str, _one_of(MECHANISMS)] = _variable(
        "KAFKA_SASL_MECHANISM", MECHANISMS[0], MECHANISMS[0]
    )
    kafka_sasl_username: str = _variable("KAFKA_SASL_USERNAME", "", "yumai-ingest")
    kafka_sasl_password: str = _variable("KAFKA_SASL_PASSWORD", "", "…", secret=True)
    kafka_ssl_cafile: Annotated[Path | None, _of_text(_pem)] = _variable(
        "KAFKA_SSL_CAFILE", None, "/etc/yumai/kafka/ca.crt"
    )
    """PEM of whom to trust as a broker; without it, whom the system trusts."""
    clickhouse_dsn: Annotated[str, _checked(Dsn.parse)] = _variable(
        "CLICKHOUSE_DSN", "http://127.0.0.1:8703/yumai", "http://127.0.0.1:8123/yumai", hidden=True
    )
    """With `?cluster=…` in it where CLICKHOUSE_CLUSTER names one (docs/clickhouse.md)."""
    clickhouse_cluster: Annotated[str, _checked(cluster_name)] = _variable(
        "CLICKHOUSE_CLUSTER", "", "yumai"
    )
    """The cluster in ClickHouse's remote_servers; empty: one server, or the embedded engine."""
    clickhouse_insert_quorum: Annotated[str, _checked(quorum)] = _variable(
        "CLICKHOUSE_INSERT_QUORUM", "auto", "auto"
    )
    """Replicas that have an insert before it is acknowledged: a number, or auto (the majority)."""
    backup_to: Annotated[str, _checked(_backup_to)] = _variable(
        "YUMAI_BACKUP_TO", "File('{name}')", "S3(backups, '{name}')", hidden=True
    )
    """Where backups go, as ClickHouse's BACKUP names it; `{name}` is this backup's."""
    identity_dir: Path = _variable(
        "YUMAI_IDENTITY_DIR", Path(".yumai/identity"), "/etc/yumai/identity"
    )
    host: str = _variable("YUMAI_HOST", "127.0.0.1", "0.0.0.0")
    port: Port = _variable("YUMAI_PORT", 8700, "8700")
    worker: str = _variable("YUMAI_WORKER", "", "metrics-1")
    work_dir: Path = _variable("YUMAI_WORK_DIR", Path(".yumai/work"), "/var/lib/yumai")
    ingest_url: str = _variable("YUMAI_INGEST_URL", "http://127.0.0.1:8701", "http://ingest:8701")
    gateway_url: str = _variable(
        "YUMAI_GATEWAY_URL", "http://127.0.0.1:8700", "https://yumai.example"
    )
    canary_key: str = _variable("YUMAI_CANARY_KEY", "", "yk_…", secret=True)
    """The canary's platform key; without one it signs a token with what `identity_dir` holds."""
    service_urls: str = _variable("YUMAI_SERVICE_URLS", "", "ingest=http://ingest:8701")
    """`name=url,…` of all services, whose readiness the gateway's includes; empty: its own alone."""
    map_file: Path | None = _variable("YUMAI_MAP_FILE", None, "/etc/yumai/map.geojson")
    """GeoJSON of the districts; a public map in China needs an approved one (审图号)."""
    session_timeout: Seconds = _variable("YUMAI_SESSION_TIMEOUT", 6.0, "6")
    """Kafka group session: how soon a killed worker's partitions move on."""
    alerts_rules: Annotated[str, _one_of(RULES)] = _variable("ALERTS_RULES", RULES[0], RULES[1])
    """Which rules make levels: ours, or those of 天津 2022."""
    drain_seconds: Seconds = _variable("YUMAI_DRAIN_SECONDS", 0.0, "8")
    """After SIGTERM the doors are not ready, and take requests for so long: until nobody sends any."""
    alerts_escalate_after: Duration = _variable("ALERTS_ESCALATE_AFTER", 7 * 86_400.0, "P7D")
    """An alert that nobody answered for so long goes to the bureau."""
    alerts_repeat_after: Duration = _variable("ALERTS_REPEAT_AFTER", 14 * 86_400.0, "P14D")
    delivery_give_up_after: Duration = _variable("DELIVERY_GIVE_UP_AFTER", 3 * 86_400.0, "P3D")
    otlp_endpoint: str = _variable("OTEL_EXPORTER_OTLP_ENDPOINT", "", "http://otel-collector:4318")
    """Where traces and metrics go by OTLP (HTTP, protobuf); more of OTEL_* is the SDK's own to read."""
    log: Annotated[str, _one_of(logs.FORMS)] = _variable("YUMAI_LOG", "", "json")
    """`json` or `pretty`; without it pretty on a terminal."""
    metrics_token: str = _variable("YUMAI_METRICS_TOKEN", "", "…", secret=True)
    """Who reads `/metrics` brings it; without one it is open, and the network keeps others out."""
    connections: Count = _variable("YUMAI_CONNECTIONS", 1_000, "1000")
    """HTTP connections of one process; where they are used up, the oldest idle one makes room."""
    held_bytes: Count = _variable("YUMAI_HELD_BYTES", 1 << 30, "1073741824")
    """Of all request bodies that one process holds, as they came and unpacked."""
    sender_bytes: Count = _variable("YUMAI_SENDER_BYTES", 256 << 20, "268435456")
    """Of these, one sender's."""
    sender_requests: Count = _variable("YUMAI_SENDER_REQUESTS", 128, "128")
    """Requests with a body that one sender may have in work at once."""
    reader_queries: Count = _variable("YUMAI_READER_QUERIES", 4, "4")
    """Queries of one reader that the store answers at once; others of its own wait."""
    reader_streams: Count = _variable("YUMAI_READER_STREAMS", 20, "20")
    """Streams of events that one reader may have open."""
    subscriptions_key: Annotated[str, _checked(_sealing_keys)] = _variable(
        "YUMAI_SUBSCRIPTIONS_KEY", "", "… (32 bytes in base64url)", secret=True
    )
    """Fernet keys that seal addresses in `subscriptions.v1`; without one `identity_dir` has it."""
    webhook_allow_networks: Annotated[str, _checked(networks)] = _variable(
        "WEBHOOK_ALLOW_NETWORKS", "", "10.20.0.0/16,fd00::/8"
    )
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
        shown = {name: str(getattr(self, name)) for name in _FIELDS}
        shown |= {name: MASK for name in _FIELDS if shown[name] and _told(name, "secret")}
        shown["clickhouse_dsn"] = Dsn.parse(self.clickhouse_dsn).masked()
        # A key of the bucket may stand in it.
        shown["backup_to"] = f"{self.backup_to.partition('(')[0]}(…)"
        return shown


_FIELDS: dict[str, FieldInfo] = dict(Settings.model_fields)
_BY_VARIABLE = {str(field.validation_alias): name for name, field in _FIELDS.items()}

_FILES = (
    "KAFKA_SASL_PASSWORD",
    "CLICKHOUSE_PASSWORD",
    "YUMAI_METRICS_TOKEN",
    "YUMAI_SUBSCRIPTIONS_KEY",
)
"""Each also as `…_FILE`: a file that holds it, as a mounted secret does."""
_APART = ("CLICKHOUSE_PASSWORD", "CLICKHOUSE_CAFILE")
"""Set into the DSN, so that it can stand where everybody reads it."""


def _told(name: str, what: str) -> bool:
    extra = _FIELDS[name].json_schema_extra
    return isinstance(extra, dict) and bool(extra[what])


def variables() -> frozenset[str]:
    """Every environment variable that `read` looks at."""
    return frozenset({*_BY_VARIABLE, *_APART, *(f"{name}_FILE" for name in _FILES)})


def variable_of(field: str) -> str:
    """The environment variable of one setting."""
    return str(_FIELDS[field].validation_alias)


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings of this process. Raises BadSettings with all problems at once."""
    environment = os.environ if environment is None else environment
    environment, problems = _with_files(environment)
    given = {name: environment[name] for name in _BY_VARIABLE if environment.get(name)}
    settings = Settings()
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        problems += [_problem(given, fault) for fault in error.errors()]
    problems += otel_variables.problems(environment)
    if not problems:
        problems = _contradictions(settings)
    if problems:
        raise BadSettings("\n".join(problems))
    password, cafile = (environment.get(name) for name in _APART)
    dsn = with_secrets(settings.clickhouse_dsn, password, cafile)
    # In the address, so that nobody can connect to a cluster without what it guarantees.
    dsn = with_cluster(dsn, settings.clickhouse_cluster, settings.clickhouse_insert_quorum)
    return settings.model_copy(update={"clickhouse_dsn": dsn})


def _problem(given: Mapping[str, str], fault: Any) -> str:
    variable = str(fault["loc"][0])
    name = _BY_VARIABLE[variable]
    shown = "" if _told(name, "hidden") else f"={given[variable]!r}"
    said = (fault.get("ctx") or {}).get("error") or fault["msg"]
    (example,) = _FIELDS[name].examples or [""]
    return f"{variable}{shown}: {said}; for example {variable}={example}"


def _with_files(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The environment, completed from the files that `…_FILE` names, and the problems with these files."""
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
