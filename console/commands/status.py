"""`yumai status`: what runs, how far behind it is, what is in the books. It answers within 5 s, also when services are dead."""

import argparse
import json
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from console.running import addresses, probes
from console.running.state import State, lives
from embedded import secret_files

PROBE_TIMEOUT = 1.5
FIGURES_TIMEOUT = 3.4
FIGURES = ("lag", "freshness", "rates", "counts")
EMPTY: dict[str, dict[str, Any]] = {
    "lag": {"records": None, "seconds": None, "partitions": {}},
    "freshness": {},
    "rates": {},
    "counts": dict.fromkeys(("booked", "duplicate", "conflicting", "dead")),
}


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser("status", help="what runs, how far behind, what is booked")
    parser.set_defaults(run=status)


def status(args: argparse.Namespace) -> int:
    logging.disable(logging.CRITICAL)  # what a client library has to say is in `problems`
    answer = collect(State(args.state))
    if args.json:
        print(json.dumps(answer, ensure_ascii=False, default=str))
    else:
        from console.status_table import show

        show(answer)
    return 0


def collect(state: State) -> dict[str, Any]:
    """Probes everything at once, each in a thread that nobody waits for longer than its time."""
    up = state.read_up()
    running = state.is_up()
    problems: list[str] = []
    if up is None:
        problems.append(f"nothing was ever started in {state.directory}: run `yumai up`")
        up = {}
    elif not running:
        problems.append(f"`yumai up` does not run for {state.directory}: start it")
    began = time.monotonic()
    figures = _background(lambda: _figures(state)) if up else None
    told = _background(lambda: _signals(state, up, began)) if running else None
    listed = processes(up)
    if running:
        problems += [f"{p['name']}: {p['reason']}" for p in listed if not p["healthy"]]
    read = figures(began + FIGURES_TIMEOUT) if figures else {}
    if not isinstance(read, dict):
        problems.append(f"figures: {'no answer in time' if read is None else read}")
        read = {}
    problems += read.get("problems", [])
    signals = told(began + FIGURES_TIMEOUT) if told else None
    if running and waits_for_workers(listed, read.get("lag") or {}):
        problems.append("no metrics worker runs, so records wait: `yumai scale metrics 1`")
    return {
        "up": {
            "running": running,
            "pid": up.get("pid") if running else None,
            "page": up.get("page"),
        },
        "processes": listed,
        **{key: read.get(key) or EMPTY[key] for key in FIGURES},
        **{key: value for key, value in read.items() if key not in (*FIGURES, "problems")},
        **(signals if isinstance(signals, dict) else {}),
        "problems": problems,
    }


def waits_for_workers(listed: list[dict[str, Any]], lag: dict[str, Any]) -> bool:
    return bool(lag.get("records")) and not any(p["name"].startswith("metrics-") for p in listed)


def processes(up: dict[str, Any]) -> list[dict[str, Any]]:
    """Every process of `run/up.json`, and whether it works."""
    known: list[dict[str, Any]] = up.get("processes", [])
    began = time.monotonic()
    probing = [_background(partial(_probe, process, bool(up.get("stopped")))) for process in known]
    listed = []
    for process, wait in zip(known, probing, strict=True):
        health = wait(began + PROBE_TIMEOUT + 1.0)
        if not isinstance(health, probes.Health):
            health = probes.Health(False, "no answer in time" if health is None else str(health))
        keys = ("name", "pid", "url", "data_dir", "restarts")
        entry = {key: process[key] for key in keys if key in process}
        listed.append(entry | {"healthy": health.healthy, "reason": health.reason})
    return listed


def _probe(process: dict[str, Any], stopped: bool) -> probes.Health:
    if process.get("pid") is None:
        if stopped:
            return probes.Health(False, "stopped")
        begun = process.get("starts", 1)
        return probes.Health(False, "died, about to be restarted" if begun else "not started yet")
    if not lives(process):
        return probes.Health(False, "not running")
    # An older `up` wrote no address to ask its broker at.
    return probes.ask(process.get("health") or f"kafka://{process['url']}", PROBE_TIMEOUT)


def _figures(state: State) -> dict[str, Any] | str:
    """Shared with the gateway; its clients are heavy, so they are imported here, beside the probes."""
    began = time.monotonic()
    from yumai.broker import status_figures

    at = addresses.of(state.directory)
    # On a busy machine the import alone takes a second.
    left = FIGURES_TIMEOUT - (time.monotonic() - began) - 0.2
    return status_figures.read(at.bootstrap, at.dsn, max(left, 1.2))


def _signals(state: State, up: dict[str, Any], began: float) -> dict[str, Any]:
    from console.running import signals

    engines = ("broker", "store")
    urls = [p["url"] for p in up.get("processes", []) if p["name"] not in engines]
    token = secret_files.read(state.metrics_token) if state.metrics_token.exists() else ""
    return signals.read_all(urls, began + FIGURES_TIMEOUT - 0.3, _background, token)


def _background(work: Callable[[], Any]) -> Callable[[float], Any]:
    """Starts `work`; the result waits until a moment for it: its value, an exception's text, or None.

    Daemon threads, not a pool: at the end of the process a pool waits for calls that never return.
    """
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(work())
        except Exception as error:
            result.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait(until: float) -> Any:
        thread.join(max(until - time.monotonic(), 0.0))
        return result[0] if result else None

    return wait
