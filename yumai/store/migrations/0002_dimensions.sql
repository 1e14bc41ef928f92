-- Where the projections of small topics stand; a lost store reads them from the start.
CREATE TABLE projections{everywhere}
(
    topic LowCardinality(String),
    part UInt16,
    next_offset UInt64,
    written_at DateTime64(3, 'UTC')
)
ENGINE = {replicated[written_at]}
ORDER BY (topic, part);

-- Numbered logs: an epoch fixes the topic's id and its partitions.
CREATE TABLE epochs{everywhere}
(
    epoch UInt16,
    topic_id String,
    partitions UInt16,
    slot_function LowCardinality(String)
)
ENGINE = {replicated}
ORDER BY epoch;

-- The registry: a merchant's whole history of spans, as merchants.v1 last said it.
CREATE TABLE merchants{everywhere}
(
    platform_id LowCardinality(String),
    merchant_id String,
    merchant UInt64 COMMENT 'the key the ledger carries',
    district_code Array(String),
    mcc Array(String),
    industry Array(String),
    group_id Array(String),
    valid_from Array(Date32),
    valid_to Array(Date32),
    version UInt64
)
ENGINE = {replicated[version]}
ORDER BY (platform_id, merchant_id);

CREATE TABLE targets{everywhere}
(
    year UInt16,
    district LowCardinality(String) COMMENT 'code, or city',
    sector LowCardinality(String) COMMENT 'code, or empty: all services',
    form LowCardinality(String),
    value Float64,
    target_fen Int64,
    basis String,
    by String,
    at DateTime64(3, 'UTC'),
    version UInt64 COMMENT 'offset in targets.v1'
)
ENGINE = {replicated}
ORDER BY (year, district, sector, version);

-- Steps of alerts, as alerts.v1 tells them; an alert's state is its last step.
CREATE TABLE alerts{everywhere}
(
    id String,
    seq UInt32,
    at DateTime64(3, 'UTC'),
    year UInt16,
    district LowCardinality(String),
    kind LowCardinality(String),
    state LowCardinality(String),
    level LowCardinality(String),
    figures String COMMENT 'JSON, as they were'
)
ENGINE = {replicated}
ORDER BY (id, seq);

CREATE TABLE districts{everywhere}
(
    code UInt32,
    zh String,
    en String,
    kind LowCardinality(String),
    group LowCardinality(String),
    population Nullable(UInt32)
)
ENGINE = {replicated}
ORDER BY code;

CREATE TABLE sectors{everywhere}
(
    code LowCardinality(String),
    zh String,
    en String,
    kind LowCardinality(String)
)
ENGINE = {replicated}
ORDER BY code;

CREATE TABLE mcc_sectors{everywhere}
(
    mcc LowCardinality(String),
    sector LowCardinality(String),
    map_version UInt32
)
ENGINE = {replicated[map_version]}
ORDER BY mcc;
