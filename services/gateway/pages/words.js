// Texts in two languages, and figures as each language writes them. Amounts come in fen.

const TEXTS = {};
let current = "zh";

export async function loadWords() {
  for (const language of ["zh", "en"]) {
    TEXTS[language] = await (await fetch(`/pages/${language}.json`)).json();
  }
  const wanted = localStorage.getItem("yumai.language");
  setLanguage(wanted || ((navigator.language || "zh").toLowerCase().startsWith("zh") ? "zh" : "en"));
}

export const language = () => current;

export function setLanguage(code) {
  current = TEXTS[code] ? code : "zh";
  document.documentElement.lang = t("locale");
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = t(element.dataset.text);
  }
}

export function t(key, values = {}) {
  const text = TEXTS[current]?.[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

const number = (value, digits) =>
  value.toLocaleString(t("locale"), { minimumFractionDigits: digits, maximumFractionDigits: digits });

const SCALES = {
  zh: [[1e8, "亿元"], [1e4, "万元"], [1, "元"]],
  en: [[1e9, "bn CNY"], [1e6, "M CNY"], [1e3, "K CNY"], [1, "CNY"]],
};

// [value, unit]; 万 and 亿 in Chinese, K, M and bn in English.
export function amountParts(fen, digits) {
  const yuan = Number(fen) / 100;
  const size = Math.abs(yuan);
  const scales = SCALES[current];
  const [factor, unit] = scales.find(([least]) => size >= least) ?? scales.at(-1);
  const value = yuan / factor;
  const shown = digits ?? (Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 100 ? 1 : 2);
  return [number(value, shown), unit];
}

export const amount = (fen) => amountParts(fen).join(" ");

// The counter's unit stays where a day's figures move: one step smaller than the largest.
export function counterParts(fen) {
  const yuan = Number(fen) / 100;
  if (current === "zh") {
    return Math.abs(yuan) >= 1e4 ? [number(yuan / 1e4, 2), "万元"] : [number(yuan, 2), "元"];
  }
  return Math.abs(yuan) >= 1e6 ? [number(yuan / 1e6, 4), "M CNY"] : [number(yuan, 2), "CNY"];
}

export const count = (value) => Math.round(value).toLocaleString(t("locale"));
export const percent = (share, digits = 1) => `${number(share * 100, digits)}%`;
export const signedPercent = (share) =>
  `${share > 0 ? "+" : share < 0 ? "−" : ""}${number(Math.abs(share) * 100, 1)}%`;

const when = (text, options) =>
  new Intl.DateTimeFormat(t("locale"), { timeZone: "Asia/Shanghai", ...options }).format(new Date(text));
export const day = (text) => when(text, { month: "short", day: "numeric" });
export const dayAndTime = (text) =>
  when(text, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
export const time = (text) =>
  when(text, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export function span(seconds) {
  if (seconds < 100) return t("seconds", { n: Math.round(seconds) });
  if (seconds < 5400) return t("minutes", { n: Math.round(seconds / 60) });
  if (seconds < 129600) return t("hours", { n: Math.round(seconds / 3600) });
  return t("days", { n: Math.round(seconds / 86400) });
}
