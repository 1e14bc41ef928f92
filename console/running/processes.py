"""Which processes make up Yumai on one machine, their ports and what each is told (docs/architecture.md)."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from console.running import kafka_users
from console.running.state import State
from console.running.supervisor import Program
from yumai.broker.principals import KAFKA_USERS, OPERATOR, KafkaUser

DEFAULT_PORT_BASE = 8700
HOST = "127.0.0.1"
# A worker's port is base + 10 + N or base + 40 + N.
MOST_WORKERS = 29
SCALABLE = {"metrics": 10, "alerts": 40}
SINGLE = ("gateway", "ingest")
CANARY_PORT = 6


@dataclass(frozen=True)
class Plan:
    """All programs of one state directory; pure, so that `up` and tests see the same table."""

    state: State
    base: int
    tls: bool = False
    """Kafka's clients are encrypted too; they have names and passwords in any case."""

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.base + 2}"

    @property
    def internal(self) -> str:
        """The broker's own listener: for itself and for who makes users."""
        return f"{HOST}:{self.base + 5}"

    @property
    def broker_health(self) -> str:
        return f"kafkas://{self.internal}#{self.state.tls}"

    @property
    def dsn(self) -> str:
        return f"http://{HOST}:{self.base + 3}/yumai"

    @property
    def page(self) -> str:
        return self._url(self.base)

    def _url(self, port: int) -> str:
        return f"http://{HOST}:{port}"

    def broker(self) -> Program:
        arguments: tuple[str, ...] = (
            "--data-dir",
            str(self.state.kafka),
            "--port",
            str(self.base + 2),
        )
        arguments += ("--certificates", str(self.state.tls), "--internal-port", str(self.base + 5))
        arguments += ("--tls",) if self.tls else ()
        return Program(
            "broker",
            self._python("embedded.broker", *arguments, "--controller-port", str(self.base + 4)),
            self._environment(self.base + 2),
            url=self.bootstrap,
            health=self.broker_health,
            port=self.base + 2,
            stage=2,
        )

    def store(self) -> Program:
        port = self.base + 3
        return Program(
            "store",
            self._python(
                *("embedded.store", "--data-dir", str(self.state.store), "--port", str(port)),
                *("--password-file", str(self.state.store_password)),
            ),
            self._environment(port),
            url=self._url(port),
            health=f"{self._url(port)}/ping",
            port=port,
            stage=1,
            data_dir=self.state.store,
        )

    def prepare(self) -> Program:
        return Program(
            "prepare",
            self._python("console.running.prepare", "--state", str(self.state.directory))
            + ("--internal", self.internal),
            self._environment(self.base),
            once=True,
            listed=False,
        )

    def gateway(self) -> Program:
        """Its /health/ready is about the whole system, so what says that *it* works is /health/live.

        Of each service it asks the first worker, which is there whenever there is one.
        """
        urls = {"ingest": self._url(self.base + 1)}
        for service in SCALABLE:
            urls[f"{service}-1"] = self._url(self.worker_port(service, 1))
        listed = ",".join(f"{name}={url}" for name, url in urls.items())
        return self._service(
            "gateway", "gateway", self.base, "live", {"YUMAI_SERVICE_URLS": listed}
        )

    def canary(self) -> Program:
        return self._service("canary", "canary", self.base + CANARY_PORT, "live", {})

    def ingest(self) -> Program:
        return self._service("ingest", "ingest", self.base + 1, "ready", {})

    def worker_port(self, service: str, number: int) -> int:
        return self.base + SCALABLE[service] + number

    def worker(self, service: str, number: int) -> Program:
        port = self.worker_port(service, number)
        return self._service(f"{service}-{number}", service, port, "ready", {})

    def demo(self, step: str, token: str) -> Program:
        """`pour` shows its progress on our own terminal and ends when the city is there; `live` goes on."""
        arguments = ("--ingest", self._url(self.base + 1), "--state", str(self.state.directory))
        return Program(
            "demo",
            self._python("simulation.demo", step, *arguments),
            {**self._environment(self.base), "YUMAI_TOKEN": token},
            once=step == "pour",
            listed=False,
            console=step == "pour",
        )

    def ports(self, metrics: int, alerts: int, canary: bool = False) -> Iterator[tuple[str, int]]:
        """What needs which port before anything is started."""
        yield from (("gateway", self.base), ("ingest", self.base + 1), ("broker", self.base + 2))
        yield from (("store", self.base + 3), ("broker (controller)", self.base + 4))
        if canary:
            yield "canary", self.base + CANARY_PORT
        yield "broker (internal)", self.base + 5
        for service, wanted in (("metrics", metrics), ("alerts", alerts)):
            for number in range(1, wanted + 1):
                yield f"{service}-{number}", self.worker_port(service, number)

    def _service(
        self, name: str, package: str, port: int, health: str, more: dict[str, str]
    ) -> Program:
        return Program(
            name,
            self._python(f"services.{package}"),
            {**self._environment(port, KAFKA_USERS[package]), "YUMAI_WORKER": name, **more}
            | {"YUMAI_WORK_DIR": str(self.state.work / name)},
            url=self._url(port),
            health=f"{self._url(port)}/health/{health}",
            port=port,
        )

    def _python(self, module: str, *arguments: str) -> tuple[str, ...]:
        return (sys.executable, "-m", module, *arguments)

    def _kafka(self, user: KafkaUser) -> dict[str, str]:
        """Environment that makes a process a Kafka user. Empty values override the environment of `up` itself."""
        return {
            "KAFKA_BOOTSTRAP": self.bootstrap,
            "KAFKA_SECURITY_PROTOCOL": kafka_users.protocol(self.tls),
            "KAFKA_SASL_MECHANISM": kafka_users.SCRAM,
            "KAFKA_SASL_USERNAME": user.name,
            "KAFKA_SASL_PASSWORD": "",
            "KAFKA_SASL_PASSWORD_FILE": str(kafka_users.password_file(self.state, user)),
            "KAFKA_SSL_CAFILE": str(self.state.tls / "ca.crt") if self.tls else "",
        }

    def _environment(self, port: int, user: KafkaUser = OPERATOR) -> dict[str, str]:
        """On top of `up`'s own environment; what its user has set about anything else reaches every service."""
        return {
            **self._kafka(user),
            "CLICKHOUSE_DSN": self.dsn,
            "CLICKHOUSE_PASSWORD": "",
            "CLICKHOUSE_PASSWORD_FILE": str(self.state.store_password),
            "CLICKHOUSE_CAFILE": "",
            "YUMAI_METRICS_TOKEN": "",
            "YUMAI_METRICS_TOKEN_FILE": str(self.state.metrics_token),
            "YUMAI_IDENTITY_DIR": str(self.state.identity),
            "YUMAI_WORK_DIR": str(self.state.work),
            "YUMAI_HOST": os.environ.get("YUMAI_HOST", HOST),
            "YUMAI_PORT": str(port),
            "YUMAI_INGEST_URL": self._url(self.base + 1),
            "YUMAI_GATEWAY_URL": self._url(self.base),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
        }
