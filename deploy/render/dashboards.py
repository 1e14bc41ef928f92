"""Grafana's dashboards, from deploy/dashboards.yaml: places, letters and the source follow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Doc = dict[str, Any]

WIDTH = 24
SOURCE = {"type": "prometheus", "uid": "prometheus"}
BOARDS = Path(__file__).resolve().parents[1] / "dashboards.yaml"


@dataclass(frozen=True)
class Panel:
    """`unit` in Grafana's words. `red`: from where on. `stat`: one figure, not a curve. `lines`: legend -> PromQL."""

    title: str
    width: int
    unit: str
    lines: dict[str, str]
    red: int | None = None
    says: str = ""
    stat: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for what has no room."""
        if not 0 < self.width <= WIDTH:
            raise ValueError(f"{self.title}: {self.width} wide, of {WIDTH}")

    @property
    def height(self) -> int:
        return 4 if self.stat else 8

    def doc(self, number: int, x: int, y: int) -> Doc:
        shown: Doc = {"unit": self.unit}
        if self.red is not None:
            steps = [{"value": None, "color": "green"}, {"value": self.red, "color": "red"}]
            shown["thresholds"] = {"mode": "absolute", "steps": steps}
        return {
            "id": number,
            "type": "stat" if self.stat else "timeseries",
            "title": self.title,
            **({"description": self.says} if self.says else {}),
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "datasource": SOURCE,
            "fieldConfig": {"defaults": shown, "overrides": []},
            "targets": [
                {"refId": letter, "expr": asked, "legendFormat": legend}
                for letter, (legend, asked) in zip("ABCDEF", self.lines.items(), strict=False)
            ],
        }


@dataclass(frozen=True)
class Board:
    name: str
    title: str
    panels: tuple[Panel, ...]

    def docs(self) -> list[Doc]:
        head = {
            "uid": f"yumai-{self.name}",
            "title": f"Yumai: {self.title}",
            "tags": ["yumai"],
            "schemaVersion": 39,
            "version": 1,
            "timezone": "Asia/Shanghai",
            "refresh": "15s",
            "time": {"from": "now-3h", "to": "now"},
        }
        return [{**head, "panels": list(self._placed())}]

    def _placed(self) -> Iterator[Doc]:
        """From left to right, a new row where no room is left."""
        x = y = height = 0
        for number, panel in enumerate(self.panels, 1):
            if x + panel.width > WIDTH:
                x, y = 0, y + height
            height = panel.height
            yield panel.doc(number, x, y)
            x += panel.width


def boards() -> dict[str, Board]:
    """By name."""
    read: Doc = yaml.safe_load(BOARDS.read_text(encoding="utf-8"))
    return {
        name: Board(name, board["title"], tuple(Panel(**panel) for panel in board["panels"]))
        for name, board in read.items()
    }
