"""`yumai backup` and `yumai restore`: the same jobs as in a cluster, and the identities beside them."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from console.cli import Refusal
from console.running import addresses
from yumai.store.backup import check_name, new_name

BACKUP_TO = "Disk('backups', '{name}')"
"""The one place that the embedded store writes to beside its data: DIR/backups."""


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser(
        "backup",
        help="back the books up, and prove the backup by restoring it beside them",
        description="Into DIR/backups. The log is not in it: it has all of this, and the books since.",
    )
    parser.add_argument("--name", type=_name, metavar="NAME", help="default: by the time")
    parser.set_defaults(run=back_up)
    parser = subparsers.add_parser(
        "restore",
        help="put a backup in the books' place",
        description="Stop the workers first: `yumai scale metrics 0`. They read the log on from there.",
    )
    parser.add_argument("name", type=_name, metavar="NAME")
    parser.add_argument("--replace", action="store_true", help="drop the books that are there")
    parser.set_defaults(run=restore)


def _name(text: str) -> str:
    try:
        return check_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def back_up(args: argparse.Namespace) -> int:
    name = args.name or new_name()
    done = _maintain(args, "backup", "--name", name)
    identity = addresses.of(args.state).identity
    if done == 0 and identity.is_dir():
        _keep(identity, args.state / "backups" / f"{name}.identity")
    return done


def restore(args: argparse.Namespace) -> int:
    return _maintain(args, "restore", args.name, *(["--replace"] if args.replace else []))


def _keep(identity: Path, folder: Path) -> None:
    """Keys can't be rebuilt from the log. Only their owner may read the copy."""
    shutil.copytree(identity, folder, dirs_exist_ok=True)
    folder.chmod(0o700)


def _maintain(args: argparse.Namespace, *words: str) -> int:
    at = addresses.of(args.state)
    environment = {
        **os.environ,
        "CLICKHOUSE_DSN": at.dsn,
        "CLICKHOUSE_PASSWORD_FILE": "",
        "YUMAI_BACKUP_TO": os.environ.get("YUMAI_BACKUP_TO") or BACKUP_TO,
    }
    command = [sys.executable, "-m", "services.maintenance", *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1, 2) or not done.stdout:
        raise Refusal(f"{' '.join(words)} ended with {done.returncode}")
    if args.json:
        print(done.stdout, end="")
        return done.returncode
    told = json.loads(done.stdout)
    if "error" in told:
        raise Refusal(told["error"])
    if not told["ok"]:
        print(f"WRONG: {told['wrong']}")
    else:
        print(
            f"{told['name']}: {told['entries']:,} entries in {told['blocks']:,} complete blocks and"
            f" open ones, net {told['net_fen']:,} fen, audited ({told['seconds']} s)"
        )
    return done.returncode
