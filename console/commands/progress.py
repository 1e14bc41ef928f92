"""`yumai progress`: how far districts and sectors are on the way to their targets."""

import argparse
import json

import msgspec

from console import gateway
from yumai.evaluation.rows import ProgressRow

OPTIONS = ("year", "district", "sector", "at", "as_of")
HEADINGS = ("", "target", "attained", "pace", "nowcast", "from", "to", "P", "needs", "level", "")


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser(
        "progress",
        help="districts and sectors against their targets",
        description="Amounts in 10,000 yuan (万元). Without a day: now. Days are Shanghai's.",
    )
    parser.add_argument("--year", metavar="YEAR")
    parser.add_argument("--district", metavar="CODE", help="a code, city, or *")
    parser.add_argument("--sector", metavar="CODE", help="a code, or * (default: all services)")
    parser.add_argument("--at", metavar="DATE", help="as at the end of this day")
    parser.add_argument("--as-of", metavar="DATE", help="from what was recorded by then")
    gateway.add_role(parser)
    parser.set_defaults(run=progress)


def progress(args: argparse.Namespace) -> int:
    found = gateway.get(args, "/v1/progress", {name: getattr(args, name) for name in OPTIONS})
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
        return 0
    rows = msgspec.convert(found["data"], list[ProgressRow])
    lines = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEADINGS))]
    for line in lines:
        print(
            "  ".join(
                cell.ljust(width) if n in (0, 9, 10) else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
        )
    meta = found["meta"]
    print(f"\n{meta['year']}, as at {meta['at']}; an estimate from transactions")
    return 0


def _cells(row: ProgressRow) -> tuple[str, ...]:
    return (
        f"{row.district} {row.sector or ''}".strip(),
        _money(row.target_fen),
        _money(row.attained_fen),
        "-" if row.pace is None else f"{row.pace:.3f}",
        _money(row.nowcast_fen),
        _money(row.nowcast_low_fen),
        _money(row.nowcast_high_fen),
        "-" if row.p_meet is None else f"{row.p_meet:.2f}",
        "-" if row.required_growth is None else f"{row.required_growth:+.1%}",
        row.level or "-",
        " ".join([*row.guards, *(["approximate"] if row.approximate else [])]),
    )


def _money(fen: int | None) -> str:
    return "-" if fen is None else f"{fen / 1_000_000:,.1f}"
