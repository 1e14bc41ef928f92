"""`yumai housekeeping`: deletes old records of the log, below every open block. Off unless asked for."""

import argparse
import json
import time

from kafka.errors import KafkaError

from console import addresses
from console.commands import Refusal
from yumai.broker import epochs, housekeeping
from yumai.store.client import STORE_ERRORS

DAY_MS = 86_400_000


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser(
        "housekeeping",
        help="delete old records of the log",
        description="The log can make the whole store anew; after this only from a backup on. So it"
        " shows what it would delete, and deletes with --backup-verified alone.",
    )
    parser.add_argument("--keep-days", type=int, default=30, metavar="N", help="default: 30")
    parser.add_argument(
        "--backup-verified",
        action="store_true",
        help="a backup of the store holds what is older, and has been restored once",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    at = addresses.of(args.state)
    try:
        epoch = epochs.current(at.bootstrap)
        starts = housekeeping.open_block_starts(at.dsn, epoch)
        older_than = int(time.time() * 1000) - args.keep_days * DAY_MS
        below = housekeeping.deletable(at.bootstrap, starts, older_than)
        if args.backup_verified and below:
            housekeeping.delete(at.bootstrap, below)
    except (KafkaError, epochs.NoEpoch, *STORE_ERRORS) as error:
        raise Refusal(f"broker or store can't be asked: {error}") from error
    if args.json:
        answer = {
            "deleted": args.backup_verified,
            "below": {str(part): offset for part, offset in below.items()},
            "open_block_starts": {str(part): offset for part, offset in starts.items()},
        }
        print(json.dumps(answer))
        return 0
    if not below:
        print("nothing to delete: what is older is in an open block, or gone already")
    for part, offset in below.items():
        done = "deleted" if args.backup_verified else "would delete"
        print(f"partition {part}: {done} the records below offset {offset}")
    if below and not args.backup_verified:
        print("nothing was deleted; say --backup-verified when a backup of the store is")
    return 0
