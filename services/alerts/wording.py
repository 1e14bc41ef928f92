"""What a message says: what lags, by how much, since when, what growth would still do, and where to look. Pure."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import Any
from urllib.parse import quote

from contracts.alerts.codec import ENDED, StepRecord
from contracts.alerts.outbox import BUREAU, FeedStep
from contracts.days import SHANGHAI
from contracts.work_items.codec import Event
from yumai.departments import departments
from yumai.districts import districts
from yumai.sectors import sectors

KINDS = {
    "watched": ("开始关注", "under watch"),
    "opened": ("进度滞后", "lags"),
    "worsened": ("滞后加重", "lags more"),
    "eased": ("滞后减轻", "lags less"),
    "reminded": ("仍然滞后", "still lags"),
    "acknowledged": ("已确认", "acknowledged"),
    "explained": ("已说明", "explained"),
    "silenced": ("已静默", "silenced"),
    "escalated": ("逾期未办，已上报市级", "not answered or overdue, passed to the bureau"),
    "resolved": ("已恢复", "has recovered"),
    "withdrawn": ("已撤销（数据重述）", "withdrawn: figures were restated"),
    "reopened": ("再次滞后", "lags again"),
    "missed": ("全年未达目标", "missed the year's target"),
}
LEVELS = {
    "green": ("正常", "green"),
    "blue": ("关注（蓝）", "blue"),
    "yellow": ("预警（黄）", "yellow"),
    "red": ("告警（红）", "red"),
}
FEEDS = {
    "ok": ("已恢复正常", "is back to normal"),
    "silent": ("中断", "is silent"),
    "broken": ("数据量异常", "has broken volume"),
    "late": ("迟到", "is late"),
    "rejecting": ("拒收过多", "has too much rejected"),
}
ENGLISH = "en"
ACTS = ("acknowledged", "explained", "silenced")


@cache
def _sector_names() -> dict[str, tuple[str, str]]:
    return {row["code"]: (row["zh"], row["en"]) for row in sectors()}


def district_name(code: str, language: str) -> str:
    found = districts().get(code)
    if found is None:
        return code
    return found.en if language == ENGLISH else found.zh


def title(step: StepRecord, language: str) -> str:
    name = district_name(step.district, language)
    what = KINDS[step.kind][language == ENGLISH]
    level = LEVELS[step.level][language == ENGLISH] if step.level else ""
    if language == ENGLISH:
        return f"Yumai: {name} {step.year} {what}{f' ({level})' if level else ''}"
    return f"渝脉：{name} {step.year} 年{what}{f'，{level}' if level else ''}"


def text(step: StepRecord, language: str, url: str) -> str:
    """One message, a few lines."""
    lines = [title(step, language), *_figures(step.figures, language)]
    lagging = [
        f"{_sector_names().get(s.sector, (s.sector, s.sector))[language == ENGLISH]}"
        f"{f' {s.pace:.1%}' if s.pace is not None else ''}"
        for s in step.sectors
        if s.level in ("blue", "yellow", "red")
    ]
    english = language == ENGLISH
    if lagging:
        lines.append(
            ("Sectors: " if english else "领域：") + (", " if english else "、").join(lagging)
        )
    if step.opened_at:
        since = datetime.fromtimestamp(step.opened_at / 1000, SHANGHAI).date().isoformat()
        ended = step.state in ENDED
        if english:
            lines.append(f"{'Lagged' if ended else 'Lagging'} since {since}")
        else:
            lines.append(f"自 {since} 起滞后{'，现已结束' if ended else ''}")
    lines += _said(step, english)
    lines.append(url)
    return "\n".join(lines)


def _said(step: StepRecord, english: bool) -> list[str]:
    """The person who acted, the text, the measure and its due date."""
    if step.kind not in ACTS:
        return []
    by = _who(step.by, english)
    lines = [f"{by}: {step.text}" if english else f"{by}：{step.text}"] if step.text else []
    if not lines:
        lines = [f"By {by}" if english else f"办理：{by}"]
    if step.kind == "explained" and step.measure:
        measure, due = step.measure, step.due_date
        lines.append(
            f"Measure: {measure} (until {due})" if english else f"措施：{measure}（期限 {due}）"
        )
    return lines


def _who(by: str, english: bool) -> str:
    """A role as people call it; a name as it is."""
    if by == BUREAU:
        return "the bureau" if english else "市级主管部门"
    role, _, code = by.partition(":")
    return district_name(code, ENGLISH if english else "zh") if role == "district" else by


def _figures(row: dict[str, Any], language: str) -> list[str]:
    english = language == ENGLISH
    attained = row.get("comparable_fen")
    attained = row.get("attained_fen") if attained is None else attained
    expected, target = row.get("expected_fen"), row.get("target_fen")
    lines = []
    if attained is not None and expected is not None:
        gap = expected - attained
        pace = f"{row['pace']:.1%}" if row.get("pace") is not None else "–"
        if english:
            side = (
                f"{amount(gap, language)} short" if gap > 0 else f"{amount(-gap, language)} ahead"
            )
            lines.append(
                f"{amount(attained, language)} of {amount(expected, language)} due by now ({pace}; {side})"
            )
        else:
            side = f"差 {amount(gap, language)}" if gap > 0 else f"超 {amount(-gap, language)}"
            lines.append(
                f"累计 {amount(attained, language)}，应完成 {amount(expected, language)}（进度 {pace}，{side}）"
            )
    if target is not None:
        growth = row.get("required_growth")
        if english:
            more = f"; the rest of the year has to grow {growth:+.1%}" if growth is not None else ""
            lines.append(f"Target {amount(target, language)}{more}")
        else:
            more = f"，余下时间需同比增长 {growth:+.1%}" if growth is not None else ""
            lines.append(f"全年目标 {amount(target, language)}{more}")
    return lines


def amount(fen: float, language: str) -> str:
    yuan = fen / 100
    if language == ENGLISH:
        return f"{yuan / 1e6:,.1f} M CNY" if abs(yuan) >= 1e6 else f"{yuan:,.0f} CNY"
    if abs(yuan) >= 1e8:
        return f"{yuan / 1e8:,.2f} 亿元"
    return f"{yuan / 1e4:,.1f} 万元" if abs(yuan) >= 1e4 else f"{yuan:,.0f} 元"


def feed_text(feed: FeedStep, language: str, url: str) -> str:
    what = FEEDS[feed.state][language == ENGLISH]
    last = feed.last_entry_at
    names = [district_name(code, language) for code in feed.districts]
    if language == ENGLISH:
        lines = [f"Yumai: feed {feed.platform_id} {what}"]
        if last:
            lines.append(f"Last entry: {last}")
        if names:
            lines.append(f"Districts not judged meanwhile: {', '.join(names)}")
    else:
        lines = [f"渝脉：数据源 {feed.platform_id} {what}"]
        if last:
            lines.append(f"最近一笔：{last}")
        if names:
            lines.append(f"暂不评判的区县：{'、'.join(names)}")
    return "\n".join([*lines, url])


def item_text(event: Event, language: str, url: str) -> str:
    """An overdue work item: what, whose, since when."""
    said = event.fields
    english = language == ENGLISH
    who = [district_name(said["district"], language)] if said.get("district") else []
    known = departments()
    who += [known.get(code, (code, code))[english] for code in said.get("departments") or []]
    missed = date.fromisoformat(said["missed"])
    if english:
        lines = [f"Yumai: work item overdue: {said['title']}", f"Due {missed}, not done"]
        lines += [f"Responsible: {', '.join(who)}"] if who else []
        lines += [f"Task {said['task']} of the plan"] if said.get("task") else []
    else:
        lines = [f"渝脉：工作事项逾期：{said['title']}", f"应于 {missed} 完成，尚未完成"]
        lines += [f"责任单位：{'、'.join(who)}"] if who else []
        lines += [f"方案任务第 {said['task']} 项"] if said.get("task") else []
    return "\n".join([*lines, url])


def test_text(language: str, url: str) -> str:
    said = "Yumai: this is a test message" if language == ENGLISH else "渝脉：这是一条测试消息"
    return f"{said}\n{url}"


def alert_url(base: str, id_: str) -> str:
    return f"{base.rstrip('/')}/?alert={quote(id_)}"
