// The districts as SVG: Albers equal-area conic, with the small central districts again in an inset.

const SVG = "http://www.w3.org/2000/svg";
const RADIANS = Math.PI / 180;
const WIDTH = 1000;
const HEIGHT = 860;
const INSET = { x: 0, y: 0, width: 330, height: 330, west: 106.25, east: 106.77, south: 29.32, north: 29.77 };
const CENTRAL = new Set(["500103", "500104", "500106", "500107", "500108"]);
// Where a label would lie on its neighbour's, in units of the drawing.
const NUDGES = { 500109: [-6, -16], 500157: [14, 6], 500112: [10, -10], 500105: [22, 16], 500111: [-8, 4], 500120: [2, -6], 500151: [4, -2], 500103: [0, -26], 500107: [-14, -40], 500104: [0, 12], 500113: [10, 6], 500116: [-4, -26] };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Equal areas between 28.7° and 31.7° N, centred on 107.7° E: a choropleth compares areas.
function albers([longitude, latitude]) {
  const [south, north] = [28.7 * RADIANS, 31.7 * RADIANS];
  const n = (Math.sin(south) + Math.sin(north)) / 2;
  const c = Math.cos(south) ** 2 + 2 * n * Math.sin(south);
  const radius = Math.sqrt(c - 2 * n * Math.sin(latitude * RADIANS)) / n;
  const origin = Math.sqrt(c - 2 * n * Math.sin(30.1 * RADIANS)) / n;
  const angle = n * (longitude - 107.7) * RADIANS;
  return [radius * Math.sin(angle), -(origin - radius * Math.cos(angle))];
}

const node = (name, attributes = {}, parent = null) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
};

const polygons = (geometry) =>
  geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;

function fit(points, width, height, margin) {
  const xs = points.map((p) => p[0]);
  const ys = points.map((p) => p[1]);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
  const scale = Math.min((width - 2 * margin) / (right - left), (height - 2 * margin) / (bottom - top));
  const dx = (width - scale * (right - left)) / 2;
  const dy = (height - scale * (bottom - top)) / 2;
  return ([x, y]) => [dx + (x - left) * scale, dy + (y - top) * scale];
}

const outline = (geometry, place) =>
  polygons(geometry)
    .map((rings) =>
      rings
        .map((ring) => `M${ring.map((p) => place(albers(p)).map((v) => v.toFixed(1)).join(" ")).join("L")}Z`)
        .join(""),
    )
    .join("");

export class DistrictMap {
  // `on`: hover(code | null, element), select(code).
  constructor(root, shapes, on) {
    this.on = on;
    this.shapes = new Map();
    this.codes = [];
    const features = shapes.features;
    const all = features.flatMap((f) => polygons(f.geometry).flat(2).map(albers));
    const place = fit(all, WIDTH, HEIGHT, 8);
    this.svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", class: "map" });
    const defs = node("defs", {}, this.svg);
    for (const name of ["hatch-none", "hatch-hidden"]) {
      const gap = name === "hatch-none" ? 7 : 12;
      const pattern = node("pattern", { id: name, width: gap, height: gap, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, defs);
      node("rect", { width: gap, height: gap, class: "hatch-ground" }, pattern);
      node("line", { x1: 0, y1: 0, x2: 0, y2: gap, class: `hatch-line ${name}` }, pattern);
    }
    const dots = node("pattern", { id: "dots-data", width: 9, height: 9, patternUnits: "userSpaceOnUse" }, defs);
    node("rect", { width: 9, height: 9, class: "hatch-ground" }, dots);
    node("circle", { cx: 2.5, cy: 2.5, r: 1.7, class: "dot-data" }, dots);
    node("circle", { cx: 7, cy: 7, r: 1.7, class: "dot-data" }, dots);
    const land = node("g", { class: "land" }, this.svg);
    for (const feature of features) this.#district(land, feature, place, true);
    const labels = node("g", { class: "land-labels", "aria-hidden": "true" }, this.svg);
    for (const feature of features) {
      const code = feature.properties.adcode;
      if (!CENTRAL.has(code)) this.#label(labels, code, place(albers(feature.properties.cp)));
    }
    this.#inset(features, defs);
    this.chosen = node("path", { class: "chosen", "aria-hidden": "true" }, land);
    this.ring = node("path", { class: "ring", "aria-hidden": "true" }, land);
    root.replaceChildren(this.svg);
    this.#tabTo(this.codes[0]);
  }

  #district(parent, feature, place, first) {
    const code = String(feature.properties.adcode);
    const path = node("path", { d: outline(feature.geometry, place), class: "district", "data-code": code }, parent);
    const known = this.shapes.get(code) ?? { paths: [], labels: [], at: place(albers(feature.properties.cp)), main: path };
    known.paths.push(path);
    this.shapes.set(code, known);
    path.addEventListener("pointerenter", () => this.on.hover(code, path));
    path.addEventListener("pointerleave", () => this.on.hover(null, path));
    path.addEventListener("click", () => this.on.select(code));
    if (!first) {
      path.setAttribute("aria-hidden", "true");
      return;
    }
    this.codes.push(code);
    path.setAttribute("role", "button");
    path.setAttribute("tabindex", "-1");
    path.addEventListener("focus", () => {
      this.#tabTo(code);
      this.#outlineFocus(code);
      this.on.hover(code, path);
    });
    path.addEventListener("blur", () => {
      this.#outlineFocus(null);
      this.on.hover(null, path);
    });
    path.addEventListener("keydown", (event) => this.#key(event, code));
  }

  #label(parent, code, [left, top]) {
    const [dx, dy] = NUDGES[code] ?? [0, 0];
    const [x, y] = [left + dx, top + dy];
    const label = node("text", { x: x.toFixed(1), y: y.toFixed(1), class: "label" }, parent);
    this.shapes.get(String(code)).labels.push(label);
  }

  #inset(features, defs) {
    const corners = [[INSET.west, INSET.south], [INSET.east, INSET.north], [INSET.west, INSET.north], [INSET.east, INSET.south]];
    const inner = fit(corners.map(albers), INSET.width, INSET.height, 0);
    const place = (p) => { const [x, y] = inner(p); return [x + INSET.x, y + INSET.y]; };
    const box = { x: INSET.x + 1, y: INSET.y + 1, width: INSET.width - 2, height: INSET.height - 2, rx: 14 };
    node("rect", box, node("clipPath", { id: "inset-clip" }, defs));
    const group = node("g", { class: "inset" }, this.svg);
    node("rect", { ...box, class: "inset-ground" }, group);
    const clipped = node("g", { "clip-path": "url(#inset-clip)" }, group);
    for (const feature of features) this.#district(clipped, feature, place, false);
    const labels = node("g", { class: "labels", "aria-hidden": "true" }, clipped);
    for (const feature of features) {
      const [x, y] = place(albers(feature.properties.cp));
      const inside = x > 30 && x < INSET.width - 30 && y > 40 && y < INSET.height - 14;
      if (CENTRAL.has(feature.properties.adcode) && inside) this.#label(labels, feature.properties.adcode, [x, y]);
    }
    node("rect", { ...box, class: "inset-frame" }, group);
    this.insetTitle = node("text", { x: INSET.x + 16, y: INSET.y + 28, class: "inset-title" }, group);
  }

  #key(event, code) {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.on.select(code);
      return;
    }
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const [x, y] = this.shapes.get(code).at;
    let best = null;
    for (const other of this.codes) {
      const [dx, dy] = [this.shapes.get(other).at[0] - x, this.shapes.get(other).at[1] - y];
      const along = dx * arrow[0] + dy * arrow[1];
      const across = Math.abs(dx * arrow[1]) + Math.abs(dy * arrow[0]);
      if (other === code || along <= 0 || across > along * 1.6) continue;
      const far = along + across * 1.5;
      if (!best || far < best.far) best = { code: other, far };
    }
    if (best) this.shapes.get(best.code).main.focus();
  }

  #tabTo(code) {
    for (const other of this.codes) {
      this.shapes.get(other).main.setAttribute("tabindex", other === code ? "0" : "-1");
    }
  }

  #outlineFocus(code) {
    this.ring.setAttribute("d", code ? this.shapes.get(code).main.getAttribute("d") : "");
  }

  label(text, inset) {
    this.svg.setAttribute("aria-label", text);
    this.insetTitle.textContent = inset;
  }

  // `look(code)` → {fill: class, name, mark: a word below the name, description}
  paint(look) {
    for (const [code, shape] of this.shapes) {
      const { fill, name, mark, description } = look(code);
      for (const path of shape.paths) path.setAttribute("class", `district ${fill}${path.classList.contains("selected") ? " selected" : ""}`);
      for (const label of shape.labels) {
        label.replaceChildren(name);
        if (mark) node("tspan", { x: label.getAttribute("x"), dy: "1.15em", class: "word" }, label).textContent = mark;
        label.setAttribute("class", `label on-${fill}`);
      }
      shape.main.setAttribute("aria-label", description);
    }
  }

  select(code) {
    this.chosen.setAttribute("d", code && this.shapes.has(code) ? this.shapes.get(code).main.getAttribute("d") : "");
    for (const [other, shape] of this.shapes) {
      for (const path of shape.paths) path.classList.toggle("selected", other === code);
      shape.main.setAttribute("aria-pressed", String(other === code));
    }
  }

  // A district where something has just been booked.
  pulse(code) {
    for (const path of this.shapes.get(code)?.paths ?? []) {
      path.classList.remove("pulse");
      path.getBBox(); // restarts the animation
      path.classList.add("pulse");
    }
  }
}
