"""The table of Kafka users: complete, least, and nothing that is not needed."""

from __future__ import annotations

import pytest

from services.gateway import register
from services.metrics import projections
from yumai import topics
from yumai.broker import principals
from yumai.journal import fold

OTHERS = [*principals.KAFKA_USERS.values(), principals.platform("unipay")]


def test_a_platform_writes_its_feed_and_nothing_else() -> None:
    (grant,) = principals.platform("unipay").grants
    assert (grant.resource, grant.name, grant.pattern, grant.operations) == (
        "topic",
        "feed.unipay.v1",
        "literal",
        ("write",),
    )


@pytest.mark.parametrize("user", OTHERS, ids=lambda user: user.name)
def test_nobody_has_more_than_topics_and_groups(user: principals.KafkaUser) -> None:
    named = {topic.name for topic in topics.TOPICS} | {principals.OFFSETS_TOPIC}
    for grant in user.grants:
        assert grant.resource in ("topic", "group")
        assert grant.why
        if grant.resource == "topic" and grant.pattern == "literal":
            assert grant.name in named or topics.feed_platform(grant.name)
        if grant.pattern == "prefix":
            assert grant.name == topics.FEED_PREFIX
        # What Kafka gives with another operation is not named again.
        assert not ("describe" in grant.operations and len(grant.operations) > 1) or (
            grant.operations == ("create", "describe")
        )
    places = [(g.resource, g.name, g.pattern) for g in user.grants]
    assert len(places) == len(set(places)), "one line a resource"


def test_only_the_operator_creates_or_deletes() -> None:
    for user in OTHERS:
        for grant in user.grants:
            if {"create", "delete"} & set(grant.operations):
                assert user is principals.OPERATOR


def test_every_topic_is_made_written_and_read_by_somebody() -> None:
    for topic in topics.TOPICS:
        of = [
            (user.name, set(g.operations))
            for user in principals.KAFKA_USERS.values()
            for g in user.grants
            if g.name == topic.name
        ]
        for operation in ("create", "write", "read"):
            assert any(operation in operations for _, operations in of), (topic.name, operation)


def test_names_are_one_each() -> None:
    names = [user.name for user in OTHERS]
    assert len(names) == len(set(names))


def readable(user: principals.KafkaUser) -> set[str]:
    return {g.name for g in user.grants if g.resource == "topic" and "read" in g.operations}


def test_who_reads_a_topic_may_read_it_and_no_other() -> None:
    followed = {topic.name for topic in register.FOLLOWED}
    assert followed | {topics.COMMITS.name, topics.ENTRIES.name} == readable(principals.GATEWAY)
    journal = {topic.name for topic in fold.TOPICS}
    assert journal | {topics.COMMITS.name} == readable(principals.ALERTS)
    projected = set(projections.PROJECTED)
    assert projected | {topics.ENTRIES.name, topics.EPOCHS.name} == readable(principals.METRICS)
