"""`yumai status` for people."""

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
    for problem in answer["problems"]:
        console.print(f"[yellow]![/] {escape(problem)}")


def _number(value: Any) -> str:
    if value is None:
        return "unknown"
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
