"""The demo city: pours registry, targets and history into a running set-up, then keeps it alive.

The platforms of the demo see COVERAGE of the city's spend (docs/methods.md, The simulated city), in
history and live alike. Some 5,000 entries stand for a day of history, so that each is the sum of
some thousand tickets; the live stream sends single tickets at the same yuan a second.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from simulation.demo.live import RATE, live
from simulation.demo.pour import ENTRIES, pour
from simulation.demo.progress import SEED


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m simulation.demo", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    pouring = commands.add_parser("pour", help="registry, targets, history")
    living = commands.add_parser("live", help="a stream of present entries")
    for one in (pouring, living):
        one.add_argument("--ingest", required=True, metavar="URL")
        one.add_argument(
            "--token", default=os.environ.get("YUMAI_TOKEN"), help="the bureau's; or YUMAI_TOKEN"
        )
        one.add_argument("--seed", type=int, default=SEED)
    pouring.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka; default KAFKA_BOOTSTRAP")
    pouring.add_argument("--entries", type=int, default=ENTRIES)
    pouring.add_argument("--state", type=Path, default=Path(".yumai"))
    living.add_argument("--rate", type=float, default=RATE, help="entries a second")
    living.add_argument("--state", type=Path)
    args = parser.parse_args(arguments)
    if not args.token:
        parser.error("--token is missing")
    if args.command == "live":
        if args.rate <= 0:
            parser.error("--rate is more than 0")
        live(args.ingest, args.token, args.rate, state_dir=args.state, seed=args.seed)
        return 0
    done = pour(
        args.ingest, args.token, args.state,
        bootstrap=args.bootstrap, entries=args.entries, seed=args.seed,
    )  # fmt: skip
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
