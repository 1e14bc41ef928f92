"""`yumai housekeeping`: deletes old records of the log, below every open block. Off unless asked for."""

import argparse
import json
import time

from kafka.errors import KafkaError

from console.cli import Refusal
from console.running import addresses
from contracts.days import DAY_MS
from yumai.broker import epochs, housekeeping
from yumai.store.client import STORE_ERRORS


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser(
        "housekeeping",
        help="delete old records of the log",
        description="The whole store can be rebuilt from the log; after this only from a backup on. So it"
        " deletes only what the last verified backup (`yumai backup`) holds, and only with --delete.",
    )
    parser.add_argument("--keep-days", type=int, default=30, metavar="N", help="default: 30")
    parser.add_argument("--delete", action="store_true", help="without it: what would be deleted")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    at = addresses.of(args.state)
    try:
        epoch = epochs.current(at.bootstrap)
        starts = housekeeping.open_block_starts(at.dsn, epoch)
        backup, held = housekeeping.last_backup(at.dsn) or ("", {})
        starts = {
            part: min(start, held.get((epoch.epoch, part), 0)) for part, start in starts.items()
        }
        older_than = int(time.time() * 1000) - args.keep_days * DAY_MS
        below = housekeeping.deletable(at.bootstrap, starts, older_than)
        if args.delete and below:
            housekeeping.delete(at.bootstrap, below)
    except (KafkaError, epochs.NoEpoch, *STORE_ERRORS) as error:
        raise Refusal(f"broker or store can't be asked: {error}") from error
    if args.json:
        answer = {
            "deleted": bool(args.delete and below),
            "backup": backup or None,
            "below": {str(part): offset for part, offset in below.items()},
            "held": {str(part): offset for part, offset in starts.items()},
        }
        print(json.dumps(answer))
        return 0
    if not backup:
        print("nothing to delete: there is no verified backup yet; `yumai backup` makes one")
    elif not below:
        print(f"nothing to delete: what is older is not in backup {backup}, or gone already")
    for part, offset in below.items():
        done = "deleted" if args.delete else "would delete"
        print(f"partition {part}: {done} the records below offset {offset} (backup {backup})")
    if below and not args.delete:
        print("nothing was deleted; say --delete")
    return 0
