"""`yumai keys` and `yumai token`: identities of the embedded set-up."""

import argparse
import json
import sys
import time

from console.cli import Refusal
from console.running import addresses, kafka_users, probes
from console.running.addresses import Addresses
from console.running.state import State
from embedded import secret_files
from yumai.access import Identity
from yumai.broker.security import client_options, java_properties
from yumai.platforms import is_platform_id, why_not

TOPIC_SECONDS = 30.0


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    keys = subparsers.add_parser("keys", help="keys of platforms")
    commands = keys.add_subparsers(title="commands", metavar="COMMAND", required=True)
    issue = commands.add_parser("issue", help="a new key; the platform's feed topic is there then")
    issue.add_argument("--platform", required=True, metavar="ID", help="letters, digits, . _ -")
    issue.set_defaults(run=issue_key)
    listing = commands.add_parser("list", help="whose keys are valid, by their short names")
    listing.set_defaults(run=list_keys)
    revoke = commands.add_parser(
        "revoke",
        help="take keys back",
        description="In force at once, for streams and exports under way too. Its Kafka user ends"
        " with `keys kafka`.",
    )
    revoke.add_argument("--platform", required=True, metavar="ID")
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("--key", metavar="NAME", help="the key of this short name (`keys list`)")
    which.add_argument("--all", action="store_true", help="every key of the platform")
    revoke.set_defaults(run=revoke_keys)
    kafka = commands.add_parser(
        "kafka",
        help="a platform's Kafka user, with a new password",
        description="The old password ends with it; connections that are open stay. The user may"
        " write the platform's feed topic and nothing else.",
    )
    kafka.add_argument("--platform", required=True, metavar="ID")
    kafka.set_defaults(run=issue_kafka_user)

    token = subparsers.add_parser("token", help="a token for a person")
    token.add_argument(
        "--role", required=True, metavar="ROLE", help="bureau, district:CODE or platform:ID"
    )
    token.add_argument("--name", help="who it is (default: the role)")
    token.add_argument(
        "--revoke",
        action="store_true",
        help="instead take back all of the role's tokens so far; with --name those of this person",
    )
    token.set_defaults(run=issue_token)


def issue_key(args: argparse.Namespace) -> int:
    """The key is printed even when its feed topic can't be made: it is valid from now on."""
    at = addresses.of(args.state)
    _refuse_alike(at, args.platform)
    try:
        key = _identity(args).issue_key(args.platform)
    except ValueError as error:
        raise Refusal(str(error)) from error
    print(json.dumps({"key": key}), flush=True)
    missing = _make_feed(at, args.platform)
    if missing is None:
        return 0
    print(
        f"yumai: the key is valid, but {missing}. Start `yumai up`, then issue a key once more:"
        " the topic is made with it.",
        file=sys.stderr,
    )
    return 1


def list_keys(args: argparse.Namespace) -> int:
    found = sorted((platform, name) for name, platform in _identity(args).platforms().items())
    if args.json:
        print(json.dumps([{"platform": platform, "key": name} for platform, name in found]))
        return 0
    for platform, name in found:
        print(f"{name}  {platform}")
    if not found:
        print("no keys")
    return 0


def revoke_keys(args: argparse.Namespace) -> int:
    try:
        gone = _identity(args).revoke_keys(args.platform, args.key)
    except ValueError as error:
        raise Refusal(str(error)) from error
    if not gone:
        raise Refusal(f"{args.platform} has no such key: see `yumai keys list`", exit_code=1)
    print(json.dumps({"platform": args.platform, "revoked": gone}))
    return 0


def issue_kafka_user(args: argparse.Namespace) -> int:
    """Prints everything that the platform's client needs; the password is kept nowhere."""
    if not is_platform_id(args.platform):
        raise Refusal(why_not(args.platform))
    at, state = addresses.of(args.state), State(args.state)
    missing = _make_feed(at, args.platform)
    if missing is not None:
        raise Refusal(f"no user was made: {missing}")
    from kafka.errors import KafkaError

    from yumai import topics
    from yumai.broker import principals

    user, password = principals.platform(args.platform), secret_files.new()
    try:
        with kafka_users.administrator(state, at.internal) as admin:
            kafka_users.put(admin, {user: password})
    except (KafkaError, kafka_users.NotInForce, OSError) as error:
        raise Refusal(f"the user could not be made: {error}") from error
    to = kafka_users.of_same_broker(state, at.bootstrap, user, password)
    answer = {
        "topic": topics.feed(args.platform).name,
        "bootstrap": to.bootstrap,
        "security_protocol": to.protocol,
        "sasl_mechanism": to.mechanism,
        "username": to.username,
        "password": to.password,
        "ca_file": str(to.cafile) if to.cafile else None,
        "client_properties": "".join(f"{k}={v}\n" for k, v in java_properties(to).items()),
    }
    print(json.dumps(answer, indent=None if args.json else 1))
    return 0


def issue_token(args: argparse.Namespace) -> int:
    try:
        if args.revoke:
            _identity(args).revoke_tokens(args.role, args.name)
            print(json.dumps({"role": args.role, "name": args.name, "revoked": True}))
            return 0
        token = _identity(args).issue_token(args.role, args.name)
    except ValueError as error:
        raise Refusal(str(error)) from error
    print(json.dumps({"token": token}))
    return 0


def _identity(args: argparse.Namespace) -> Identity:
    state = State(args.state)
    state.create()
    return Identity(state.identity)


def _make_feed(at: Addresses, platform: str) -> str | None:
    """Makes the platform's feed topic and waits until the broker serves it; else what is missing."""
    from yumai import topics
    from yumai.broker import provision

    feed = topics.feed(platform)
    problem = f"its feed topic {feed.name} is not there"
    deadline = time.monotonic() + (
        TOPIC_SECONDS if at.up_runs else 0
    )  # `up` restarts a dead broker
    while not (health := probes.ask(at.broker_health)).healthy:
        if time.monotonic() >= deadline:
            return f"{problem}: no broker at {at.bootstrap} ({health.reason})"
        time.sleep(0.2)

    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        provision.ensure(at.bootstrap, (feed,))
        admin = KafkaAdminClient(**client_options(at.bootstrap), client_id="yumai-keys")
        try:
            admin.wait_for_topics([feed.name], timeout_ms=int(TOPIC_SECONDS * 1000))
        finally:
            admin.close()
    except (KafkaError, OSError, topics.TooAlike) as error:
        return f"{problem}: {error}"
    return None


def _refuse_alike(at: Addresses, platform: str) -> None:
    """Before a key is issued. Without a broker nothing is known of its topics: they are judged when it is made."""
    if not is_platform_id(platform) or not probes.ask(at.broker_health).healthy:
        return
    from kafka.errors import KafkaError

    from yumai import topics

    try:
        topics.check_feeds([topics.feed(platform).name], _topics_there(at))
    except topics.TooAlike as error:
        raise Refusal(f"no key was issued: {error}") from error
    except (KafkaError, OSError):
        return


def _topics_there(at: Addresses) -> set[str]:
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(**client_options(at.bootstrap), client_id="yumai-keys")
    try:
        return set(admin.list_topics())
    finally:
        admin.close()
