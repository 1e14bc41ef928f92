"""`yumai status` for people."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def show(answer: dict[str, Any]) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("process", "pid", "health", "restarts", "address"):
        table.add_column(column, justify="right" if column in ("pid", "restarts") else "left")
    for process in answer["processes"]:
        health = (
            "[green]healthy[/]"
            if process["healthy"]
            else f"[red]{escape(str(process['reason']))}[/]"
        )
        pid, restarts = str(process.get("pid") or "–"), str(process.get("restarts", 0))
        table.add_row(process["name"], pid, health, restarts, str(process.get("url") or ""))
    if answer["processes"]:
        console.print(table)
        console.print()
    lag, counts = answer["lag"], answer["counts"]
    console.print(
        f"lag        {_number(lag.get('records'))} records, {_number(lag.get('seconds'))} s"
    )
    for name, partition in (lag.get("partitions") or {}).items():
        console.print(f"           {name}: {_flat(partition)}")
    for key in ("freshness", "rates"):
        if answer[key]:
            console.print(f"{key:<10} {_flat(answer[key])}")
    console.print("counts     " + ", ".join(f"{k} {_number(v)}" for k, v in counts.items()))
    for line in _lines(answer):
        console.print(line, soft_wrap=True)
    for problem in answer["problems"]:
        console.print(f"[yellow]![/] {escape(problem)}")


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    """Lines beside the books' figures, one for each figure that is known."""
    if answer.get("rejects"):
        yield f"rejects    拒绝 (24 h) {_flat(answer['rejects'])}"
    flush, seen = answer.get("flush") or {}, answer.get("seen") or {}
    if flush.get("flushes"):
        yield (
            f"flush      写入 p50 ≤ {_number(flush['p50_seconds'])} s,"
            f" p99 ≤ {_number(flush['p99_seconds'])} s, {_number(flush['flushes'])} flushes"
        )
    if seen.get("bytes") is not None:
        yield f"seen       去重内存 {seen['bytes'] / 1e6:,.0f} MB over all workers"
    if answer.get("parts"):
        parts = answer["parts"]
        listed = ", ".join(
            f"{table} {of['parts']:,} ({of['bytes'] / 1e6:,.1f} MB)"
            for table, of in parts.items()
            if table in ("entries", "cells", "blocks", "receipts")
        )
        yield f"parts      数据片段 {listed}"
    outbox, alerts = answer.get("outbox") or {}, answer.get("alerts") or {}
    if outbox.get("waiting") is not None:
        age = outbox["age_seconds"]
        oldest = f", the oldest for {_number(age)} s" if age else ""
        yield f"outbox     待发 {_number(outbox['waiting'])} waiting{oldest}"
    if alerts.get("rounds"):
        yield f"alert runs 评估 {_flat(alerts['rounds'])}"
    canary = answer.get("canary") or {}
    if canary.get("sent"):
        ago = max(canary["last_success_seconds_ago"].values(), default=None)
        failed = f", failed: {_flat(canary['failures'])}" if canary["failures"] else ""
        yield f"canary     探测 {_number(canary['sent'])} sent, all doors seen {_number(ago)} s ago{failed}"
    audit = answer.get("audit")
    if audit:
        said = "ok" if audit["ok"] else f"[red]{audit['difference_fen']} fen differ[/]"
        yield f"audit      审计 {said}, {audit['at']}"
    objectives = answer.get("objectives") or {}
    known = [
        f"{name} {of['share']:.3%}" + ("" if of["kept"] else f" [red]below {of['wanted']:.1%}[/]")
        for name, of in objectives.items()
        if of["share"] is not None
    ]
    if known:
        yield f"objectives 目标 {', '.join(known)} (since the start)"


def _number(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, float) and value.is_integer() and value:
        value = int(value)
    return (
        f"{value:,.1f}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(inner)}" for key, inner in value.items())
    return _number(value)
