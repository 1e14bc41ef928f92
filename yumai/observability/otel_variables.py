"""The OTEL_* variables that decide whether and how anything goes out; the SDK reads the others itself."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

PROTOCOLS = ("http/protobuf",)


def problems(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with the OTEL_* variables, a line each."""
    found = []
    for signal in ("", "TRACES_", "METRICS_"):
        variable = f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT"
        endpoint = environment.get(variable, "")
        if endpoint and (
            urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname
        ):
            found.append(
                f"{variable}={endpoint!r}: not an address; for example {variable}=http://127.0.0.1:4318"
            )
        variable = f"OTEL_EXPORTER_OTLP_{signal}PROTOCOL"
        protocol = environment.get(variable, "")
        if protocol and protocol not in PROTOCOLS:
            found.append(
                f"{variable}={protocol!r}: Yumai speaks OTLP over HTTP with protobuf only (a collector's"
                f" port 4318, not 4317); for example {variable}={PROTOCOLS[0]}"
            )
    return found


def wanted(signal: str, environment: Mapping[str, str]) -> bool:
    """Whether `TRACES` or `METRICS` go out."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get(f"OTEL_{signal}_EXPORTER", "otlp") != "otlp":
        return False
    return bool(
        environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or environment.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    )
