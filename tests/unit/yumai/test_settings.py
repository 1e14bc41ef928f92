"""Settings of the secured connections: from files too, never shown, never half set."""

from __future__ import annotations

import string
from pathlib import Path

import certifi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yumai.broker.security import client_options
from yumai.process.settings import BadSettings, read, variables
from yumai.store.client import Dsn, with_secrets

SECURED = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_USERNAME": "yumai-ingest",
    "KAFKA_SASL_PASSWORD": "hunter2-kafka",
}

LOCAL = SECURED | {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}


def test_plaintext_is_the_default() -> None:
    assert client_options(read({}).kafka) == {"bootstrap_servers": "127.0.0.1:8702"}
    assert client_options("a:1,b:2") == {"bootstrap_servers": "a:1,b:2"}


def test_secured_clients_verify_and_name_themselves() -> None:
    options = client_options(read(SECURED).kafka)
    assert options["ssl_context"].check_hostname
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == (
        "yumai-ingest",
        "hunter2-kafka",
    )


def test_on_one_machine_a_client_names_itself_without_tls() -> None:
    options = client_options(read(LOCAL | {"KAFKA_BOOTSTRAP": "127.0.0.1:1,[::1]:2"}).kafka)
    assert options["security_protocol"] == "SASL_PLAINTEXT"
    assert options["sasl_plain_username"] == "yumai-ingest"
    assert "ssl_context" not in options


def test_passwords_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "kafka").write_text("from a file\n")
    (tmp_path / "store").write_text("p@:/ss")
    settings = read(
        {
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_USERNAME": "u",
            "KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "kafka"),
            "CLICKHOUSE_DSN": "https://yumai@clickhouse:8443/yumai",
            "CLICKHOUSE_PASSWORD_FILE": str(tmp_path / "store"),
            "CLICKHOUSE_CAFILE": "/etc/ca.crt",
        }
    )
    assert settings.kafka.password == "from a file"
    dsn = Dsn.parse(settings.clickhouse_dsn)
    assert (dsn.username, dsn.password, dsn.secure, dsn.ca_cert) == (
        "yumai",
        "p@:/ss",
        True,
        "/etc/ca.crt",
    )


def test_nothing_shows_a_password() -> None:
    environment = SECURED | {"CLICKHOUSE_DSN": "https://u:hunter2-store@h/x"}
    environment |= {"YUMAI_METRICS_TOKEN": "hunter2-metrics"}
    settings = read(environment)
    shown = f"{settings!r} {settings} {settings.masked()} {settings.kafka!r} {settings.kafka}"
    assert "hunter2" not in shown
    assert settings.masked()["clickhouse_dsn"] == "https://u:***@h:8443/x"
    assert "hunter2" not in repr(Dsn.parse(settings.clickhouse_dsn))


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SSL"}, "KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SASL_USERNAME"),
        (SECURED | {"KAFKA_SASL_PASSWORD": ""}, "KAFKA_SASL_PASSWORD"),
        (SECURED | {"KAFKA_SASL_MECHANISM": "PLAIN"}, "KAFKA_SASL_MECHANISM"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, "KAFKA_SASL_USERNAME"),
        (LOCAL | {"KAFKA_SASL_PASSWORD": ""}, "KAFKA_SASL_PASSWORD"),
        # In the clear no further than this machine.
        (LOCAL | {"KAFKA_BOOTSTRAP": "kafka:9092"}, "KAFKA_SECURITY_PROTOCOL"),
        (LOCAL | {"KAFKA_BOOTSTRAP": "127.0.0.1:1,kafka:9092"}, "KAFKA_SECURITY_PROTOCOL"),
        (LOCAL | {"KAFKA_SSL_CAFILE": certifi.where()}, "KAFKA_SSL_CAFILE"),
        ({"YUMAI_METRICS_TOKEN_FILE": "/no/such/file"}, "YUMAI_METRICS_TOKEN_FILE"),
        # A password and no TLS: somebody believes to be protected.
        (SECURED | {"KAFKA_SECURITY_PROTOCOL": ""}, "KAFKA_SASL_PASSWORD"),
        (SECURED | {"KAFKA_SSL_CAFILE": "/no/such/file"}, "KAFKA_SSL_CAFILE"),
        (SECURED | {"KAFKA_SSL_CAFILE": __file__}, "KAFKA_SSL_CAFILE"),
        (SECURED | {"KAFKA_SASL_PASSWORD_FILE": __file__}, "KAFKA_SASL_PASSWORD_FILE"),
        ({"KAFKA_SASL_PASSWORD_FILE": "/no/such/file"}, "KAFKA_SASL_PASSWORD_FILE"),
        ({"CLICKHOUSE_PASSWORD_FILE": "/no/such/file"}, "CLICKHOUSE_PASSWORD_FILE"),
        ({"CLICKHOUSE_DSN": "https://u:hunter2@h/x?secure=1"}, "CLICKHOUSE_DSN"),
        ({"CLICKHOUSE_DSN": "https://u:hunter2/3@h/x"}, "CLICKHOUSE_DSN"),
        ({"CLICKHOUSE_DSN": "tcp://u:hunter2@h/x"}, "CLICKHOUSE_DSN"),
    ],
)
def test_what_is_half_set_is_refused_by_name(environment: dict[str, str], named: str) -> None:
    with pytest.raises(BadSettings, match=named) as refused:
        read(environment)
    assert "hunter2" not in str(refused.value)
    assert set(environment) <= variables()


@given(st.text(string.printable.strip(), min_size=1), st.text(string.printable.strip(), min_size=1))
def test_any_user_and_password_survive_the_dsn(user: str, password: str) -> None:
    from urllib.parse import quote

    dsn = with_secrets(f"https://{quote(user, safe='')}@h:1/x", password, None)
    assert (Dsn.parse(dsn).username, Dsn.parse(dsn).password) == (user, password)


def test_the_rules_of_alerts_are_a_setting() -> None:
    assert read({}).alerts_rules == "severity"
    assert read({"ALERTS_RULES": "tianjin"}).alerts_rules == "tianjin"
    with pytest.raises(BadSettings, match="ALERTS_RULES='tianjing'"):
        read({"ALERTS_RULES": "tianjing"})
