"""Topics and users of Kafka as Strimzi's objects, from yumai/topics.py and principals.py."""

from __future__ import annotations

from typing import Any

from deploy.render import settings
from deploy.render.sizes import PRODUCTION
from yumai import canary, topics
from yumai.broker import principals
from yumai.broker.principals import Grant, KafkaUser
from yumai.topics import Topic

Doc = dict[str, Any]

API = "kafka.strimzi.io/v1"
KAFKA = "yumai"
LABELS = {"strimzi.io/cluster": KAFKA}
PLATFORMS = ("unipay", canary.PLATFORM)
"""Who delivers by Kafka: a topic and a user each. Put an installation's own here."""


def shared() -> list[Doc]:
    """KafkaTopics of `topics.TOPICS`."""
    return [
        topic(one, PRODUCTION.partitions if one is topics.ENTRIES else one.partitions)
        for one in topics.TOPICS
    ]


def users() -> list[Doc]:
    """KafkaUsers of our own processes, but for the canary, who is a platform."""
    return [user(one) for one in principals.KAFKA_USERS.values() if one is not principals.CANARY]


def platforms() -> list[Doc]:
    """Of each platform its topic, and a user who may write there and nothing else."""
    pairs = ((topics.feed(name), principals.platform(name)) for name in PLATFORMS)
    return [doc for feed, own in pairs for doc in (topic(feed, feed.partitions), user(own))]


def topic(one: Topic, partitions: int) -> Doc:
    spec = {"partitions": partitions, "replicas": PRODUCTION.copies, "config": dict(one.settings)}
    return _object("KafkaTopic", one.name, spec)


def user(one: KafkaUser) -> Doc:
    acls = [_right(grant) for grant in one.grants]
    spec: Doc = {
        "authentication": {"type": settings.SETTINGS["KAFKA_SASL_MECHANISM"].lower()},
        "authorization": {"type": "simple", "acls": acls},
    }
    if one.quota is not None:
        spec["quotas"] = {
            "producerByteRate": one.quota.producer_byte_rate,
            "requestPercentage": one.quota.request_percentage,
        }
    return _object("KafkaUser", one.name, spec)


def _right(grant: Grant) -> Doc:
    resource: Doc = {"type": grant.resource}
    if grant.resource != "cluster":
        resource |= {"name": grant.name, "patternType": grant.pattern}
    return {"resource": resource, "operations": [name.capitalize() for name in grant.operations]}


def _object(kind: str, name: str, spec: Doc) -> Doc:
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": {"name": name, "labels": dict(LABELS)},
        "spec": spec,
    }
