// The page's life: sign in, read the overview, follow the stream, say what is wrong.

import { Board } from "./board.js";
import { Desk } from "./desk.js";
import { Refused, dropToken, follow, get, keepToken, takeToken } from "./link.js";
import { DistrictMap } from "./map.js";
import { language, loadWords, setLanguage, span, t, time } from "./words.js";

const $ = (id) => document.getElementById(id);
const REFRESH_MS = 30_000; // without any event
const AFTER_EVENT_MS = 1_500; // at most so often while events come
const RETRY_MS = 3_000;
const RATE_MS = 10_000;
const BEHIND_SECONDS = 120;
const HIDDEN_MS = 60_000;
const THEMES = ["auto", "light", "dark"];

const board = new Board();
const desk = new Desk({ token: () => token, name: (code) => board.name(code), changed: () => next(0) });
let token = null;
let unfollow = null;
let timer = 0;
let hidden = 0;
let reading = false;
let deskReading = false;
let readAt = 0;
let newest = 0; // instant of the newest event
let stream = "starting";
let trouble = null; // {why, since}
let booked = []; // [instant, entries] of the last seconds

// -- language and looks -----------------------------------------------------------------------------

function theme() {
  return localStorage.getItem("yumai.theme") ?? "auto";
}

function dress() {
  const chosen = theme();
  document.documentElement.dataset.theme = chosen;
  $("theme").textContent = t(`theme_${chosen}`);
  $("theme").setAttribute("aria-label", t("theme_label", { theme: t(`theme_${chosen}`) }));
  $("language").textContent = t("language");
  $("language").setAttribute("aria-label", t("language_label"));
  document.title = language() === "zh" ? "渝脉 · 重庆服务消费监测" : "Yumai · Service consumption in Chongqing";
}

function tell() {
  dress();
  who();
  mapNote();
  board.draw();
  desk.draw();
  showLink();
  showTrouble();
}

$("language").addEventListener("click", () => {
  localStorage.setItem("yumai.language", language() === "zh" ? "en" : "zh");
  setLanguage(language() === "zh" ? "en" : "zh");
  tell();
});

$("theme").addEventListener("click", () => {
  localStorage.setItem("yumai.theme", THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
  dress();
});

// -- what is so, and what is wrong ------------------------------------------------------------------

function who() {
  const meta = board.overview?.meta;
  $("who").hidden = !meta;
  if (!meta) return;
  const name = meta.role === "district" ? board.name(meta.code) : meta.code;
  $("who").textContent = meta.role === "bureau" ? t("bureau") : t(`${meta.role}_role`, { name });
}

function showLink() {
  const meta = board.overview?.meta;
  const age = readAt ? (Date.now() - readAt) / 1000 : 0;
  const lag = meta?.freshness.lag_seconds;
  let [kind, text] = ["wait", t("starting")];
  if (token && (stream === "lost" || trouble)) [kind, text] = ["lost", t("reconnecting")];
  else if (meta && lag === null) [kind, text] = ["wait", t("unknown_freshness")];
  else if (meta && lag + age > BEHIND_SECONDS) [kind, text] = ["behind", t("behind", { ago: span(lag) })];
  else if (meta && stream === "live") [kind, text] = ["live", t("live_lag", { ago: span(lag) })];
  $("link").className = `chip ${kind}`;
  if ($("link-text").textContent !== text) $("link-text").textContent = text;
  $("link").hidden = !token;
}

function showTrouble() {
  $("banner").hidden = !trouble;
  if (!trouble) return;
  const why = t(trouble.why);
  $("banner").textContent = readAt
    ? t("offline_banner", { why, time: time(readAt) })
    : t("offline_first", { why });
}

function mapNote() {
  $("map-note").textContent = board.mapMeta ? t(board.mapMeta.note ? "approximate" : "custom_map") : "";
}

// -- figures ----------------------------------------------------------------------------------------

async function refresh() {
  clearTimeout(timer);
  if (reading || !token) return;
  reading = true;
  try {
    if (!board.map) await unfold();
    const overview = await get("/v1/overview", token);
    readAt = Date.now();
    trouble = null;
    document.body.dataset.state = "ready";
    board.draw(overview);
    who();
    deskRefresh(overview.meta);
    // Read before the newest commit (answers are kept a moment): once more.
    next(Date.parse(overview.meta.generated_at) < newest ? AFTER_EVENT_MS : REFRESH_MS);
  } catch (error) {
    if (error instanceof Refused && (error.status === 401 || error.status === 403)) return leave("token_refused");
    const why = !(error instanceof Refused) ? "why_network" : error.status === 503 ? "why_store" : "why_server";
    if (!(error instanceof Refused)) console.warn(error);
    trouble = { why };
    next(RETRY_MS);
  } finally {
    reading = false;
    showLink();
    showTrouble();
  }
}

// Alerts that can't be read now leave the figures as they are.
async function deskRefresh(meta) {
  if (deskReading) return;
  deskReading = true;
  try {
    await desk.refresh(meta.role, meta.year);
  } catch (error) {
    console.info("alerts can't be read now", error);
  } finally {
    deskReading = false;
  }
}

function next(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(refresh, milliseconds);
}

// What stays the same while the page is open: names, shapes.
async function unfold() {
  const [districts, sectors, shapes] = await Promise.all([
    get("/v1/districts", token),
    get("/v1/sectors", token),
    get("/v1/map", token),
  ]);
  board.know(districts.data, sectors.data);
  board.mapMeta = shapes.meta;
  board.map = new DistrictMap($("map"), shapes, {
    hover: (code, element) => board.tip(code, element),
    select: (code) => board.select(code),
  });
  mapNote();
}

function happened(kind, data) {
  const now = Date.now();
  newest = Math.max(newest, data.committed_at ?? data.at ?? 0);
  if (kind === "cells") {
    booked.push([now, data.entries]);
    board.map?.pulse(data.district);
  }
  if (!reading) next(Math.max(0, AFTER_EVENT_MS - (now - readAt)));
}

setInterval(() => {
  const since = Date.now() - RATE_MS;
  booked = booked.filter(([at]) => at > since);
  board.rate(booked.reduce((sum, [, entries]) => sum + entries, 0) / (RATE_MS / 1000));
  showLink();
}, 1_000);

// -- in and out -------------------------------------------------------------------------------------

function enter(given) {
  token = given;
  $("sign-in").hidden = true;
  $("board").hidden = false;
  $("leave").hidden = false;
  document.body.dataset.state = "loading";
  listen();
  refresh();
}

// A browser opens six connections to a server at most: a page that nobody sees holds none.
function listen() {
  if (unfollow || !token) return;
  unfollow = follow(token, {
    event: happened,
    state: (state) => {
      if (state === "refused") return leave("token_refused");
      if (state === "live" && stream === "lost") next(0); // what was missed meanwhile
      stream = state;
      showLink();
    },
  });
}

function hush() {
  unfollow?.();
  unfollow = null;
}

function leave(why) {
  clearTimeout(timer);
  hush();
  dropToken();
  if (board.overview) return location.reload(); // nothing of another's figures stays in the page
  token = null;
  trouble = null;
  document.body.dataset.state = "signed-out";
  $("board").hidden = true;
  $("leave").hidden = true;
  $("sign-in").hidden = false;
  $("sign-in-error").hidden = !why;
  $("sign-in-error").textContent = why ? t(why) : "";
  showLink();
  showTrouble();
  $("token").focus();
}

$("leave").addEventListener("click", () => leave());
$("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = $("token").value.trim();
  $("token").value = "";
  keepToken(given);
  enter(given);
});
$("district-close").addEventListener("click", () => board.select(board.selected));
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.defaultPrevented && board.selected) board.select(board.selected);
});
addEventListener("online", () => token && next(0));
addEventListener("hashchange", () => takeToken() && location.reload());
addEventListener("pagehide", hush);
addEventListener("pageshow", (event) => event.persisted && token && (listen(), next(0)));
document.addEventListener("visibilitychange", () => {
  clearTimeout(hidden);
  if (document.hidden) {
    hidden = setTimeout(hush, HIDDEN_MS);
  } else if (token) {
    listen();
    next(0);
  }
});

await loadWords();
tell();
const known = takeToken();
if (known) enter(known);
else leave();
