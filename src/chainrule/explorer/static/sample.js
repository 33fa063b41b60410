/** The sample: its inputs and targets, each to be changed. */

import { below, el, field, symbol } from "./dom.js";
import { group } from "./memory.js";
import { typed } from "./numbers.js";

/** @typedef {import("./types").Frame} Frame */

const FEW = 8; // inputs or targets up to which each has a box
const SOME = 64; // inputs with names of their own

export class SampleCard {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.shape = "";
    this.at = el("input", {
      type: "number",
      min: 0,
      "aria-label": "Sample number",
      onchange: () => this.select(Number(this.at.value) - this.first()),
    });
    this.of = el("span", {});
    this.fields = el("div.numbers", {});
    this.about = el("p.small", {});
    const live = app.transport.live;
    const move = (/** @type {number} */ by) =>
      this.select((app.frame.sample.index + by + app.frame.sample.count) % app.frame.sample.count);
    const { node, now } = group(
      "Sample",
      "Current sample",
      live
        ? el(
            "div.stepper",
            {},
            el("button.icon", { type: "button", "aria-label": "Previous sample", onclick: () => move(-1) }, "◀"),
            this.at,
            this.of,
            el("button.icon", { type: "button", "aria-label": "Next sample", onclick: () => move(1) }, "▶"),
          )
        : null,
      this.fields,
      this.about,
    );
    this.node = node;
    this.now = now;
  }

  first() {
    return this.app.frame.settings.first_index;
  }

  /** @param {number} sample */
  select(sample) {
    void this.app.change({ kind: "select", sample: Math.round(sample) });
  }

  /** @param {Frame} frame */
  update(frame) {
    const { index, count, x, y, predicted, expected } = frame.sample;
    const first = frame.settings.first_index;
    if (document.activeElement !== this.at) this.at.value = String(index + first);
    this.at.max = String(count - 1 + first);
    this.now.textContent = `${index + first} of ${count}`;
    this.of.textContent = `of ${count}`;
    const { columns, labels, formulas } = frame.data;
    const inputs = x.length <= (columns.length ? SOME : FEW) ? x : [];
    const targets = y.length <= FEW ? y : [];
    const shape = JSON.stringify([
      x.length,
      y.length,
      first,
      frame.settings.letters.x,
      frame.settings.layers,
      columns,
      labels,
      formulas,
    ]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.fields.classList.toggle("named", columns.length > 0 || labels.length > 0);
      this.fields.replaceChildren(
        ...inputs.map((_, i) =>
          this.box(
            symbol(frame, frame.settings.letters.x, 0, i),
            `x[${i}]`,
            columns[i] ?? (formulas[i] && `= ${formulas[i]}`),
          ),
        ),
        ...targets.map((_, i) =>
          this.box(`y${below(i + first)}`, `y[${i}]`, y.length === labels.length ? labels[i] : ""),
        ),
      );
    }
    const all = [...inputs, ...targets];
    [...this.fields.querySelectorAll("input")].forEach((box, i) => {
      if (document.activeElement !== box) box.value = typed(all[i], 5);
      box.disabled = !this.app.transport.live || Boolean(i < inputs.length && formulas[i]);
    });
    this.about.textContent = expected
      ? `True class: ${expected}, predicted: ${predicted}${expected === predicted ? "" : " (wrong)"}`
      : "";
  }

  /**
   * @param {string} name
   * @param {string} target
   * @param {string} [own] the name that the file gives it
   */
  box(name, target, own) {
    const box = el("input", {
      type: "number",
      step: "any",
      onchange: () => void this.app.change({ kind: "edit", target, value: Number(box.value) }),
    });
    const shown = field(name, box);
    if (own) shown.querySelector("label").append(" ", el("span.own", { title: own }, own));
    return shown;
  }
}
