"""`yumai simulate`: entries and registry of a simulated city, to files or straight to a door."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from simulation.flow import Flow
from console import cli
from yumai import terminal

REGISTRY_ROWS = 50_000
"""Of one request; the door takes 100,000."""
FORMATS = ("ndjson", "arrow", "csv", "json", "parquet")


def _share(text: str) -> float:
    """`0.01` or `1%`."""
    value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if not 0 <= value <= 0.5:
        raise argparse.ArgumentTypeError("a share from 0 to 0.5, or 0% to 50%")
    return value


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "simulate",
        help="a simulated city's entries, to files or to a door",
        description="A simulated city: the same seed gives the same entries, day by day.",
    )
    add = parser.add_argument
    add("--seed", type=int, default=1, help="default: 1")
    add("--from", dest="first", type=cli.day, metavar="DATE", help="default: 30 days ago")
    add(
        "--to",
        dest="last",
        type=cli.day,
        metavar="DATE",
        help="inclusive; default: yesterday",
    )
    add(
        "--entries",
        type=int,
        default=100_000,
        help="over all days, without repeats; default: 100000",
    )
    add("--merchants", type=int, default=20_000, help="default: 20000")
    add("--duplicates", type=_share, default=0.01, metavar="SHARE", help="default: 1%%")
    add("--conflicts", type=_share, default=0.001, metavar="SHARE", help="default: 0.1%%")
    add("--malformed", type=_share, default=0.005, metavar="SHARE", help="default: 0.5%%")
    add("--refunds", type=_share, default=0.03, metavar="SHARE", help="default: 3%%")
    add("--reversals", type=_share, default=0.004, metavar="SHARE", help="default: 0.4%%")
    add("--late", type=_share, default=0.02, metavar="SHARE", help="1-40 days late; default: 2%%")
    add("--scale", type=float, default=1.0, metavar="FACTOR", help="of every amount; default: 1")
    add("--platform", metavar="ID", help="only this platform's entries")
    add("--format", choices=FORMATS, default="ndjson", help="default: ndjson")
    add("--rows", type=int, metavar="N", help="of a file or request, about; default: 100000")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--out", type=Path, metavar="DIR|FILE", help="FILE: one body; DIR: merchants.json too"
    )
    where.add_argument(
        "--to-url", metavar="URL", help="an ingest service, as http://127.0.0.1:8701"
    )
    add(
        "--key",
        default=os.environ.get("YUMAI_KEY"),
        help="platform key or bureau token, with --to-url (default: $YUMAI_KEY)",
    )
    add(
        "--registry",
        action="store_true",
        help="with --to-url: put the registry first (bureau token)",
    )
    parser.set_defaults(run=run, func=run)


def run(args: argparse.Namespace) -> int:
    """The exit code: 1 when a door refused a whole request."""
    from contracts.days import SHANGHAI
    from simulation.city import city
    from simulation.flow import Flow

    today = datetime.now(SHANGHAI).date()
    last = args.last or today - timedelta(days=1)
    first = args.first or min(last, today - timedelta(days=30))
    if first > last or args.entries < 0:
        print("yumai simulate: --from is after --to, or --entries is negative", file=sys.stderr)
        return 2
    if args.to_url and not args.key:
        print("yumai simulate: --to-url needs --key", file=sys.stderr)
        return 2
    try:
        flow = Flow(
            city(args.seed, args.merchants), args.seed, refunds=args.refunds, reversals=args.reversals,
            late=args.late, duplicates=args.duplicates, conflicts=args.conflicts, scale=args.scale,
            since=first, platform=args.platform,
        )  # fmt: skip
    except ValueError as wrong:
        print(f"yumai simulate: {wrong}", file=sys.stderr)
        return 2
    started = time.monotonic()
    until_ms = int(time.time() * 1000) if last >= today else None
    batches = chunks(flow, first, last, args.entries, args.rows or 100_000, until_ms)
    if args.to_url:
        return _to_door(args, flow, batches)
    summary = _to_files(args, flow, batches)
    summary["seconds"] = round(time.monotonic() - started, 2)
    print(json.dumps(summary) if getattr(args, "json", False) else _told(summary))
    return 0


def chunks(
    flow: Flow, first: date, last: date, total: int, rows: int, until_ms: int | None = None
) -> Iterator[pa.RecordBatch]:
    """The range's entries in batches of whole days with some `rows` rows; a larger day is cut."""
    import pyarrow as pa

    waiting: list[Any] = []
    size = 0
    for day, entries in flow.counts(first, last, total).items():
        batch = flow.day(day, entries, until_ms=until_ms)
        waiting.append(batch)
        size += len(batch)
        if size >= rows or day == last:
            joined = pa.Table.from_batches(waiting).combine_chunks()
            yield from (b for b in joined.to_batches(max_chunksize=rows) if len(b))
            waiting, size = [], 0


def _compact(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A slice with buffers of its own."""
    import pyarrow as pa

    return pa.Table.from_batches([batch]).combine_chunks().to_batches()[0] if len(batch) else batch


def _to_files(
    args: argparse.Namespace, flow: Flow, batches: Iterator[pa.RecordBatch]
) -> dict[str, Any]:
    import pyarrow as pa

    from simulation.formats import render

    out: Path = args.out
    written: list[str] = []
    total = 0
    if out.suffix.lstrip(".") in (*FORMATS, "jsonl", "ipc") and not out.is_dir():
        table = pa.Table.from_batches(list(batches), schema=_schema())
        whole = table.combine_chunks().to_batches()
        batch = whole[0] if whole else pa.RecordBatch.from_pylist([], schema=_schema())
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(render(batch, args.format, malformed=args.malformed, seed=args.seed))
        return {"rows": len(batch), "files": [str(out)]}
    out.mkdir(parents=True, exist_ok=True)
    merchants = out / "merchants.json"
    merchants.write_text(json.dumps(flow.city.registry(), ensure_ascii=False, indent=None))
    for number, batch in enumerate(batches):
        path = out / f"entries-{number:05d}.{args.format}"
        seed = args.seed * 1_000_003 + number
        path.write_bytes(render(_compact(batch), args.format, malformed=args.malformed, seed=seed))
        written.append(str(path))
        total += len(batch)
        _progress(f"{total:,} rows in {number + 1} files")
    _progress_end()
    return {"rows": total, "files": written, "merchants": str(merchants)}


def _schema() -> pa.Schema:
    from simulation.columns import SCHEMA

    return SCHEMA


def _to_door(args: argparse.Namespace, flow: Flow, batches: Iterator[pa.RecordBatch]) -> int:
    from simulation import door
    from simulation.formats import MEDIA_TYPES, render

    url = args.to_url.rstrip("/")
    headers = {"Authorization": f"Bearer {args.key}", "Content-Type": MEDIA_TYPES[args.format]}
    sums = {"requests": 0, "received": 0, "accepted": 0, "rejected": 0}
    receipts = []
    run_id = secrets.token_hex(8)
    stop = threading.Event()
    started = time.monotonic()
    with door.client() as http:
        try:
            if args.registry:
                rows = flow.city.registry()
                registry_headers = {**headers, "Content-Type": "application/json"}
                for low in range(0, len(rows), REGISTRY_ROWS):
                    body = json.dumps(rows[low : low + REGISTRY_ROWS]).encode()
                    door.send(http, "PUT", f"{url}/v1/merchants", body, registry_headers, stop)
            for number, batch in enumerate(batches):
                seed = args.seed * 1_000_003 + number
                body = render(_compact(batch), args.format, malformed=args.malformed, seed=seed)
                key = {"Idempotency-Key": f"simulate-{run_id}-{number}"}
                answer = door.send(http, "POST", f"{url}/v1/entries", body, headers | key, stop)
                receipts.append(answer["receipt_id"])
                sums["requests"] += 1
                for name in ("received", "accepted", "rejected"):
                    sums[name] += answer[name]
                speed = sums["accepted"] / max(time.monotonic() - started, 1e-9)
                _progress(
                    f"{sums['accepted']:,} accepted, {sums['rejected']:,} rejected, {speed:,.0f} entries/s"
                )
        except door.DoorRefused as refused:
            _progress_end()
            print(f"yumai simulate: {refused}", file=sys.stderr)
            return 1
    _progress_end()
    summary: dict[str, Any] = {**sums, "seconds": round(time.monotonic() - started, 2)}
    if getattr(args, "json", False):
        print(json.dumps({**summary, "receipts": receipts}))
    else:
        print(_told(summary))
    return 0


def _told(summary: dict[str, Any]) -> str:
    return "\n".join(
        f"{name:>10}  {len(value) if isinstance(value, list) else value}"
        for name, value in summary.items()
    )


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=terminal.plain(sys.stderr), flush=True)


def _progress_end() -> None:
    if sys.stderr.isatty():
        print(file=sys.stderr)
