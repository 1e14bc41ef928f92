"""`yumai canary`: one synthetic entry through every door, followed until the API shows it."""

import argparse
import contextlib
import json
import logging
from typing import Any

from console.cli import Refusal
from console.running import addresses, kafka_users
from console.running.state import State
from yumai.broker.principals import CANARY
from yumai.broker.security import Bootstrap


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser(
        "canary",
        help="a synthetic entry through every door, until the API shows it",
        description="One round: an entry in every format over HTTP, as a file and into the Kafka feed,"
        " followed until GET /v1/cells shows it. No figure includes it. Exit code 0: all arrived, to the"
        " fen; 1: a door failed. 每个入口发送一条合成记录，直至接口可查；不计入任何统计。",
    )
    parser.add_argument("--door", action="append", metavar="DOOR", help="only this one; repeatable")
    parser.add_argument("--patience", type=float, default=60.0, metavar="S", help="seconds to wait")
    parser.add_argument("--ingest", metavar="URL", help="default: what `up` started")
    parser.add_argument("--gateway", metavar="URL", help="default: what `up` started")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka; default: as above")
    parser.add_argument("--key", help="the canary platform's key (default: signed in the state)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from kafka.errors import KafkaError

    from services.canary import round as rounds
    from services.canary.entry import DOORS
    from yumai import canary
    from yumai.access import Identity
    from yumai.broker import provision

    for door in args.door or ():
        if door not in DOORS:
            raise Refusal(f"--door {door}: want one of {', '.join(DOORS)}")
    at = addresses.of(args.state)
    if not at.up_runs and not (args.ingest and args.gateway and args.bootstrap and args.key):
        raise Refusal(
            f"`yumai up` does not run for {args.state}: start it, or give --ingest, --gateway,"
            " --bootstrap and --key"
        )
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    bootstrap: Bootstrap = args.bootstrap or at.bootstrap
    if not args.bootstrap:
        # The round says what is wrong with the broker.
        with contextlib.suppress(KafkaError, OSError):
            provision.ensure(bootstrap, (rounds.FEED,))
        bootstrap = kafka_users.of_same_broker(State(args.state), at.bootstrap, CANARY)
    key = args.key or Identity(at.identity).issue_token(f"platform:{canary.PLATFORM}", days=1)
    target = rounds.Target(args.ingest or at.ingest, args.gateway or at.gateway, bootstrap, key)
    outcomes = rounds.run(target, tuple(args.door or DOORS), args.patience)
    if args.json:
        print(json.dumps([outcome.row() for outcome in outcomes], ensure_ascii=False))
    else:
        show(outcomes)
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def show(outcomes: list[Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("door 入口")
    table.add_column("acknowledged 已确认", justify="right")
    table.add_column("in the API 可查", justify="right")
    table.add_column("")
    for outcome in outcomes:
        seconds = [
            "–" if s is None else f"{s:.2f} s"
            for s in (outcome.acknowledged_seconds, outcome.visible_seconds)
        ]
        said = "[green]ok[/]" if outcome.ok else f"[red]{outcome.fault}[/]: {escape(outcome.error)}"
        table.add_row(outcome.door, *seconds, said)
    Console(highlight=False).print(table)
