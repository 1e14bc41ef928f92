"""The secured broker refuses everything that the table of Kafka users does not grant.

One file, since all of it asks one secured broker that is started once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from kafka.structs import OffsetAndMetadata

from console.running import kafka_users, probes
from console.running.state import State
from embedded import certificates, secret_files
from tests.conftest import free_port, running
from yumai import topics
from yumai.broker import lag, principals, provision
from yumai.broker.principals import FEED_GROUP, KAFKA_USERS, METRICS_GROUP, OPERATOR
from yumai.broker.security import Cluster, client_options

OWN, OTHER = "feed.unipay.v1", "feed.unipay2.v1"
# One that Kafka would find if names were compared by their beginnings.
PLATFORMS = ("unipay", "unipay2")


@dataclass
class Secured:
    state: State
    bootstrap: str
    internal: str
    words: dict[str, str]
    tls: bool

    def operator(self) -> Cluster:
        return kafka_users.connection(self.state, self.bootstrap, OPERATOR, tls=self.tls)

    def service(self, name: str) -> Cluster:
        return kafka_users.connection(
            self.state, self.bootstrap, principals.SERVICES[name], tls=self.tls
        )

    def platform(self, platform_id: str = "unipay") -> Cluster:
        user = principals.platform(platform_id)
        word = self.words[platform_id]
        return kafka_users.connection(self.state, self.bootstrap, user, word, tls=self.tls)


@pytest.fixture(scope="module", params=[False, True], ids=["names", "names and TLS"])
def secured(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Secured]:
    """As `yumai up` runs it, and `yumai up --secure`."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    state = State(tmp_path_factory.mktemp("secured"))
    ports = [free_port() for _ in range(3)]
    arguments = ["embedded.broker", "--data-dir", str(state.kafka), "--port", str(ports[0])]
    arguments += ["--controller-port", str(ports[1]), "--internal-port", str(ports[2])]
    arguments += ["--certificates", str(state.tls), *(["--tls"] if request.param else [])]
    internal = f"127.0.0.1:{ports[2]}"
    kafka_users.ensure_passwords(state)

    def healthy() -> bool:
        return state.tls.is_dir() and probes.ask(f"kafkas://{internal}#{state.tls}").healthy

    with running(arguments, state.directory / "broker.log", healthy, 60):
        place = Secured(state, f"127.0.0.1:{ports[0]}", internal, {}, request.param)
        with kafka_users.administrator(state, internal) as admin:
            kafka_users.put(
                admin,
                {u: kafka_users.password_file(state, u).read_text() for u in KAFKA_USERS.values()},
            )
            place.words = {p: secret_files.new() for p in PLATFORMS}
            kafka_users.put(admin, {principals.platform(p): w for p, w in place.words.items()})
        operator = place.operator()
        provision.ensure(operator, (*topics.TOPICS, *map(topics.feed, PLATFORMS)))
        yield place


@pytest.fixture(scope="module")
def admin(secured: Secured) -> Iterator[KafkaAdminClient]:
    """An admin client that is a platform's."""
    client = KafkaAdminClient(**client_options(secured.platform()))
    yield client
    client.close()


def send(to: Cluster, topic: str, **options: Any) -> int:
    producer = KafkaProducer(**client_options(to), max_block_ms=20_000, **options)
    try:
        return int(producer.send(topic, b"{}").get(timeout=20).offset)
    finally:
        producer.close(timeout=2)


def fetch(to: Cluster, topic: str) -> Any:
    consumer = KafkaConsumer(**client_options(to), enable_auto_commit=False)
    part = TopicPartition(topic, 0)
    try:
        consumer.assign([part])
        consumer.seek(part, 0)
        for _ in range(40):
            if found := consumer.poll(timeout_ms=250):
                return found
            if topic not in consumer.topics():  # or it raises that it may not be asked
                raise TopicAuthorizationFailedError(topic)
        raise AssertionError("neither a record nor a refusal")
    finally:
        consumer.close()


def join(to: Cluster, group: str) -> Any:
    consumer = KafkaConsumer(OWN, **client_options(to), group_id=group, enable_auto_commit=False)
    try:
        for _ in range(40):
            consumer.poll(timeout_ms=250)
    finally:
        consumer.close(timeout_ms=100)


def commit(to: Cluster, group: str) -> None:
    consumer = KafkaConsumer(**client_options(to), group_id=group, enable_auto_commit=False)
    part = TopicPartition(OWN, 0)
    try:
        consumer.assign([part])
        consumer.commit({part: OffsetAndMetadata(0, "", -1)}, timeout_ms=20_000)
    finally:
        consumer.close(timeout_ms=100)


def begin_transaction(to: Cluster) -> None:
    producer = KafkaProducer(
        **client_options(to), transactional_id="platform-unipay", max_block_ms=20_000
    )
    try:
        producer.init_transactions()
    finally:
        producer.close(timeout=1)


def test_a_platform_writes_its_feed(secured: Secured) -> None:
    assert send(secured.platform(), OWN) >= 0
    assert send(secured.platform(), OWN, enable_idempotence=True, acks="all") >= 0


@pytest.mark.parametrize(
    "topic", [OTHER, "feed.nobody.v1", *(topic.name for topic in topics.TOPICS)]
)
def test_a_platform_writes_nothing_else(secured: Secured, topic: str) -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        send(secured.platform(), topic)


def test_a_platform_reads_nothing(secured: Secured) -> None:
    send(secured.platform(), OWN)
    send(secured.platform("unipay2"), OTHER)
    with pytest.raises(TopicAuthorizationFailedError):
        fetch(secured.platform(), OWN)
    for topic in (OTHER, topics.ENTRIES.name, topics.TARGETS.name, "__consumer_offsets"):
        with pytest.raises(TopicAuthorizationFailedError):
            fetch(secured.platform(), topic)


def test_the_gateway_learns_how_far_behind_the_figures_are(secured: Secured) -> None:
    send(secured.platform(), OWN)
    send(secured.service("ingest"), topics.ENTRIES.name)
    whose = secured.service("gateway")
    deadline = time.monotonic() + 20
    client = lag.connect(whose, deadline)
    try:
        found = lag.read(client, whose, lambda *_: {}, deadline, may_read_feeds=False)
    finally:
        client.close()
    assert sum(n or 0 for n in found.partitions.values()) >= 1
    assert max(found.ages.values()) > 0
    assert (found.feeds[OWN] or 0) >= 1
    with pytest.raises(TopicAuthorizationFailedError):
        fetch(whose, OWN)


def test_a_platform_sees_that_its_own_topic_is_there_and_no_other(
    admin: KafkaAdminClient,
) -> None:
    assert admin.list_topics() == [OWN]
    assert [topic["name"] for topic in admin.describe_topics()] == [OWN]
    # A topic that is there and one that is not are refused in the same words.
    for topic in (OTHER, topics.ENTRIES.name, "no-such-topic"):
        (found,) = admin.describe_topics([topic])
        assert (found["error_code"], found["partitions"]) == (
            TopicAuthorizationFailedError.errno,
            [],
        )
    with pytest.raises(UnknownTopicOrPartitionError):
        admin.list_partition_offsets({TopicPartition(OTHER, 0): OffsetSpec.LATEST})
    assert admin.list_groups() == []
    assert admin.describe_cluster()["authorized_operations"] == []
    settings = [
        ConfigResource(ConfigResourceType.TOPIC, OWN),
        ConfigResource(ConfigResourceType.BROKER, "1"),
    ]
    assert admin.describe_configs(settings) == {"topic": {OWN: {}}, "broker": {"1": {}}}


EVERYTHING = ACLFilter(
    None,
    None,
    ACLOperation.ANY,
    ACLPermissionType.ANY,
    ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY),
)

REFUSED: list[tuple[str, type[KafkaError], Callable[[KafkaAdminClient], Any]]] = [
    (
        "delete its topic",
        TopicAuthorizationFailedError,
        lambda a: a.delete_topics([OWN]),
    ),
    (
        "create one of its name",
        TopicAuthorizationFailedError,
        lambda a: a.create_topics([NewTopic("feed.unipay.v2", 1, 1)]),
    ),
    (
        "add partitions",
        TopicAuthorizationFailedError,
        lambda a: a.create_partitions({OWN: NewPartitions(9)}),
    ),
    (
        "delete its records",
        TopicAuthorizationFailedError,
        lambda a: a.delete_records({TopicPartition(OWN, 0): 1}),
    ),
    (
        "see producers",
        TopicAuthorizationFailedError,
        lambda a: a.describe_producers([TopicPartition(OWN, 0)]),
    ),
    (
        "see a group",
        GroupAuthorizationFailedError,
        lambda a: a.describe_groups([METRICS_GROUP]),
    ),
    (
        "see a group's offsets",
        GroupAuthorizationFailedError,
        lambda a: a.list_group_offsets({FEED_GROUP: None}),
    ),
    (
        "delete a group",
        GroupAuthorizationFailedError,
        lambda a: a.delete_groups([FEED_GROUP]),
    ),
    ("see ACLs", ClusterAuthorizationFailedError, lambda a: a.describe_acls(EVERYTHING)),
    (
        "move leaders",
        ClusterAuthorizationFailedError,
        lambda a: a.elect_leaders(0, None),
    ),
    (
        "see the quorum",
        ClusterAuthorizationFailedError,
        lambda a: a.describe_metadata_quorum(),
    ),
]


@pytest.mark.parametrize(("what", "error", "act"), REFUSED, ids=[r[0] for r in REFUSED])
def test_a_platform_may_not(
    admin: KafkaAdminClient,
    what: str,
    error: type[KafkaError],
    act: Callable[[KafkaAdminClient], Any],
) -> None:
    with pytest.raises(error):
        act(admin)


def test_a_platform_alters_no_settings(admin: KafkaAdminClient) -> None:
    for kind, name in ((ConfigResourceType.TOPIC, OWN), (ConfigResourceType.BROKER, "1")):
        change = ConfigResource(kind, name, {"retention.ms": "1"})
        answer = admin.alter_configs([change], raise_on_unknown=False)
        assert "AuthorizationFailed" in answer[kind.name.lower()][name]


def test_a_platform_gives_nobody_rights(secured: Secured, admin: KafkaAdminClient) -> None:
    with kafka_users.administrator(secured.state, secured.internal) as ruler:
        before = sorted(kafka_users.allowed(ruler))
        grant = ACL(
            "User:platform-unipay",
            "*",
            ACLOperation.ALL,
            ACLPermissionType.ALLOW,
            ResourcePattern(ResourceType.TOPIC, OWN, ACLResourcePatternType.LITERAL),
        )
        assert admin.create_acls([grant]) == {
            "succeeded": [],
            "failed": [ClusterAuthorizationFailedError],
        }
        ((_, deleted, error),) = admin.delete_acls([EVERYTHING])
        assert (deleted, error) == ([], ClusterAuthorizationFailedError)
        word = UserScramCredentialUpsertion("yumai-operator", "SCRAM-SHA-512", "mine")
        assert admin.alter_user_scram_credentials([word])["yumai-operator"] is not None
        assert sorted(kafka_users.allowed(ruler)) == before
    provision.ensure(secured.operator())


@pytest.mark.parametrize("group", ["mine", FEED_GROUP, METRICS_GROUP])
def test_a_platform_is_in_no_group(secured: Secured, group: str) -> None:
    with pytest.raises(GroupAuthorizationFailedError):
        join(secured.platform(), group)
    with pytest.raises(GroupAuthorizationFailedError):
        commit(secured.platform(), group)


def test_a_platform_has_no_transactions(secured: Secured) -> None:
    with pytest.raises(TransactionalIdAuthorizationFailedError):
        begin_transaction(secured.platform())


def _connects(options: dict[str, Any]) -> bool:
    try:
        KafkaAdminClient(**options, bootstrap_timeout_ms=2_500).close()
    except KafkaError:
        return False
    return True


def test_who_does_not_prove_who_it_is_does_not_get_in(secured: Secured) -> None:
    to = secured.platform()
    ca = secured.state.tls / certificates.CA
    tls = {"security_protocol": "SSL", "ssl_cafile": str(ca)}
    refused = {
        "wrong password": client_options(replace(to, password=to.password[:-1] + "x")),
        "unknown user": client_options(replace(to, username="platform-nobody")),
        "another's password": client_options(
            replace(to, username="platform-unipay2", password=to.password)
        ),
        "plaintext": {"bootstrap_servers": secured.bootstrap},
        "TLS without a user": {"bootstrap_servers": secured.bootstrap, **tls},
        "inside without a certificate": {"bootstrap_servers": secured.internal, **tls},
        "plaintext inside": {"bootstrap_servers": secured.internal},
        "a user without TLS" if secured.tls else "a user by TLS": client_options(
            replace(to, protocol=kafka_users.protocol(not secured.tls), cafile=ca)
        ),
    }
    if secured.tls:
        # The other way round: the client does not trust a broker that its CA has not signed.
        refused["unknown CA"] = client_options(replace(to, cafile=None))
    with ThreadPoolExecutor(len(refused)) as pool:
        connected = dict(zip(refused, pool.map(_connects, refused.values()), strict=True))
    assert not any(connected.values()), connected
    # Not because the broker is slow: with the right password it answers.
    assert _connects(client_options(to))


def test_a_new_password_ends_the_old_one(secured: Secured) -> None:
    user = principals.platform("unipay2")
    old = secured.platform("unipay2")
    with kafka_users.administrator(secured.state, secured.internal) as ruler:
        secured.words["unipay2"] = secret_files.new()
        kafka_users.put(ruler, {user: secured.words["unipay2"]})
    assert _connects(client_options(secured.platform("unipay2")))
    assert not _connects(client_options(old))


def test_the_brokers_acls_are_the_table_and_stay_it(secured: Secured) -> None:
    users = [*KAFKA_USERS.values(), *map(principals.platform, PLATFORMS)]
    wanted = sorted(acl for user in users for acl in kafka_users.acls(user))
    with kafka_users.administrator(secured.state, secured.internal) as ruler:
        assert sorted(kafka_users.allowed(ruler)) == wanted
        everything = ResourcePattern(ResourceType.TOPIC, "*", ACLResourcePatternType.LITERAL)
        ruler.create_acls(
            [
                ACL(
                    "User:platform-unipay",
                    host,
                    ACLOperation.READ,
                    kind,
                    everything,
                )
                for host, kind in (
                    ("*", ACLPermissionType.ALLOW),
                    ("10.0.0.1", ACLPermissionType.DENY),
                )
            ]
        )
        # Kafka applies what it has accepted a moment later.
        assert _in_time(lambda: len(kafka_users.allowed(ruler)) == len(wanted) + 2)
        kafka_users.put(ruler, {principals.platform("unipay"): secured.words["unipay"]})
        assert _in_time(lambda: sorted(kafka_users.allowed(ruler)) == wanted)


def _in_time(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not (found := done()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_secrets_are_readable_by_their_owner_only(secured: Secured) -> None:
    files = [path for path in secured.state.secrets.rglob("*") if path.is_file()]
    assert len(files) >= 3 + len(KAFKA_USERS)
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}
    written = Path(secured.state.kafka / "server.properties").read_text()
    assert not any(
        kafka_users.password_file(secured.state, user).read_text() in written
        for user in KAFKA_USERS.values()
    )
