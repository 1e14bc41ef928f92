"""`yumai targets import FILE` and `list`: annual targets from a sheet, through the gateway's door.

A sheet is CSV (UTF-8 or GB 18030) or XLSX (its first worksheet), with a line of names on top: the API's
fields or their Chinese names. Empty cells are left out; `6%` is 0.06; a district's name is its code.
"""

import argparse
import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from console import gateway
from console.cli import Refusal

NAMES = {
    "年份": "year",
    "年度": "year",
    "区县": "district",
    "领域": "sector",
    "形式": "form",
    "目标值": "value",
    "目标": "value",
    "基数": "base_fen",
    "依据": "basis",
    "备注": "note",
}
FORMS = {"金额": "amount", "增速": "growth", "占比": "share"}
FIELDS = ("year", "district", "sector", "form", "value", "base_fen", "basis", "note")
NUMBERS = ("year", "value", "base_fen")
ALL = ("", "*", "all", "全部")
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"

Line = tuple[int, dict[str, str]]
"""Number in the sheet (the names are line 1), and the cells that are not empty."""


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser("targets", help="annual targets of districts and the city")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    parser = commands.add_parser(
        "import",
        help="set targets from a CSV or XLSX file, all or none",
        description=f"Columns: {', '.join(FIELDS)}. Exit code 1: a row is wrong, nothing was set.",
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    gateway.add_role(parser)
    parser.set_defaults(run=import_file)

    parser = commands.add_parser("list", help="targets and their versions")
    for name in ("year", "district", "sector", "as-of"):
        parser.add_argument(f"--{name}", metavar=name.upper())
    gateway.add_role(parser)
    parser.set_defaults(run=list_targets)


def import_file(args: argparse.Namespace) -> int:
    lines = read(args.file)
    if not lines:
        raise Refusal(f"{args.file}: no rows")
    body = "[" + ",".join(as_json(cells) for _, cells in lines) + "]"
    answer = gateway.call(args, "PUT", "/v1/targets", body=body.encode())
    decoded = answer.json()
    if answer.status_code == 422:
        if args.json:
            print(json.dumps(decoded, ensure_ascii=False))
        for error in decoded["errors"]:
            where = "" if error["index"] is None else f", line {lines[error['index']][0]}"
            gateway.complain(f"{args.file}{where}: {error['field'] or ''} {error['message']}")
        gateway.complain("nothing was set")
        return 1
    if args.json:
        print(json.dumps(decoded, ensure_ascii=False))
        return 0
    for row in decoded["data"]:
        print(_line(row))
    print(f"{len(decoded['data'])} targets, {decoded['meta']['set']} of them new or changed")
    return 0


def list_targets(args: argparse.Namespace) -> int:
    asked = {
        "year": args.year,
        "district": args.district,
        "sector": args.sector,
        "as_of": args.as_of,
    }
    found = gateway.get(args, "/v1/targets", asked)
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for row in found["data"]:
            print(_line(row))
    return 0


def _line(row: dict[str, Any]) -> str:
    fen = row["target_fen"]
    comes_to = f"{row['value']:.2%}" if fen is None else f"{fen / 100:,.2f} yuan"
    return (
        f"{row['year']} {row['district']:<7}{row['sector'] or 'all':<4} {row['form']:<7}"
        f" {comes_to:>26}  v{row['version']} {row['by'] or ''} {row['basis'] or ''}"
    )


def as_json(cells: dict[str, str]) -> str:
    """A row as JSON; numbers exactly as they stand in the sheet."""
    parts = []
    for name, text in cells.items():
        if name == "form":
            text = FORMS.get(text, text)
        elif name == "district":
            text = _district(text)
        elif name == "sector" and text.lower() in ALL:
            continue
        if name in NUMBERS and (number := _number(text)) is not None:
            parts.append(f"{json.dumps(name)}:{number}")
        else:
            parts.append(f"{json.dumps(name)}:{json.dumps(text, ensure_ascii=False)}")
    return "{" + ",".join(parts) + "}"


def _number(text: str) -> str | None:
    """JSON of a number as sheets write it: `1,000`, `6%`, `3200000000000.0`."""
    plain = text.replace(",", "").replace("，", "").strip()
    percent = plain.endswith(("%", "％"))
    try:
        number = Decimal(plain.rstrip("%％").strip())
    except InvalidOperation:
        return None
    if not number.is_finite() or abs(number.adjusted()) > 100:
        return None
    number = number / 100 if percent else number
    return f"{int(number)}" if number == number.to_integral_value() else f"{number:f}"


def _district(text: str) -> str:
    from yumai.districts import districts

    if text in ("全市", "重庆市", "city"):
        return "city"
    named = {name: d.code for d in districts().values() for name in (d.zh, d.short_zh)}
    return named.get(text, text)


_DATE_FORMATS = (*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59))
_QUOTED = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.|General', re.IGNORECASE)
"""What in a format's code is shown as it is, or is a colour or a currency."""

# -- reading sheets -------------------------------------------------------------------------------------


def read(path: Path) -> list[Line]:
    """Rows of a sheet that are not empty. Raises Refusal."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror or error}") from error
    try:
        rows = list(_xlsx(data) if data[:2] == b"PK" else _csv(data))
    except (
        csv.Error,
        UnicodeDecodeError,
        zipfile.BadZipFile,
        ElementTree.ParseError,
        KeyError,
        ValueError,
    ) as error:
        raise Refusal(f"{path}: can't be read as CSV or XLSX: {error}") from error
    if not rows:
        return []
    names = [_name(cell) for cell in rows[0][1]]
    unknown = [name for name in names if name and name not in FIELDS]
    if unknown or "year" not in names:
        raise Refusal(
            f"{path}: unknown columns {', '.join(unknown) or '(no year)'};"
            f" known are {', '.join(FIELDS)}"
        )
    return [
        (number, cells)
        for number, row in rows[1:]
        if (cells := {n: c.strip() for n, c in zip(names, row, strict=False) if n and c.strip()})
    ]


def _name(cell: str) -> str:
    text = cell.strip().removeprefix("\ufeff")
    return NAMES.get(text, text.lower().replace(" ", "_"))


def _csv(data: bytes) -> Iterator[tuple[int, Sequence[str]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("gb18030")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    for row in reader:
        if any(cell.strip() for cell in row):
            yield reader.line_num, row


def _xlsx(data: bytes) -> Iterator[tuple[int, Sequence[str]]]:
    """The first worksheet's cells as text. A workbook is XML in a zip (ECMA-376): no library is needed."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        shared = []
        if "xl/sharedStrings.xml" in book.namelist():
            root = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
            shared = [_text(item) for item in root.iter(f"{_SHEET}si")]
        dates = _date_styles(book)
        root = ElementTree.fromstring(book.read(_first_sheet(book)))
    for place, row in enumerate(root.iter(f"{_SHEET}row"), 1):
        cells: dict[int, str] = {}
        for cell in row.iter(f"{_SHEET}c"):
            column = _column(cell.get("r") or "") if cell.get("r") else len(cells)
            cells[column] = _value(cell, shared, dates)
        if any(text.strip() for text in cells.values()):
            wide = max(cells) + 1
            yield int(row.get("r") or place), [cells.get(n, "") for n in range(wide)]


def _first_sheet(book: zipfile.ZipFile) -> str:
    sheets = ElementTree.fromstring(book.read("xl/workbook.xml")).iter(f"{_SHEET}sheet")
    wanted = next(iter(sheets)).get(_RELATION)
    for relation in ElementTree.fromstring(book.read("xl/_rels/workbook.xml.rels")):
        if relation.get("Id") == wanted:
            target = relation.get("Target") or ""
            return target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    raise ValueError("the workbook names no worksheet")


def _value(cell: ElementTree.Element, shared: list[str], dates: frozenset[str]) -> str:
    kind = cell.get("t")
    if kind == "inlineStr":
        return _text(cell)
    found = cell.find(f"{_SHEET}v")
    text = (found.text or "") if found is not None else ""
    if not text and cell.find(f"{_SHEET}f") is not None and kind != "str":
        raise ValueError(f"cell {cell.get('r')}: a formula that was never calculated")
    if kind == "e":
        raise ValueError(f"cell {cell.get('r')}: {text[:20]}")
    if kind == "b":
        # Written as 1 and 0, and no number all the same.
        return {"1": "TRUE", "0": "FALSE"}.get(text, text)
    if kind == "s" and text:
        return shared[int(text)]
    if kind in (None, "n") and text:
        if cell.get("s") in dates:
            raise ValueError(f"cell {cell.get('r')}: a date, where a number or a text is wanted")
        # Sheets store doubles, some with 17 digits: the shortest text of the same double is meant.
        number = float(text)
        exact = number.is_integer() and abs(number) < 2**53
        return str(int(number)) if exact else repr(number)
    return text


def _date_styles(book: zipfile.ZipFile) -> frozenset[str]:
    """Numbers of the cell styles that show a number as a date or a time (ECMA-376, 18.8.30)."""
    if "xl/styles.xml" not in book.namelist():
        return frozenset()
    root = ElementTree.fromstring(book.read("xl/styles.xml"))
    formats = {
        one.get("numFmtId"): _QUOTED.sub("", one.get("formatCode") or "")
        for one in root.iter(f"{_SHEET}numFmt")
    }
    own = {number for number, code in formats.items() if re.search("[ymdhs]", code.lower())}
    dates = own | {str(n) for n in _DATE_FORMATS if str(n) not in formats}
    styles = root.find(f"{_SHEET}cellXfs")
    found = () if styles is None else enumerate(styles)
    return frozenset(str(n) for n, style in found if style.get("numFmtId") in dates)


def _text(element: ElementTree.Element) -> str:
    """The text of all runs of a cell, without phonetic hints."""
    hints = {id(t) for hint in element.iter(f"{_SHEET}rPh") for t in hint.iter(f"{_SHEET}t")}
    return "".join(t.text or "" for t in element.iter(f"{_SHEET}t") if id(t) not in hints)


def _column(reference: str) -> int:
    letters = re.match(r"[A-Z]+", reference.upper())
    number = 0
    for letter in letters.group() if letters else "A":
        number = number * 26 + ord(letter) - 64
    return number - 1
