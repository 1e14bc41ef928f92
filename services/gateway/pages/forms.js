// Elements that the desk is made of: fields to fill in, lists of facts, and an alert's figures as such a list.

import { amount, percent, signedPercent, t } from "./words.js";

const DAY_MS = 86_400_000;

export const make = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

export const field = (label, input) => {
  const row = make("label", "field");
  row.append(make("span", "", label), input);
  return row;
};

export const input = (name, type, value = "") => {
  const made = type === "textarea" ? make("textarea") : make("input");
  if (type !== "textarea") made.type = type;
  made.name = name;
  made.value = value;
  made.required = true;
  return made;
};

// A day in Shanghai, so many days from now.
export const shanghaiDay = (days) => new Date(Date.now() + 8 * 3_600_000 + days * DAY_MS).toISOString().slice(0, 10);

export function figures(row) {
  const known = (value) => value !== null && value !== undefined;
  const found = [];
  if (known(row.pace)) found.push([t("pace"), percent(row.pace)]);
  if (known(row.attained_fen)) found.push([t("attained"), amount(row.attained_fen)]);
  if (known(row.comparable_fen) && row.comparable_fen !== row.attained_fen) found.push([t("comparable"), amount(row.comparable_fen)]);
  if (known(row.expected_fen)) {
    const gap = (row.comparable_fen ?? row.attained_fen) - row.expected_fen;
    found.push([t("expected"), amount(row.expected_fen)]);
    found.push([t("gap"), (gap > 0 ? "+" : gap < 0 ? "−" : "") + amount(Math.abs(gap))]);
  }
  if (known(row.target_fen)) found.push([t("target"), amount(row.target_fen)]);
  if (known(row.nowcast_fen)) found.push([t("nowcast"), amount(row.nowcast_fen)]);
  if (known(row.p_meet)) found.push([t("p_meet"), percent(row.p_meet, 0)]);
  if (known(row.required_growth)) found.push([t("required_growth"), signedPercent(row.required_growth)]);
  return found;
}

export function facts(rows) {
  const list = make("dl", "facts wide");
  for (const [what, value] of rows) {
    const row = make("div");
    row.append(make("dt", "", what), make("dd", "", value));
    list.append(row);
  }
  return list;
}
