-- A merchant's number as the ledger has it: made of the texts by the store itself, so that no row keeps
-- one of an older function.
ALTER TABLE merchants{everywhere} DROP COLUMN IF EXISTS merchant;

ALTER TABLE merchants{everywhere} ADD COLUMN IF NOT EXISTS
    merchant UInt64 ALIAS reinterpretAsUInt64(substring(SHA256(concat(platform_id, '\x1f', merchant_id)), 1, 8))
    COMMENT 'the key the ledger carries' AFTER merchant_id;
