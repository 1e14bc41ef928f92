"""Asking the gateway of a state directory as somebody: what `targets`, `progress` and other commands share."""

import argparse
import json
import sys
from typing import Any

from console.cli import Refusal
from console.running import addresses
from console.running.processes import DEFAULT_PORT_BASE, Plan
from console.running.state import State

SECONDS = 120.0


def add_role(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--as",
        dest="role",
        default="bureau",
        metavar="ROLE",
        help="bureau (default) or district:CODE",
    )
    parser.add_argument("--name", help="who it is (default: the role)")


def address(args: argparse.Namespace) -> str:
    state = State(args.state)
    up: dict[str, Any] = state.read_up() or {}
    return str(up.get("page") or Plan(state, DEFAULT_PORT_BASE).page).rstrip("/")


def call(
    args: argparse.Namespace,
    method: str,
    path: str,
    *,
    params: dict[str, Any] | None = None,
    body: bytes | None = None,
) -> Any:
    """The answer, whatever its status but 401, 403 and 5xx. Raises Refusal."""
    import httpx

    from yumai.access import Identity

    at = addresses.of(args.state)
    if not at.identity.is_dir():
        raise Refusal(f"no identities in {at.identity}: run `yumai up`")
    try:
        token = Identity(at.identity).issue_token(args.role, getattr(args, "name", None), days=1)
    except ValueError as error:
        raise Refusal(str(error)) from error
    url = address(args) + path
    try:
        answer = httpx.request(
            method,
            url,
            params={k: v for k, v in (params or {}).items() if v is not None},
            content=body,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            timeout=SECONDS,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise Refusal(
            f"the gateway at {url} does not answer: {error}. Does `yumai up` run?"
        ) from error
    if answer.status_code in (401, 403) or answer.status_code >= 500:
        raise Refusal(_words(answer), exit_code=1)
    return answer


def get(args: argparse.Namespace, path: str, params: dict[str, Any]) -> dict[str, Any]:
    """The JSON of an answer that is good. Raises Refusal."""
    answer = call(args, "GET", path, params=params)
    if answer.status_code >= 300:
        raise Refusal(_words(answer), exit_code=1)
    return answer.json()


def complain(text: str) -> None:
    print(f"yumai: {text}", file=sys.stderr)


def _words(answer: Any) -> str:
    try:
        errors = answer.json()["errors"]
        return "; ".join(
            ": ".join(str(e[k]) for k in ("field", "message") if e.get(k)) for e in errors
        )
    except (json.JSONDecodeError, KeyError, TypeError):
        return f"{answer.request.url}: HTTP {answer.status_code}: {answer.text[:300]}"
