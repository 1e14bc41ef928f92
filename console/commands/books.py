"""`yumai audit`, `receipts` and `dead-letters`: what the books say, and the proof that they are right."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from console.cli import Refusal, day
from console.running import addresses

CELLS_SHOWN = 20
# Seconds: a store that hangs is no longer waited for, and a row that was refused a moment ago is on its way there.
STORE_ANSWERS, SHOW_WAITS = 30.0, 3.0
_LETTERS = """
    SELECT lower(hex(receipt)) AS receipt_id, row, platform AS platform_id, toString(code) AS code,
        nullIf(toString(field), '') AS field, replaceOne(toString(at, 'UTC'), ' ', 'T') || '+00:00' AS at,
        size, lower(hex(sha256)) AS sha256{bytes}
    FROM dead_letters FINAL
    WHERE ({{platform:String}} = '' OR platform = {{platform:String}})
        AND ({{code:String}} = '' OR code = {{code:String}})
    ORDER BY dead_letters.at DESC, receipt, row {limit}
"""


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser(
        "audit",
        help="recount the ledger against the cells",
        description="Exit code 0: equal to the fen; 1: cells, blocks, ids or receipts are wrong;"
        " 2: the store can't be asked. Days are those on which entries occurred (Asia/Shanghai).",
    )
    parser.add_argument("--from", dest="first", type=day, metavar="DATE", help="inclusive")
    parser.add_argument("--to", dest="last", type=day, metavar="DATE", help="inclusive")
    parser.set_defaults(run=audit)

    parser = subparsers.add_parser("receipts", help="receipts of the HTTP door")
    parser.add_argument("id", nargs="?", metavar="ID", help="one receipt, with its state")
    parser.add_argument("--platform", metavar="ID")
    parser.add_argument("--limit", type=_count, default=100, metavar="N")
    parser.set_defaults(run=receipts)

    parser = subparsers.add_parser("dead-letters", help="refused rows, as they came")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    parser = commands.add_parser("list", help="newest first")
    parser.add_argument("--platform", metavar="ID")
    parser.add_argument("--code", help="only this reason, for example conflict")
    parser.add_argument("--limit", type=_count, metavar="N", help="default: all")
    parser.add_argument("--bytes", action="store_true", help="add the rows' bytes, in base64")
    parser.set_defaults(run=list_letters)
    parser = commands.add_parser(
        "show", help="a row's bytes, exactly, to a file or pipe; fit for eyes on a terminal"
    )
    parser.add_argument("receipt", metavar="RECEIPT")
    parser.add_argument("row", type=int, metavar="ROW")
    parser.set_defaults(run=show_letter)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("want 1 or more")
    return number


@contextmanager
def _store(args: argparse.Namespace, seconds: float) -> Iterator[Any]:
    """A client of the state directory's store; whatever goes wrong with it ends in exit code 2."""
    import logging

    from yumai.store.client import STORE_ERRORS, connect

    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    dsn = addresses.of(args.state).dsn
    try:
        # Work may take long; that nobody answers at all is known sooner.
        connect(dsn, timeout=min(seconds, STORE_ANSWERS)).close()
        client = connect(dsn, timeout=seconds, sequential=True)
        try:
            yield client
        finally:
            client.close()
    except BrokenPipeError:
        raise
    except STORE_ERRORS as error:
        words = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        if "Failed to establish" in words:
            words = "nothing listens there"
        raise Refusal(
            f"the store at {dsn} can't be asked: {words}. Does `yumai up` run?"
        ) from error


def audit(args: argparse.Namespace) -> int:
    from yumai.store import audit as auditing
    from yumai.store import runs
    from yumai.store.client import STORE_ERRORS

    if args.first and args.last and args.first > args.last:
        raise Refusal("--from is after --to")
    with _store(args, seconds=600) as client:
        report = auditing.audit(client, args.first, args.last)
        if not (args.first or args.last):
            # For alarms, as the job in a cluster does; a store that refuses has been audited all the same.
            name = datetime.now(UTC).isoformat()
            with contextlib.suppress(*STORE_ERRORS):
                shown = runs.short(report.to_dict())
                runs.record(client, "audit", name, report.ok, report.seconds, shown)
    if args.json:
        print(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        for line in _audit_lines(report):
            print(line)
    return 0 if report.ok else 1


def _audit_lines(report: Any) -> Iterator[str]:
    for cell in report.cells_differing[:CELLS_SHOWN]:
        names = ("period", "recorded_date", "district", "sector", "platform")
        yield (
            f"{' '.join(str(cell[name]) for name in names)} (epoch {cell['epoch']}, partition"
            f" {cell['part']}, block {cell['block']}): cell {cell['cell']}, ledger {cell['ledger']}"
        )
    if report.cells_differing_total > CELLS_SHOWN:
        yield f"… {report.cells_differing_total:,} cells in all (--json lists more)"
    for block in report.blocks_differing:
        yield f"block: {block}"
    for twice in report.ids_twice:
        yield f"booked twice: {twice}"
    for receipt in report.receipts_overbooked:
        yield f"receipt with more verdicts than accepted rows: {receipt}"
    yield (
        f"{report.entries:,} entries in {report.blocks:,} blocks, net {report.net_fen:,} fen;"
        f" {report.difference_fen:,} fen of difference ({report.seconds} s)"
    )
    if not report.ok:
        yield (
            f"WRONG: {report.cells_differing_total:,} cells, {len(report.blocks_differing):,} blocks,"
            f" {report.ids_twice_total:,} ids, {len(report.receipts_overbooked):,} receipts"
        )


def receipts(args: argparse.Namespace) -> int:
    """Asked of ingest, which knows them also while the store is away."""
    import httpx

    from yumai.access import Identity

    at = addresses.of(args.state)
    if not at.identity.is_dir():
        raise Refusal(f"no identities in {at.identity}: run `yumai up`")
    # A platform gets its own receipts only.
    role = f"platform:{args.platform}" if args.platform else "bureau"
    try:
        token = Identity(at.identity).issue_token(role, "console", days=1)
    except ValueError as error:
        raise Refusal(str(error)) from error
    path = f"/v1/receipts/{args.id}" if args.id else "/v1/receipts"
    try:
        answer = httpx.get(
            at.ingest + path,
            params=None if args.id else {"limit": args.limit},
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise Refusal(f"ingest at {at.ingest} does not answer: {error}") from error
    if answer.status_code == 404 and args.id:
        raise Refusal(f"no receipt {args.id}", exit_code=1)
    if answer.status_code >= 300:
        raise Refusal(f"{answer.request.url}: HTTP {answer.status_code}: {answer.text[:300]}")
    decoded = answer.json()
    if args.id:
        print(json.dumps(decoded, ensure_ascii=False, indent=None if args.json else 1))
        return 0
    listed = decoded["data"] if isinstance(decoded, dict) else decoded
    if args.json:
        print(json.dumps(listed, ensure_ascii=False))
    else:
        for receipt in listed:
            names = ("received", "accepted", "rejected")
            counts = ", ".join(f"{name} {receipt.get(name, '?')}" for name in names)
            print(f"{receipt['receipt_id']}  {receipt.get('platform_id', ''):<16} {counts}")
    return 0


def list_letters(args: argparse.Namespace) -> int:
    """Line by line as the store sends them: there may be millions."""
    query = _LETTERS.format(
        bytes=", base64Encode(dead_letters.bytes) AS bytes" if args.bytes else "",
        limit=f"LIMIT {args.limit}" if args.limit else "",
    )
    parameters = {"platform": args.platform or "", "code": args.code or ""}
    with _store(args, seconds=600) as client:
        stream = client.raw_stream(
            query,
            parameters=parameters,
            fmt="JSONEachRow",
            settings={
                "max_bytes_before_external_sort": 300_000_000,
                "output_format_json_escape_forward_slashes": 0,
            },
        )
        (_print_json if args.json else _print_text)(_lines(stream))
    return 0


def _lines(stream: Any) -> Iterator[str]:
    rest = b""
    while part := stream.read(2**16):
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            yield _whole(line)
    if rest.strip():
        yield _whole(rest)


def _whole(line: bytes) -> str:
    if not (line.startswith(b"{") and line.endswith(b"}")):
        raise Refusal(f"the store broke off: {line[:300].decode(errors='replace')}")
    return line.decode()


def _print_json(lines: Iterator[str]) -> None:
    write: Callable[[str], Any] = sys.stdout.write
    before = "["
    for line in lines:
        write(before + line)
        before = ",\n"
    write("]\n" if before != "[" else "[]\n")


def _print_text(lines: Iterator[str]) -> None:
    line = None
    for line in lines:
        letter = json.loads(line)
        about = f"{letter['code']}" + (f" ({letter['field']})" if letter["field"] else "")
        more = f"  {letter['bytes']}" if "bytes" in letter else ""
        print(
            f"{letter['at']}  {letter['receipt_id']} {letter['row']:>8}  {letter['platform_id']:<16}"
            f" {about}, {letter['size']:,} bytes{more}"
        )
    if line is None:
        print("no dead letters")


def show_letter(args: argparse.Namespace) -> int:
    try:
        receipt = bytes.fromhex(args.receipt)
        if len(receipt) != 16 or args.row < 0:
            raise ValueError
    except ValueError:
        raise Refusal("want a receipt of 32 hex digits and a row from 0 on") from None
    until = time.monotonic() + SHOW_WAITS
    with _store(args, seconds=60) as client:
        while True:
            rows = client.query(
                "SELECT bytes FROM dead_letters FINAL"
                " WHERE receipt = unhex({receipt:String}) AND row = {row:UInt64}",
                parameters={"receipt": args.receipt, "row": args.row},
                column_formats={"bytes": "bytes"},
            ).result_rows
            if rows or time.monotonic() > until:
                break
            time.sleep(0.2)
    if not rows:
        raise Refusal(f"no dead letter of receipt {args.receipt}, row {args.row}", exit_code=1)
    if sys.stdout.isatty():
        print(rows[0][0].decode(errors="backslashreplace"))  # what they say, not what they do
        return 0
    sys.stdout.buffer.write(rows[0][0])
    sys.stdout.buffer.flush()
    return 0
