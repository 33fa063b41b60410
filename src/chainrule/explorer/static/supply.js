/** What is made of the data: the share held out for validation, and inputs derived from two. */

import { el, field } from "./dom.js";
import { percent, typed } from "./numbers.js";

/** @typedef {import("./types").Frame} Frame */

const MOST = 0.9; // of the samples that can be held out

export class Supply {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.share = el("input", {
      type: "range",
      min: 0,
      max: MOST,
      step: 0.1,
      onchange: () => void app.change({ kind: "split", share: Number(this.share.value) }),
    });
    this.held = el("output.at", {});
    this.switches = el("div.switches", {});
    this.shape = "";
    this.why = el("p.small", {});
    this.nodes = [
      el("div.held", {}, field("Held out", this.share), this.held),
      el("fieldset.derived", {}, el("legend", {}, "Derived inputs"), this.switches, this.why),
    ];
  }

  /** @param {Frame} frame */
  update(frame) {
    const { share, train, validation, derived, why_not_derived } = frame.data;
    this.share.value = typed(share);
    this.share.disabled = train + validation < 2;
    const words = `${percent(share)}, for validation`;
    this.share.setAttribute("aria-valuetext", words);
    this.held.textContent = words;
    const { derived: choices } = frame.choices;
    const shape = JSON.stringify(choices);
    if (shape !== this.shape) {
      this.shape = shape;
      this.switches.replaceChildren(
        ...choices.map(({ name, formula, words: what }) =>
          el(
            "label",
            { title: what },
            el("input", {
              type: "checkbox",
              role: "switch",
              value: name,
              onchange: () => this.derive(),
            }),
            el("span", {}, formula),
            el("span.unseen", {}, `, ${what}`),
          ),
        ),
      );
    }
    for (const box of this.switches.querySelectorAll("input")) box.checked = derived.includes(box.value);
    this.why.hidden = !why_not_derived;
    this.why.textContent = why_not_derived;
  }

  derive() {
    const derived = [...this.switches.querySelectorAll("input:checked")].map((box) => box.value);
    void this.app.change({ kind: "inputs", derived });
  }
}
