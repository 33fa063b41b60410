/** The field and the slider that change the parameter or the input that the panel explains. */

import { el, symbol } from "./dom.js";
import { parse } from "./facts.js";
import { drawn, typed } from "./numbers.js";

/** @typedef {import("./types").Derivation} Derivation */

export class Editor {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    /** @type {number | undefined} */
    this.wanted = undefined;
    this.editing = false;
  }

  /** @param {Derivation} reply */
  render(reply) {
    const target = reply.target;
    const value = drawn(reply.old);
    const span = Math.max(2, Math.abs(value) * 2);
    const send = (/** @type {string} */ text) => {
      const number_ = Number(text);
      if (text.trim() === "" || !Number.isFinite(number_)) return this.app.tell("Type a number, such as −0.25");
      return this.edit(target, number_);
    };
    const box = el("input", {
      type: "number",
      step: "any",
      value: typed(value, 6),
      "data-keep": "box",
      "aria-label": `Value of ${target}`,
      onchange: () => send(box.value),
    });
    const slider = el("input", {
      type: "range",
      min: -span,
      max: span,
      step: span / 200,
      value: typed(value),
      "data-keep": "slider",
      "aria-label": `Slider for ${target}`,
      oninput: () => {
        box.value = slider.value;
        void send(slider.value);
      },
    });
    return el("div.editor", {}, el("span.what", {}, `${this.nameOf(target)} =`), box, slider);
  }

  /**
   * Return the name of a quantity in the notation in use.
   * @param {string} target
   */
  nameOf(target) {
    const found = parse(target);
    if (!found) return target;
    const { frame } = this.app;
    const letter = found.kind === "x" ? frame.settings.letters.x : found.kind;
    return symbol(frame, letter, found.layer, found.j, ...(found.kind === "w" ? [found.k] : []));
  }

  /**
   * @param {string} target
   * @param {number} value
   */
  async edit(target, value) {
    this.wanted = value;
    if (this.editing) return;
    this.editing = true;
    while (this.wanted !== undefined) {
      const next = this.wanted;
      this.wanted = undefined;
      await this.app.change({ kind: "edit", target, value: next });
    }
    this.editing = false;
  }
}
