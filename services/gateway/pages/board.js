// Draws what the overview says: map colours, counter, lagging districts, sectors. Reads no network.

import { amount, amountParts, count, counterParts, day, dayAndTime, language, percent, signedPercent, t } from "./words.js";

const $ = (id) => document.getElementById(id);
const BANDS = [0.94, 0.97, 1.0, 1.03];
const UNKNOWN = "000000";
const VOLUME_STEPS = 5;

const make = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

// Missing is not lagging: what a district's figures say is not to be relied on now.
const inDoubt = (district) => district.guards.includes("stale");

// What is left out of a figure is said beside it; without the mark it is whole.
const marked = (text, suppressed) => (suppressed ? `${text} *` : text);

export class Board {
  constructor() {
    this.districts = new Map();
    this.sectors = new Map();
    this.overview = null;
    this.map = null;
    this.selected = null;
    this.shown = null; // what the counter shows, in fen
    this.moving = 0;
  }

  know(districts, sectors) {
    for (const district of districts) this.districts.set(district.code, district);
    for (const sector of sectors) this.sectors.set(sector.code, sector);
  }

  name(code, short = false) {
    if (code === UNKNOWN) return t("unknown_district");
    const district = this.districts.get(code);
    if (!district) return code;
    if (language() === "zh") return short ? district.short_zh : district.zh;
    const plain = district.en.replace(/ (Tujia|Miao).*$/, "").replace(/ (District|County)$/, "");
    return short ? plain.replace(/ New Area$/, "") : plain;
  }

  get role() {
    return this.overview?.meta.role ?? "bureau";
  }

  get showsVolume() {
    return this.role === "platform";
  }

  draw(overview) {
    this.overview = overview ?? this.overview;
    if (!this.overview) return;
    const { meta, data } = this.overview;
    this.byCode = new Map(data.districts.map((d) => [d.code, d]));
    this.largest = Math.max(1, ...data.districts.map((d) => d.attained_fen));
    const kind = this.showsVolume ? "volume" : "pace";
    $("map-title").textContent = t(`map_title_${kind}`);
    $("map-about").textContent = t(`map_about_${kind}`, { year: meta.year, at: dayAndTime(meta.at) });
    this.#legend();
    this.#paint();
    this.#counter(data);
    this.#lagging(meta, data);
    this.#sectors(data.sectors);
    this.#district();
    $("foot-as-of").textContent = meta.as_of_closed ? t("as_of", { date: meta.as_of_closed }) : t("as_of_none");
  }

  // -- map ----------------------------------------------------------------------------------------

  fill(code) {
    const figures = this.byCode?.get(code);
    if (!figures) return this.role === "district" ? "hidden" : "none";
    if (this.showsVolume) {
      if (figures.attained_fen <= 0) return "none";
      const step = Math.floor(Math.sqrt(figures.attained_fen / this.largest) * VOLUME_STEPS);
      return `volume-${Math.min(step, VOLUME_STEPS - 1)}`;
    }
    if (inDoubt(figures)) return "data";
    if (figures.pace === null) return "none";
    return `band-${BANDS.filter((least) => figures.pace >= least).length}`;
  }

  describe(code) {
    const figures = this.byCode?.get(code);
    const rows = [];
    if (!figures) return [[t("pace"), this.role === "district" ? t("hidden") : t("no_target")]];
    if (!this.showsVolume) {
      rows.push([t("pace"), figures.pace === null ? t("no_target") : percent(figures.pace)]);
      if (figures.target_fen !== null) rows.push([t("level_label"), this.#level(figures), inDoubt(figures)]);
      if (inDoubt(figures)) rows.push([t("why"), this.#why(figures), true]);
    }
    rows.push([t("attained"), marked(amount(figures.attained_fen), this.overview.data.year.suppressed)]);
    if (figures.pace !== null) {
      // Like for like: a platform that joined or left is no growth and no decline.
      const gap = figures.comparable_fen - figures.expected_fen;
      if (amount(figures.comparable_fen) !== amount(figures.attained_fen)) rows.push([t("comparable"), amount(figures.comparable_fen)]);
      rows.push([t("expected"), amount(figures.expected_fen)]);
      rows.push([t("gap"), (gap > 0 ? "+" : gap < 0 ? "−" : "") + amount(Math.abs(gap))]);
      rows.push([t("target"), amount(figures.target_fen)]);
    }
    rows.push([t("today"), marked(amount(figures.today_fen), this.overview.data.today.suppressed)]);
    return rows;
  }

  // The level in words, or why there is none.
  #level(figures) {
    if (inDoubt(figures)) return figures.level ? `${t("guard_data")} (${t(`level_${figures.level}`)})` : t("guard_data_none");
    if (figures.guards.length) return t(`guard_${figures.guards[0]}`);
    return figures.level ? t(`level_${figures.level}`) : "–";
  }

  #why(figures) {
    const feeds = figures.feeds.map((feed) => t(`feed_${feed.state}`, { platform: feed.platform_id }));
    return feeds.length ? feeds.join(" · ") : t("why_missing");
  }

  #paint() {
    if (!this.map) return;
    this.map.label(t("map_label"), t("inset"));
    this.map.paint((code) => ({
      fill: this.fill(code),
      name: this.name(code, true),
      mark: this.fill(code) === "data" ? t("map_data") : "",
      description: `${this.name(code)}. ${this.describe(code).map(([what, value]) => `${what}: ${value}`).join(". ")}`,
    }));
  }

  #legend() {
    const entry = (className, text) => {
      const item = make("li");
      item.append(make("span", `swatch ${className}`), make("span", "", text));
      return item;
    };
    const entries = this.showsVolume
      ? [entry("volume-0", t("volume_low")), entry("volume-2", ""), entry("volume-4", t("volume_high")), entry("none", t("volume_none"))]
      : [...[0, 1, 2, 3, 4].map((band) => entry(`band-${band}`, t(`band_${band}`))), entry("data", t("band_data")), entry("none", t("band_none"))];
    if (this.role === "district") entries.push(entry("hidden", t("band_hidden")));
    $("legend").replaceChildren(...entries);
  }

  tip(code, element) {
    const tip = $("tip");
    if (!code || !this.overview) {
      tip.hidden = true;
      return;
    }
    tip.replaceChildren(make("strong", "", this.name(code)), this.#facts(make("dl"), this.describe(code)));
    tip.hidden = false;
    const frame = $("map-frame").getBoundingClientRect();
    const shape = element.getBoundingClientRect();
    const middle = shape.left + shape.width / 2 - frame.left;
    const left = Math.min(Math.max(middle - tip.offsetWidth / 2, 4), frame.width - tip.offsetWidth - 4);
    const above = shape.top - frame.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 0 ? above : Math.min(shape.bottom - frame.top + 8, frame.height - tip.offsetHeight - 4)}px`;
  }

  #facts(list, rows) {
    list.replaceChildren(
      ...rows.map(([what, value, long]) => {
        const row = make("div", long ? "long" : "");
        row.append(make("dt", "", what), make("dd", "", value));
        return row;
      }),
    );
    return list;
  }

  select(code) {
    this.selected = code === this.selected ? null : code;
    this.map?.select(this.selected);
    this.#district();
  }

  #district() {
    $("district-card").hidden = !this.selected;
    for (const row of $("lagging").children) row.classList.toggle("selected", row.dataset.code === this.selected);
    if (!this.selected) return;
    $("district-title").textContent = this.name(this.selected);
    this.#facts($("district-facts"), this.describe(this.selected));
  }

  // -- counter ------------------------------------------------------------------------------------

  #counter(data) {
    $("counter-about").textContent = data.today.entries
      ? t("today_about", { entries: count(data.today.entries) })
      : t("no_today");
    $("fact-year").textContent = marked(amount(data.year.net_fen), data.year.suppressed);
    const share = data.year.service_share;
    const partial = data.year.suppressed || data.year.goods_suppressed;
    $("fact-share").textContent = share === null ? "–" : marked(percent(share), partial);
    $("counter-mark").hidden = !data.today.suppressed;
    $("totals-suppressed").hidden = !(partial || data.today.suppressed);
    this.#moveTo(data.today.net_fen);
  }

  rate(perSecond) {
    $("fact-rate").textContent = perSecond > 0 ? t("rate_value", { n: count(Math.max(1, perSecond)) }) : t("rate_idle");
  }

  #moveTo(fen) {
    const from = this.shown;
    const show = (value) => {
      this.shown = value;
      const [text, unit] = counterParts(value);
      $("counter-value").textContent = text;
      $("counter-unit").textContent = unit;
    };
    cancelAnimationFrame(this.moving);
    if (from === null || from === fen || matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden) {
      show(fen);
      return;
    }
    const begun = performance.now();
    const step = (now) => {
      const gone = Math.min((now - begun) / 1_600, 1);
      show(from + (fen - from) * (1 - (1 - gone) ** 3));
      if (gone < 1) this.moving = requestAnimationFrame(step);
    };
    this.moving = requestAnimationFrame(step);
  }

  // -- lists --------------------------------------------------------------------------------------

  #lagging(meta, data) {
    $("lagging-title").textContent = t("lagging_title");
    const open = data.alerts.filter((alert) => ["open", "acknowledged", "explained"].includes(alert.state));
    const told = new Map(open.map((alert) => [alert.district, alert]));
    // The pace is of now, the alert tells since when; a district that lags before its alert opens stands here too.
    const rows = data.districts
      .filter((d) => d.pace !== null && (told.has(d.code) || (!d.guards.length && d.level !== null && d.level !== "green")))
      .sort((a, b) => a.pace - b.pace);
    const judged = data.districts.some((d) => d.pace !== null);
    const nothing = data.districts.every((d) => d.attained_fen === 0);
    $("lagging-count").textContent = rows.length || "";
    $("lagging-empty").hidden = rows.length > 0;
    $("lagging-empty").textContent = t(
      this.showsVolume ? "lagging_platform"
        : nothing ? "lagging_no_data"
          : !judged ? "lagging_no_target"
            : meta.warming_up ? "lagging_warming" : "lagging_none",
    );
    $("lagging").replaceChildren(...rows.map((d) => this.#laggingRow(d, told.get(d.code))));
  }

  #laggingRow(district, alert) {
    const doubt = inDoubt(district);
    const level = doubt ? "data" : alert?.level ?? district.level;
    const row = make("li");
    row.dataset.code = district.code;
    const button = make("button");
    button.type = "button";
    button.addEventListener("click", () => this.select(district.code));
    const since = alert ? t("since", { date: day(alert.opened_at ?? alert.first_at) }) : "";
    const short = Math.max(0, district.expected_fen - district.comparable_fen);
    const about = doubt ? this.#why(district) : [t("short_of", { amount: amount(short) }), since].filter(Boolean).join(" · ");
    const names = make("span", "names");
    names.append(make("span", "district-name", this.name(district.code)), make("span", "quiet", about));
    const figures = make("span", "figures");
    figures.append(make("span", "pace", percent(district.pace)), make("span", `level ${level}`, doubt ? t("band_data") : t(`level_${level}`)));
    button.append(names, figures);
    row.append(button);
    return row;
  }

  #sectors(sectors) {
    const most = Math.max(...sectors.map((s) => s.net_fen), 0);
    $("sectors-empty").hidden = most > 0;
    $("sectors").hidden = most <= 0;
    $("sectors-suppressed").hidden = !sectors.some((s) => s.suppressed);
    if (most <= 0) return;
    const list = $("sectors");
    while (list.children.length < sectors.length) {
      const row = make("li");
      const track = make("span", "track");
      track.append(make("span", "fill"));
      row.append(make("span", "sector-name"), track, make("span", "sector-amount"), make("span", "growth"));
      list.append(row);
    }
    sectors.forEach((sector, place) => {
      const known = this.sectors.get(sector.code);
      const [name, track, value, growth] = list.children[place].children;
      const plain = (known?.[language()] ?? sector.code).replace(/\s*[(（][^)）]*[)）]$/, "");
      name.textContent = plain;
      name.title = `${sector.code} ${known?.[language()] ?? ""}`;
      track.firstChild.style.width = `${Math.max(0, (sector.net_fen / most) * 100)}%`;
      const amount = amountParts(sector.net_fen).join(" ");
      // What stands on fewer than three entries is left out: said, never shown as a small number alone.
      value.textContent = !sector.suppressed ? amount : sector.net_fen === 0 ? t("guard_suppressed") : marked(amount, true);
      value.title = sector.suppressed ? t("suppressed_note") : "";
      const before = sector.last_year_fen;
      const change = before > 0 ? sector.net_fen / before - 1 : null;
      growth.textContent = change !== null ? signedPercent(change) : before === null || sector.net_fen === 0 ? "" : t("new");
      growth.className = `growth ${change > 0.0005 ? "up" : change < -0.0005 ? "down" : ""}`;
    });
  }
}
