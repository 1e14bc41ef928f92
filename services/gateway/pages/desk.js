// Alerts on the page: the bureau's board (a lane a state), a district's inbox, one alert with its history, and acting
// on it. Everything works with the keyboard: arrows move, Enter opens, a e s act, Escape goes back.

import { get, send } from "./link.js";
import { facts, field, figures, input, make, shanghaiDay } from "./forms.js";
import { amount, dayAndTime, percent, t } from "./words.js";

const $ = (id) => document.getElementById(id);
const LANES = [
  ["open", ["open"]],
  ["acknowledged", ["acknowledged"]],
  ["explained", ["explained"]],
  ["watch", ["watch"]],
  ["ended", ["resolved", "withdrawn", "missed"]],
];
const LIVE = ["open", "acknowledged", "explained"];
const RANKS = { red: 0, yellow: 1, blue: 2, green: 3 };

export class Desk {
  // `token()` and `name(code)` as they are now; `changed()` when something was done.
  constructor({ token, name, changed }) {
    this.token = token;
    this.name = name;
    this.changed = changed;
    this.role = null;
    this.alerts = [];
    this.open = null; // the alert that is shown, with its history
    this.item = null; // and its work item
    this.asked = new URLSearchParams(location.search).get("alert");
    this.lost = 0; // messages given up
    this.late = 0; // work items overdue
    this.said = "";
    $("lanes").addEventListener("keydown", (event) => this.#move(event));
    $("alert").addEventListener("keydown", (event) => this.#key(event));
  }

  async refresh(role, year) {
    this.role = role;
    $("desk").hidden = role === "platform";
    if (role === "platform") return;
    const [alerts, lost, late] = await Promise.all([
      get("/v1/alerts", this.token()),
      get("/v1/deliveries?state=given_up", this.token()),
      get("/v1/work-items?overdue=true", this.token()),
    ]);
    this.alerts = alerts.data.filter((alert) => alert.state !== "ok" && alert.year >= year - 1);
    this.lost = lost.data.length;
    this.late = late.data.length;
    if (this.asked) {
      const asked = this.asked;
      this.asked = null;
      if (alerts.data.some((alert) => alert.id === asked)) await this.#show(asked);
    } else if (this.open && this.alerts.some((a) => a.id === this.open.id && a.seq !== this.open.seq)) {
      await this.#read(this.open.id);
    }
    this.draw();
  }

  draw() {
    if (!this.role || this.role === "platform") return;
    $("desk-title").textContent = t(this.role === "bureau" ? "desk_board" : "desk_inbox");
    const notes = matchMedia("(pointer: coarse)").matches ? [] : [t("desk_keys")];
    if (this.late) notes.unshift(t("desk_overdue", { n: this.late }));
    if (this.lost) notes.unshift(t("desk_lost", { n: this.lost }));
    $("desk-about").textContent = notes.join(" · ");
    $("desk-about").classList.toggle("wrong", this.lost > 0);
    this.#lanes();
    this.#alert();
  }

  // -- the list -----------------------------------------------------------------------------------

  #lanes() {
    const focused = document.activeElement?.dataset?.alert;
    const lanes = this.role === "bureau" ? LANES : [["inbox", LANES.flatMap(([, states]) => states)]];
    const made = lanes.map(([key, states]) => {
      const lane = make("section", "lane");
      lane.classList.toggle("vacant", !this.alerts.some((a) => states.includes(a.state)));
      const title = make("h3", "", t(`lane_${key}`));
      const found = this.alerts.filter((a) => states.includes(a.state)).sort(order);
      const count = make("span", "count", found.length ? String(found.length) : "");
      const head = make("div", "card-head");
      head.append(title, count);
      const list = make("ol", "desk-list");
      list.setAttribute("aria-label", t(`lane_${key}`));
      list.append(...found.map((alert) => this.#row(alert)));
      lane.append(head, list);
      if (!found.length) lane.append(make("p", "empty", t("lane_empty")));
      return lane;
    });
    $("lanes").className = `lanes ${this.role === "bureau" ? "wide" : ""}`;
    $("lanes").replaceChildren(...made);
    const buttons = [...$("lanes").querySelectorAll("button")];
    const again = buttons.find((b) => b.dataset.alert === focused);
    // One stop for the Tab key; arrows go on from there.
    for (const button of buttons) button.tabIndex = -1;
    const first = again ?? buttons.find((b) => b.dataset.alert === this.open?.id) ?? buttons[0];
    if (first) first.tabIndex = 0;
    if (again) again.focus();
  }

  #row(alert) {
    const row = make("li");
    const button = make("button");
    button.type = "button";
    button.dataset.alert = alert.id;
    button.setAttribute("aria-current", String(alert.id === this.open?.id));
    button.addEventListener("click", () => this.#show(alert.id));
    const names = make("span", "names");
    const title = this.role === "bureau" ? this.name(alert.district) : `${this.name(alert.district)} ${alert.year}`;
    const marks = [t(`state_${alert.state}`)];
    if (alert.escalated_at) marks.push(t("escalated"));
    if (alert.silence) marks.push(t("silenced"));
    marks.push(t("since", { date: dayAndTime(alert.opened_at ?? alert.first_at) }));
    names.append(make("span", "district-name", title), make("span", "quiet", marks.join(" · ")));
    const figures = make("span", "figures");
    const pace = alert.figures.pace;
    if (pace !== null && pace !== undefined) figures.append(make("span", "pace", percent(pace)));
    if (alert.level) figures.append(make("span", `level ${alert.level}`, t(`level_${alert.level}`)));
    button.append(names, figures);
    row.append(button);
    return row;
  }

  #move(event) {
    const lanes = [...$("lanes").children].map((lane) => [...lane.querySelectorAll("button")]);
    const lane = lanes.findIndex((buttons) => buttons.includes(document.activeElement));
    if (lane < 0) return;
    const at = lanes[lane].indexOf(document.activeElement);
    const beside = (step) => {
      for (let other = lane + step; lanes[other]; other += step) {
        if (lanes[other].length) return lanes[other][Math.min(at, lanes[other].length - 1)];
      }
      return null;
    };
    const to = {
      ArrowDown: () => lanes[lane][at + 1],
      ArrowUp: () => lanes[lane][at - 1],
      ArrowRight: () => beside(1),
      ArrowLeft: () => beside(-1),
      Home: () => lanes[lane][0],
      End: () => lanes[lane].at(-1),
    }[event.key];
    if (!to) {
      if ("aes".includes(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        this.#show(document.activeElement.dataset.alert).then(() => this.#key(event));
      }
      return;
    }
    event.preventDefault();
    const button = to();
    if (!button) return;
    document.activeElement.tabIndex = -1;
    button.tabIndex = 0;
    button.focus();
  }

  // -- one alert ----------------------------------------------------------------------------------

  async #read(id) {
    const found = (await get(`/v1/alerts/${encodeURIComponent(id)}`, this.token())).data;
    const item = found.work_item_id;
    this.item = item ? (await get(`/v1/work-items/${encodeURIComponent(item)}`, this.token())).data : null;
    this.open = found;
  }

  async #show(id) {
    this.said = "";
    this.form = null;
    await this.#read(id);
    this.draw();
    $("alert").focus();
    $("alert").scrollIntoView({ block: "nearest" });
  }

  hide() {
    if (!this.open) return false;
    const id = this.open.id;
    this.open = null;
    this.form = null;
    this.draw();
    $("lanes").querySelector(`[data-alert="${id}"]`)?.focus();
    return true;
  }

  #key(event) {
    const typing = ["INPUT", "TEXTAREA"].includes(document.activeElement?.tagName);
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      if (this.form) {
        this.form = null;
        this.#alert();
        $("alert").focus();
      } else {
        this.hide();
      }
      return;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !this.open) return;
    if (!LIVE.includes(this.open.state)) return;
    const act = { a: () => this.#acknowledge(), e: () => this.#ask("explain"), s: () => this.#ask("silence") }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #alert() {
    const alert = this.open;
    $("alert").hidden = !alert;
    if (!alert) return;
    // What somebody is typing stays.
    if (this.form && $("alert").dataset.id === alert.id && $("alert").querySelector("form")) return;
    $("alert").dataset.id = alert.id;
    const head = make("div", "card-head");
    const title = make("h3", "", `${this.name(alert.district)} ${alert.year}`);
    title.id = "alert-title";
    const close = make("button", "tool small", t("close"));
    close.type = "button";
    close.addEventListener("click", () => this.hide());
    head.append(title, close);
    const state = make("p", "alert-state");
    if (alert.level) state.append(make("span", `level ${alert.level}`, t(`level_${alert.level}`)), " ");
    state.append(t(`state_${alert.state}`));
    if (alert.escalated_at) state.append(` · ${t("escalated_at", { time: dayAndTime(alert.escalated_at) })}`);
    if (alert.silence) state.append(` · ${t("silenced_until", alert.silence)}`);
    const parts = [head, state, facts(figures(alert.figures))];
    const lagging = alert.sectors.filter((s) => s.level && s.level !== "green");
    if (lagging.length) {
      parts.push(facts(lagging.map((s) => [`${s.sector} ${t(`level_${s.level}`)}`, s.pace === null ? "–" : percent(s.pace)])));
    }
    if (this.item) parts.push(facts([[t("measure"), this.item.title], [t("explain_due"), this.#due()]]));
    if (LIVE.includes(alert.state)) parts.push(this.form ? this.#form() : this.#buttons());
    if (this.said) {
      const said = make("p", "said", this.said);
      said.setAttribute("role", "status");
      parts.push(said);
    }
    parts.push(make("h4", "", t("history")), this.#history(alert.history));
    $("alert").replaceChildren(...parts);
  }

  #due() {
    const { due_date: due, status, overdue } = this.item;
    return [due ?? "–", overdue ? t("overdue") : t(`status_${status}`)].join(" · ");
  }

  #buttons() {
    const row = make("div", "acts");
    const button = (key, act, off) => {
      const made = make("button", "tool", `${t(`act_${key}`)} (${key[0]})`);
      made.type = "button";
      made.dataset.act = key;
      made.disabled = off;
      made.setAttribute("aria-keyshortcuts", key[0]);
      made.addEventListener("click", act);
      row.append(made);
    };
    button("acknowledge", () => this.#acknowledge(), this.open.state !== "open");
    button("explain", () => this.#ask("explain"), false);
    button("silence", () => this.#ask("silence"), false);
    return row;
  }

  #ask(form) {
    this.form = form;
    this.said = "";
    $("alert").querySelector("form")?.remove();
    this.form = form;
    $("alert").dataset.id = "";
    this.#alert();
    $("alert").querySelector("textarea, input")?.focus();
  }

  #form() {
    const form = make("form", "act-form");
    form.append(
      ...(this.form === "explain"
        ? [
            field(t("explain_text"), input("text", "textarea")),
            field(t("explain_measure"), input("measure", "textarea")),
            field(t("explain_due"), input("due_date", "date", shanghaiDay(30))),
          ]
        : [
            field(t("silence_until"), input("until", "date", shanghaiDay(7))),
            field(t("silence_reason"), input("reason", "textarea")),
          ]),
    );
    const row = make("div", "acts");
    const give = make("button", "primary", t(`act_${this.form}`));
    give.type = "submit";
    const cancel = make("button", "tool", t("cancel"));
    cancel.type = "button";
    cancel.addEventListener("click", () => {
      this.form = null;
      $("alert").dataset.id = "";
      this.#alert();
      $("alert").focus();
    });
    row.append(give, cancel);
    form.append(row);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#act(this.form, Object.fromEntries(new FormData(form)));
    });
    return form;
  }

  #acknowledge() {
    if (this.open.state === "open") this.#act("acknowledge", {});
  }

  async #act(kind, body) {
    const id = this.open.id;
    try {
      const [status] = await send("POST", `/v1/alerts/${encodeURIComponent(id)}/${kind}`, this.token(), body);
      this.said = t(status === 202 ? "act_kept" : "act_done");
      this.form = null;
    } catch (error) {
      this.said = t("act_refused", { why: error.reasons?.join("; ") || error.message });
    }
    if (!this.form) $("alert").dataset.id = "";
    await this.#read(id).catch(() => {});
    if (this.form) {
      let said = $("alert").querySelector(".said");
      if (!said) {
        said = make("p", "said");
        said.setAttribute("role", "status");
        $("alert").querySelector("form").after(said);
      }
      said.textContent = this.said;
    } else {
      this.draw();
      $("alert").focus();
    }
    this.changed();
  }

  #history(steps) {
    const list = make("ol", "history");
    for (const step of [...steps].reverse()) {
      const row = make("li");
      const head = make("p", "history-head");
      const when = make("time", "", dayAndTime(step.at));
      when.dateTime = step.at;
      head.append(make("strong", "", t(`kind_${step.kind}`)), " ", when);
      if (step.level) head.append(" ", make("span", `level ${step.level}`, t(`level_${step.level}`)));
      row.append(head);
      const about = [step.by === "system" ? t("by_system") : step.by];
      if (step.figures.pace !== null && step.figures.pace !== undefined) about.push(`${t("pace")} ${percent(step.figures.pace)}`);
      if (step.figures.attained_fen !== undefined) about.push(`${t("attained")} ${amount(step.figures.attained_fen)}`);
      row.append(make("p", "quiet", about.join(" · ")));
      if (step.text) row.append(make("p", "history-text", step.text));
      list.append(row);
    }
    return list;
  }
}

function order(a, b) {
  return b.year - a.year || RANKS[a.level] - RANKS[b.level] || (a.figures.pace ?? 9) - (b.figures.pace ?? 9);
}
