/** How formulas and numbers are written: the notation and its digits. */

import { el, field, options } from "./dom.js";
import { group } from "./memory.js";

/** @typedef {import("./types").Frame} Frame */

const DIGITS = ["3", "4", "6", "8", "12"];

export class WritingCard {
  /** @param {any} app */
  constructor(app) {
    this.notation = el("select", {
      "aria-label": "Notation",
      onchange: () => void app.change({ kind: "configure", notation: this.notation.value }),
    });
    this.digits = el("select", {
      "aria-label": "Digits",
      onchange: () => void app.change({ kind: "configure", digits: Number(this.digits.value) }),
    });
    const { node, now } = group(
      "Notation",
      "Notation and digits",
      field("Letters", this.notation),
      field("Digits", this.digits),
    );
    this.node = node;
    this.now = now;
  }

  /** @param {Frame} frame */
  update(frame) {
    const { notation, digits } = frame.settings;
    options(this.notation, frame.choices.notations, notation);
    options(this.digits, [...new Set([...DIGITS, String(digits)])], String(digits));
    this.now.textContent = notation;
  }
}
