"""`yumai scale SERVICE N`: asks the running `up` for more or fewer workers and waits until they run."""

import argparse
import json

from console.cli import Refusal
from console.running.processes import MOST_WORKERS, SCALABLE, SINGLE
from console.running.state import State

LONGEST = 60.0


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser("scale", help="run N workers of a service")
    parser.add_argument("service", metavar="SERVICE", help=" or ".join(SCALABLE))
    parser.add_argument("workers", metavar="N", type=int, help="0 too")
    parser.set_defaults(run=scale)


def scale(args: argparse.Namespace) -> int:
    if args.service in SINGLE:
        raise Refusal(f"there is always exactly one {args.service}; {' and '.join(SCALABLE)} scale")
    if args.service not in SCALABLE:
        raise Refusal(f"no service {args.service!r}; these scale: {', '.join(SCALABLE)}")
    if not 0 <= args.workers <= MOST_WORKERS:
        raise Refusal(f"want 0 to {MOST_WORKERS} workers, not {args.workers}")
    state = State(args.state)
    try:
        answer = state.ask(
            {"command": "scale", "service": args.service, "workers": args.workers}, LONGEST + 5
        )
    except OSError as error:
        raise Refusal(
            f"no `yumai up` answers for the state in {state.directory} ({error}); start it first", 1
        ) from error
    if "error" in answer:
        raise Refusal(answer["error"], 1)
    if args.json:
        print(json.dumps(answer))
    else:
        print(f"{args.service}: {', '.join(answer['running']) or 'no worker'}")
    return 0
