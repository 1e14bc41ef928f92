-- Steps of alerts, as alerts.v1 tells them. Of two records with one (id, seq) the first in the log holds.
-- The former table knew no order of records; it is made anew and read from the log's start.
DROP TABLE IF EXISTS alerts{dropped};

CREATE TABLE alerts{everywhere}
(
    id String,
    seq UInt32,
    at DateTime64(3, 'UTC'),
    by String,
    year UInt16,
    district LowCardinality(String),
    kind LowCardinality(String),
    state LowCardinality(String),
    level LowCardinality(String),
    text String,
    sectors String COMMENT 'JSON: the sectors inside',
    figures String COMMENT 'JSON: a progress row, as it was',
    escalated_at Nullable(DateTime64(3, 'UTC')),
    work_item_id String,
    version UInt64 COMMENT '2^63 - offset in alerts.v1'
)
ENGINE = {replicated[version]}
ORDER BY (id, seq);

INSERT INTO projections (topic, part, next_offset, written_at) VALUES ('alerts.v1', 0, 0, now64(3));

-- What people asked, and what came of it.
CREATE TABLE actions{everywhere}
(
    id String,
    record LowCardinality(String) COMMENT 'action or verdict',
    at DateTime64(3, 'UTC'),
    kind LowCardinality(String),
    by String,
    alert_id String,
    result LowCardinality(String),
    body String COMMENT 'JSON, as recorded'
)
ENGINE = {replicated}
ORDER BY (id, record);

-- Changes of work items; an item is its events in the order of `version`.
CREATE TABLE work_item_events{everywhere}
(
    item String,
    event String,
    at DateTime64(3, 'UTC'),
    by String,
    kind LowCardinality(String),
    fields String COMMENT 'JSON',
    version UInt64 COMMENT 'offset in work-items.v1'
)
ENGINE = {replicated[version]}
ORDER BY (item, event);

-- Messages as their last attempt left them.
CREATE TABLE deliveries{everywhere}
(
    id String,
    office LowCardinality(String),
    subscription String,
    source String,
    alert_id String,
    seq UInt32,
    state LowCardinality(String),
    attempts UInt32,
    last_error String,
    created_at DateTime64(3, 'UTC'),
    at DateTime64(3, 'UTC'),
    version UInt64 COMMENT 'offset in deliveries.v1'
)
ENGINE = {replicated[version]}
ORDER BY id;
