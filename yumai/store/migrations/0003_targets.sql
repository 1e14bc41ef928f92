-- Targets, a row a version, as targets.v1 tells them: every record carries its key's whole history.
-- The former table numbered versions by offset; it is made anew and read from the log's start.
DROP TABLE IF EXISTS targets{dropped};

CREATE TABLE targets{everywhere}
(
    year UInt16,
    district LowCardinality(String) COMMENT 'code, or city',
    sector LowCardinality(String) COMMENT 'code, or empty: all services',
    form LowCardinality(String),
    value Float64,
    target_fen Int64 COMMENT '0 for a share',
    base_fen Nullable(Int64) COMMENT 'what a growth was applied to',
    base_approximate UInt8 DEFAULT 0 COMMENT 'the base came through the crosswalk of the division change',
    basis String,
    note String,
    by String,
    at DateTime64(3, 'UTC'),
    version UInt64 COMMENT '1, 2, … of each key'
)
ENGINE = {replicated}
ORDER BY (year, district, sector, version);

INSERT INTO projections (topic, part, next_offset, written_at) VALUES ('targets.v1', 0, 0, now64(3));
