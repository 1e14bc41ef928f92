"""`yumai alerts`: the alerts of the running `up`, and answering them. The gateway decides; nothing is read past it."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from console import gateway
from console.cli import Refusal
from contracts.alerts.codec import State


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser(
        "alerts",
        help="districts that lag, and answering for them",
        description="Exit code 1: the gateway refused it (no such alert, not yours, it has ended).",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = _command(commands, "list", "alerts, the furthest behind first")
    listing.add_argument("--district", metavar="CODE")
    listing.add_argument("--year", metavar="YYYY")
    listing.add_argument("--alert-state", metavar="STATE", help=", ".join(get_args(State)))
    listing.add_argument(
        "--state",
        action=_EitherState,
        default=argparse.SUPPRESS,
        metavar="DIR|STATE",
        help="state directory; the name of an alert's state is that of alerts",
    )
    listing.set_defaults(run=list_alerts)

    show = _command(commands, "show", "one alert with its history")
    show.add_argument("id", metavar="ID")
    show.set_defaults(run=show_alert)

    acknowledge = _command(commands, "acknowledge", "say that it was seen")
    acknowledge.add_argument("id", metavar="ID")
    acknowledge.add_argument("--note")
    acknowledge.set_defaults(run=_acting("acknowledge", "note"))

    explain = _command(commands, "explain", "say why, what is done, and by when")
    explain.add_argument("id", metavar="ID")
    explain.add_argument("--text", required=True)
    explain.add_argument("--measure", required=True)
    explain.add_argument("--due-date", "--due_date", required=True, metavar="YYYY-MM-DD")
    explain.set_defaults(run=_acting("explain", "text", "measure", "due_date"))

    silence = _command(commands, "silence", "hold back reminders for a while")
    silence.add_argument("id", metavar="ID")
    silence.add_argument("--until", required=True, metavar="DAY|INSTANT")
    silence.add_argument("--reason", required=True)
    silence.set_defaults(run=_acting("silence", "until", "reason"))


class _EitherState(argparse.Action):
    """`--state` is the state directory of every command, and a field of this answer."""

    def __call__(self, parser, namespace, values, option_string=None):  # type: ignore[no-untyped-def]
        if values in get_args(State) and not Path(values).is_dir():
            namespace.alert_state = values
        else:
            namespace.state = Path(values)


def _command(commands, name: str, about: str) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about)
    gateway.add_role(parser)
    return parser


def list_alerts(args: argparse.Namespace) -> int:
    asked = {"district": args.district, "state": args.alert_state, "year": args.year}
    answer = gateway.get(args, "/v1/alerts", asked)
    if args.json:
        print(json.dumps(answer, ensure_ascii=False))
        return 0
    for alert in answer["data"]:
        print(_line(alert))
    if not answer["data"]:
        print("no alerts")
    return 0


def show_alert(args: argparse.Namespace) -> int:
    answer = gateway.get(args, f"/v1/alerts/{quote(args.id, safe='')}", {})
    if args.json:
        print(json.dumps(answer, ensure_ascii=False))
        return 0
    alert = answer["data"]
    print(_line(alert))
    for sector in alert["sectors"]:
        print(f"  {sector['sector']}  {sector['level'] or '-':6}  {_percent(sector['pace'])}")
    for step in alert["history"]:
        pace = _percent(step["figures"].get("pace"))
        said = f"  {step['text']}" if step["text"] else ""
        print(
            f"  {step['seq']:3}  {step['at']}  {step['kind']:12}  {step['level'] or '-':6}"
            f"  {pace}  {step['by']}{said}"
        )
    return 0


def _acting(kind: str, *fields: str) -> Callable[[argparse.Namespace], int]:
    def act(args: argparse.Namespace) -> int:
        body = {name: value for name in fields if (value := getattr(args, name)) is not None}
        path = f"/v1/alerts/{quote(args.id, safe='')}/{kind}"
        answer = gateway.call(args, "POST", path, body=json.dumps(body).encode())
        said = answer.json()
        if args.json:
            print(json.dumps(said, ensure_ascii=False))
        if answer.status_code >= 300:
            raise Refusal("; ".join(error["message"] for error in said["errors"]), exit_code=1)
        if not args.json:
            kept = "kept, done once alerts is back: " if answer.status_code == 202 else ""
            print(kept + _line(said["data"]))
        return 0

    return act


def _line(alert: dict[str, Any]) -> str:
    marks = [
        mark
        for mark, is_so in (("escalated", alert["escalated_at"]), ("silenced", alert["silence"]))
        if is_so
    ]
    pace = _percent(alert["figures"].get("pace"))
    parts = [alert["id"], alert["state"], alert["level"] or "-", pace, *marks]
    return "  ".join(parts)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
