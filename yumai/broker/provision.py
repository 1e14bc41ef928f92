"""Makes the broker's topics what the table says (`yumai/topics.py`)."""

from __future__ import annotations

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

from yumai.broker.security import Bootstrap, client_options
from yumai.topics import TOPICS, Topic, check_feeds, feed, feed_platform


def missing(bootstrap: Bootstrap, topics: tuple[Topic, ...] = TOPICS) -> list[str]:
    """Names of topics that the broker does not have."""
    admin = KafkaAdminClient(**client_options(bootstrap), client_id="yumai-topics")
    try:
        existing = set(admin.list_topics())
    finally:
        admin.close()
    return [topic.name for topic in topics if topic.name not in existing]


def ensure(bootstrap: Bootstrap, topics: tuple[Topic, ...] = TOPICS) -> list[str]:
    """Creates what is missing; the names created. An existing topic is left as it is. Raises TooAlike."""
    admin = KafkaAdminClient(**client_options(bootstrap), client_id="yumai-topics")
    created = []
    try:
        existing = set(admin.list_topics())
        check_feeds([topic.name for topic in topics], existing)
        for topic in topics:
            if topic.name in existing:
                continue
            try:
                admin.create_topics(
                    [
                        NewTopic(
                            name=topic.name,
                            num_partitions=topic.partitions,
                            replication_factor=-1,
                            topic_configs=topic.settings,
                        )
                    ]
                )
                created.append(topic.name)
            except TopicAlreadyExistsError:
                pass
        return created
    finally:
        admin.close()


def settle_feeds(admin: KafkaAdminClient) -> list[str]:
    """Gives the feeds that there are the settings of `feed`; the names changed. Raises KafkaError."""
    feeds = {n: feed(platform) for n in admin.list_topics() if (platform := feed_platform(n))}
    if not feeds:
        return []
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in feeds]
    (found,) = admin.describe_configs(asked, config_filter="all").values()
    changes = []
    for name, topic in feeds.items():
        other = {k: v for k, v in topic.settings.items() if found[name][k]["value"] != v}
        if other:
            changes.append(ConfigResource(ConfigResourceType.TOPIC, name, other))
    if changes:
        admin.alter_configs(changes)
    return sorted(change.name for change in changes)
