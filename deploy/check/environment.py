"""What each process is told, in a cluster and in compose: somebody reads it, it is valid, and whom it names is there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from deploy.check.cluster import Cluster
from deploy.check.findings import Finding, listed, near
from yumai.process import settings

OTEL = {
    *("OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"),
    *("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_RESOURCE_ATTRIBUTES"),
    *("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_METRIC_EXPORT_INTERVAL"),
    "OTEL_SDK_DISABLED",
}
KNOWN = settings.variables() | OTEL | {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS"}
"""Every variable that a process of ours reads."""
UNREAD = ("KAFKA_SSL_CAFILE", "YUMAI_MAP_FILE", "YUMAI_SUBSCRIPTIONS_KEY")
"""Files that are not here, and a secret that has a form."""
SECONDS = {  # the broker's own bounds of a session are 6 s and half an hour
    "session_timeout": (6, 60),
    "drain_seconds": (0, 60),
    "alerts_escalate_after": (86_400, 60 * 86_400),
    "alerts_repeat_after": (86_400, 60 * 86_400),
    "delivery_give_up_after": (3_600, 14 * 86_400),
}
"""What is plausible: milliseconds, or minutes, are not."""
_ADDRESS = re.compile(r"(?:^|[@/=,])([a-z][\w.-]*):(\d{2,5})\b")
_APART = ("YUMAI_GATEWAY_URL", "YUMAI_WORKER")  # the first is the public name


def problems(
    told: Mapping[str, str], endpoints: Mapping[str, set[int]]
) -> Iterator[tuple[str, str]]:
    """(variable, what is wrong). `endpoints`: host -> ports that answer."""
    for name in told:
        if name == "YUMAI_HOST" and told[name].startswith("127."):
            yield name, f"{told[name]}: nobody else would reach it"
        if name not in KNOWN:
            yield name, f"nobody reads this variable{near(name, KNOWN)}"
    readable = {k: v for k, v in told.items() if k not in UNREAD and "$" not in v}
    try:
        read = settings.read({"YUMAI_PORT": "1", **readable})
    except settings.BadSettings as error:
        for line in str(error).splitlines():
            name = re.split(r"[=:]", line, maxsplit=1)[0]
            if name in told:
                yield name, line
    else:
        for field, (least, most) in SECONDS.items():
            value = getattr(read, field)
            if not least <= value <= most:
                name = settings.variable_of(field)
                yield name, f"{told.get(name)}: {value:g} s; want {least} to {most} s"
    for name, value in told.items():
        for host, port in _ADDRESS.findall(value) if name not in _APART else ():
            if host not in endpoints:
                yield name, f"{value}: nobody is called {host!r}{near(host, endpoints)}"
            elif value.startswith("http") and value.startswith("https") != (port == "8443"):
                yield name, f"{value}: TLS is spoken at 8443, and nowhere else inside"
            elif int(port) not in endpoints[host]:
                yield name, f"{value}: {host} has no port {port} ({listed(endpoints[host])})"


def check(cluster: Cluster) -> Iterator[Finding]:
    config = cluster.tree.find("ConfigMap", "settings")
    for obj, path, container in cluster.containers():
        told = cluster.environment(container)
        own = {str(entry.get("name")) for entry in container.get("env") or []}
        for name, text in problems(told, cluster.endpoints):
            if name in own or config is None:
                yield obj.finding((*path, "env", name), text)
            else:
                yield config.finding(("data", name), text)
