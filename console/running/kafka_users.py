"""Kafka users of the embedded broker: their passwords, and ACLs that equal the table of `yumai/broker/principals.py`.

Passwords of Yumai's own users are files of the state directory (0600); of a platform's nothing is kept but what
Kafka itself keeps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embedded import certificates, secret_files
from yumai.broker.principals import KAFKA_USERS, KafkaUser
from yumai.broker.security import (
    MECHANISMS,
    SASL_PLAINTEXT,
    SASL_SSL,
    Bootstrap,
    Cluster,
    cluster,
)

if TYPE_CHECKING:
    from kafka.admin import KafkaAdminClient

    from console.running.state import State

SCRAM = MECHANISMS[0]
IN_FORCE_SECONDS = 20.0


class NotInForce(Exception):
    """The broker has not taken users or ACLs."""


def password_file(state: State, user: KafkaUser) -> Path:
    return state.secrets / "kafka" / user.name


def ensure_passwords(state: State) -> None:
    """A password for each of Yumai's own users; one that is there stays."""
    for user in KAFKA_USERS.values():
        secret_files.ensure(password_file(state, user))


def protocol(tls: bool) -> str:
    return SASL_SSL if tls else SASL_PLAINTEXT


def connection(
    state: State, bootstrap: str, user: KafkaUser, password: str | None = None, *, tls: bool
) -> Cluster:
    """How this user reaches the broker. Raises OSError where its password is not there."""
    if password is None:
        password = secret_files.read(password_file(state, user))
    ca = state.tls / certificates.CA if tls else None
    return Cluster(bootstrap, protocol(tls), SCRAM, user.name, password, ca)


def of_same_broker(
    state: State, operator: Bootstrap, user: KafkaUser, password: str | None = None
) -> Cluster:
    """How this user reaches the broker that the operator reaches so. Raises as `connection`."""
    to = cluster(operator)
    return connection(state, to.bootstrap, user, password, tls=to.is_encrypted)


def administrator_properties(state: State, internal: str) -> str:
    """`client.properties` of Kafka's own tools: who uses them may read the log and do everything else."""
    lines = {
        "bootstrap.servers": internal,
        "security.protocol": "SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": state.tls / certificates.ADMIN,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": state.tls / certificates.CA,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


@contextlib.contextmanager
def administrator(state: State, internal: str) -> Iterator[KafkaAdminClient]:
    """A client with the administrator's certificate: it makes users and ACLs. Raises KafkaError, OSError."""
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(
        bootstrap_servers=internal,
        client_id="yumai-kafka-users",
        security_protocol="SSL",
        ssl_context=certificates.context(state.tls),
    )
    try:
        yield admin
    finally:
        admin.close()


def put(admin: KafkaAdminClient, users: Mapping[KafkaUser, str]) -> None:
    """Users with these passwords, the table's quotas and exactly its ACLs: what else they had is taken away.

    Returns when it is in force. Raises NotInForce, KafkaError.
    """
    from kafka.admin import UserScramCredentialUpsertion

    changes = [UserScramCredentialUpsertion(u.name, SCRAM, word) for u, word in users.items()]
    refused = {u: why for u, why in admin.alter_user_scram_credentials(changes).items() if why}
    if refused:
        raise NotInForce(f"users were refused: {refused}")
    _set_quotas(admin, list(users))
    deadline = time.monotonic() + IN_FORCE_SECONDS
    while (left := _set_acls(admin, list(users))) or _unknown(admin, users):
        if time.monotonic() > deadline:
            raise NotInForce(f"not in force after {IN_FORCE_SECONDS:.0f} s: {left or 'users'}")
        time.sleep(0.05)


def _unknown(admin: KafkaAdminClient, users: Mapping[KafkaUser, str]) -> bool:
    found = admin.describe_user_scram_credentials([user.name for user in users])
    return not all(found.get(user.name, {}).get("credential_infos") for user in users)


def _set_quotas(admin: KafkaAdminClient, users: Sequence[KafkaUser]) -> None:
    """Sets each user's quotas on the broker. Raises NotInForce."""
    from kafka.protocol.admin import AlterClientQuotasRequest

    entries = [
        (
            [("user", user.name)],
            [(key, float(value), False) for key, value in dataclasses.asdict(user.quota).items()],
        )
        for user in users
        if user.quota is not None
    ]
    if not entries:
        return
    # kafka-python has the request, and no method for it.
    request = AlterClientQuotasRequest(entries=entries, validate_only=False)
    answer = admin._manager.run(admin._manager.send, request)
    refused = [entry.error_message for entry in answer.entries if entry.error_code]
    if refused:
        raise NotInForce(f"quotas were refused: {refused}")


Acl = tuple[str, str, str, str, str]
"""Principal, resource type, resource name, pattern, operation; allowed from every host."""


def acls(user: KafkaUser) -> set[Acl]:
    """The table's lines as Kafka has them."""
    patterns = {"literal": "LITERAL", "prefix": "PREFIXED"}
    return {
        (f"User:{user.name}", g.resource.upper(), g.name, patterns[g.pattern], op.upper())
        for g in user.grants
        for op in g.operations
    }


def _set_acls(admin: KafkaAdminClient, users: Sequence[KafkaUser]) -> list[Acl]:
    """Creates and deletes ACLs until the broker equals the table; returns the differences."""
    from kafka import admin as kinds

    found = set(allowed(admin))
    mine = {f"User:{user.name}" for user in users}
    wanted = {acl for user in users for acl in acls(user)}
    missing = wanted - found
    extra = {acl for acl in found if acl[0] in mine} - wanted
    if missing:
        admin.create_acls([_acl(kinds.ACL, kinds.ResourcePattern, acl) for acl in missing])
    if extra:
        admin.delete_acls([_acl(kinds.ACLFilter, kinds.ResourcePatternFilter, a) for a in extra])
    return sorted(missing | extra)


def allowed(admin: KafkaAdminClient) -> list[Acl]:
    """Every ACL of the broker; one that is no plain "allow from everywhere" shows its own words."""
    from kafka import admin as kinds

    everything = kinds.ACLFilter(
        None,
        None,
        kinds.ACLOperation.ANY,
        kinds.ACLPermissionType.ANY,
        kinds.ResourcePatternFilter(kinds.ResourceType.ANY, None, kinds.ACLResourcePatternType.ANY),
    )
    found, _ = admin.describe_acls(everything)
    return [
        (
            acl.principal,
            acl.resource_pattern.resource_type.name,
            acl.resource_pattern.resource_name,
            acl.resource_pattern.pattern_type.name,
            acl.operation.name
            if (acl.permission_type.name, acl.host) == ("ALLOW", "*")
            else f"{acl.permission_type.name} {acl.operation.name} from {acl.host}",
        )
        for acl in found
    ]


def _acl(kind, pattern, acl: Acl):  # type: ignore[no-untyped-def]
    from kafka import admin as kinds

    principal, resource, name, form, operation = acl
    permission, host = kinds.ACLPermissionType.ALLOW, "*"
    if " from " in operation:
        said, operation, _, host = operation.split(" ", 3)
        permission = kinds.ACLPermissionType[said]
    return kind(
        principal,
        host,
        kinds.ACLOperation[operation],
        permission,
        pattern(kinds.ResourceType[resource], name, kinds.ACLResourcePatternType[form]),
    )
