"""What every broker of ours is told, on one machine or in a data centre: settings that a promise rests on.

How many copies there are, ports, memory and how soon a lone node serves again are each set-up's own.
"""

from __future__ import annotations

from yumai.topics import MESSAGE_MAX_BYTES

METADATA_VERSION = "4.3-IV0"
"""Named, so that a newer Kafka does not take one by itself from which there is no way back."""
SETTINGS: dict[str, str | int] = {
    # Topics are made by the set-up step with their settings; a misspelt one is an error.
    "auto.create.topics.enable": "false",
    # A replica that lacks acknowledged records never leads.
    "unclean.leader.election.enable": "false",
    # A quiet feed's offsets must outlive any pause; the default forgets them after a week.
    "offsets.retention.minutes": 10 * 365 * 24 * 60,
    # A round of ingest.
    "message.max.bytes": MESSAGE_MAX_BYTES,
    "replica.fetch.max.bytes": MESSAGE_MAX_BYTES,
}
