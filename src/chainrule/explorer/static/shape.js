/** The shape of the drawing: SVG elements for all units, weights and biases, and where they stand. */

import { svg, symbol } from "./dom.js";
import { plural } from "./numbers.js";

/** @typedef {import("./types").Frame} Frame */
/** @typedef {import("./types").Part} Part */

const RADIUS = 21;
const ROW = 62;
const COLUMN = 132;
const STRIP = 18; // width of the heat map of a wide layer
const STRIP_HEIGHT = 420; // at most
const IMAGE = 132; // side of an image
const TOP = 54; // above the units: the heads of the columns
const CHIP = 26; // width of the sign of a whole array
const LABEL = [36, 12]; // width and height of such a number
const PLACES = [0.5, 0.4, 0.6, 0.3, 0.7, 0.22, 0.78, 0.14]; // along an edge, for its number
const LABELLED = 6; // weights between two layers, up to which each shows its number

export class Shape {
  /** x of the units of each layer @type {number[]} */ columns = [];
  /** what the arrow keys walk over, column by column @type {string[][]} */ order = [];
  /** @type {Map<string, Part>} */ parts = new Map();

  /** @param {Frame} frame */
  constructor(frame) {
    this.frame = frame;
    this.heads = svg("g.heads");
    this.strips = svg("g.strips");
    this.edges = svg("g.edges");
    this.units = svg("g.units");
    this.labels = svg("g.labels", { "aria-hidden": "true" });
    const most = Math.max(...frame.layers.map((layer) => layer.shown.length), 3);
    let x = frame.settings.layers[0].length > 3 ? 72 : 44; // room for a name such as a₀⁽ᴸ⁻²⁾
    frame.layers.forEach((_, l) => {
      if (this.isWide(l)) x += isImage(frame, l) ? IMAGE + 44 : STRIP + 66;
      else if (l === 0) x += 4;
      this.columns.push(x);
      x += COLUMN;
    });
    this.lossX = x - 14;
    this.size = [this.lossX + 86, TOP + most * ROW + 26];
    this.middle = TOP + (most * ROW) / 2;
    frame.layers.forEach((layer, l) => {
      this.buildHead(l);
      if (l > 0) this.buildEdges(l);
      this.order.push([]);
      if (this.isWide(l)) this.buildStrip(l);
      layer.shown.forEach((j, row) => this.buildUnit(l, j, row));
    });
    this.buildLoss();
    this.nodes = [this.heads, this.edges, this.strips, this.units, this.labels];
  }

  /**
   * Return what two frames must have in common to be drawn in the same shape.
   * @param {Frame} frame
   */
  static key(frame) {
    return JSON.stringify([
      frame.network.sizes,
      frame.network.activations,
      frame.network.loss,
      frame.sample.width,
      frame.layers.map((layer) => layer.shown),
      frame.settings.first_index,
      frame.settings.letters,
      frame.network.biases,
      frame.settings.layers,
    ]);
  }

  /** @param {number} l */
  isWide(l) {
    const layer = this.frame.layers[l];
    return layer.units > layer.shown.length;
  }

  /**
   * Return y of one of the units that are drawn of a layer.
   * @param {number} count
   * @param {number} row
   */
  y(count, row) {
    return this.middle + (row - (count - 1) / 2) * ROW;
  }

  /**
   * @param {string} target
   * @param {Part} part
   */
  add(target, part) {
    this.parts.set(target, part);
    this.order[this.order.length - 1].push(target);
  }

  /** @param {number} l */
  buildHead(l) {
    const { layers } = this.frame;
    const { units, activation } = layers[l];
    const name = l === 0 ? "Input" : l === layers.length - 1 ? "Output" : `Layer ${l}`;
    const what = l === 0 ? plural(units, "number") : `${units} × ${words(activation ?? "")}`;
    this.heads.append(
      svg("text.head", { x: this.columns[l], y: 20 }, name),
      svg("text.subhead", { x: this.columns[l], y: 36 }, what),
    );
  }

  /** @param {number} l */
  buildEdges(l) {
    const ends = this.frame.layers[l].shown;
    const starts = this.frame.layers[l - 1].shown;
    const labelled = ends.length * starts.length <= LABELLED;
    this.order.push([]);
    const taken = ends.map((_, row) => this.nameBox(l, this.y(ends.length, row)));
    ends.forEach((j, row) => {
      starts.forEach((k, from) => {
        const target = `w[${l}][${j},${k}]`;
        const [x0, x1] = [this.columns[l - 1] + RADIUS, this.columns[l] - RADIUS];
        const [y0, y1] = [this.y(starts.length, from), this.y(ends.length, row)];
        const bend = (x1 - x0) * 0.38;
        const d = `M${x0},${y0} C${x0 + bend},${y0} ${x1 - bend},${y1} ${x1},${y1}`;
        const line = svg("path.line", { d });
        const label = labelled ? svg("text.weight", freePlace(taken, [x0, y0], [x1, y1])) : null;
        const node = button("g.edge", target, svg("path.hit", { d }), line);
        this.edges.append(node);
        if (label) this.labels.append(label);
        this.add(target, { node, line, label, kind: "w", layer: l, j, k, row, from });
      });
    });
    const letters = this.frame.network.biases ? ["W", "b"] : ["W"];
    const middle = (this.columns[l - 1] + this.columns[l]) / 2;
    letters.forEach((letter, i) => {
      this.buildArray(l, letter, middle + (i - (letters.length - 1) / 2) * CHIP);
    });
  }

  /**
   * @param {number} l
   * @param {string} letter of all weights or all biases of the layer
   * @param {number} x
   */
  buildArray(l, letter, x) {
    const target = `${letter}[${l}]`;
    const [left, top] = [x - CHIP / 2, 30];
    const node = button(
      "g.array",
      target,
      svg("rect.hit", { x: left, y: top, width: CHIP, height: 26 }),
      svg("rect.dot", { x: left + 2, y: top + 4, width: CHIP - 4, height: 18, rx: 6 }),
      svg("text.letter", { x, y: top + 17, "aria-hidden": "true" }, letter),
    );
    this.edges.append(node);
    this.add(target, { node, kind: "array", layer: l, letter });
  }

  /**
   * Return the box of the name beside a unit, which no other label may cover.
   * @param {number} l
   * @param {number} y of the unit
   */
  nameBox(l, y) {
    const width = this.frame.settings.bare ? 20 : 26 + 6 * this.frame.settings.layers[l].length;
    return [this.columns[l] - RADIUS - 2 - width / 2, y - RADIUS, width, 14];
  }

  /**
   * @param {number} l
   * @param {number} j
   * @param {number} row
   */
  buildUnit(l, j, row) {
    const { layers, settings, network } = this.frame;
    const [x, y] = [this.columns[l], this.y(layers[l].shown.length, row)];
    const target = l === 0 ? `x[${j}]` : `a[${l}][${j}]`;
    const name = symbol(this.frame, l === 0 ? settings.letters.x : settings.letters.a, l, j);
    const value = svg("text.value", { x, y: y + 4.5 });
    const delta = svg("text.delta", { x, y: y + RADIUS + 13 });
    const disc = svg("circle.disc", { cx: x, cy: y, r: RADIUS });
    const mark = svg("text.mark", { x: x + RADIUS - 3, y: y - RADIUS + 8 });
    const node = button("g.unit", target, svg("circle.halo", { cx: x, cy: y, r: RADIUS + 5 }), disc);
    this.units.append(node);
    this.labels.append(
      value,
      svg("text.name", { x: x - RADIUS - 2, y: y - RADIUS + 4, "text-anchor": "end" }, name),
      delta,
      mark,
    );
    this.add(target, { node, disc, value, delta, mark, kind: "a", layer: l, j, row });
    if (l > 0 && network.biases) this.buildBias(l, j, row, x, y);
  }

  /**
   * @param {number} l
   * @param {number} j
   * @param {number} row
   * @param {number} x of its unit
   * @param {number} y of its unit
   */
  buildBias(l, j, row, x, y) {
    const target = `b[${l}][${j}]`;
    const node = button(
      "g.bias",
      target,
      svg("rect.hit", { x: x - RADIUS - 11, y: y + RADIUS - 13, width: 24, height: 24 }),
      svg("rect.dot", { x: x - RADIUS - 6, y: y + RADIUS - 8, width: 14, height: 14, rx: 4 }),
    );
    this.units.append(node);
    this.labels.append(svg("text.letter", { x: x - RADIUS + 1, y: y + RADIUS + 3 }, "b"));
    this.add(target, { node, kind: "b", layer: l, j, row });
  }

  /** @param {number} l */
  buildStrip(l) {
    const layer = this.frame.layers[l];
    const image = isImage(this.frame, l);
    const columns = image ? this.frame.sample.width : 1;
    const rows = Math.ceil(layer.units / columns);
    const width = image ? IMAGE : STRIP;
    const height = image ? (IMAGE * rows) / columns : Math.min(this.size[1] - TOP - 30, STRIP_HEIGHT);
    const x = this.columns[l] - RADIUS - width - (image ? 46 : 62);
    const y = this.middle - height / 2;
    const picture = svg("image", { x, y, width, height, preserveAspectRatio: "none" });
    const marker = svg("rect.marker", { width: width / columns, height: height / rows, visibility: "hidden" });
    const node = svg(
      "g.strip",
      {
        "data-layer": l,
        role: "button",
        tabindex: -1,
        "aria-label": `All ${layer.units} ${l === 0 ? "inputs" : `units of layer ${l}`}. Use the up and down arrow keys to choose one, and Enter to add it to the drawing.`,
      },
      picture,
      svg("rect.frame", { x, y, width, height, rx: 2 }),
      marker,
    );
    this.strips.append(node);
    layer.shown.forEach((j, row) => {
      const [cx, cy] = [
        x + ((j % columns) + 0.5) * (width / columns),
        y + (Math.floor(j / columns) + 0.5) * (height / rows),
      ];
      const [ux, uy] = [this.columns[l] - RADIUS - 2, this.y(layer.shown.length, row)];
      this.strips.append(svg("path.lead", { d: `M${cx},${cy} L${x + width + 6},${cy} L${ux},${uy}` }));
    });
    this.add(`strip ${l}`, {
      node,
      picture,
      marker,
      kind: "strip",
      layer: l,
      columns,
      rows,
      x,
      y,
      width,
      height,
      at: layer.shown[0],
    });
  }

  buildLoss() {
    const { layers, network, settings } = this.frame;
    const last = layers.length - 1;
    const outputs = layers[last].shown;
    const x = this.lossX + 20;
    this.heads.append(svg("text.head", { x, y: 20 }, "Loss"), svg("text.subhead", { x, y: 36 }, words(network.loss)));
    outputs.forEach((j, row) => {
      const y = this.y(outputs.length, row);
      this.edges.append(
        svg("path.toloss", {
          d: `M${this.columns[last] + RADIUS},${y} C${x - 60},${y} ${x - 70},${this.middle} ${x - 30},${this.middle}`,
          "data-output": j,
        }),
      );
      const text = svg("text.target", { x: this.columns[last] + RADIUS + 8, y: y - 8 });
      this.labels.append(text);
      this.parts.set(`target ${j}`, { node: text, kind: "y", layer: last, j });
    });
    const value = svg("text.value.ofloss", { x: x + 5, y: this.middle + 13 });
    const node = button(
      "g.loss",
      "loss",
      svg("rect.halo", { x: x - 35, y: this.middle - 29, width: 80, height: 58, rx: 14 }),
      svg("rect.disc", { x: x - 30, y: this.middle - 24, width: 70, height: 48, rx: 10 }),
    );
    this.labels.append(svg("text.name.middle", { x: x + 5, y: this.middle - 8 }, settings.letters.C), value);
    this.units.append(node);
    this.order.push([]);
    this.add("loss", { node, value, kind: "loss", layer: last + 1 });
  }
}

/**
 * Return whether a layer is drawn as an image.
 * @param {Frame} frame
 * @param {number} l
 */
export function isImage(frame, l) {
  return l === 0 && frame.sample.width > 0;
}

/**
 * @param {string} spec
 * @param {string} target what a click opens
 * @param {...SVGElement} children
 */
function button(spec, target, ...children) {
  return svg(spec, { "data-target": target, role: "button", tabindex: -1 }, ...children);
}

/** @param {string} name */
function words(name) {
  return name.replace(/_/g, " ");
}

/**
 * Return where the label of an edge stands: in the middle, or farther along where others are.
 * @param {number[][]} taken boxes (x and y of the middle, width, height); that of the label is added
 * @param {number[]} start
 * @param {number[]} end
 */
function freePlace(taken, [x0, y0], [x1, y1]) {
  let best = { free: -Infinity, box: [0, 0, 0, 0] };
  for (const t of PLACES) {
    const box = [x0 + t * (x1 - x0), bezier(y0, y1, t) - 9, ...LABEL];
    const free = Math.min(...taken.map((other) => gap(box, other)));
    if (free > best.free) best = { free, box };
    if (free >= 1) break;
  }
  taken.push(best.box);
  return { x: best.box[0], y: best.box[1] + 4 };
}

/**
 * @param {number[]} a
 * @param {number[]} b
 */
function gap(a, b) {
  return Math.max(...[0, 1].map((i) => Math.abs(a[i] - b[i]) - (a[2 + i] + b[2 + i]) / 2));
}

/**
 * @param {number} y0
 * @param {number} y1
 * @param {number} t
 */
function bezier(y0, y1, t) {
  return y0 + (y1 - y0) * t * t * (3 - 2 * t);
}
