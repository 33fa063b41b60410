/** What each unit responds to: its activation over the two inputs, as a small picture. */

import { el, rgb, symbol } from "./dom.js";
import { remember } from "./memory.js";
import { drawn, number } from "./numbers.js";

/** @typedef {import("./types").Row} Row */

export class UnitsCard {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.body = el("div", {});
    this.node = el(
      "details.card.group.unitmaps",
      { hidden: true },
      el("summary", {}, el("h2", {}, "Units over the two inputs")),
      this.body,
    );
    remember(this.node, "Units over the two inputs");
    this.node.addEventListener("toggle", () => void this.refresh());
  }

  async refresh() {
    const { frame, training } = this.app;
    this.node.hidden = !frame || frame.network.sizes[0] - frame.data.derived.length !== 2;
    if (this.node.hidden || training || !this.node.open) return;
    const reply = await this.app.ask({ kind: "units" });
    if (!reply) return;
    const last = reply.layers.length;
    this.body.replaceChildren(
      ...reply.layers.map((/** @type {any[]} */ units, /** @type {number} */ i) =>
        el(
          "div.layer",
          { role: "group", "aria-label": i + 1 === last ? "Output" : `Layer ${i + 1}` },
          el("span", { "aria-hidden": "true" }, i + 1 === last ? "Output" : `Layer ${i + 1}`),
          ...units.map((unit) => this.unit(i + 1, unit)),
        ),
      ),
      el(
        "p.small",
        {},
        "Blue where the activation is positive, orange where it is negative; the strongest colour is the largest of its unit.",
      ),
    );
  }

  /**
   * @param {number} layer
   * @param {{ unit: number, grid: Row[] }} view
   */
  unit(layer, { unit, grid }) {
    const values = grid.flat().map(drawn);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const name = symbol(this.app.frame, this.app.frame.settings.letters.a, layer, unit);
    const words = `${name}, from ${number(low, 2)} to ${number(high, 2)} over the two inputs`;
    return el(
      "button",
      {
        type: "button",
        title: words,
        "aria-label": `${words}. Open its derivative.`,
        onclick: () => void this.app.open(`a[${layer}][${unit}]`),
      },
      this.paint(grid, Math.max(Math.abs(low), Math.abs(high), 1e-12)),
    );
  }

  /**
   * @param {Row[]} grid
   * @param {number} top
   */
  paint(grid, top) {
    const side = grid.length;
    const canvas = el("canvas", { width: side, height: side, "aria-hidden": "true" });
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(side, side);
    const [positive, negative, paper] = ["--positive-rgb", "--negative-rgb", "--card-rgb"].map((colour) =>
      rgb(this.app.app, colour),
    );
    grid.flat().forEach((value, i) => {
      const share = Math.min(Math.abs(drawn(value)) / top, 1) * 0.85;
      const colour = drawn(value) >= 0 ? positive : negative;
      for (let c = 0; c < 3; c += 1) pixels.data[4 * i + c] = paper[c] + share * (colour[c] - paper[c]);
      pixels.data[4 * i + 3] = 255;
    });
    context.putImageData(pixels, 0, 0);
    return canvas;
  }
}
