"""Which OTEL_* variables send anything out, and what is said of wrong ones."""

import pytest

from yumai.observability.otel_variables import problems, wanted
from yumai.process import settings

HERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environment", "goes"),
    [
        ({}, False),
        (HERE, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x/v1/traces"}, True),
        (HERE | {"OTEL_SDK_DISABLED": "true"}, False),
        (HERE | {"OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_nothing_goes_out_without_an_address(environment: dict[str, str], goes: bool) -> None:
    assert wanted("TRACES", environment) is goes
    assert not problems(environment)


def test_grpc_is_refused_at_the_start_with_what_to_write_instead() -> None:
    with pytest.raises(settings.BadSettings, match="OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"):
        settings.read(HERE | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    with pytest.raises(settings.BadSettings, match="not an address"):
        settings.read({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"})
