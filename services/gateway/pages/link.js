// What goes over the network: answers of the gateway with the token, and the stream of events.

const SILENT_MS = 25_000;

export class Refused extends Error {
  constructor(status) {
    super(`HTTP ${status}`);
    this.status = status;
  }
}

// The fragment of the address never reaches a server; it is taken out of the history too.
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("yumai.token", given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem("yumai.token");
}

export const keepToken = (token) => sessionStorage.setItem("yumai.token", token);
export const dropToken = () => sessionStorage.removeItem("yumai.token");

export async function get(path, token, milliseconds = 20_000) {
  const answer = await fetch(path, {
    headers: { Authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(milliseconds),
    cache: "no-store",
  });
  if (!answer.ok) throw new Refused(answer.status);
  return answer.json();
}

// [status, answer]. A refusal carries what each error says in `reasons`.
export async function send(method, path, token, body, milliseconds = 30_000) {
  const answer = await fetch(path, {
    method,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(milliseconds),
    cache: "no-store",
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const refused = new Refused(answer.status);
    refused.reasons = (said.errors ?? []).map((error) => error.message);
    throw refused;
  }
  return [answer.status, said];
}

// Follows /v1/stream until `stop` is called. `on.event(kind, data)`, `on.state("live" | "lost" | "refused")`.
export function follow(token, on) {
  let stopped = false;
  let controller = null;
  let last = "";

  async function once() {
    controller = new AbortController();
    let watchdog = setTimeout(() => controller.abort(), SILENT_MS);
    const headers = { Authorization: `Bearer ${token}` };
    if (last) headers["Last-Event-ID"] = last;
    const answer = await fetch("/v1/stream", { headers, signal: controller.signal, cache: "no-store" });
    if (!answer.ok) throw new Refused(answer.status);
    on.state("live");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => controller.abort(), SILENT_MS);
        held += value;
        const frames = held.split("\n\n");
        held = frames.pop();
        for (const frame of frames) handle(frame);
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  function handle(frame) {
    let kind = "";
    const data = [];
    for (const line of frame.split("\n")) {
      if (line.startsWith("event: ")) kind = line.slice(7);
      else if (line.startsWith("id: ")) last = line.slice(4);
      else if (line.startsWith("data: ")) data.push(line.slice(6));
    }
    if (kind && data.length) on.event(kind, JSON.parse(data.join("\n")));
  }

  (async () => {
    let wait = 500;
    while (!stopped) {
      try {
        await once();
        wait = 500;
      } catch (error) {
        if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
          on.state("refused");
          return;
        }
      }
      if (stopped) return;
      on.state("lost");
      await new Promise((go) => setTimeout(go, wait));
      wait = Math.min(wait * 2, 8_000);
    }
  })();

  return () => {
    stopped = true;
    controller?.abort();
  };
}
