"""`yumai send`: files to the HTTP door, until each piece has its receipt."""

import argparse
import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from console.cli import Refusal, day
from console.pieces import NotCut, compressed, format_of, pieces
from console.running import addresses
from yumai import printable, terminal

PATIENCE_SECONDS = 300.0
ERRORS_SHOWN = 10
FATAL = (401, 403)


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser(
        "send",
        help="send files to the HTTP door",
        description="Sends JSON, NDJSON, CSV, Arrow and Parquet files, each also as .gz or .zst."
        " The same file sent again counts nothing twice. Exit code 1 when anything was refused.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--key", help="platform key or bureau token (default: $YUMAI_KEY)")
    parser.add_argument(
        "--recorded-on",
        type=day,
        metavar="DATE",
        help="import of history: the day on which it counts as known (bureau only)",
    )
    parser.add_argument("--url", help="the door's address (default: the one that `up` started)")
    parser.set_defaults(run=send)


def send(args: argparse.Namespace) -> int:
    key = args.key or os.environ.get("YUMAI_KEY")
    if not key:
        raise Refusal("no key: give --key or set YUMAI_KEY (`yumai keys issue --platform ID`)")
    for path in args.files:  # before anything is sent
        try:
            format_of(path)
        except NotCut as error:
            raise Refusal(str(error)) from error
        if not path.is_file():
            raise Refusal(f"{path}: no such file")
    url = (args.url or _door_of(args.state)).rstrip("/") + "/v1/entries"
    answers: list[dict[str, Any]] = []
    try:
        with _progress(args.files, quiet=args.json) as advance:
            for answer in _deliver(args.files, url, key, args.recorded_on, advance):
                answers.append(answer)
    finally:
        # Also after Ctrl-C: what has a receipt is booked.
        if args.json:
            print(json.dumps(answers, ensure_ascii=False))
        else:
            show(answers)
    return 1 if any(_refused(answer) for answer in answers) else 0


def _door_of(state: Path) -> str:
    at = addresses.of(state)
    if not at.up_runs:  # else somebody restarts the door, and it is worth the wait
        raise Refusal(f"`yumai up` does not run for {state}: start it, or give the door by --url")
    return at.ingest


def _refused(answer: dict[str, Any]) -> bool:
    return "receipt_id" not in answer or answer["rejected"] > 0


def _deliver(
    files: list[Path], url: str, key: str, recorded_on: date | None, advance: Any
) -> Iterator[dict[str, Any]]:
    """One answer a piece: a receipt, or `status` and `error`. Stops where all else would fail too.

    A receipt's `index`es count within its piece: `first_row` is where the piece begins in the file.
    """
    import httpx

    from simulation import door

    http = door.client()
    never = threading.Event()
    for path in files:
        form, encoding = format_of(path)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": form.media_type}
        if recorded_on:
            headers["Recorded-On"] = recorded_on.isoformat()
        first_row, part = 0, 0
        cut = pieces(path)
        while True:
            about: dict[str, Any] = {"file": str(path), "part": part, "first_row": first_row}
            try:
                body = next(cut, b"")
                if not body and part:  # an empty file has a receipt too
                    break
                headers["Idempotency-Key"] = idempotency_key(body, form.media_type, recorded_on)
                content, packed_as = compressed(body, encoding)
                headers.pop("Content-Encoding", None)
                if packed_as:
                    headers["Content-Encoding"] = packed_as
                answer = door.send(http, "POST", url, content, headers, never, PATIENCE_SECONDS)
            except (NotCut, OSError) as error:
                yield {**about, "status": None, "error": str(error)}
                break
            except door.DoorRefused as refused:
                yield {**about, "status": refused.status, "error": _words(refused)}
                if refused.status in FATAL or refused.status >= 500:
                    return
                first_row = -1  # nobody knows how many rows that piece had
            except httpx.HTTPError as error:
                yield {**about, "status": None, "error": f"{url}: {str(error) or repr(error)}"}
                return
            else:
                yield {**about, **answer}
                first_row += answer["received"] if first_row >= 0 else 0
            part += 1
            advance(path, len(body))
        advance(path, None)


def idempotency_key(body: bytes, media_type: str, recorded_on: date | None) -> str:
    """A key made of a piece's content and meaning; its file's name, place and compression change nothing."""
    meaning = f"{media_type}\x1f{recorded_on or ''}\x1f".encode()
    return hashlib.sha256(meaning + hashlib.sha256(body).digest()).hexdigest()


def _words(refused: Exception) -> str:
    """The door's own words: it answers `{"errors": [{"field", "code", "message"}]}`."""
    text = str(refused)
    try:
        (error, *_) = json.loads(text.partition(": ")[2])["errors"]
        return ": ".join(str(error[name]) for name in ("code", "field", "message") if error[name])
    except (ValueError, KeyError, TypeError):
        return text


@contextmanager
def _progress(files: list[Path], quiet: bool) -> Iterator[Any]:
    """A bar on a terminal, by bytes; compressed files are measured by what comes out of them."""
    if quiet or not sys.stderr.isatty():
        yield lambda path, sent: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=Console(file=terminal.plain(sys.stderr))) as bars:
        tasks = {
            path: bars.add_task(
                escape(printable.line(path.name)),
                total=None if format_of(path)[1] else path.stat().st_size,
                start=True,
            )
            for path in files
        }

        def advance(path: Path, sent: int | None) -> None:
            if sent is not None:
                bars.advance(tasks[path], sent)
            else:
                done = bars.tasks[tasks[path]].completed or 1
                bars.update(tasks[path], total=done, completed=done)

        yield advance


def show(answers: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # Into a file or a pipe: as wide as it needs.
    console = Console(
        file=terminal.plain(sys.stdout),
        highlight=False,
        width=None if sys.stdout.isatty() else 200,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=len(answers) > 1)
    total = {
        name: sum(answer.get(name) or 0 for answer in answers)
        for name in ("received", "accepted", "rejected")
    }
    table.add_column("file", footer="together", overflow="fold")
    table.add_column("receipt", no_wrap=True)
    for name, number in total.items():
        table.add_column(name, footer=f"{number:,}", justify="right", no_wrap=True)
    for answer in answers:
        name = Path(answer["file"]).name + (f" ({answer['part'] + 1})" if answer["part"] else "")
        name = escape(printable.line(name))
        if "receipt_id" in answer:
            table.add_row(name, answer["receipt_id"], *(f"{answer[n]:,}" for n in total))
        else:
            table.add_row(name, "refused" if answer["status"] else "not sent", "", "", "")
    console.print(table)
    errors = list(_errors(answers))
    for line in errors[:ERRORS_SHOWN]:
        console.print(printable.line(line), markup=False, soft_wrap=True)
    hidden = sum(1 for a in answers if "receipt_id" not in a) + total["rejected"] - ERRORS_SHOWN
    if hidden > 0:
        console.print(
            f"and {hidden:,} more: GET /v1/receipts/RECEIPT/rows?verdict=rejected", markup=False
        )


def _errors(answers: list[dict[str, Any]]) -> Iterator[str]:
    for answer in answers:
        name = Path(answer["file"]).name
        if "receipt_id" not in answer:
            status = f"HTTP {answer['status']}: " if answer["status"] else ""
            yield f"{name}: {status}{answer['error']}"
            continue
        for error in answer["errors"]:
            known = answer["first_row"] >= 0
            row = answer["first_row"] + error["index"] if known else error["index"]
            where = f"row {row}" if known else f"part {answer['part'] + 1}, row {row}"
            about = f"{error['field']}: " if error.get("field") else ""
            yield f"{name}: {where}: {about}{error['message']} ({error['code']})"
