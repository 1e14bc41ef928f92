"""Apache Kafka itself, as one KRaft node that is broker and controller in one process.

`python -m embedded.broker --data-dir DIR --port N --controller-port M` prepares the directory (on the first start it
is formatted by Kafka's own StorageTool) and then *becomes* the Java process: its pid is the broker's.

With `--certificates DIR --internal-port K` every client authenticates: clients on the port N by SCRAM, and may do what
ACLs grant; the broker, its controller and who makes users and ACLs by certificate. `--tls` encrypts the port N too.
`--plaintext` is for tests alone: a client that reaches the port reads and writes everything.
"""

import argparse
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from embedded import certificates, java, kafka_jars
from yumai.broker import server

NODE = 1
CLUSTER = (
    "eXVtYWktZW1iZWRkZWQwMQ"  # 16 bytes in base64url, any will do: one node has nobody to confuse
)

UTF8_LOCALE = "C.UTF-8"
HEAP = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC")
# log4j-core is there because Kafka refers to it; what is logged goes through slf4j to standard error.
LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    "-Dlog4j2.level=ERROR",
)


def properties(data_dir: Path, port: int, controller_port: int) -> dict[str, object]:
    """The node's settings. Topics set their own retention (`yumai/topics.py`)."""
    return {
        "process.roles": "broker,controller",
        "node.id": NODE,
        "controller.quorum.voters": f"{NODE}@127.0.0.1:{controller_port}",
        "listeners": f"BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"BROKER://127.0.0.1:{port}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data_dir / "log",
        **server.SETTINGS,
        # One node: nothing can be replicated, and few partitions make a quick start.
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 2,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 2,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 2000,
        # After kill -9 the node waits until its own former session has run out.
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 300,
        "initial.broker.registration.timeout.ms": 120_000,
        "controller.quorum.election.timeout.ms": 500,
        "controller.quorum.fetch.timeout.ms": 2000,
        # After kill -9 every log is read again from its last flushed segment: small segments, two threads.
        "log.segment.bytes": 128 * 2**20,
        "num.recovery.threads.per.data.dir": 2,
        "log.retention.ms": -1,
        "log.retention.check.interval.ms": 60_000,
        "num.network.threads": 2,
        "num.io.threads": 4,
        # Allocated at the start, so not the default's 128 MB of a 512 MB heap.
        "log.cleaner.dedupe.buffer.size": 32 * 2**20,
    }


def secured(
    folder: Path, port: int, controller_port: int, internal_port: int, *, tls: bool
) -> dict[str, object]:
    """What `--certificates` changes. No password is in here: SCRAM users live in Kafka's own log."""
    clients = "SASL_SSL" if tls else "SASL_PLAINTEXT"
    names = (certificates.BROKER_NAME, certificates.ADMIN_NAME)
    return {
        "listeners": f"BROKER://127.0.0.1:{port},INTERNAL://127.0.0.1:{internal_port},"
        f"CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"BROKER://127.0.0.1:{port},INTERNAL://127.0.0.1:{internal_port}",
        "listener.security.protocol.map": f"BROKER:{clients},INTERNAL:SSL,CONTROLLER:SSL",
        "inter.broker.listener.name": "INTERNAL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.broker.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security"
        ".scram.ScramLoginModule required;",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": folder / certificates.BROKER,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": folder / certificates.CA,
        "listener.name.internal.ssl.client.auth": "required",
        "listener.name.controller.ssl.client.auth": "required",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": ";".join(f"User:CN={name}" for name in names),
    }


def escaped(value: str) -> str:
    """As a properties file takes it: Java reads its bytes as Latin-1, and a backslash begins an escape."""
    units = value.replace("\\", "\\\\").encode("utf-16-be", "surrogatepass")
    numbers = (int.from_bytes(units[n : n + 2]) for n in range(0, len(units), 2))
    return "".join(chr(n) if n < 0x7F else f"\\u{n:04x}" for n in numbers)


def _bring_home(log: Path) -> None:
    """Before paths were escaped, a log of a path beyond ASCII lay where Latin-1 puts its bytes."""
    elsewhere = Path(str(log).encode(errors="surrogateescape").decode("latin-1"))
    if elsewhere != log and elsewhere.is_dir() and not log.exists():
        elsewhere.rename(log)


def prepare(
    data_dir: Path,
    port: int,
    controller_port: int,
    more: Mapping[str, object] = MappingProxyType({}),
) -> list[str]:
    """Writes the settings, formats a new directory, and returns the command that is the broker."""
    runtime, classpath = java.ensure(), kafka_jars.classpath()
    data_dir.mkdir(parents=True, exist_ok=True)
    _bring_home(data_dir.resolve() / "log")
    settings = data_dir / "server.properties"
    values = {**properties(data_dir.resolve(), port, controller_port), **more}
    lines = [f"{k}={escaped(str(v))}\n" for k, v in values.items()]
    settings.touch(0o600)
    settings.chmod(0o600)
    settings.write_text("# Written at every start by embedded/broker.py.\n" + "".join(lines))
    # Under LC_ALL=C Java writes a path's characters beyond ASCII as `?`.
    os.environ["LC_ALL"] = UTF8_LOCALE
    base = [str(runtime), *HEAP, *LOGGING, "-cp", classpath]
    if not (data_dir / "log" / "meta.properties").is_file():
        # --ignore-formatted: a start that was killed in the middle of this leaves some of the files.
        subprocess.run(
            [*base, "kafka.tools.StorageTool", "format", "--ignore-formatted"]
            + ["--cluster-id", CLUSTER, "--config", str(settings)]
            + ["--release-version", server.METADATA_VERSION],
            check=True,
        )
    return [*base, "kafka.Kafka", str(settings)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Apache Kafka, one KRaft node")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--controller-port", type=int, required=True)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--certificates", type=Path, metavar="DIR", help="made if missing")
    who.add_argument(
        "--plaintext", action="store_true", help="nobody is asked who he is: for tests"
    )
    parser.add_argument(
        "--internal-port", type=int, help="with --certificates: for broker and admin"
    )
    parser.add_argument("--tls", action="store_true", help="encrypt what clients send, too")
    args = parser.parse_args()
    if (args.certificates is None) != (args.internal_port is None):
        parser.error("--certificates and --internal-port belong together")
    os.umask(0o077)
    more: dict[str, object] = {}
    if args.certificates is not None:
        certificates.ensure(args.certificates)
        ports = (args.port, args.controller_port, args.internal_port)
        more = secured(args.certificates.resolve(), *ports, tls=args.tls)
    command = prepare(args.data_dir, args.port, args.controller_port, more)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
