-- What audits, backups and restores found, for alarms and for housekeeping (`yumai/store/runs.py`).
CREATE TABLE maintenance_runs{everywhere}
(
    kind LowCardinality(String) COMMENT 'audit, backup or restore',
    name String COMMENT 'the backup, or the instant it began',
    at DateTime64(3, 'UTC') COMMENT 'when it ended',
    seconds Float64,
    ok UInt8,
    report String COMMENT 'JSON'
)
ENGINE = {replicated[at]}
ORDER BY (kind, name);
