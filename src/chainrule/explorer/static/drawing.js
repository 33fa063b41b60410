/** The network, drawn: units, weights, the sample on the left, target and loss on the right. */

import { el, svg, symbol } from "./dom.js";
import { brief, drawn, number } from "./numbers.js";

/** @typedef {import("./types").Frame} Frame */
/** @typedef {{ kind: string, layer: number, j: number, k?: number }} Part */

const RADIUS = 21;
const ROW = 62;
const COLUMN = 132;
const STRIP = 18; // width of the heat map of a wide layer
const IMAGE = 132; // side of an image
const TOP = 54;

export class Drawing {
  /** x of the units of each layer @type {number[]} */ columns = [];
  /** what the arrow keys walk over, column by column @type {string[][]} */ order = [];
  /** @type {any} */ labels = null;
  lossX = 0;
  middle = 0;
  dragged = false;

  /**
   * @param {{ open(target: string): void, showUnit(layer: number, unit: number): void }} owner
   */
  constructor(owner) {
    this.owner = owner;
    /** @type {Frame | null} */
    this.frame = null;
    this.shape = "";
    this.selected = "";
    /** @type {{ layer: number, units: number[] } | null} */
    this.path = null;
    /** @type {{ phase: string, layer: number } | null} */
    this.step = null;
    this.zoom = 1;
    this.centre = [0, 0];
    this.size = [0, 0];
    this.canvas = svg("svg.network", { role: "group", "aria-label": "The network" });
    this.tip = el("div.tip", { hidden: true });
    this.zoomBar = el(
      "div.zoom", { role: "group", "aria-label": "Zoom" },
      el("button", { type: "button", "aria-label": "Zoom in", onclick: () => this.scale(1.3) }, "+"),
      el("button", { type: "button", "aria-label": "Zoom out", onclick: () => this.scale(1 / 1.3) }, "−"),
      el("button", { type: "button", "aria-label": "Whole network", onclick: () => this.fit() }, "⤢"),
    );
    this.node = el("div.drawing", {}, el("div.slide", {}, this.canvas), this.zoomBar, this.tip);
    /** @type {Map<string, any>} */
    this.parts = new Map();
    this.listen();
  }

  listen() {
    const open = (/** @type {any} */ event) => {
      const part = event.target.closest("[data-target]");
      if (part) this.owner.open(part.dataset.target);
      const cell = event.target.closest("[data-layer]");
      if (cell) this.openCell(cell, event);
    };
    this.canvas.addEventListener("click", (/** @type {any} */ event) => {
      if (!this.dragged) open(event);
    });
    this.canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        open(event);
      } else this.walk(event);
    });
    this.canvas.addEventListener("pointermove", (/** @type {any} */ event) => this.hover(event));
    this.canvas.addEventListener("pointerleave", () => this.hideTip());
    this.canvas.addEventListener("focusin", (/** @type {any} */ event) => this.hover(event));
    this.canvas.addEventListener("focusout", () => this.hideTip());
    this.canvas.addEventListener("wheel", (/** @type {WheelEvent} */ event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.scale(event.deltaY < 0 ? 1.15 : 1 / 1.15);
    }, { passive: false });
    this.drag();
  }

  drag() {
    /** @type {number[] | null} */
    let from = null;
    this.dragged = false;
    this.canvas.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      from = [event.clientX, event.clientY, ...this.centre];
      this.dragged = false;
    });
    window.addEventListener("pointermove", (event) => {
      if (!from || this.zoom <= 1) return;
      const perPixel = this.size[0] / this.zoom / this.canvas.clientWidth;
      const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
      if (Math.hypot(dx, dy) > 4) this.dragged = true;
      this.centre = [from[2] - dx * perPixel, from[3] - dy * perPixel];
      this.view();
    });
    window.addEventListener("pointerup", () => {
      from = null;
    });
  }

  /** @param {number} factor */
  scale(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), 8);
    if (this.zoom === 1) this.centre = [this.size[0] / 2, this.size[1] / 2];
    this.view();
  }

  fit() {
    this.zoom = 1;
    this.centre = [this.size[0] / 2, this.size[1] / 2];
    this.view();
  }

  view() {
    const [width, height] = this.size.map((side) => side / this.zoom);
    const [x, y] = [this.centre[0] - width / 2, this.centre[1] - height / 2];
    this.canvas.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
    this.canvas.classList.toggle("zoomed", this.zoom > 1);
  }

  /** @param {Frame} frame */
  update(frame) {
    this.frame = frame;
    const shape = JSON.stringify([
      frame.network.sizes, frame.network.activations, frame.network.loss, frame.sample.width,
      frame.layers.map((layer) => layer.shown), frame.settings.first_index, frame.settings.letters,
      frame.network.biases, frame.settings.layers,
    ]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.build(frame);
    }
    const { sizes, activations, loss } = frame.network;
    const layers = sizes.slice(1).map((units, i) => `${units} ${activations[i]}`).join(", then ");
    this.canvas.setAttribute("aria-label", `The network: ${sizes[0]} inputs, then ${layers}; loss ${loss.replace(/_/g, " ")}, ${number(frame.sample.loss, 4)} for this sample. Arrow keys walk over its parts, Enter opens one.`);
    this.paint(frame);
  }

  // --- the shape ---------------------------------------------------------------------------------

  /** @param {Frame} frame */
  build(frame) {
    const most = Math.max(...frame.layers.map((layer) => layer.shown.length), 3);
    const tall = TOP + most * ROW + 26;
    this.columns = [];
    let x = frame.settings.layers[0].length > 3 ? 72 : 44; // room for a name such as a₀⁽ᴸ⁻²⁾
    frame.layers.forEach((layer, l) => {
      if (this.isWide(layer)) x += this.isImage(frame, l) ? IMAGE + 44 : STRIP + 66;
      else if (l === 0) x += 4;
      this.columns.push(x);
      x += COLUMN;
    });
    this.lossX = x - 14;
    this.size = [this.lossX + 86, tall];
    this.middle = TOP + (most * ROW) / 2;
    this.canvas.style.setProperty("--wide", `${this.size[0]}px`); // below it, letters get too small
    this.fit();
    this.parts = new Map();
    this.order = [];
    const heads = svg("g.heads");
    const strips = svg("g.strips");
    const edges = svg("g.edges");
    const units = svg("g.units");
    this.labels = svg("g.labels", { "aria-hidden": "true" });
    frame.layers.forEach((layer, l) => {
      const name = l === 0 ? "input" : (layer.activation ?? "").replace(/_/g, " ");
      heads.append(
        svg("text.head", { x: this.columns[l], y: 20 }, l === 0 ? "Input" : l === frame.layers.length - 1 ? "Output" : `Layer ${l}`),
        svg("text.subhead", { x: this.columns[l], y: 36 }, `${layer.units} ${l === 0 ? (layer.units === 1 ? "number" : "numbers") : `× ${name}`}`),
      );
      if (l > 0) this.buildEdges(frame, l, edges);
      this.order.push([]);
      if (this.isWide(layer)) this.buildStrip(frame, l, strips);
      layer.shown.forEach((j, row) => this.buildUnit(frame, l, j, row, units));
    });
    heads.append(svg("text.head", { x: this.lossX + 20, y: 20 }, "Loss"),
      svg("text.subhead", { x: this.lossX + 20, y: 36 }, frame.network.loss.replace(/_/g, " ")));
    this.buildLoss(frame, edges, units);
    this.canvas.replaceChildren(heads, edges, strips, units, this.labels);
    this.setTabStop(this.order.flat()[0]);
  }

  /** @param {import("./types").Layer} layer */
  isWide(layer) {
    return layer.units > layer.shown.length;
  }

  /**
   * @param {Frame} frame
   * @param {number} l
   */
  isImage(frame, l) {
    return l === 0 && frame.sample.width > 0;
  }

  /**
   * @param {number} count
   * @param {number} row
   */
  y(count, row) {
    return this.middle + (row - (count - 1) / 2) * ROW;
  }

  /**
   * @param {Frame} frame
   * @param {number} l
   * @param {SVGElement} edges
   */
  buildEdges(frame, l, edges) {
    const ends = frame.layers[l].shown;
    const starts = frame.layers[l - 1].shown;
    const names = /** @type {string[]} */ ([]);
    const labelled = ends.length * starts.length <= 6;
    ends.forEach((j, row) => {
      starts.forEach((k, from) => {
        const target = `w[${l}][${j},${k}]`;
        const [x0, x1] = [this.columns[l - 1] + RADIUS, this.columns[l] - RADIUS];
        const [y0, y1] = [this.y(starts.length, from), this.y(ends.length, row)];
        const bend = (x1 - x0) * 0.38;
        const d = `M${x0},${y0} C${x0 + bend},${y0} ${x1 - bend},${y1} ${x1},${y1}`;
        const line = svg("path.line", { d });
        const t = 0.3 + 0.4 * ((row + 0.5) / ends.length);
        const label = labelled
          ? svg("text.weight", { x: x0 + t * (x1 - x0), y: bezier(y0, y1, t) - 5 })
          : null;
        const edge = svg(
          "g.edge", { "data-target": target, role: "button", tabindex: -1 },
          svg("path.hit", { d }), line,
        );
        edges.append(edge);
        if (label) this.labels.append(label);
        this.parts.set(target, { node: edge, line, label, kind: "w", layer: l, j, k, row, from });
        names.push(target);
      });
    });
    this.order.push(names);
  }

  /**
   * @param {Frame} frame
   * @param {number} l
   * @param {number} j
   * @param {number} row
   * @param {SVGElement} units
   */
  buildUnit(frame, l, j, row, units) {
    const [x, y] = [this.columns[l], this.y(frame.layers[l].shown.length, row)];
    const target = l === 0 ? `x[${j}]` : `a[${l}][${j}]`;
    const letters = frame.settings.letters;
    const name = symbol(frame, l === 0 ? letters.x : letters.a, l, j);
    const value = svg("text.value", { x, y: y + 4.5 });
    const delta = svg("text.delta", { x, y: y + RADIUS + 13 });
    const disc = svg("circle.disc", { cx: x, cy: y, r: RADIUS });
    const mark = svg("text.mark", { x: x + RADIUS - 3, y: y - RADIUS + 8 });
    const unit = svg(
      "g.unit", { "data-target": target, role: "button", tabindex: -1 },
      svg("circle.halo", { cx: x, cy: y, r: RADIUS + 5 }), disc,
    );
    units.append(unit);
    this.labels.append(value, svg("text.name", { x: x - RADIUS - 2, y: y - RADIUS + 4, "text-anchor": "end" }, name), delta, mark);
    this.parts.set(target, { node: unit, disc, value, delta, mark, kind: "a", layer: l, j, row });
    this.order[this.order.length - 1].push(target);
    if (l > 0 && frame.network.biases) {
      const bias = `b[${l}][${j}]`;
      const node = svg(
        "g.bias", { "data-target": bias, role: "button", tabindex: -1 },
        svg("rect.hit", { x: x - RADIUS - 11, y: y + RADIUS - 13, width: 24, height: 24 }),
        svg("rect.dot", { x: x - RADIUS - 6, y: y + RADIUS - 8, width: 14, height: 14, rx: 4 }),
      );
      units.append(node);
      this.labels.append(svg("text.letter", { x: x - RADIUS + 1, y: y + RADIUS + 3 }, "b"));
      this.parts.set(bias, { node, kind: "b", layer: l, j, row });
      this.order[this.order.length - 1].push(bias);
    }
  }

  /**
   * @param {Frame} frame
   * @param {number} l
   * @param {SVGElement} strips
   */
  buildStrip(frame, l, strips) {
    const layer = frame.layers[l];
    const image = this.isImage(frame, l);
    const columns = image ? frame.sample.width : 1;
    const rows = Math.ceil(layer.units / columns);
    const width = image ? IMAGE : STRIP;
    const height = image ? (IMAGE * rows) / columns : Math.min(this.size[1] - TOP - 30, 420);
    const x = this.columns[l] - RADIUS - width - (image ? 46 : 62);
    const y = this.middle - height / 2;
    const picture = svg("image", { x, y, width, height, preserveAspectRatio: "none" });
    const frameBox = svg("rect.frame", { x, y, width, height, rx: 2 });
    const marker = svg("rect.marker", { width: width / columns, height: height / rows, visibility: "hidden" });
    const strip = svg(
      "g.strip", {
        "data-layer": l, role: "button", tabindex: -1,
        "aria-label": `All ${layer.units} ${l === 0 ? "inputs" : `units of layer ${l}`}; arrow keys choose one, Enter draws it out`,
      }, picture, frameBox, marker,
    );
    strips.append(strip);
    layer.shown.forEach((j, row) => {
      const [cx, cy] = [x + ((j % columns) + 0.5) * (width / columns), y + (Math.floor(j / columns) + 0.5) * (height / rows)];
      const [ux, uy] = [this.columns[l] - RADIUS - 2, this.y(layer.shown.length, row)];
      strips.append(svg("path.lead", { d: `M${cx},${cy} L${x + width + 6},${cy} L${ux},${uy}` }));
    });
    this.parts.set(`strip ${l}`, { node: strip, picture, marker, kind: "strip", layer: l, columns, rows, x, y, width, height, at: layer.shown[0] });
    this.order[this.order.length - 1].push(`strip ${l}`);
  }

  /**
   * @param {Frame} frame
   * @param {SVGElement} edges
   * @param {SVGElement} units
   */
  buildLoss(frame, edges, units) {
    const last = frame.layers.length - 1;
    const outputs = frame.layers[last].shown;
    const x = this.lossX + 20;
    outputs.forEach((j, row) => {
      const y = this.y(outputs.length, row);
      edges.append(svg("path.toloss", { d: `M${this.columns[last] + RADIUS},${y} C${x - 60},${y} ${x - 70},${this.middle} ${x - 30},${this.middle}`, "data-output": j }));
      const text = svg("text.target", { x: this.columns[last] + RADIUS + 8, y: y - 8 });
      this.labels.append(text);
      this.parts.set(`target ${j}`, { node: text, kind: "y", layer: last, j });
    });
    const value = svg("text.value.ofloss", { x: x + 5, y: this.middle + 13 });
    const loss = svg(
      "g.loss", { "data-target": "loss", role: "button", tabindex: -1 },
      svg("rect.halo", { x: x - 35, y: this.middle - 29, width: 80, height: 58, rx: 14 }),
      svg("rect.disc", { x: x - 30, y: this.middle - 24, width: 70, height: 48, rx: 10 }),
    );
    this.labels.append(svg("text.name.middle", { x: x + 5, y: this.middle - 8 }, frame.settings.letters.C), value);
    units.append(loss);
    this.parts.set("loss", { node: loss, value, kind: "loss", layer: last + 1 });
    this.order.push(["loss"]);
  }

  // --- the numbers -------------------------------------------------------------------------------

  /** @param {Frame} frame */
  paint(frame) {
    const largest = frame.weights.map((w) => Math.max(...w.w.flat().map((v) => Math.abs(drawn(v))), 1e-12));
    for (const [target, part] of this.parts) {
      if (part.kind === "w") this.paintEdge(frame, target, part, largest[part.layer - 1]);
      else if (part.kind === "a") this.paintUnit(frame, part);
      else if (part.kind === "strip") this.paintStrip(frame, part);
      else if (part.kind === "y") this.paintTarget(frame, part);
      else if (part.kind === "b") part.node.setAttribute("aria-label", this.describe(target, part));
      else if (part.kind === "loss") {
        const shown = this.reached("loss", part.layer);
        part.value.textContent = shown ? number(frame.sample.loss, 3) : "·";
        part.node.setAttribute("aria-label", `Loss of this sample: ${number(frame.sample.loss, 4)}`);
      }
    }
    this.light();
  }

  /**
   * @param {Frame} frame
   * @param {string} target
   * @param {any} part
   * @param {number} largest
   */
  paintEdge(frame, target, part, largest) {
    const w = frame.weights[part.layer - 1].w[part.row][part.from];
    part.line.style.strokeWidth = String(0.8 + (4.6 * Math.abs(drawn(w))) / largest);
    part.node.classList.toggle("negative", drawn(w) < 0);
    if (part.label) part.label.textContent = brief(w);
    part.node.setAttribute("aria-label", this.describe(target, part));
  }

  /**
   * @param {Frame} frame
   * @param {any} part
   */
  paintUnit(frame, part) {
    const layer = frame.layers[part.layer];
    const a = layer.a[part.j];
    const top = Math.max(...layer.a.map((v) => Math.abs(drawn(v))), 1e-12);
    const known = this.reached("a", part.layer);
    part.value.textContent = known ? brief(a) : "·";
    part.disc.style.setProperty("--much", known ? String(Math.round((65 * Math.abs(drawn(a))) / top)) : "0");
    part.node.classList.toggle("negative", drawn(a) < 0);
    const back = part.layer > 0 && this.reached("delta", part.layer);
    part.delta.textContent = back ? `δ ${brief(layer.delta[part.j])}` : "";
    const mark = layer.marks[part.row];
    part.mark.textContent = mark === "dead" ? "✕" : mark === "saturated" ? "≈" : "";
    part.node.setAttribute("aria-label", this.describe(part.layer ? `a[${part.layer}][${part.j}]` : `x[${part.j}]`, part));
  }

  /**
   * @param {Frame} frame
   * @param {any} part
   */
  paintStrip(frame, part) {
    const values = frame.layers[part.layer].a;
    const canvas = el("canvas", { width: part.columns, height: part.rows });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const pixels = context.createImageData(part.columns, part.rows);
    const top = Math.max(...values.map((v) => Math.abs(drawn(v))), 1e-12);
    const [positive, negative] = ["--positive-rgb", "--negative-rgb"].map((name) => rgb(this.node, name));
    const image = this.isImage(frame, part.layer);
    const ink = image ? rgb(this.node, "--ink-rgb") : positive;
    const paper = rgb(this.node, "--card-rgb");
    values.forEach((v, i) => {
      const share = Math.min(Math.abs(drawn(v)) / top, 1);
      const colour = drawn(v) < 0 ? negative : ink;
      for (let c = 0; c < 3; c += 1) pixels.data[4 * i + c] = paper[c] + share * (colour[c] - paper[c]);
      pixels.data[4 * i + 3] = 255;
    });
    context.putImageData(pixels, 0, 0);
    part.picture.setAttribute("href", canvas.toDataURL());
  }

  /**
   * @param {Frame} frame
   * @param {any} part
   */
  paintTarget(frame, part) {
    part.node.textContent = `y = ${number(frame.sample.y[part.j], 3)}`;
  }

  /**
   * Say whether a number is computed yet, at the step that is shown.
   * @param {string} what
   * @param {number} layer
   */
  reached(what, layer) {
    const step = this.step;
    if (!step) return true;
    const passed = { input: 0, forward: 1, loss: 2, backward: 3, gradient: 3, update: 4 }[step.phase] ?? 4;
    if (what === "a") return passed > 1 || layer === 0 || (passed === 1 && layer <= step.layer);
    if (what === "loss") return passed >= 2;
    return passed === 4 || (passed === 3 && layer >= step.layer);
  }

  // --- what is lit -------------------------------------------------------------------------------

  /** @param {{ phase: string, layer: number } | null} step */
  showStep(step) {
    this.step = step;
    if (this.frame) this.paint(this.frame);
  }

  /** @param {string} target */
  select(target) {
    this.selected = target;
    this.path = null;
    this.light();
  }

  /** Bring the drawing on screen, and in it what is open. */
  comeBack() {
    this.node.scrollIntoView({ block: "start" });
    const open = this.parts.get(this.selected)?.node;
    open?.focus({ preventScroll: true });
    open?.scrollIntoView({ block: "nearest", inline: "center" });
  }

  /**
   * Light up a way to the loss: from a layer on, through these units.
   * @param {number} layer
   * @param {number[]} units
   */
  showPath(layer, units) {
    this.path = { layer, units };
    this.light();
  }

  light() {
    const on = this.onPath();
    for (const [target, part] of this.parts) {
      const list = part.node.classList;
      list.toggle("selected", target === this.selected);
      list.toggle("onpath", on.has(target));
      list.toggle("active", this.isActive(part));
      list.toggle("backwards", this.step?.phase === "backward");
    }
    this.canvas.classList.toggle("haspath", on.size > 0);
    this.canvas.classList.toggle("stepping", this.step !== null);
  }

  onPath() {
    const on = new Set();
    if (!this.path) return on;
    const { layer, units } = this.path;
    on.add(this.selected);
    let before = parse(this.selected)?.j ?? 0;
    on.add(layer > 0 ? `a[${layer}][${before}]` : `x[${before}]`);
    units.forEach((unit, i) => {
      const l = layer + i + 1;
      on.add(`w[${l}][${unit},${before}]`);
      on.add(`a[${l}][${unit}]`);
      before = unit;
    });
    if (this.frame && layer + units.length >= this.frame.layers.length - 1) on.add("loss");
    return on;
  }

  /** @param {any} part */
  isActive(part) {
    const step = this.step;
    if (!step) return false;
    const { phase, layer } = step;
    if (phase === "input") return part.layer === 0 && part.kind !== "w";
    if (phase === "forward") return (part.kind === "w" || part.kind === "b") ? part.layer === layer : part.kind === "a" && (part.layer === layer || part.layer === layer - 1);
    if (phase === "loss") return part.kind === "loss" || part.kind === "y" || (part.kind === "a" && part.layer === layer);
    if (phase === "backward") {
      const last = (this.frame?.layers.length ?? 0) - 1;
      if (layer === last && part.kind === "loss") return true;
      return part.kind === "a" ? part.layer === layer || part.layer === layer + 1 : part.kind === "w" && part.layer === layer + 1;
    }
    if (phase === "gradient") return part.kind === "w" ? part.layer === layer : part.kind === "a" && (part.layer === layer || part.layer === layer - 1);
    return part.kind === "w" || part.kind === "b";
  }

  // --- hover and keyboard ------------------------------------------------------------------------

  /** @param {any} event */
  hover(event) {
    const node = event.target.closest?.("[data-target]");
    const cell = event.target.closest?.("[data-layer]");
    if (!this.frame || (!node && !cell)) return this.hideTip();
    let lines;
    if (node) {
      const part = this.parts.get(node.dataset.target);
      lines = part ? this.facts(node.dataset.target, part) : [];
    } else {
      const part = this.parts.get(`strip ${cell.dataset.layer}`);
      if (event.clientX !== undefined && event.type !== "focusin") part.at = this.cellAt(part, event);
      this.markCell(part);
      const l = part.layer;
      lines = this.facts(l ? `a[${l}][${part.at}]` : `x[${part.at}]`, { kind: "a", layer: l, j: part.at });
    }
    this.tip.replaceChildren(...lines.map(([name, value]) => el("div", {}, el("span", {}, name), el("b", {}, value))));
    this.tip.hidden = false;
    const box = this.node.getBoundingClientRect();
    const at = event.clientX !== undefined && event.type !== "focusin" ? [event.clientX, event.clientY] : middleOf(node ?? cell);
    const left = Math.min(at[0] - box.left + 14, box.width - this.tip.offsetWidth - 6);
    this.tip.style.left = `${Math.max(left, 4)}px`;
    this.tip.style.top = `${Math.min(at[1] - box.top + 14, box.height - this.tip.offsetHeight - 4)}px`;
  }

  hideTip() {
    this.tip.hidden = true;
    for (const part of this.parts.values()) part.marker?.setAttribute("visibility", "hidden");
  }

  /**
   * What is known of a part: names with numbers.
   * @param {string} target
   * @param {any} part
   * @returns {[string, string][]}
   */
  facts(target, part) {
    const frame = /** @type {Frame} */ (this.frame);
    const digits = frame.settings.digits;
    const write = (/** @type {import("./types").Value} */ v) => number(v, digits);
    const { a, C, x } = frame.settings.letters;
    if (part.kind === "loss") return [[`${C} of this sample`, write(frame.sample.loss)], ["loss", frame.network.loss.replace(/_/g, " ")]];
    const layer = frame.layers[part.layer];
    if (part.kind === "w") {
      const w = frame.weights[part.layer - 1];
      return [[symbol(frame, "w", part.layer, part.j, part.k), write(w.w[part.row][part.from])], [`∂${C}/∂w`, write(w.dw[part.row][part.from])]];
    }
    if (part.kind === "b") return [[symbol(frame, "b", part.layer, part.j), write(layer.b[part.j])], [`∂${C}/∂b`, write(layer.db[part.j])]];
    const own = frame.data.columns[part.j];
    if (part.layer === 0) return [[`${symbol(frame, x, 0, part.j)}${own ? ` ${own}` : ""}`, write(layer.a[part.j])], [`∂${C}/∂${x}`, write(layer.dC_da[part.j])]];
    const lines = /** @type {[string, string][]} */ ([
      [symbol(frame, "z", part.layer, part.j), write(layer.z[part.j])], [`${symbol(frame, a, part.layer, part.j)} = ${layer.activation}(z)`, write(layer.a[part.j])],
      [`∂${C}/∂${a}`, write(layer.dC_da[part.j])], [`δ = ∂${C}/∂z`, write(layer.delta[part.j])],
    ]);
    if (layer.b.length) lines.push(["b", write(layer.b[part.j])]);
    const mark = part.row !== undefined ? layer.marks[part.row] : "";
    if (mark) lines.push([mark, mark === "dead" ? "z ≤ 0 on every sample" : "flat: g′(z) ≈ 0"]);
    return lines;
  }

  /**
   * @param {string} target
   * @param {any} part
   */
  describe(target, part) {
    const frame = /** @type {Frame} */ (this.frame);
    const first = frame.settings.first_index;
    const unit = part.j + first;
    const names = {
      w: `Weight to unit ${unit} of layer ${part.layer} from unit ${(part.k ?? 0) + first} of layer ${part.layer - 1}`,
      b: `Bias of unit ${unit} of layer ${part.layer}`,
      a: part.layer ? `Unit ${unit} of layer ${part.layer}` : `Input ${unit}`,
    };
    const name = names[/** @type {"w" | "b" | "a"} */ (part.kind)] ?? target;
    return `${name}: ${this.facts(target, part).map(([n, v]) => `${n} ${v}`).join(", ")}`;
  }

  /** @param {KeyboardEvent} event */
  walk(event) {
    const here = /** @type {any} */ (document.activeElement)?.closest?.("[data-target], [data-layer]");
    if (!here) return;
    const name = here.dataset.target ?? `strip ${here.dataset.layer}`;
    const columns = this.order.filter((names) => names.length);
    const column = columns.findIndex((names) => names.includes(name));
    const row = columns[column].indexOf(name);
    const part = this.parts.get(name);
    if (part.kind === "strip" && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const count = this.frame?.layers[part.layer].units ?? 1;
      part.at = (part.at + (event.key === "ArrowDown" ? 1 : count - 1)) % count;
      event.preventDefault();
      this.hover({ target: here, type: "focusin" });
      return;
    }
    let next;
    if (event.key === "ArrowDown") next = columns[column][row + 1] ?? columns[column][0];
    else if (event.key === "ArrowUp") next = columns[column].at(row - 1);
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const to = columns[column + (event.key === "ArrowRight" ? 1 : -1)];
      if (to) next = to[Math.min(Math.floor((row / columns[column].length) * to.length), to.length - 1)];
    } else if (event.key === "Home") next = columns[0][0];
    else if (event.key === "End") next = columns[columns.length - 1][0];
    if (next) {
      event.preventDefault();
      this.setTabStop(next);
      this.parts.get(next).node.focus();
    }
  }

  /** @param {string} name */
  setTabStop(name) {
    for (const [other, part] of this.parts) if (part.node.hasAttribute("tabindex")) part.node.setAttribute("tabindex", other === name ? "0" : "-1");
  }

  /**
   * @param {any} part
   * @param {any} event
   */
  cellAt(part, event) {
    const box = part.picture.getBoundingClientRect();
    const column = Math.min(Math.floor(((event.clientX - box.left) / box.width) * part.columns), part.columns - 1);
    const row = Math.min(Math.floor(((event.clientY - box.top) / box.height) * part.rows), part.rows - 1);
    const most = (this.frame?.layers[part.layer].units ?? 1) - 1;
    return Math.max(0, Math.min(row * part.columns + column, most));
  }

  /** @param {any} part */
  markCell(part) {
    const [w, h] = [part.width / part.columns, part.height / part.rows];
    part.marker.setAttribute("x", part.x + (part.at % part.columns) * w);
    part.marker.setAttribute("y", part.y + Math.floor(part.at / part.columns) * h);
    part.marker.setAttribute("visibility", "visible");
  }

  /**
   * @param {any} cell
   * @param {any} event
   */
  openCell(cell, event) {
    const part = this.parts.get(`strip ${cell.dataset.layer}`);
    if (event.type === "click" && event.clientX) part.at = this.cellAt(part, event);
    this.owner.showUnit(part.layer, part.at);
  }
}

/**
 * @param {number} y0
 * @param {number} y1
 * @param {number} t
 */
function bezier(y0, y1, t) {
  return y0 + (y1 - y0) * t * t * (3 - 2 * t);
}

/** @param {string} target */
export function parse(target) {
  const found = /^([wba])\[(\d+)\]\[(\d+)(?:,(\d+))?\]$|^x\[(\d+)\]$/.exec(target);
  if (!found) return null;
  if (found[5] !== undefined) return { kind: "x", layer: 0, j: Number(found[5]), k: -1 };
  return { kind: found[1], layer: Number(found[2]), j: Number(found[3]), k: Number(found[4] ?? -1) };
}

/**
 * @param {Element} node
 * @param {string} name
 */
export function rgb(node, name) {
  return getComputedStyle(node).getPropertyValue(name).split(" ").filter(Boolean).map(Number);
}

/** @param {Element} node */
function middleOf(node) {
  const box = node.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
}
