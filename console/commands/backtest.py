"""`yumai backtest`: the year-end nowcast on series of the past, each forecast from what was known then."""

import argparse
import csv
import json
import math
import re
import sys
from calendar import monthrange
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from console.cli import Refusal
from yumai import printable
from yumai.methods import backtest as methods

YEARS = range(1800, 2200)
FESTIVAL_YEARS = range(1901, 2100)
SERIES_COLUMNS = ("region", "sector", "month", "value")
TARGET_COLUMNS = ("region", "sector", "year", "value")
OUT_COLUMNS = ("region", "sector", "year", "at", "nowcast", "low", "high", "p_meet")
MONTH_NAMES = {3: "March", 6: "June", 9: "September"}

Key = tuple[str, str]


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser(
        "backtest",
        help="forecast past years from what was known then, beside simple rules",
        description="SERIES.csv has region,sector,month,value (month YYYY-MM; a missing row is unknown, not zero)."
        " Every month-end of every year whose year before has all twelve months is forecast.",
    )
    parser.add_argument("series", type=Path, metavar="SERIES.csv")
    parser.add_argument(
        "--targets", type=Path, metavar="TARGETS.csv", help="region,sector,year,value"
    )
    parser.add_argument(
        "--calendar",
        choices=("china", "none"),
        default="none",
        help="china: Spring Festival moves between January and February (default: none)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.csv")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.out.resolve() in {p.resolve() for p in (args.series, args.targets) if p is not None}:
        raise Refusal(f"--out {args.out} would overwrite what is read")
    values = dict(_values(args.series, SERIES_COLUMNS, _month))
    if not values:
        raise Refusal(f"{args.series}: no rows")
    keys = sorted({key for key, _ in values})
    last = max(when for _, when in values)
    first_year = min(when[0] for _, when in values)
    if args.calendar == "china" and not (
        first_year in FESTIVAL_YEARS and last[0] in FESTIVAL_YEARS
    ):
        raise Refusal("--calendar china: Spring Festival is known from 1901 to 2099")
    place = {key: number for number, key in enumerate(keys)}
    sales = np.full((len(keys), last[0] - first_year + 1, 12), np.nan)
    for (key, (year, month)), value in values.items():
        sales[place[key], year - first_year, month - 1] = np.nan if value is None else value
    targets = np.full(sales.shape[:2], np.nan)
    if args.targets is not None:
        for (key, (year, _)), value in _values(args.targets, TARGET_COLUMNS, _year):
            if key in place and first_year <= year <= last[0] and value is not None:
                targets[place[key], year - first_year] = value
    names = sorted({sector for _, sector in keys})
    sector = np.array([names.index(key[1]) for key in keys])

    records = {month: methods.MonthRecord.empty() for month in methods.SHOWN_MONTHS}
    rows: list[tuple[str, str, int, str, str, str, str, str]] = []
    plain = 0
    for forecast in methods.forecasts(
        sales,
        sector,
        targets,
        (last[0] - first_year, last[1]),
        first_year=first_year,
        moving_festival=args.calendar == "china",
    ):
        rows += _rows(forecast, keys, first_year)
        plain += int((forecast.judged & ~forecast.fine).sum())
        if forecast.month in records:
            records[forecast.month].add(forecast, sales, targets, args.targets is not None)
    rows.sort()
    try:
        with args.out.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(OUT_COLUMNS)
            writer.writerows([printable.cell(value) for value in row] for row in rows)
    except OSError as error:
        raise Refusal(f"{args.out}: {error.strerror}") from None
    if plain:
        print(
            f"yumai: {plain} forecasts are what is booked plus last year's rest: their months are of"
            " both signs, or their totals not positive, and growth means nothing there",
            file=sys.stderr,
        )
    if args.json:
        print(json.dumps({"rows": len(rows), "months": _summary(records)}, ensure_ascii=False))
    else:
        _print(len(rows), args, records)
    return 0


def _rows(
    forecast: methods.Forecast, keys: list[Key], first_year: int
) -> Iterator[tuple[str, str, int, str, str, str, str, str]]:
    year = first_year + forecast.year
    at = f"{year:04d}-{forecast.month:02d}-{monthrange(year, forecast.month)[1]:02d}"
    for n in np.flatnonzero(forecast.judged).tolist():
        p = float(forecast.p_meet[n])
        yield (
            *keys[n],
            year,
            at,
            _finite(float(forecast.nowcast[n])),
            _finite(float(forecast.low[n])),
            _finite(float(forecast.high[n])),
            _finite(p),
        )


def _finite(value: float) -> str:
    """Empty where there is no number."""
    return repr(value) if math.isfinite(value) else ""


def _values(path: Path, columns: tuple[str, ...], when: Any) -> Iterator[tuple[Any, float | None]]:
    """((region, sector), (year, month)) and value, None where the field is empty."""
    try:
        file = path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from None
    seen = set()
    with file:
        try:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise Refusal(
                    f"{path}: no column {', '.join(missing)}; wanted: {','.join(columns)}"
                )
            for row in reader:
                line = f"{path}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise Refusal(f"{line}: {len(reader.fieldnames or ())} fields are wanted")
                key = ((row[columns[0]], row[columns[1]]), when(row[columns[2]], line))
                if key in seen:
                    raise Refusal(
                        f"{line}: {row[columns[0]]}, {row[columns[1]]}, {row[columns[2]]} is there twice"
                    )
                seen.add(key)
                yield key, _number(row[columns[3]], line)
        except (UnicodeDecodeError, csv.Error) as error:
            raise Refusal(f"{path}: {error}") from None


def _month(text: str, line: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{4})-([0-9]{2})", text.strip())
    if not match or int(match[1]) not in YEARS or not 1 <= int(match[2]) <= 12:
        raise Refusal(f"{line}: month {text!r}: want YYYY-MM")
    return int(match[1]), int(match[2])


def _year(text: str, line: str) -> tuple[int, int]:
    year = text.strip()
    if not re.fullmatch("[0-9]{4}", year) or int(year) not in YEARS:
        raise Refusal(f"{line}: year {text!r}: want YYYY")
    return int(year), 0


def _number(text: str, line: str) -> float | None:
    text = text.strip()
    if text.lower() in ("", "na", "nan", "null"):
        return None
    try:
        value = float(text)
    except ValueError:
        raise Refusal(f"{line}: value {text!r}: want a number") from None
    if not abs(value) < 1e100:
        raise Refusal(f"{line}: value {text!r} is too large")
    return value


def _summary(records: dict[int, methods.MonthRecord]) -> list[dict[str, Any]]:
    return [
        {
            "month": month,
            "median_error": dict(
                zip(("yumai", *methods.RULES), _plain(record.median_errors()), strict=True)
            ),
            "coverage_80": _plain([record.coverage()])[0],
            "p_meet": [
                {"mean_p": p, "met": met, "number": number}
                for p, met, number in record.calibration()
            ],
            "miscalibration": _plain([record.miscalibration()])[0],
        }
        for month, record in records.items()
    ]


def _plain(values: Any) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _print(rows: int, args: argparse.Namespace, records: dict[int, methods.MonthRecord]) -> None:
    def percent(value: float) -> str:
        return f"{100 * value:.2f} %" if math.isfinite(value) else "-"

    print(f"{rows} forecasts written to {args.out}")
    print("\nmedian absolute error of the year-end forecast, at the end of")
    print(f"  {'':28}" + "".join(f"{MONTH_NAMES[month]:>12}" for month in records))
    medians = [record.median_errors() for record in records.values()]
    for number, name in enumerate(("yumai", *methods.RULES)):
        print(f"  {name:28}" + "".join(f"{percent(float(m[number])):>12}" for m in medians))
    print(f"\n  {'years inside the 80 % interval':28}", end="")
    print("".join(f"{percent(record.coverage()):>12}" for record in records.values()))
    of = (
        "the targets given" if args.targets else "0.97, 1.00, 1.03 and 1.06 times last year's total"
    )
    print(f"\nP(meet), of {of}: mean P -> share that met (forecasts)")
    for month, record in records.items():
        bins = "   ".join(
            f"{p:.2f} -> {met:.2f} ({number})" for p, met, number in record.calibration()
        )
        off = record.miscalibration()
        print(
            f"  {MONTH_NAMES[month]:10} {bins or '-'}   off by {'-' if math.isnan(off) else f'{off:.3f}'}"
        )


if __name__ == "__main__":
    from console.cli import build_parser

    parsed = build_parser(["console.commands.backtest"]).parse_args(["backtest", *sys.argv[1:]])
    parsed.json = getattr(parsed, "json", False)
    try:
        sys.exit(run(parsed))
    except Refusal as refusal:
        print(f"yumai: {refusal}", file=sys.stderr)
        sys.exit(refusal.exit_code)
