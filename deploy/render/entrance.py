"""The way in: a Gateway, where TLS ends, and a route to each service that outsiders ask."""

from __future__ import annotations

from typing import Any

from deploy.render import workloads
from services.ingest.decoder.pool import WALL_SECONDS

Doc = dict[str, Any]

_API = "gateway.networking.k8s.io/v1"
NAME, CLASS = "entrance", "yumai"
"""The class is the cluster's."""
HOST = "yumai.example"
HOSTS = {"pages": HOST, "doors": f"ingest.{HOST}"}
"""Listener -> public name."""


def docs() -> list[Doc]:
    whole = _rule("gateway", "PathPrefix", "/")
    # The stream stays open for as long as somebody looks.
    stream = _rule("gateway", "Exact", "/v1/stream", "0s")
    # Not /metrics, not /health: these are for the inside.
    doors = _rule("ingest", "PathPrefix", "/v1/", f"{WALL_SECONDS:.0f}s")
    return [
        _gateway(),
        _route("gateway", "pages", [stream, whole]),
        _route("ingest", "doors", [doors]),
    ]


def _gateway() -> Doc:
    listeners = [
        {
            "name": name,
            "protocol": "HTTPS",
            "port": 443,
            "hostname": host,
            "tls": {"mode": "Terminate", "certificateRefs": [{"name": "entrance-tls"}]},
            "allowedRoutes": {"namespaces": {"from": "Same"}},
        }
        for name, host in HOSTS.items()
    ]
    spec = {"gatewayClassName": CLASS, "listeners": listeners}
    return {"apiVersion": _API, "kind": "Gateway", "metadata": {"name": NAME}, "spec": spec}


def _rule(service: str, kind: str, path: str, timeout: str = "") -> Doc:
    """Without a timeout: the gateway's own."""
    port = next(one.port for one in workloads.SERVICES if one.name == service)
    return {
        "matches": [{"path": {"type": kind, "value": path}}],
        **({"timeouts": {"request": timeout}} if timeout else {}),
        "backendRefs": [{"name": service, "port": port}],
    }


def _route(service: str, listener: str, rules: list[Doc]) -> Doc:
    return {
        "apiVersion": _API,
        "kind": "HTTPRoute",
        "metadata": {"name": service, "labels": {"app.kubernetes.io/name": service}},
        "spec": {
            "parentRefs": [{"name": NAME, "sectionName": listener}],
            "hostnames": [HOSTS[listener]],
            "rules": rules,
        },
    }
