-- The ledger. Idempotent by position: a row written twice is the same row. Ordered by position, so
-- that every insert arrives sorted, a block is one range, and Seen loads its tail as one range. The
-- skip index answers "which of these ids stand before this position" without reading the column.
CREATE TABLE entries{shard}
(
    epoch UInt16,
    part UInt16,
    off UInt64,
    row UInt16,
    id FixedString(16) CODEC(NONE),
    content UInt64 CODEC(NONE),
    receipt_low UInt64,
    receipt_row UInt32,
    recorded_date Date,
    occurred_at DateTime64(3, 'Asia/Shanghai'),
    kind Enum8('sale' = 1, 'refund' = 2, 'sale_reversal' = 3, 'refund_reversal' = 4),
    amount_fen Int64,
    district UInt32,
    sector Enum8('U00' = 0, 'S01' = 1, 'S02' = 2, 'S03' = 3, 'S04' = 4, 'S05' = 5, 'S06' = 6, 'S07' = 7,
        'S08' = 8, 'S09' = 9, 'S10' = 10, 'S11' = 11, 'S12' = 12, 'S99' = 99, 'G00' = 100, 'X00' = 101),
    platform LowCardinality(String),
    merchant UInt64,
    classified_by UInt8,
    map_version UInt32,
    INDEX ids id TYPE bloom_filter(0.0001) GRANULARITY 1
)
ENGINE = {replicated_shard}
ORDER BY (epoch, part, off, row){distributed[entries part]};

-- Partial cells: totals of one cell in one block of the log up to last_offset; the highest wins.
-- Figures are sums over blocks with FINAL. Sums of a block fit Int64; sums of sums are Int128.
CREATE TABLE cells{shard}
(
    period DateTime('Asia/Shanghai') COMMENT 'start of the hour in which it occurred',
    recorded_date Date,
    district UInt32,
    sector Enum8('U00' = 0, 'S01' = 1, 'S02' = 2, 'S03' = 3, 'S04' = 4, 'S05' = 5, 'S06' = 6, 'S07' = 7,
        'S08' = 8, 'S09' = 9, 'S10' = 10, 'S11' = 11, 'S12' = 12, 'S99' = 99, 'G00' = 100, 'X00' = 101),
    platform LowCardinality(String),
    epoch UInt16,
    part UInt16,
    block UInt64,
    last_offset UInt64,
    entries UInt32,
    sales_fen Int64,
    refunds_fen Int64,
    sale_reversals_fen Int64,
    refund_reversals_fen Int64
)
ENGINE = {replicated_shard[last_offset]}
ORDER BY (period, recorded_date, district, sector, platform, epoch, part, block){distributed[cells part]};

-- How far each block is written. The start of a partition is the lowest incomplete block.
CREATE TABLE blocks{shard}
(
    epoch UInt16,
    part UInt16,
    block UInt64,
    last_offset UInt64,
    entries UInt64,
    net_fen Int64,
    complete UInt8,
    function_version UInt16,
    written_at DateTime64(3, 'UTC')
)
ENGINE = {replicated_shard[last_offset]}
ORDER BY (epoch, part, block){distributed[blocks part]};

-- Every record appended before `through` is booked; closed days follow from its minimum.
CREATE TABLE progress{shard}
(
    epoch UInt16,
    part UInt16,
    through DateTime64(3, 'UTC'),
    next_offset UInt64,
    worker LowCardinality(String),
    stopped String COMMENT 'empty, or why this partition stands still and what to type',
    written_at DateTime64(3, 'UTC')
)
ENGINE = {replicated_shard[written_at]}
ORDER BY (epoch, part){distributed[progress part]};

-- Entries booked of a receipt, by block.
CREATE TABLE receipt_bookings{shard}
(
    receipt FixedString(16),
    epoch UInt16,
    part UInt16,
    block UInt64,
    last_offset UInt64,
    booked UInt32
)
ENGINE = {replicated_shard[last_offset]}
ORDER BY (receipt, epoch, part, block){distributed[receipt_bookings part]};

-- Duplicates and conflicts, a row each; keyed by (receipt, row), so a second delivery counts once.
CREATE TABLE verdicts{shard}
(
    receipt FixedString(16),
    row UInt32,
    verdict Enum8('duplicate' = 1, 'conflict' = 2),
    platform LowCardinality(String),
    epoch UInt16,
    part UInt16,
    off UInt64,
    recorded_at DateTime64(3, 'UTC')
)
ENGINE = {replicated_shard}
ORDER BY (receipt, row){distributed[verdicts part]};

-- Projection of receipts.v1: what ingest acknowledged.
CREATE TABLE receipts{shard}
(
    receipt FixedString(16),
    platform LowCardinality(String),
    received UInt32,
    accepted UInt32,
    rejected UInt32,
    format LowCardinality(String),
    at DateTime64(3, 'UTC'),
    version UInt64 COMMENT 'offset in receipts.v1'
)
ENGINE = {replicated_shard[version]}
ORDER BY receipt{distributed[receipts cityHash64(receipt)]};

-- Projection of dead-letters.v1, for 30 days.
CREATE TABLE dead_letters{shard}
(
    receipt FixedString(16),
    row UInt32,
    platform LowCardinality(String),
    code LowCardinality(String),
    field LowCardinality(String),
    message String,
    at DateTime64(3, 'UTC'),
    size UInt32,
    sha256 FixedString(32),
    bytes String CODEC(ZSTD(1))
)
ENGINE = {replicated_shard}
ORDER BY (receipt, row)
TTL toDateTime(at) + INTERVAL 30 DAY{distributed[dead_letters cityHash64(receipt)]};

-- What a platform sent on a day, as booked: both sides can sign it.
CREATE VIEW control_totals{everywhere} AS
SELECT
    toDate(period) AS date,
    platform,
    sum(c.entries) AS entries,
    sum(toInt128(c.sales_fen)) AS sales_fen,
    sum(toInt128(c.refunds_fen)) AS refunds_fen,
    sum(toInt128(c.sale_reversals_fen) + toInt128(c.refund_reversals_fen)) AS reversals_fen,
    sum(toInt128(c.sales_fen) - c.refunds_fen - c.sale_reversals_fen + c.refund_reversals_fen) AS net_fen
FROM cells AS c FINAL
GROUP BY date, platform;
